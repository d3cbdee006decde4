//! Split: the target's share of the requests that read, at every front.

use crate::fronts::Fronts;
use crate::link::{Link, unexpected};
use async_trait::async_trait;
use futures_util::future::join_all;
use segue_front::control::{Reply, Request, SplitRoute, SplitStatus, Trial};
use segue_model::plan::SplitPlan;
use segue_model::{EffectLeft, Fault, FaultKind, Side, Sides};
use segue_port::{Authority, Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What all fronts saw of a split's present share.
#[derive(Debug, Clone, PartialEq)]
pub struct Trials {
    /// The target's share, percent.
    pub share: u8,
    /// How long every front counts, milliseconds.
    pub lasts_ms: u64,
    /// Fronts that keep requests from the target by themselves, because it failed.
    pub opened: Vec<String>,
    /// Requests that the source answered after the target had failed them.
    pub saved: u64,
    /// What visitors met at each side.
    pub sides: Sides<Met>,
}

/// What visitors met at one side.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Met {
    /// Visitors, each counted once in every minute it came.
    pub cells: u64,
    /// Those of them with a request that failed.
    pub failing: u64,
    /// Answer times: up to so many microseconds, and how many there were.
    pub times_us: BTreeMap<u64, u64>,
}

impl Fronts {
    /// Returns the effect that gives the target `share` percent, `former` having been its share
    /// before.
    pub fn split(self: &Arc<Self>, plan: &SplitPlan, share: u8, former: u8) -> Arc<dyn Effect> {
        let fronts = Arc::clone(self);
        Arc::new(Split { fronts, plan: plan.clone(), share, former })
    }

    /// Returns the effect that ends a split.
    pub fn unsplit(self: &Arc<Self>) -> Arc<dyn Effect> {
        Arc::new(Unsplit { fronts: Arc::clone(self) })
    }

    /// Reads what every front saw of the share that stands.
    ///
    /// # Errors
    /// If a front does not answer, `SG0199` if it has no split or another share than the others:
    /// then nothing may be concluded.
    pub async fn trials(&self) -> Result<Trials, Fault> {
        let read = self.links.iter().map(async |link| {
            let stats = link.stats().await?;
            let status = self.split_at(link).await?;
            match (stats.trial, status) {
                (Some(trial), Some(status)) => Ok((link.plan.name.clone(), *trial, status)),
                _ => Err(unlike(&link.plan.name, "it has no split")),
            }
        });
        let read: Vec<_> = join_all(read).await.into_iter().collect::<Result<_, Fault>>()?;
        join(read)
    }

    async fn split_at(&self, link: &Link) -> Result<Option<SplitStatus>, Fault> {
        let hello = link.hello().await?;
        Ok(hello.unit(&self.settings.unit.name).and_then(|unit| unit.split.clone()))
    }

    /// Sets the split at every front. One that does not answer makes the whole half done.
    async fn set_split(&self, authority: &Authority, split: &SplitRoute) -> Outcome<()> {
        let all = self.links.iter().map(async |link| {
            let unit = self.settings.unit.name.clone();
            let relayed = self.relays(&link.plan, Side::Target);
            let split = SplitRoute { relayed, ..split.clone() };
            let set = |mark| Request::SetSplit { mark, unit, split };
            match link.change(&authority.run, authority.epoch, set).await? {
                Reply::Done { .. } => Ok(()),
                other => Err(unexpected("split the traffic at", &link.plan.name, &other)),
            }
        });
        let all: Outcome<Vec<()>> = join_all(all).await.into_iter().collect();
        all.map(drop).map_err(|fault| fault.leaving(EffectLeft::Maybe))
    }
}

fn unlike(front: &str, cause: &str) -> Fault {
    Fault::new("SG0199", FaultKind::Conflict, format!("read the split of front `{front}`"), cause)
        .hint("`segue status` shows the shares; `segue split --back` ends the split everywhere")
}

/// Joins what the fronts saw: a visitor comes through one of them.
fn join(read: Vec<(String, Trial, SplitStatus)>) -> Result<Trials, Fault> {
    let Some((_, first, _)) = read.first() else {
        return Err(unlike("", "the unit has no front"));
    };
    let (id, share) = (first.id.clone(), first.percent);
    let mut all = Trials {
        share,
        lasts_ms: u64::MAX,
        opened: Vec::new(),
        saved: 0,
        sides: Sides::from_fn(|_| Met::default()),
    };
    for (name, trial, status) in read {
        if trial.id != id || trial.percent != share {
            let cause = format!("it gives the target {} %, another {share} %", trial.percent);
            return Err(unlike(&name, &cause));
        }
        all.lasts_ms = all.lasts_ms.min(trial.lasts_ms);
        all.saved += status.saved;
        if status.open || status.opened > 0 {
            all.opened.push(name);
        }
        for side in [Side::Source, Side::Target] {
            let (seen, met) = (trial.sides.get(side), all.sides.get_mut(side));
            met.cells += seen.cells;
            met.failing += seen.failing;
            for (us, count) in &seen.times_us {
                *met.times_us.entry(*us).or_default() += count;
            }
        }
    }
    Ok(all)
}

struct Split {
    fronts: Arc<Fronts>,
    plan: SplitPlan,
    share: u8,
    former: u8,
}

impl Split {
    /// All shares of an attempt are one split: visitors keep their places.
    fn id(authority: &Authority) -> String {
        format!("{}-split-{}", authority.run, authority.attempt.number)
    }

