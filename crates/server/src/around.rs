//! Who reaches the source's web servers around the fronts, by the servers' own logs.

use segue_model::Side;
use segue_model::plan::UnitPlan;
use segue_port::Sampler;
use segue_probe::{AccessLogSampler, Passed, Passing};
use segue_traffic::Fronts;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Returns a sampler for each log that the plan names; sites of one server have one log.
pub fn samplers(unit: &UnitPlan, fronts: &Arc<Fronts>) -> Vec<Arc<dyn Sampler>> {
    let servers = unit.backends(Side::Source);
    let logs: BTreeSet<&Path> = servers.filter_map(|web| web.access_log.as_deref()).collect();
    let passing = Passing::of(unit, Side::Source);
    logs.into_iter().map(|log| one(unit, fronts, log, passing.clone())).collect()
}

fn one(unit: &UnitPlan, fronts: &Arc<Fronts>, log: &Path, passing: Passing) -> Arc<dyn Sampler> {
    let same = |web: &&segue_model::plan::Backend| web.access_log.as_deref() == Some(log);
    let own = unit.backends(Side::Source).filter(same);
    let own_paths = own.map(|web| web.health_path.clone()).collect();
    // Fronts count by unit: a log of some of its sites only is told by addresses.
    let whole = unit.backends(Side::Source).all(|web| same(&web));
    let fronts = Arc::clone(fronts);
    let passed: Passed = Arc::new(move || {
        let fronts = Arc::clone(&fronts);
        Box::pin(async move {
            if whole {
                fronts.passed(Side::Source).await
            } else {
                Err("it is that of some of the unit's sites, which fronts do not count apart"
                    .into())
            }
        })
    });
    AccessLogSampler::counted(log, passing, own_paths, passed)
}
