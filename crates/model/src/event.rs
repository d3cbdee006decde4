//! Every record of the journal, in the past tense.
//!
//! State is a fold over these ([`crate::state`]). A record never holds a secret.

use crate::fault::Fault;
use crate::gate::{Answer, Judged};
use crate::ids::{Epoch, RunId, StepName, UnitName};
use crate::side::{Side, Way};
use crate::table::TableShape;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A step table of a unit's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Seed and follow every replica, both ways.
    Sync,
    /// Insert fronts and lower TTLs.
    Prepare,
    /// Hold, fence and open the live source again, to measure the pause; changes no stage.
    Drill,
    /// Give the target a rising share of the requests that read; the write side stays.
    Split,
    /// Take that share back.
    Unsplit,
    /// Move the write side from source to target.
    Cutover,
    /// Move the write side back from target to source.
    Failback,
    /// Restore TTLs, end the reverse stream: the point of no return.
    Settle,
}

impl Phase {
    /// Returns the phase as one lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Prepare => "prepare",
            Self::Drill => "drill",
            Self::Split => "split",
            Self::Unsplit => "unsplit",
            Self::Cutover => "cutover",
            Self::Failback => "failback",
            Self::Settle => "settle",
        }
    }

    /// Returns the direction in which the phase moves the write side.
    pub fn way(self) -> Way {
        match self {
            Self::Failback => Way::Back,
            _ => Way::Forward,
        }
    }
}

/// One execution of a table: phase and number, counted over the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// Which table.
    pub phase: Phase,
    /// 1 for the first table of the run, then rising.
    pub number: u32,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A person at a terminal.
    Person(String),
    /// A trigger, by name.
    Trigger(String),
    /// The controller following the plan or resuming after a crash.
    Controller,
}

/// A unit of a run and the hash of its own part of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitEntry {
    /// The unit.
    pub unit: UnitName,
    /// Hash of its plan.
    pub plan_hash: String,
    /// Its wave's place in the plan, from 1.
    pub wave: u32,
}

