//! Checks before anything is touched: the machine, the plan, both sides.

use crate::active::Active;
use segue_model::plan::Plan;
use segue_model::{Finding, RunId};
use std::path::Path;

/// Programs that Segue starts, and the Debian package each comes from.
const PROGRAMS: [(&str, &str); 3] =
    [("rsync", "rsync"), ("setsid", "util-linux"), ("setpriv", "util-linux")];

/// Checks this machine: programs and kernel.
pub fn machine() -> Vec<Finding> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let present =
        |name: &str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    let mut findings: Vec<Finding> = PROGRAMS
        .iter()
        .filter(|(program, _)| !present(program))
        .map(|(program, package)| {
            Finding::refuse(
                "SG0808",
                format!("program `{program}` is missing"),
                format!("install Debian package `{package}`"),
            )
        })
        .collect();
    if !Path::new("/proc/self/fd").exists() {
        findings.push(Finding::refuse("SG0808", "/proc is not mounted", "mount it"));
    }
    findings
}

/// Checks the plan by itself.
pub fn plan(plan: &Plan) -> Vec<Finding> {
    segue_plan::check(plan)
        .into_iter()
        .map(|problem| Finding::refuse(problem.code, problem.text, problem.remedy))
        .collect()
}

/// Looks at every server, folder and command of the plan; changes nothing.
pub async fn world(plan: &Plan) -> Vec<Finding> {
    let scratch = std::env::temp_dir();
    let active = match Active::families(plan, &RunId::from("doctor"), &scratch) {
        Ok(families) => families,
        Err(fault) => return vec![Finding::refuse(&fault.code, fault.to_string(), fault.hint)],
    };
    let mut findings = Vec::new();
    if let Some(database) = &active.database {
        findings.extend(database.preflight().await);
        database.close().await;
    }
    for tree in &active.trees {
        findings.extend(tree.preflight().await);
    }
    for zone in &active.zones {
        findings.extend(zone.preflight().await);
    }
    findings.extend(segue_probe::preflight(&plan.unit).await);
    findings.extend(segue_workers::preflight(&plan.unit.workers).await);
    findings.extend(active.fronts.preflight().await);
    findings
}
