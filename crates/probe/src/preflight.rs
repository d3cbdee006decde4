//! What is looked at before anything is touched.

use crate::HealthProbe;
use crate::client::{Failure, Line};
use segue_model::plan::UnitPlan;
use segue_model::{Finding, Side};
use std::fs::File;
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for the page that the probe will ask for.
const PAGE_LIMIT: Duration = Duration::from_secs(5);

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
    findings.extend(page(unit).await);
    findings
}

/// The probe's page must show its marker before the move: one that never did would take the
/// unit back for nothing.
async fn page(unit: &UnitPlan) -> Option<Finding> {
    let (probe, backend) = unit.probe.as_ref().zip(unit.backend(Side::Source))?;
    let front = unit.fronts.iter().find(|front| front.side == Side::Source);
    let host = unit.hosts.first()?;
    let asked = async {
        let mut line = Line::open(backend.address, front.and_then(|front| front.egress)).await?;
        let answer = line.get(host, &probe.path, None, true).await?;
        let marker = probe.marker.as_bytes();
        match answer.status {
            200 if answer.body.windows(marker.len()).any(|part| part == marker) => Ok(()),
            200 => Err(Failure::Marker),
            status => Err(Failure::Status(status)),
        }
    };
    let failure = timeout(PAGE_LIMIT, asked).await.unwrap_or(Err(Failure::Timeout)).err()?;
    let cause = match failure {
        Failure::Marker => format!("the page does not show `{}`", probe.marker),
        other => other.to_string(),
    };
    Some(Finding::refuse(
        "SG0528",
        format!("the probe's page `{}` of the source at {}: {cause}", probe.path, backend.address),
        "name a page that answers 200, and a marker that stands in it",
    ))
}
