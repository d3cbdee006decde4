//! Gates and triggers as data: questions before a step and conditions after it.
//!
//! The engine judges both from samples; the plan file says which there are. See
//! `docs/gates-and-triggers.md`.

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
    /// Only samples of this origin count; all if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value must be at most this.
    pub max: Option<f64>,
    /// The value must be at least this.
    pub min: Option<f64>,
    /// A sample older than this is Unknown, milliseconds.
    pub fresh_for_ms: u64,
}

/// The step before which a gate is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Before {
    /// Before the first copy.
    Seed,
    /// Before a cutover begins: nothing waits yet.
    Arm,
    /// Right before the pause, outside of it.
    Hold,
    /// Before the point of no return.
    Settle,
}

/// What a gate makes of missing samples. Unknown never passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateNoData {
    /// The verdict is unknown; the table waits for a sample as long as it waits for gates.
    Wait,
    /// The verdict is fail; the table gives up at once.
    Fail,
}

/// A gate of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateSpec {
    /// Name, for example `database_lag`.
    pub name: String,
    /// Before which step it is asked.
    pub before: Before,
    /// What must hold.
    pub bound: Bound,
    /// How long it must have held, milliseconds; 0 if the newest samples alone count.
    pub for_ms: u64,
    /// What no data means.
    pub no_data: GateNoData,
    /// Whether it is asked before a failback too, with the sides exchanged.
    pub failback: bool,
}

/// What the values of a trigger are compared with, instead of with fixed numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The same measure of the other side at the same moment.
    OtherSide,
    /// The same measure of the other side in the minute before the cutover.
    Before,
}

/// Makes the bound of a trigger relative.
///
/// `max` and `min` of the bound are then factors: a value may be at most
/// `max * reference + slack` and must be at least `min * reference - slack`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Against {
    /// What with.
    pub with: Reference,
    /// Difference that is always allowed, in the unit of the measure.
    pub slack: f64,
    /// Fewest clients behind each value, where the fronts count them: one busy client is no
    /// evidence. 0 if that is not asked.
    pub min_clients: u64,
}

/// How far the action of a trigger reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The unit.
    Unit,
    /// Every unit of its wave that was cut over.
    Wave,
    /// The unit's mail; its sites stay.
    Mail,
}

/// What a trigger starts. Whatever it is, the alert is raised and recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerAction {
    /// Nothing but the alert.
    Alert,
    /// Give the target the former, smaller share of the traffic.
    StepBack,
    /// Fail back to the source.
    FailBack,
    /// Stop and ask a person; nothing moves.
    HoldAndAsk,
}

/// What a trigger makes of missing samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoData {
    /// Missing samples start nothing; the verdict is still `no_data`, never `quiet`.
    Ignore,
    /// Missing samples count like a violation.
    Violates,
    /// Missing samples stop the unit and ask a person, whatever the action is.
    Ask,
}

/// A condition after a step that starts an action.
///
/// It fires when the bound was violated by every sample of the last `for_ms`, at
/// least `min_samples` of them, each resting on at least `min_count` observations.
/// One with `against` fires when the mean of these samples violates it beyond chance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// Name, for example `target_slow`.
    pub name: String,
    /// What must hold; its violation is the condition.
    pub bound: Bound,
    /// What the bound is relative to; fixed numbers if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
    /// How long the bound must be violated, milliseconds.
    pub for_ms: u64,
    /// Time after the cutover in which it does not count, milliseconds.
    #[serde(default)]
    pub after_ms: u64,
    /// Fewest samples in that time.
    pub min_samples: usize,
    /// Fewest observations behind each sample.
    pub min_count: u64,
    /// What no data means.
    pub no_data: NoData,
    /// What it starts.
    pub action: TriggerAction,
    /// How far that reaches.
    #[serde(default = "unit")]
    pub scope: Scope,
}

/// Plans of before there were scopes mean the unit.
fn unit() -> Scope {
    Scope::Unit
}

impl Trigger {
    /// Returns the measure that its values are compared with, if they are.
    pub fn reference(&self) -> Option<What> {
        self.against.and(self.bound.what.of_other_side())
    }
}

/// What a trigger says at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The bound is kept.
    Quiet,
    /// The bound is violated, but not for long enough.
    Violating {
        /// Since when, by the boot clock, milliseconds.
        since_boot_ms: u64,
    },
    /// Nothing is known: no sample, too old, too few, or nothing to compare with.
    NoData,
    /// It fires.
    Fired,
}

impl Standing {
    /// Returns the word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Violating { .. } => "violating",
            Self::NoData => "no_data",
            Self::Fired => "fired",
        }
    }
}

/// The verdict of a trigger with the numbers it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The trigger's name.
    pub trigger: String,
    /// The verdict.
    pub standing: Standing,
    /// The numbers, for people.
    pub because: String,
}
