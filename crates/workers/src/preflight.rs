//! What can be known of the workers before anything is touched.

use crate::commands::Worker;
use segue_doors::process::find_program;
use segue_model::plan::WorkerPlan;
use segue_model::{Finding, Side};

/// Checks that every command exists and may be run, that every `running` command answers 0 or
/// 1, and that no worker runs at the target already.
pub async fn preflight(plans: &[WorkerPlan]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for plan in plans {
        for side in [Side::Source, Side::Target] {
            findings.extend(check(plan, side).await);
        }
    }
    findings
}

async fn check(plan: &WorkerPlan, side: Side) -> Vec<Finding> {
    let commands = plan.sides.get(side);
    let named =
        [("stop", &commands.stop), ("start", &commands.start), ("running", &commands.running)];
    let missing: Vec<Finding> = named
        .into_iter()
        .filter_map(|(name, vector)| {
            let what = match vector.first() {
                None => "is empty".to_owned(),
                Some(program) if find_program(program).is_none() => {
                    format!("names `{program}`, which is no executable file")
                }
                Some(_) => return None,
            };
            let text = format!("worker `{}`, {side}: its `{name}` command {what}", plan.name);
            Some(Finding::refuse("SG0511", text, "write it as a list: program, argument, ..."))
        })
        .collect();
    if !missing.is_empty() {
        return missing;
    }
    match Worker::new(plan, side, None).runs().await {
        Err(fault) => vec![Finding::refuse("SG0512", fault.to_string(), fault.hint)],
        Ok(true) if side == Side::Target => vec![Finding::warn(
            "SG0513",
            format!("worker `{}` runs at the target already", plan.name),
            "stop it there; it writes into data that is being copied",
        )],
        Ok(_) => Vec::new(),
    }
}
