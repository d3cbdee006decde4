//! The journal of the simulation: records, the state folded over them, and nothing lost.

use super::tables::Act;
use segue_model::event::{Actor, Attempt, Event, Phase, Record, UnitEntry};
use segue_model::state::{RunState, UnitState};
use segue_model::table::TableShape;
use segue_model::{Epoch, RunId, StepName, UnitName};
use serde_json::Value;
use std::sync::LazyLock;

/// One journal.
pub(super) struct Books {
    /// What all records but the first two are about.
    name: UnitName,
    pub(super) state: RunState,
    pub(super) records: Vec<Record>,
}

impl Books {
    /// Begins a run under epoch 1.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(super) fn new(number: usize) -> Result<Self, String> {
        let name = UnitName(format!("joint-{number}"));
        let (state, records) = (RunState::default(), Vec::new());
        let mut books = Self { name: name.clone(), state, records };
        let started = Event::RunStarted {
            run: RunId("run".into()),
            name: String::new(),
            plan_hash: String::new(),
            units: vec![UnitEntry { unit: name, plan_hash: String::new(), wave: 1 }],
            by: Actor::Controller,
        };
        books.write(0, 0, started)?;
        books.write(0, 0, Event::EpochTaken { epoch: Epoch(1), pid: 1 })?;
        Ok(books)
    }

    /// Returns the state of the joint.
    pub(super) fn unit(&self) -> &UnitState {
        static FRESH: LazyLock<UnitState> = LazyLock::new(UnitState::default);
        self.state.unit(&self.name).map_or(&FRESH, |unit| unit)
    }

    /// Says whether an event about the joint may be the next record.
    pub(super) fn allows(&self, event: &Event) -> bool {
        self.state.allows(Some(&self.name), event)
    }

    /// Appends a record.
    ///
    /// # Errors
    /// Returns the rule of the journal that the event breaks.
    pub(super) fn write(&mut self, now: u64, wall: u64, event: Event) -> Result<(), String> {
        let of_run = matches!(event, Event::RunStarted { .. } | Event::EpochTaken { .. });
        let unit = (!of_run).then(|| self.name.clone());
        let seq = self.state.last_seq + 1;
        let record = Record { seq, at_ms: wall, boot_ms: now, unit, event };
        self.state.take(&record).map_err(|illegal| illegal.to_string())?;
        self.records.push(record);
        Ok(())
    }

    /// Writes a table that went well, without a world.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(super) fn skip(&mut self, phase: Phase, shape: &TableShape) -> Result<(), String> {
        let attempt = self.unit().next_attempt(phase);
        let (by, because) = (Actor::Controller, String::new());
        self.write(0, 0, Event::AttemptStarted { attempt, by, because })?;
        self.write(0, 0, Event::TableFixed { table: shape.clone() })?;
        for step in &shape.steps {
            let (step, epoch) = (step.name.clone(), self.state.epoch);
            let prepared = Value::Null;
            self.write(0, 0, Event::StepIntended { step: step.clone(), prepared, epoch })?;
            self.write(0, 0, Event::StepDone { step, output: Value::Null })?;
        }
        self.write(0, 0, Event::AttemptCompleted)
    }

    /// Says whether the journal knows why a change lands: the open attempt is the one that
    /// sent it, and its step has an intent and is not undone.
    pub(super) fn knows(&self, attempt: Attempt, step: &StepName, undo: bool) -> bool {
        use segue_model::state::StepStatus as S;
        let Some(open) = &self.unit().open else { return false };
        let status = (open.attempt == attempt).then(|| open.status(step)).flatten();
        match status {
            None | Some(S::Undone) => false,
            Some(S::Undoing | S::UndoFailed { .. }) => true,
            Some(S::Intended | S::Done | S::Failed { .. }) => !undo,
        }
    }

    /// Cuts the newest records off, as a disk would that did not keep its word.
    ///
    /// # Errors
    /// As [`RunState::fold`].
    pub(super) fn cut(&mut self, records: usize) -> Result<(), String> {
        self.records.truncate(self.records.len() - records);
        self.state = RunState::fold(&self.records).map_err(|illegal| illegal.to_string())?;
        Ok(())
    }

    /// Folds everything again as it is read back from a disk, with a stop after `prefix`
    /// records.
    ///
    /// # Errors
    /// Says so if the state is another one.
    pub(super) fn fold_again(&self, prefix: usize) -> Result<(), String> {
        let kept = serde_json::to_string(&self.records).map_err(|error| error.to_string())?;
        let records: Vec<Record> = serde_json::from_str(&kept).map_err(|e| e.to_string())?;
        let (before, after) = records.split_at(prefix.min(records.len()));
        let told = |illegal: segue_model::state::Illegal| illegal.to_string();
        let mut state = RunState::fold(before).map_err(told)?;
        for record in after {
            state.take(record).map_err(told)?;
        }
        let same = state == self.state;
        if same { Ok(()) } else { Err("folded again, the records give another state".into()) }
    }
}

/// What a fence found, as its outcome in the journal keeps it: per unit position and fence.
pub(super) fn found(units: &[(u64, u64)]) -> Value {
    units.iter().flat_map(|(position, fence)| [*position, *fence]).map(Value::from).collect()
}

/// Reads what [`found`] wrote.
pub(super) fn read(value: Option<&Value>, unit: usize) -> (u64, u64) {
    let number = |at: usize| value.and_then(|v| v.get(at)).and_then(Value::as_u64).unwrap_or(0);
    (number(unit * 2), number(unit * 2 + 1))
}

/// Says whether an act changes nothing outside.
pub(super) fn reads_only(act: Act) -> bool {
    matches!(act, Act::Look | Act::Drain | Act::Verify)
}
