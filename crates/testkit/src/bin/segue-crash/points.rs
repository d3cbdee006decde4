//! The points at which the controller is killed: taken from the step tables themselves.

use anyhow::{Result, bail};
use serde_json::Value;

/// Around every journal write of a step: before the intent, after it, before the effect and
/// after it, before the outcome, after it.
const AROUND: [&str; 6] = [
    "intent.before",
    "intent.durable",
    "effect.before",
    "effect.after",
    "outcome.before",
    "outcome.durable",
];

/// One point: in which table, at which step, where around its journal writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    /// `cutover` or `failback`.
    pub(crate) phase: String,
    /// The step.
    pub(crate) step: String,
    /// Where.
    pub(crate) around: &'static str,
}

impl Point {
    /// Returns what `SEGUE_CRASH_AT` is set to.
    pub(crate) fn order(&self) -> String {
        format!("{}/{}", self.around, self.step)
    }
}

/// Returns every point of both tables, in the order of the tables, from what
/// `segue plan --json` printed.
pub(crate) fn all(plan: &[Value]) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for table in plan.iter().filter_map(Value::as_array).flatten() {
        let phase = table["phase"].as_str().unwrap_or_default();
        if phase != "cutover" && phase != "failback" {
            continue;
        }
        for step in table["steps"].as_array().into_iter().flatten() {
            let Some(step) = step["name"].as_str() else { continue };
            points.extend(AROUND.map(|around| Point {
                phase: phase.to_owned(),
                step: step.to_owned(),
                around,
            }));
        }
    }
    if points.is_empty() {
        bail!("`segue plan --json` showed no step of cutover or failback");
    }
    Ok(points)
}
