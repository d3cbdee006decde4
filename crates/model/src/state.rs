//! State as a fold over the journal: of a run ([`RunState`]) and of each of its units
//! ([`UnitState`]).
//!
//! ```text
//! Fresh -sync-> Synced -prepare-> Prepared -cutover-> Watching -Confirmed-> Confirmed -settle-> Settled
//!                                    ^                    |                     |
//!                                    +------failback------+------(a person)-----+
//! ```
//! While it is prepared, a split gives the target a share of the requests that read; the
//! share ends with a cutover, which takes all requests along.
//!
//! **Invariants.** A record that is not legal in a state never becomes part of it: which
//! ones are legal stands in one match ([`UnitState::legal`], [`RunState::legal`]). Folding the same records
//! always gives the same state.

mod change;
mod legal;
mod run;
#[cfg(test)]
mod tests;

pub use run::{Acknowledged, RunState, Waived, WaveState};

use crate::event::{Actor, Attempt, Event, Phase, Record, WriteSide};
use crate::fault::Fault;
use crate::gate::Answer;
use crate::ids::{Epoch, StepName};
use crate::side::Side;
use crate::table::TableShape;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A place and time in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Number of the record.
    pub seq: u64,
    /// Wall clock, milliseconds since 1970.
    pub at_ms: u64,
    /// Boot clock, milliseconds.
    pub boot_ms: u64,
}

impl Moment {
    /// Returns the place and time of a record.
    pub fn of(record: &Record) -> Self {
        Self { seq: record.seq, at_ms: record.at_ms, boot_ms: record.boot_ms }
    }
}

/// How far the unit is, between attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing was done.
    #[default]
    Fresh,
    /// Every replica follows.
    Synced,
    /// Fronts are inserted and TTLs low: the unit can be cut over.
    Prepared,
    /// The unit is at the target and triggers may fail it back.
    Watching,
    /// The unit is at the target; only a person fails it back.
    Confirmed,
    /// The way back is closed.
    Settled,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum StepStatus {
    /// The intent stands; whether the change happened is not known here.
    Intended,
    /// It took effect.
    Done,
    /// It did not succeed; what it left is in the fault.
    Failed {
        /// The last fault.
        fault: Fault,
    },
    /// The undo was announced.
    Undoing,
    /// It is undone.
    Undone,
    /// The undo did not succeed.
    UndoFailed {
        /// The last fault.
        fault: Fault,
    },
}

fn returned<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// What the journal knows of a step with an intent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// How far it is.
    #[serde(flatten)]
    pub status: StepStatus,
    /// What the effect read beforehand.
    pub prepared: Value,
    /// What it returned, once it was done; kept while it is undone. A step that returned
    /// nothing has `Some(Null)`, also when it was read back.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "returned")]
    pub output: Option<Value>,
    /// Epoch of the intent.
    pub epoch: Epoch,
    /// The intent's record.
    pub intended: Moment,
    /// The newest record about it.
    pub latest: Moment,
}

impl StepState {
    /// Returns the number of the record with which it was done, while it is.
    pub fn done_at(&self) -> Option<u64> {
        (self.status == StepStatus::Done).then_some(self.latest.seq)
    }
}

/// Why an attempt or a watched unit waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Why.
    pub because: String,
    /// What a person can do.
    pub way_out: Vec<String>,
}

/// Which way the open attempt goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "way", rename_all = "snake_case")]
pub enum Direction {
    /// Step after step towards its end.
    Forward,
    /// Undoing what it did.
    Back {
        /// Who or what turned it.
        by: Actor,
        /// Why.
        because: String,
    },
}

/// When clients waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseTiming {
    /// Intent of the step that begins the pause.
    pub began: Option<Moment>,
    /// Intent of the seal.
    pub sealed: Option<Moment>,
    /// Success of the step that ends the pause, or undo of the one that began it.
    pub ended: Option<Moment>,
}

/// An attempt, open or past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptState {
    /// Which.
    pub attempt: Attempt,
    /// Who asked for it.
    pub by: Actor,
    /// Why.
    pub because: String,
    /// When it started.
    pub started: Moment,
    /// Its table, once fixed.
    pub table: Option<TableShape>,
    /// The steps that have an intent.
    pub steps: BTreeMap<StepName, StepState>,
    /// The last answer of each gate, by step and gate.
    pub gates: BTreeMap<StepName, BTreeMap<String, Answer>>,
    /// Which way it goes.
    pub direction: Direction,
    /// When clients waited.
    pub pause: PauseTiming,
    /// Why it waits for a person, if it does.
    pub stuck: Option<Stuck>,
}

impl AttemptState {
    /// Says whether the step of no return has an intent: from there on nothing is undone.
    pub fn crossed(&self) -> bool {
        let no_return = self
            .table
            .as_ref()
            .and_then(|table| table.no_return().map(|place| &table.steps[place].name));
        no_return.is_some_and(|name| self.steps.contains_key(name))
    }

    /// Returns the status of a step; `None` without an intent.
    pub fn status(&self, name: &StepName) -> Option<&StepStatus> {
        self.steps.get(name).map(|step| &step.status)
    }

