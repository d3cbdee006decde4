//! What is looked at before anything is touched.

use crate::HealthProbe;
use segue_model::plan::UnitPlan;
use segue_model::{Finding, Side};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

/// Asks both applications and opens the source's access log; changes nothing.
pub async fn preflight(unit: &UnitPlan) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sides = [Side::Source, Side::Target];
    for (site, side) in unit.sites.iter().flat_map(|site| sides.map(|side| (site, side))) {
        let backend = site.backends.get(side);
        let probe = HealthProbe::of(unit, site, side);
        if let Err(cause) = probe.ask().await {
            let text = format!(
                "the application of the {side} at {} does not answer `{}` with 200: {cause}",
                backend.address, backend.health_path
            );
            findings.push(match side {
                Side::Source => Finding::refuse(
                    "SG0523",
                    text,
                    "name a path that answers 200 without touching data, as `health_path`",
                ),
                // It may need the data first.
                Side::Target => {
                    Finding::warn("SG0524", text, "the cutover waits until the target answers")
                }
            });
        }
    }
    let logs: BTreeSet<&PathBuf> =
        unit.backends(Side::Source).filter_map(|web| web.access_log.as_ref()).collect();
    for log in logs {
        if let Err(error) = File::open(log) {
            findings.push(Finding::refuse(
                "SG0521",
                format!("access log `{}` of the source: {error}", log.display()),
                "let the controller read the log, or leave it out of the plan",
            ));
        }
    }
    findings
}
