//! What is looked at before anything is touched.

use crate::HealthProbe;
use segue_model::plan::UnitPlan;
use segue_model::{Finding, Side};
use std::fs::File;

/// Asks both applications and opens the source's access log; changes nothing.
pub async fn preflight(unit: &UnitPlan) -> Vec<Finding> {
    let mut findings = Vec::new();
    for side in [Side::Source, Side::Target] {
        let Some((backend, probe)) = unit.backend(side).zip(HealthProbe::of(unit, side)) else {
            continue;
        };
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
    if let Some(log) = unit.backend(Side::Source).and_then(|web| web.access_log.as_ref())
        && let Err(error) = File::open(log)
    {
        findings.push(Finding::refuse(
            "SG0521",
            format!("access log `{}` of the source: {error}", log.display()),
            "let the controller read the log, or leave it out of the plan",
        ));
    }
    findings
}
