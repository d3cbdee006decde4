//! What a plan would change in a zone, set by set, before anything is changed.

use crate::sets::RecordSet;
use crate::zone::Zone;
use domain::base::Rtype;
use segue_model::{Finding, Side};
use segue_port::Outcome;
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

/// What would change in a zone at one provider.
#[derive(Debug, Clone, Serialize)]
pub struct ZoneDiff {
    /// The zone, with its provider if there are several.
    pub zone: String,
    /// Where its records are.
    pub place: String,
    /// The driver.
    pub driver: &'static str,
    /// Its serial, where the provider has one.
    pub serial: Option<u32>,
    /// What each step would change, in their order.
    pub steps: Vec<StepDiff>,
    /// What holds the change back, and what is worth knowing.
    pub findings: Vec<Finding>,
}

/// What one step would change.
#[derive(Debug, Clone, Serialize)]
pub struct StepDiff {
    /// The step, as in the tables.
    pub step: &'static str,
    /// The sets that change, former and wanted.
    pub sets: Vec<(RecordSet, RecordSet)>,
}

impl StepDiff {
    fn of(step: &'static str, former: &[RecordSet], wanted: &[RecordSet]) -> Self {
        let pairs = former.iter().zip(wanted).filter(|(former, wanted)| former != wanted);
        Self { step, sets: pairs.map(|(a, b)| (a.clone(), b.clone())).collect() }
    }
}

impl Zone {
    /// Returns the sets with their TTLs lowered; one that is lower already stays.
    pub(crate) fn lowered(&self, current: &[RecordSet]) -> Vec<RecordSet> {
        let low = |set: &RecordSet| set.ttl.min(self.lowered_ttl_of(set.key.rtype));
        current.iter().map(|set| set.with_ttl(low(set))).collect()
    }

    /// Returns the sets with the data of `side`; a TTL that is lower already stays. So does that
    /// of the zone's own NS set where it only loses records: servers do not do both.
    pub(crate) fn published(&self, current: &[RecordSet], side: Side) -> Outcome<Vec<RecordSet>> {
        let apex = &self.declared()?.apex;
        let keep_low = |(wanted, current): (&RecordSet, &RecordSet)| {
            let ttl = self.lowered_ttl_of(wanted.key.rtype);
            let own_ns = wanted.key.rtype == Rtype::NS && wanted.key.name == *apex;
            let only_loses = own_ns && wanted.data.is_subset(&current.data);
            wanted.with_ttl(match current.exists() {
                true if only_loses => current.ttl,
                true => current.ttl.min(ttl),
                false => ttl,
            })
        };
        Ok(self.declared()?.data.get(side).iter().zip(current).map(keep_low).collect())
    }

    /// Reads the owned sets and says what lowering their TTLs and moving them to the target
    /// would change. Changes nothing.
    ///
    /// # Errors
    /// As every reading at the provider.
    pub async fn diff(&self, time_allowed: Duration) -> Outcome<ZoneDiff> {
        let until = Instant::now() + time_allowed;
        let op = format!("read the owned sets of zone `{}`", self.plan.label());
        let state = self.state(&op, until).await?;
        let low = self.lowered(&state.sets);
        let target = self.published(&low, Side::Target)?;
        Ok(ZoneDiff {
            zone: self.plan.label().into_owned(),
            place: self.driver.place(),
            driver: self.plan.authority.kind(),
            serial: state.serial,
            steps: vec![
                StepDiff::of("lower_ttls", &state.sets, &low),
                StepDiff::of("publish", &low, &target),
            ],
            findings: self.preflight().await,
        })
    }
}
