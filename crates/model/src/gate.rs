//! Gates and triggers: questions before a step and conditions after it.

use crate::sample::What;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Answer of a gate. `Unknown` is a value of its own and never counts as passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The step may begin.
    Pass,
    /// Not yet; waiting may help.
    Wait,
    /// No; waiting does not help.
    Fail,
    /// Nothing is known: no sample, or too old.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Wait => "wait",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        })
    }
}

/// A verdict with the numbers it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The gate's name.
    pub gate: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The numbers, for people: `database lag 12 ms, allowed 1000 ms`.
    pub because: String,
}

/// A bound on one measured value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// What is measured.
    pub what: What,
    /// The value must be at most this.
    pub max: Option<f64>,
    /// The value must be at least this.
    pub min: Option<f64>,
    /// A sample older than this is Unknown, milliseconds.
    pub fresh_for_ms: u64,
}

/// What a trigger starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerAction {
    /// Fail the unit back to the source.
    FailBack,
    /// Stop and ask a person; nothing moves.
    HoldAndAsk,
}

/// What a trigger makes of missing samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoData {
    /// Missing samples do not count.
    Ignore,
    /// Missing samples count like a violation.
    Violates,
}

/// A condition after a step that starts an action.
///
/// It fires when the bound was violated by every sample of the last `for_ms`, at
/// least `min_samples` of them, each resting on at least `min_count` observations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// Name, for example `target_slow`.
    pub name: String,
    /// What must hold; its violation is the condition.
    pub bound: Bound,
    /// How long the bound must be violated, milliseconds.
    pub for_ms: u64,
    /// Fewest samples in that time.
    pub min_samples: usize,
    /// Fewest observations behind each sample.
    pub min_count: u64,
    /// What no data means.
    pub no_data: NoData,
    /// What it starts.
    pub action: TriggerAction,
}
