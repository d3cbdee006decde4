//! The effects of a tree, one for each step that concerns it.
//!
//! Copying, watching and comparing leave nothing at the resources that could be in force
//! half: what `observe` answers is the state of this controller, and after a restart the
//! answer *not applied* makes the executor repeat the step, which is safe for each of them.

use crate::claim::Holder;
use crate::feed::Mode;
use crate::lock;
use crate::replica::TreeReplica;
use crate::switch::Quiet;
use async_trait::async_trait;
use segue_model::Side;
use segue_port::{Call, Effect, Observed, Outcome, ReplicaEffects};
use serde_json::{Value, json};
use std::sync::Arc;

/// What stands in outputs because no tree can be fenced.
const NO_FENCE: &str =
    "files have no fence: a writer that passes no front is detected, not stopped";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Claim,
    Seed,
    Follow,
    Reverse,
    Arm,
    Fence,
    Drain,
    Verify,
    Seal,
    Promote,
    Compare,
    End,
}

struct TreeEffect {
    replica: Arc<TreeReplica>,
    step: Step,
}

/// Returns all effects of a tree.
pub(crate) fn all(replica: Arc<TreeReplica>) -> ReplicaEffects {
    let effect = |step| {
        let effect: Arc<dyn Effect> = Arc::new(TreeEffect { replica: replica.clone(), step });
        Some(effect)
    };
    ReplicaEffects {
        claim: effect(Step::Claim),
        seed: effect(Step::Seed),
        follow: effect(Step::Follow),
        reverse: effect(Step::Reverse),
        arm: effect(Step::Arm),
        fence: effect(Step::Fence),
        drain: effect(Step::Drain),
        verify: effect(Step::Verify),
        seal: effect(Step::Seal),
        promote: effect(Step::Promote),
        compare: effect(Step::Compare),
        end: effect(Step::End),
    }
}

impl Step {
    /// The word of the run mark that children of this step carry.
    fn word(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Seed => "seed",
            Self::Follow => "follow",
            Self::Reverse => "reverse",
            Self::Arm => "arm",
            Self::Fence => "fence",
            Self::Drain => "drain",
            Self::Verify => "verify",
            Self::Seal => "seal",
            Self::Promote => "promote",
            Self::Compare => "compare",
            Self::End => "end",
        }
    }
}

impl TreeEffect {
    fn holders(&self) -> Outcome<[Holder; 2]> {
        let of = |side| self.replica.claim.holder(self.replica.root(side));
        Ok([of(Side::Source)?, of(Side::Target)?])
    }

    fn quiet(&self, call: &Call) -> Option<Quiet> {
        lock(&self.replica.quiet).clone().filter(|q| q.attempt == call.authority.attempt)
    }

    async fn take_claims(&self) -> Outcome<Value> {
        for side in [Side::Target, Side::Source] {
            self.replica.claim.take(self.replica.root(side))?;
        }
        Ok(json!({ "claimed": ["source", "target"] }))
    }

    fn give_claims_back(&self) -> Outcome<()> {
        for side in [Side::Source, Side::Target] {
            self.replica.claim.give_back(self.replica.root(side))?;
        }
        Ok(())
    }

    async fn end(&self) -> Outcome<Value> {
        self.replica.stop().await;
        self.give_claims_back()?;
        lock(&self.replica.seen).end();
        Ok(json!({ "ended": true }))
    }

    async fn compare(&self, call: &Call) -> Outcome<Value> {
        // After a restart nobody follows the promoted side yet, and what is written there
        // meanwhile would look like differences.
        if self.replica.write_side().is_none()
            && let Err(fault) = self.replica.resume_following(call.authority.way().to()).await
        {
            tracing::error!(%fault, "files are not followed");
            return Ok(json!({ "differences": null, "note": fault.to_string() }));
        }
        Ok(self.replica.compare_live(call.progress.clone()).await?.output())
    }
}

#[async_trait]
impl Effect for TreeEffect {
    fn what(&self) -> String {
        let tree = self.replica.name();
        let (source, target) = (self.replica.root(Side::Source), self.replica.root(Side::Target));
        let (source, target) = (source.display(), target.display());
        match self.step {
            Step::Claim => {
                format!("mark tree `{tree}` as held by this run, beside `{source}` and `{target}`")
            }
            Step::Seed => format!("make `{target}` equal to `{source}` while it is in use"),
            Step::Follow => format!("carry every change of `{source}` to `{target}`"),
            Step::Reverse => format!("watch `{target}`, ready to carry changes back to `{source}`"),
            Step::Arm => format!("read the way back of tree `{tree}` in full, changing nothing"),
            Step::Fence => format!("nothing: tree `{tree}` has no fence"),
            Step::Drain => format!("carry the last changes of tree `{tree}` and stop carrying"),
            Step::Verify => {
                format!("compare the content of the last changed files of tree `{tree}`")
            }
            Step::Seal => {
                format!("make sure that nothing was written in tree `{tree}` since the drain")
            }
            Step::Promote => format!("exchange the direction in which tree `{tree}` is carried"),
            Step::Compare => format!("compare tree `{tree}` in full, changing nothing"),
            Step::End => format!("stop carrying tree `{tree}` and remove its marks"),
        }
    }

