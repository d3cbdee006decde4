//! A zone moves from one provider to another, or gets or loses its signatures.
//!
//! Such a move takes days: caches must forget, and a person has to speak to a registrar. So it is
//! no phase of a run. Where it stands is worked out anew from what all name servers and the
//! parent say ([`look`]), by a pure function ([`stages`]); what Segue does itself is one change
//! with an exact inverse at a time ([`act`]). Notes on disk hold what nobody can see: the former
//! TTLs, since when something is so, and what both providers had in common.
//!
//! **Invariants.** Both providers serve the same data from the first copy to the end. Nobody is
//! sent to a server that does not serve the zone, and no key is needed that the one who is asked
//! does not show (RFC 8901 section 6, model 2). What the parent says is changed by a person and
//! believed when its servers say it.

mod act;
mod chain;
mod facts;
mod keys;
mod look;
mod merge;
mod notes;
mod parent;
mod situation;
mod stages;
mod tasks;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use notes::Notes;
pub use stages::{Stage, State, Who};

use crate::zone::{Settings, Zone};
use look::Look;
use segue_model::plan::{ZoneMove, ZonePlan};
use segue_model::{Side, Sides};
use segue_port::Outcome;
use serde::Serialize;
use situation::Situation;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A move of one zone.
#[derive(Debug)]
pub struct Move {
    plan: ZoneMove,
    zones: Sides<Arc<Zone>>,
}

/// Where a move stands.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// The zone.
    pub zone: String,
    /// From which provider to which; the same twice if it stays.
    pub way: (String, String),
    /// The stages, in their order.
    pub stages: Vec<Stage>,
    /// What is wrong now, and what to do. Nothing is changed while there is any.
    pub alarms: Vec<String>,
    /// What is worth knowing.
    pub remarks: Vec<String>,
    /// What could not be learned.
    pub unknown: Vec<String>,
}

impl Standing {
    /// Returns the stage at which it stands; none if all are done.
    pub fn current(&self) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.state != State::Done)
    }
}

/// What is done beyond looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing: look only.
    Look,
    /// Forward to the target.
    Forward,
    /// Back to the source.
    Back,
}

impl Move {
    /// Builds the move of a zone. Nothing is read, sent or checked yet.
    pub fn new(plan: ZoneMove) -> Self {
        let several = plan.moves();
        let zones = Sides::from_fn(|side| {
            let provider = plan.providers.get(side);
            let zone = ZonePlan {
                zone: plan.zone.clone(),
                provider: several.then(|| provider.name.clone()),
                authority: provider.authority.clone(),
                servers: provider.servers.clone(),
                records: Vec::new(),
                lowered_ttl_s: plan.lowered_ttl_s,
                lowered_other_ttl_s: plan.lowered_ttl_s,
                allow: Vec::new(),
                query_logs: Vec::new(),
                parents: Vec::new(),
            };
            Zone::new(Settings { plan: zone, run: "move".into(), unit: "move".into() })
        });
        Self { plan, zones }
    }

    /// Returns the zone's name.
    pub fn zone(&self) -> &str {
        &self.plan.zone
    }

    /// Looks at everything, and says where the move stands. With a wish to go on, what was seen
    /// is noted in `folder`, and every change that is Segue's to make and due is made, one after
    /// another; `told` gets each before it is made.
    ///
    /// # Errors
    /// As every reading and change of a zone; `SG0331` if the notes cannot be read or written,
    /// or another process works on this zone.
    pub async fn go(
        &self,
        wish: Wish,
        folder: &Path,
        mut told: impl FnMut(&str),
    ) -> Outcome<Standing> {
        let mut notes = Notes::open(folder, &self.plan, wish)?;
        // Each stage changes what is seen; there are fewer stages than this.
        for _ in 0..STAGES_MAX {
            let look = self.look().await?;
            notes.take(&self.plan, &look)?;
            if wish != Wish::Look {
                self.tell(&look).await;
            }
            let standing = self.standing(&look, &mut notes)?;
            let due = standing.current().filter(|stage| {
                stage.who == Who::Segue && stage.state == State::Due && standing.alarms.is_empty()
            });
            let (Some(stage), true) = (due, wish != Wish::Look) else { return Ok(standing) };
            told(&format!("{}: {}", self.plan.zone, stage.what));
            self.act(stage.name, &look, &mut notes).await?;
        }
        Err(act::never_ends(&self.plan.zone))
    }

    async fn look(&self) -> Outcome<Look> {
        look::look(&self.plan, &self.zones).await
    }

    fn standing(&self, look: &Look, notes: &mut Notes) -> Outcome<Standing> {
        let to = notes.to();
        self.keep_base(look, notes)?;
        let notes = &*notes;
        let situation = Situation::of(&self.plan, &self.zones, look, notes)?;
        let names = Sides::from_fn(|side| self.plan.providers.get(side).name.clone());
        let stages = stages::stages(&situation);
        let finished = !stages.is_empty() && stages.iter().all(|stage| stage.state == State::Done);
        Ok(Standing {
            zone: self.plan.zone.clone(),
            way: (names.get(to.other()).clone(), names.get(to).clone()),
            alarms: if finished { Vec::new() } else { situation.alarms() },
            remarks: situation.remarks(finished),
            unknown: look.unknown.clone(),
            stages,
        })
    }
}

impl Move {
    /// Notes what both providers have alike, if they have.
    fn keep_base(&self, look: &Look, notes: &mut Notes) -> Outcome<()> {
        let apex = &self.zones.source.declared()?.apex;
        let signers = notes.signers().clone();
        let seen = facts::Seen { plan: &self.plan, look, to: notes.to(), apex, signers: &signers };
        let names = seen.all_names();
        let merging = seen.merging(&self.zones, notes, &names);
        if self.plan.moves() && merging.merge().is_empty() {
            let base = merging.base();
            notes.keep_base(base)?;
        }
        Ok(())
    }
}

/// Most changes of one going.
const STAGES_MAX: usize = 16;
/// Longest time for what one provider says.
const READING: Duration = Duration::from_secs(60);

/// Both sides, the one that is left first.
fn sides(to: Side) -> [Side; 2] {
    [to.other(), to]
}
