//! What is looked at before anything is touched.

use crate::HealthProbe;
use crate::client::{Failure, Line};
use segue_model::plan::{SitePlan, UnitPlan};
use segue_model::{Finding, Side};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for the page that the probe will ask for.
const PAGE_LIMIT: Duration = Duration::from_secs(5);

/// Asks both applications and opens the source's access log; changes nothing. Certificates that are
/// valid for fewer than `days` are told of.
pub async fn preflight(unit: &UnitPlan, days: u32) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sides = [Side::Source, Side::Target];
    for (site, side) in unit.sites.iter().flat_map(|site| sides.map(|side| (site, side))) {
        let backend = site.backends.get(side);
        let probe = HealthProbe::of(unit, site, side);
        if let Err(cause) = probe.ask().await {
            let text = format!(
                "the application of the {side} at {} does not answer `{}` with 200: {cause}",
                backend.asked_at(),
                backend.health_path
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
    for site in &unit.sites {
        findings.extend(page(unit, site).await);
    }
    findings.extend(crate::introduced::findings(unit).await);
    findings.extend(crate::certificates::preflight(unit, days).await);
    let own = unit.clone();
    let sessions = tokio::task::spawn_blocking(move || crate::sessions::findings(&own)).await;
    findings.extend(sessions.unwrap_or_default());
    findings
}

/// The probe's page must show its marker before the move: one that never did would take the
/// unit back for nothing.
async fn page(unit: &UnitPlan, site: &SitePlan) -> Option<Finding> {
    let (probe, backend) = (site.probe.as_ref()?, &site.backends.source);
    let egress = unit.egress_to(Side::Source, backend.asked_at());
    let host = site.hosts.first()?;
    let asked = async {
        let mut line = Line::open(backend.asked_at(), egress).await?;
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
        format!(
            "the probe's page `{}` of the source at {}: {cause}",
            probe.path,
            backend.asked_at()
        ),
        "name a page that answers 200, and a marker that stands in it",
    ))
}