    fn by_hand(&self) -> String {
        let (source, target) = (self.replica.root(Side::Source), self.replica.root(Side::Target));
        let (source, target) = (source.display(), target.display());
        match self.step {
            Step::Claim => {
                "remove the files `.segue-claim.*` beside both roots, if this run is gone".into()
            }
            Step::Seed => format!("empty `{target}`; it is a copy that nobody uses yet"),
            Step::Promote => format!(
                "stop all writers at both sides, then: rsync -aHAX --numeric-ids '{target}/' '{source}/' \
                 (for a failback with the sides exchanged)"
            ),
            Step::Follow | Step::Reverse | Step::Arm | Step::Drain | Step::End => {
                "end the controller: carrying ends with it".into()
            }
            Step::Fence | Step::Verify | Step::Seal | Step::Compare => "nothing to undo".into(),
        }
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let replica = &self.replica;
        match self.step {
            Step::Claim => self.take_claims().await,
            Step::Seed => replica.seed(call).await,
            Step::Follow => replica.follow(call).await,
            Step::Reverse => replica.arm(call, false).await,
            Step::Arm => replica.arm(call, true).await,
            Step::Fence => Ok(json!({ "not_provable": [NO_FENCE] })),
            Step::Drain => replica.drain(call).await,
            Step::Verify => replica.verify(call).await,
            Step::Seal => replica.seal(call).await,
            Step::Promote => replica.promote(call).await,
            Step::Compare => self.compare(call).await,
            Step::End => self.end().await,
        }
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        let replica = &self.replica;
        let way = call.authority.way();
        let if_so = |yes: bool, output: Value| {
            if yes { Observed::Applied(output) } else { Observed::NotApplied }
        };
        Ok(match self.step {
            Step::Claim => if_so(
                self.holders()? == [Holder::This, Holder::This],
                json!({ "claimed": ["source", "target"] }),
            ),
            // A pass that was cut short is only seen by another pass, which costs little.
            Step::Seed | Step::Compare => Observed::NotApplied,
            Step::Follow => if_so(
                replica.write_side() == Some(way.from()) && !replica.feed(way.from()).wants_whole(),
                json!({ "following": way.from() }),
            ),
            Step::Reverse => {
                if_so(replica.feed(way.to()).mode().is_some(), json!({ "watched": way.to() }))
            }
            // The proof must be of this attempt.
            Step::Arm => if_so(
                replica.feed(way.to()).mode() == Some(Mode::Active),
                json!({ "already": true }),
            ),
            Step::Fence => Observed::Applied(json!({ "not_provable": [NO_FENCE] })),
            Step::Drain => {
                self.quiet(call).map_or(Observed::NotApplied, |q| Observed::Applied(q.output))
            }
            Step::Verify => {
                let verified = self.quiet(call).and_then(|q| q.verified);
                verified.map_or(Observed::NotApplied, Observed::Applied)
            }
            Step::Seal => if_so(
                self.quiet(call).is_some_and(|q| q.sealed),
                json!({ "changed_since_drain": 0 }),
            ),
            Step::Promote => {
                if_so(replica.write_side() == Some(way.to()), json!({ "write_side": way.to() }))
            }
            Step::End => if_so(
                replica.write_side().is_none() && !self.holders()?.contains(&Holder::This),
                json!({ "ended": true }),
            ),
        })
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        let replica = &self.replica;
        let way = call.authority.way();
        match self.step {
            Step::Claim => self.give_claims_back(),
            Step::Follow if replica.write_side() == Some(way.from()) => {
                replica.stop_flow().await;
                replica.feed(way.from()).stop();
                Ok(())
            }
            Step::Reverse | Step::Arm if replica.feed(way.to()).mode() == Some(Mode::Standby) => {
                // The watch was there before the arming if the tree was switched before.
                if self.step == Step::Reverse {
                    replica.feed(way.to()).stop();
                }
                Ok(())
            }
            Step::Drain => {
                replica.end_quiet();
                Ok(())
            }
            Step::Promote => replica.demote(call).await,
            // A copy that nobody uses stays: deleting it could only do harm.
            Step::Seed
            | Step::Follow
            | Step::Reverse
            | Step::Arm
            | Step::Fence
            | Step::Verify
            | Step::Seal
            | Step::Compare
            | Step::End => Ok(()),
        }
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        self.replica.mover.quench(self.step.word()).await
    }
}