    /// Returns the outputs of the steps that were done and are not undone.
    pub fn facts(&self) -> BTreeMap<StepName, Value> {
        self.steps
            .iter()
            .filter(|(_, step)| step.status != StepStatus::Undone)
            .filter_map(|(name, step)| Some((name.clone(), step.output.clone()?)))
            .collect()
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedHow {
    /// Every step is done.
    Completed,
    /// Every step is undone.
    Withdrawn,
}

/// An attempt that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastAttempt {
    /// What it was at its end.
    pub state: AttemptState,
    /// When it ended.
    pub ended: Moment,
    /// How.
    pub how: EndedHow,
}

/// The last full comparison of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// When it ended.
    pub ended: Moment,
    /// Differences found.
    pub differences: u64,
    /// What was compared.
    pub detail: Value,
}

/// Until when a unit waits although its wave goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferred {
    /// Wall clock before which it does not start, milliseconds since 1970.
    pub not_before_ms: u64,
    /// Who put it off.
    pub by: Actor,
    /// Why.
    pub because: String,
}

/// What a rehearsal of a unit measured: a forecast, never a proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// When it ended.
    pub ended: Moment,
    /// Hash of the unit's plan that was rehearsed.
    pub plan_hash: String,
    /// Whether the cutover and the way back went through.
    pub passed: bool,
    /// Longest pause of writes seen, milliseconds.
    pub pause_ms: Option<f64>,
    /// From the first step of the cutover to its last, milliseconds.
    pub took_ms: u64,
    /// What else was measured.
    pub detail: Value,
}

/// The commit timer of a watched unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitTimer {
    /// Time left at `told`, milliseconds.
    pub left_ms: u64,
    /// When that was written.
    pub told: Moment,
}

/// Everything the journal says of a unit, folded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitState {
    /// Hash of the unit's own plan.
    pub plan_hash: String,
    /// How far the unit is.
    pub stage: Stage,
    /// Who takes writes.
    pub write_side: WriteSide,
    /// Attempts that ended, oldest first.
    pub history: Vec<Arc<PastAttempt>>,
    /// The attempt that is open.
    pub open: Option<AttemptState>,
    /// Since when the unit is watched: the end of the last cutover.
    pub watching_since: Option<Moment>,
    /// Time left until the unit goes back unless somebody confirms; `None` without a timer.
    pub commit_timer: Option<CommitTimer>,
    /// When a person confirmed.
    pub confirmed: Option<Moment>,
    /// The last trigger that fired, with its numbers.
    pub last_trigger: Option<(String, String)>,
    /// Why an automatic failback was refused and a person must choose.
    pub refused: Option<Stuck>,
    /// The last full comparison by what was compared.
    pub compared: BTreeMap<String, Comparison>,
    /// Why the unit takes no part in the run, if a person took it out.
    pub excluded: Option<String>,
    /// Until when it waits, if a person put it off.
    pub deferred: Option<Deferred>,
    /// The last rehearsal.
    pub rehearsed: Option<Rehearsal>,
    /// The last drill on the live source: the pause it measured, milliseconds.
    pub drilled: Option<(Moment, f64)>,
    /// Share of the requests that read which a split gives the target, percent.
    #[serde(default)]
    pub share: u8,
}

impl Default for UnitState {
    fn default() -> Self {
        Self {
            plan_hash: String::new(),
            stage: Stage::Fresh,
            write_side: WriteSide::At(Side::Source),
            history: Vec::new(),
            open: None,
            watching_since: None,
            commit_timer: None,
            confirmed: None,
            last_trigger: None,
            refused: None,
            compared: BTreeMap::new(),
            excluded: None,
            deferred: None,
            rehearsed: None,
            drilled: None,
            share: 0,
        }
    }
}

/// A record that its state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} `{event}` is not legal: {why}")]
pub struct Illegal {
    /// Number of the record.
    pub seq: u64,
    /// Name of its event.
    pub event: &'static str,
    /// The rule that it breaks.
    pub why: String,
}

impl UnitState {
    /// Returns the attempt that a table of `phase` would be now.
    pub fn next_attempt(&self, phase: Phase) -> Attempt {
        Attempt { phase, number: self.history.len() as u32 + 1 }
    }

    /// Says whether `event` may be the unit's next record under `epoch`.
    pub fn allows(&self, event: &Event, epoch: Epoch) -> bool {
        self.legal(event, epoch).is_ok()
    }

    /// Says whether a split gives the target requests, or is about to.
    pub fn is_split(&self) -> bool {
        let opens = self.open.as_ref().is_some_and(|open| open.attempt.phase == Phase::Split);
        self.share > 0 || opens
    }

    /// Says whether its last word was a failback or a withdrawal of a cutover.
    pub fn went_back(&self) -> bool {
        self.history.last().is_some_and(|past| match past.state.attempt.phase {
            Phase::Failback => past.how == EndedHow::Completed,
            Phase::Cutover => past.how == EndedHow::Withdrawn,
            _ => false,
        })
    }
}
