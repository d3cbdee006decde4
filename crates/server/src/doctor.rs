//! Checks before anything is touched: the machine, the plan, both sides.

use crate::active::Active;
use futures_util::{StreamExt, stream};
use segue_model::gate::GateSpec;
use segue_model::plan::{Plan, Policy};
use segue_model::{Finding, Fleet, RunId, UnitName, What};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// Units that are looked at together.
const LOOKS_AT_ONCE: usize = 8;

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
pub fn plan(fleet: &Fleet) -> Vec<Finding> {
    with_timeline(fleet, check(&fleet.units, fleet.units.len() > 1))
}

/// Checks of a plan that was just made of its files what its units' own checks did not see:
/// the units that several became.
pub fn joined(fleet: &Fleet) -> Vec<Finding> {
    let joints: HashSet<&UnitName> = fleet.joints.iter().map(|joint| &joint.unit).collect();
    let of_joint = |plan: &&Arc<Plan>| joints.contains(&plan.unit.name);
    let units: Vec<Arc<Plan>> = fleet.units.iter().filter(of_joint).cloned().collect();
    with_timeline(fleet, check(&units, true))
}

fn with_timeline(fleet: &Fleet, mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.extend(segue_migration::timeline::check(fleet));
    findings
}

fn check(units: &[Arc<Plan>], many: bool) -> Vec<Finding> {
    let check = |plan: &Arc<Plan>| {
        let mut problems = segue_plan::check(plan);
        for problem in problems.iter_mut().filter(|_| many) {
            problem.text.insert_str(0, &format!("unit `{}`: ", plan.unit.name));
        }
        problems
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = units.len().div_ceil(cores).max(1);
    let problems: Vec<_> = std::thread::scope(|scope| {
        let checking = |share: &'_ [Arc<Plan>]| share.iter().flat_map(check).collect::<Vec<_>>();
        let working: Vec<_> =
            units.chunks(share).map(|share| scope.spawn(move || checking(share))).collect();
        working
            .into_iter()
            .flat_map(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    problems
        .into_iter()
        .map(|problem| Finding::refuse(problem.code, problem.text, problem.remedy))
        .collect()
}

/// Looks at every server, folder and command of the plan; changes nothing.
pub async fn world(fleet: &Fleet) -> Vec<Finding> {
    let many = fleet.units.len() > 1;
    let looks = fleet.units.iter().cloned().map(|plan| named(plan, many));
    // A few at a time: thousands of units stand on a few servers.
    let all: Vec<Vec<Finding>> = stream::iter(looks).buffered(LOOKS_AT_ONCE).collect().await;
    all.into_iter().flatten().collect()
}

async fn named(plan: Arc<Plan>, many: bool) -> Vec<Finding> {
    let mut findings = unit(&plan).await;
    for finding in findings.iter_mut().filter(|_| many) {
        finding.text.insert_str(0, &format!("unit `{}`: ", plan.unit.name));
    }
    findings
}

async fn unit(plan: &Plan) -> Vec<Finding> {
    let scratch = std::env::temp_dir();
    let active = match Active::families(plan, &RunId::from("doctor"), &scratch) {
        Ok(families) => families,
        Err(fault) => return vec![Finding::refuse(&fault.code, fault.to_string(), fault.hint)],
    };
    let mut findings = Vec::new();
    for database in &active.databases {
        findings.extend(database.preflight().await);
        database.close().await;
    }
    for tree in &active.trees {
        findings.extend(tree.preflight().await);
    }
    for zone in &active.zones {
        findings.extend(zone.preflight().await);
    }
    for cdn in &active.cdns {
        findings.extend(cdn.preflight().await);
    }
    findings.extend(segue_probe::preflight(&plan.unit, certificate_days(&plan.policy)).await);
    findings.extend(segue_workers::preflight(&plan.unit.workers).await);
    findings.extend(active.fronts.preflight().await);
    findings
}

/// Returns for how many days certificates must be valid: what the plan's gate asks for, else the sum
/// by which its default goes.
fn certificate_days(policy: &Policy) -> u32 {
    let asks = |gate: &&GateSpec| gate.bound.what == What::CertificateDays;
    let asked = policy.gates.iter().find(asks).and_then(|gate| gate.bound.min);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Saturates, as it should.
    let asked = asked.map(|days| days.ceil() as u32);
    asked.unwrap_or_else(|| u32::try_from(policy.certificate_days()).unwrap_or(u32::MAX))
}