/// A record's payload. `Step*` events belong to the attempt that is open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run began with this plan.
    RunStarted {
        /// The run.
        run: RunId,
        /// The plan's name.
        name: String,
        /// Hash of the whole plan as it was approved; the plan itself is stored under it.
        plan_hash: String,
        /// Its units in the order of the plan, each with the hash of its own part.
        units: Vec<UnitEntry>,
        /// Who started it.
        by: Actor,
    },
    /// A controller took the lease.
    EpochTaken {
        /// The new epoch.
        epoch: Epoch,
        /// The controller's process id.
        pid: u32,
    },
    /// A person agreed to the plan.
    Approved {
        /// Who.
        by: Actor,
        /// As what: a role of the plan.
        role: String,
    },
    /// A person did, or took note of, an item of the timeline.
    Acknowledged {
        /// The item's name.
        item: String,
        /// Who.
        by: Actor,
        /// What they said of it.
        note: String,
        /// The numbers of the gate that stands before it, if that held at this moment: what it
        /// asks may be gone later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held: Option<String>,
    },
    /// A person lets a rule be broken, by name and with a reason.
    Waived {
        /// The rule: the name of a gate or of an item of the timeline.
        rule: String,
        /// Who.
        by: Actor,
        /// Why.
        because: String,
    },
    /// A wave began.
    WaveStarted {
        /// Its place in the plan, from 1.
        wave: u32,
        /// Who asked for it.
        by: Actor,
    },
    /// A wave stopped: no further unit of it starts.
    WaveStopped {
        /// Its place in the plan, from 1.
        wave: u32,
        /// Why, as a rule the unit that went back.
        because: String,
    },
    /// A person lets a stopped wave go on.
    WaveResumed {
        /// Its place in the plan, from 1.
        wave: u32,
        /// Who.
        by: Actor,
    },
    /// Every unit of a wave has moved, or was taken out of it.
    WaveCompleted {
        /// Its place in the plan, from 1.
        wave: u32,
    },
    /// A person took a unit out of the run.
    UnitExcluded {
        /// Who.
        by: Actor,
        /// Why.
        because: String,
    },
    /// A person took a unit back into the run.
    UnitIncluded {
        /// Who.
        by: Actor,
    },
    /// A person put a unit off.
    UnitDeferred {
        /// Wall clock before which it does not start, milliseconds since 1970.
        not_before_ms: u64,
        /// Who.
        by: Actor,
        /// Why.
        because: String,
    },
    /// A rehearsal of a unit ended.
    UnitRehearsed {
        /// Hash of the unit's plan that was rehearsed.
        plan_hash: String,
        /// Whether the cutover and the way back went through.
        passed: bool,
        /// Longest pause of writes seen, milliseconds; a forecast.
        pause_ms: Option<f64>,
        /// From the first step of the cutover to its last, milliseconds.
        took_ms: u64,
        /// What else was measured.
        detail: Value,
    },
    /// The live source was held, fenced and opened again without a switch.
    UnitDrilled {
        /// Pause of writes, milliseconds.
        pause_ms: f64,
        /// What was measured at each step.
        detail: Value,
    },
    /// How much time is left until the unit goes back unless somebody confirms.
    CommitTimerTold {
        /// Milliseconds.
        left_ms: u64,
    },
    /// A table began.
    AttemptStarted {
        /// Which.
        attempt: Attempt,
        /// Who asked for it.
        by: Actor,
        /// Why, in words; for a failback the trigger's numbers.
        because: String,
    },
    /// The open attempt follows this table and no other.
    TableFixed {
        /// Its rows, without their effects.
        table: TableShape,
    },
    /// A gate was answered; only changes of the verdict are recorded.
    GateAnswered {
        /// Before which step.
        step: StepName,
        /// The answer with its numbers.
        answer: Answer,
    },
    /// A step is about to act. Everything needed to undo it stands in `prepared`.
    StepIntended {
        /// Which step.
        step: StepName,
        /// What the effect read beforehand: its inverse and its parameters.
        prepared: Value,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// The step took effect.
    StepDone {
        /// Which step.
        step: StepName,
        /// What later steps and the report need.
        output: Value,
    },
    /// The step did not succeed.
    StepFailed {
        /// Which step.
        step: StepName,
        /// Why, and what it left behind.
        fault: Fault,
    },
    /// The step is about to be undone.
    UndoIntended {
        /// Which step.
        step: StepName,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// The step is undone.
    UndoDone {
        /// Which step.
        step: StepName,
    },
    /// The undo did not succeed.
    UndoFailed {
        /// Which step.
        step: StepName,
        /// Why.
        fault: Fault,
    },
    /// The open attempt turned round: what it did is being undone.
    WithdrawalStarted {
        /// Who or what made it turn.
        by: Actor,
        /// Why.
        because: String,
    },
    /// Every step of the open attempt is undone; the unit is as before it.
    AttemptWithdrawn,
    /// Every step of the open attempt is done.
    AttemptCompleted,
    /// The open attempt cannot go on or back without a person.
    AttemptStuck {
        /// Why.
        because: String,
        /// What a person can do.
        way_out: Vec<String>,
    },
    /// A person told a stuck attempt to try again.
    AttemptResumed {
        /// Who.
        by: Actor,
    },
    /// A trigger fired while the unit was watched.
    TriggerFired {
        /// Its name.
        trigger: String,
        /// Its numbers.
        because: String,
    },
    /// A trigger's verdict changed, between calm, no data and fired; carries no state.
    TriggerJudged {
        /// The verdict with its numbers.
        judged: Judged,
    },
    /// A trigger's failback was refused because it would lose writes; a person must choose.
    FailbackRefused {
        /// Why.
        because: String,
        /// What a person can do.
        way_out: Vec<String>,
    },
    /// A person ended the automatic failback.
    Confirmed {
        /// Who.
        by: Actor,
    },
    /// A full comparison ended.
    Compared {
        /// `database` or `files`.
        what: String,
        /// Differences found.
        differences: u64,
        /// What was compared: tables, rows, digests, files, bytes.
        detail: Value,
    },
    /// Totals read at this moment, for the report; carries no state.
    Measured {
        /// `traffic` (what the fronts counted) or `probe` (what the probes saw).
        what: String,
        /// The totals.
        detail: Value,
    },
    /// Something worth knowing happened; carries no state.
    Noted {
        /// The message.
        text: String,
    },
}

impl Event {
    /// Returns the event's name as it stands in the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RunStarted { .. } => "run_started",
            Self::Approved { .. } => "approved",
            Self::Acknowledged { .. } => "acknowledged",
            Self::Waived { .. } => "waived",
            Self::WaveStarted { .. } => "wave_started",
            Self::WaveStopped { .. } => "wave_stopped",
            Self::WaveResumed { .. } => "wave_resumed",
            Self::WaveCompleted { .. } => "wave_completed",
            Self::UnitExcluded { .. } => "unit_excluded",
            Self::UnitIncluded { .. } => "unit_included",
            Self::UnitDeferred { .. } => "unit_deferred",
            Self::UnitRehearsed { .. } => "unit_rehearsed",
            Self::UnitDrilled { .. } => "unit_drilled",
            Self::CommitTimerTold { .. } => "commit_timer_told",
            Self::EpochTaken { .. } => "epoch_taken",
            Self::AttemptStarted { .. } => "attempt_started",
            Self::TableFixed { .. } => "table_fixed",
            Self::GateAnswered { .. } => "gate_answered",
            Self::StepIntended { .. } => "step_intended",
            Self::StepDone { .. } => "step_done",
            Self::StepFailed { .. } => "step_failed",
            Self::UndoIntended { .. } => "undo_intended",
            Self::UndoDone { .. } => "undo_done",
            Self::UndoFailed { .. } => "undo_failed",
            Self::WithdrawalStarted { .. } => "withdrawal_started",
            Self::AttemptWithdrawn => "attempt_withdrawn",
            Self::AttemptCompleted => "attempt_completed",
            Self::AttemptStuck { .. } => "attempt_stuck",
            Self::AttemptResumed { .. } => "attempt_resumed",
            Self::TriggerFired { .. } => "trigger_fired",
            Self::TriggerJudged { .. } => "trigger_judged",
            Self::FailbackRefused { .. } => "failback_refused",
            Self::Confirmed { .. } => "confirmed",
            Self::Compared { .. } => "compared",
            Self::Measured { .. } => "measured",
            Self::Noted { .. } => "noted",
        }
    }
}

/// An event with its place and time in the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// 1, 2, 3, ... without gaps.
    pub seq: u64,
    /// Wall clock, milliseconds since 1970.
    pub at_ms: u64,
    /// Boot clock, milliseconds.
    pub boot_ms: u64,
    /// The unit it is about; none for what concerns the whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
    /// The payload.
    pub event: Event,
}

/// Which side holds the write side of the unit, as far as the journal knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteSide {
    /// This side takes writes.
    At(Side),
    /// Between seal and route: no side takes writes.
    Held,
}
