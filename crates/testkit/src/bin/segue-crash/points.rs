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

/// Around an undo, where the table takes its last share back: a split has no point of no return.
const AROUND_UNDO: [&str; 4] =
    ["undo.intent.before", "undo.intent.durable", "undo.after", "undo.outcome.durable"];

/// The tables that are disturbed, in the order in which each begins where the one before ended.
pub(crate) const PHASES: [&str; 4] = ["cutover", "failback", "split", "unsplit"];

/// One point: in which table, at which step, where around its journal writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    /// The table, one of [`PHASES`].
    pub(crate) phase: String,
    /// The step.
    pub(crate) step: String,
    /// Where.
    pub(crate) around: &'static str,
}

impl Point {
    /// Whether it lies on a table's way back: somebody has to ask for it.
    pub(crate) fn is_undo(&self) -> bool {
        AROUND_UNDO.contains(&self.around)
    }

    /// Returns what `SEGUE_CRASH_AT` is set to.
    pub(crate) fn order(&self) -> String {
        format!("{}/{}", self.around, self.step)
    }
}

/// Returns every point of the tables named, in the order of the tables, from what
/// `segue plan --json` printed.
pub(crate) fn all(plan: &[Value], phases: &[String]) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for table in plan.iter().filter_map(Value::as_array).flatten() {
        let phase = table["phase"].as_str().unwrap_or_default();
        if !PHASES.contains(&phase) || !phases.is_empty() && !phases.iter().any(|p| p == phase) {
            continue;
        }
        for step in table["steps"].as_array().into_iter().flatten() {
            let Some(step) = step["name"].as_str() else { continue };
            // The last look of a split changes nothing, and has nothing to undo.
            let undone = phase == "split" && step != "judge";
            let undo = AROUND_UNDO.into_iter().filter(|_| undone);
            points.extend(AROUND.into_iter().chain(undo).map(|around| Point {
                phase: phase.to_owned(),
                step: step.to_owned(),
                around,
            }));
        }
    }
    if points.is_empty() {
        bail!("`segue plan --json` showed no step of {}", PHASES.join(", "));
    }
    Ok(points)
}