    fn route(&self, call: &Call, percent: u8) -> SplitRoute {
        let plan = &self.plan;
        SplitRoute {
            id: Self::id(&call.authority),
            percent,
            paths: self.fronts.settings.policy.harmless_paths.clone(),
            testers: if percent == 0 { Vec::new() } else { plan.testers.clone() },
            cookie: plan.cookie.clone(),
            warm_ms: plan.warm_s.saturating_mul(1_000),
            // Told to each front below.
            relayed: false,
            slow_ms: plan.slow_ms,
        }
    }
}

#[async_trait]
impl Effect for Split {
    fn what(&self) -> String {
        let paths = self.fronts.settings.policy.harmless_paths.join(", ");
        format!("sends {} % of the visitors who read {paths} to the target", self.share)
    }

    fn by_hand(&self) -> String {
        "`segue split --back` sends every request to the source".into()
    }

    async fn prepare(&self, _call: &Call) -> Outcome<Value> {
        Ok(json!({ "former_share": self.former }))
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        self.fronts.set_split(&call.authority, &self.route(call, self.share)).await?;
        Ok(json!({ "share": self.share }))
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        let id = Self::id(&call.authority);
        for link in &self.fronts.links {
            match self.fronts.split_at(link).await {
                Ok(Some(status)) if status.id == id && status.percent == self.share => {}
                Ok(_) => return Ok(Observed::NotApplied),
                Err(fault) => {
                    return Ok(Observed::Unknown(format!("front `{}`: {fault}", link.plan.name)));
                }
            }
        }
        Ok(Observed::Applied(json!({ "share": self.share })))
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        self.fronts.set_split(&call.authority, &self.route(call, self.former)).await
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        self.fronts.take_epoch(self.fronts.epoch()).await
    }
}

struct Unsplit {
    fronts: Arc<Fronts>,
}

#[async_trait]
impl Effect for Unsplit {
    fn what(&self) -> String {
        "sends every request to the source; visitors' cookies of the split are taken back".into()
    }

    fn by_hand(&self) -> String {
        "no undo: another split begins with its first share".into()
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let policy = &self.fronts.settings.policy;
        for link in &self.fronts.links {
            let Some(status) = self.fronts.split_at(link).await? else { continue };
            let split = SplitRoute {
                id: status.id,
                percent: 0,
                paths: policy.harmless_paths.clone(),
                testers: Vec::new(),
                cookie: policy.split.as_ref().map(|plan| plan.cookie.clone()).unwrap_or_default(),
                warm_ms: 0,
                relayed: false,
                slow_ms: policy.split.as_ref().map_or(2_000, |plan| plan.slow_ms),
            };
            let unit = self.fronts.settings.unit.name.clone();
            let set = |mark| Request::SetSplit { mark, unit, split };
            let (run, epoch) = (&call.authority.run, call.authority.epoch);
            match link.change(run, epoch, set).await.map_err(|f| f.leaving(EffectLeft::Maybe))? {
                Reply::Done { .. } => {}
                other => return Err(unexpected("end the split at", &link.plan.name, &other)),
            }
        }
        Ok(json!({ "share": 0 }))
    }

    async fn observe(&self, _call: &Call) -> Outcome<Observed> {
        for link in &self.fronts.links {
            match self.fronts.split_at(link).await {
                Ok(Some(status)) if status.percent > 0 => return Ok(Observed::NotApplied),
                Ok(_) => {}
                Err(fault) => {
                    return Ok(Observed::Unknown(format!("front `{}`: {fault}", link.plan.name)));
                }
            }
        }
        Ok(Observed::Applied(json!({ "share": 0 })))
    }

    async fn undo(&self, _call: &Call) -> Outcome<()> {
        // All traffic at the source is what is wanted whenever something goes wrong.
        Ok(())
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        self.fronts.take_epoch(self.fronts.epoch()).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use segue_front::control::SeenSide;

    fn read(name: &str, percent: u8, lasts_ms: u64, cells: u64) -> (String, Trial, SplitStatus) {
        let seen = SeenSide { cells, failing: 1, requests: 9, times_us: vec![(500, 2), (900, 1)] };
        let sides = Sides::from_fn(|_| seen.clone());
        let id = "run-split-3".to_owned();
        let status = SplitStatus { id: id.clone(), percent, open: false, opened: 0, saved: 4 };
        (name.into(), Trial { id, percent, lasts_ms, sides }, status)
    }

    #[test]
    fn what_the_fronts_saw_is_added_and_lasts_as_long_as_at_the_last_of_them() {
        let all = join(vec![read("source", 5, 9_000, 10), read("target", 5, 4_000, 3)]).unwrap();
        assert_eq!((all.share, all.lasts_ms, all.saved), (5, 4_000, 8));
        let target = &all.sides.target;
        assert_eq!((target.cells, target.failing, target.times_us[&500]), (13, 2, 4));
        assert!(all.opened.is_empty());
    }

    #[test]
    fn fronts_of_two_minds_prove_nothing() {
        for other in [read("target", 25, 1, 1), {
            let mut other = read("target", 5, 1, 1);
            other.1.id = "another".into();
            other
        }] {
            let fault = join(vec![read("source", 5, 1, 1), other]).unwrap_err();
            assert_eq!(fault.code, "SG0199");
        }
        assert!(join(Vec::new()).is_err());
    }

    #[test]
    fn a_front_that_took_the_target_out_is_named() {
        let mut tripped = read("source", 5, 1, 1);
        tripped.2.opened = 1;
        let all = join(vec![tripped, read("target", 5, 1, 1)]).unwrap();
        assert_eq!(all.opened, ["source"]);
    }
}
