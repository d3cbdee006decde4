//! What a legal event changes.

use super::{
    AttemptState, CommitTimer, Comparison, Deferred, Direction, EndedHow, Moment, PastAttempt,
    Rehearsal, Stage, StepState, StepStatus, Stuck, UnitState,
};
use crate::event::{Event, Phase, Record, WriteSide};
use crate::ids::StepName;
use crate::table::Pause;
use std::collections::BTreeMap;
use std::sync::Arc;

impl UnitState {
    /// Changes the state by a record that is legal in it.
    pub(super) fn change(&mut self, record: &Record) {
        let now = Moment::of(record);
        match &record.event {
            Event::AttemptStarted { attempt, by, because } => {
                self.refused = None;
                self.open = Some(AttemptState {
                    attempt: *attempt,
                    by: by.clone(),
                    because: because.clone(),
                    started: now,
                    table: None,
                    steps: BTreeMap::new(),
                    gates: BTreeMap::new(),
                    direction: Direction::Forward,
                    pause: super::PauseTiming::default(),
                    stuck: None,
                });
            }
            Event::AttemptWithdrawn => self.end(now, EndedHow::Withdrawn),
            Event::AttemptCompleted => self.end(now, EndedHow::Completed),
            Event::TriggerFired { trigger, because } => {
                self.last_trigger = Some((trigger.clone(), because.clone()));
            }
            Event::FailbackRefused { because, way_out } => {
                self.refused = Some(Stuck { because: because.clone(), way_out: way_out.clone() });
            }
            Event::Confirmed { .. } => {
                self.stage = Stage::Confirmed;
                self.confirmed = Some(now);
                self.commit_timer = None;
                self.refused = None;
            }
            Event::Compared { what, differences, detail } => {
                let comparison =
                    Comparison { ended: now, differences: *differences, detail: detail.clone() };
                self.compared.insert(what.clone(), comparison);
            }
            Event::CommitTimerTold { left_ms } => {
                self.commit_timer = Some(CommitTimer { left_ms: *left_ms, told: now });
            }
            Event::UnitExcluded { because, .. } => self.excluded = Some(because.clone()),
            Event::UnitIncluded { .. } => self.excluded = None,
            Event::UnitDeferred { not_before_ms, by, because } => {
                self.deferred = Some(Deferred {
                    not_before_ms: *not_before_ms,
                    by: by.clone(),
                    because: because.clone(),
                });
            }
            Event::UnitRehearsed { plan_hash, passed, pause_ms, took_ms, detail } => {
                self.rehearsed = Some(Rehearsal {
                    ended: now,
                    plan_hash: plan_hash.clone(),
                    passed: *passed,
                    pause_ms: *pause_ms,
                    took_ms: *took_ms,
                    detail: detail.clone(),
                });
            }
            Event::UnitDrilled { pause_ms, .. } => self.drilled = Some((now, *pause_ms)),
            Event::Measured { .. } | Event::Noted { .. } | Event::TriggerJudged { .. } => {}
            of_attempt => {
                if let Some(open) = &mut self.open {
                    self.share = open.share(of_attempt).unwrap_or(self.share);
                    open.change(of_attempt, now);
                    self.write_side = open.write_side(self.write_side, of_attempt);
                }
            }
        }
    }

    fn end(&mut self, now: Moment, how: EndedHow) {
        let Some(state) = self.open.take() else { return };
        let phase = state.attempt.phase;
        let moves = matches!(phase, Phase::Cutover | Phase::Failback);
        if how == EndedHow::Completed {
            self.stage = match phase {
                Phase::Sync => Stage::Synced,
                Phase::Prepare | Phase::Failback => Stage::Prepared,
                Phase::Drill | Phase::Split | Phase::Unsplit => self.stage,
                Phase::Cutover => Stage::Watching,
                Phase::Settle => Stage::Settled,
            };
        }
        if moves {
            let way = phase.way();
            let side = if how == EndedHow::Completed { way.to() } else { way.from() };
            self.write_side = WriteSide::At(side);
        }
        if moves && how == EndedHow::Completed {
            // All requests went along.
            self.share = 0;
            self.watching_since = (phase == Phase::Cutover).then_some(now);
            self.confirmed = None;
            self.commit_timer = None;
        }
        self.history.push(Arc::new(PastAttempt { state, ended: now, how }));
    }
}

impl AttemptState {
    fn change(&mut self, event: &Event, now: Moment) {
        match event {
            Event::TableFixed { table } => self.table = Some(table.clone()),
            Event::GateAnswered { step, answer } => {
                let gates = self.gates.entry(step.clone()).or_default();
                gates.insert(answer.gate.clone(), answer.clone());
            }
            Event::StepIntended { step, prepared, epoch } => {
                let state = StepState {
                    status: StepStatus::Intended,
                    prepared: prepared.clone(),
                    output: None,
                    epoch: *epoch,
                    intended: now,
                    latest: now,
                };
                self.steps.insert(step.clone(), state);
                match self.part(step) {
                    Pause::Begins => self.pause.began = Some(now),
                    Pause::Seal => self.pause.sealed = Some(now),
                    Pause::None | Pause::Ends => {}
                }
            }
            Event::StepDone { step, output } => {
                if let Some(state) = self.steps.get_mut(step) {
                    state.output = Some(output.clone());
                }
                self.set(step, StepStatus::Done, now);
                if self.part(step) == Pause::Ends {
                    self.pause.ended = Some(now);
                }
            }
            Event::StepFailed { step, fault } => {
                self.set(step, StepStatus::Failed { fault: fault.clone() }, now);
            }
            Event::UndoIntended { step, .. } => self.set(step, StepStatus::Undoing, now),
            Event::UndoDone { step } => {
                self.set(step, StepStatus::Undone, now);
                if self.part(step) == Pause::Begins {
                    self.pause.ended = Some(now);
                }
            }
            Event::UndoFailed { step, fault } => {
                self.set(step, StepStatus::UndoFailed { fault: fault.clone() }, now);
            }
            Event::WithdrawalStarted { by, because } => {
                self.direction = Direction::Back { by: by.clone(), because: because.clone() };
            }
            Event::AttemptStuck { because, way_out } => {
                self.stuck = Some(Stuck { because: because.clone(), way_out: way_out.clone() });
            }
            Event::AttemptResumed { .. } => self.stuck = None,
            // Everything else belongs to the run and was taken there.
            _ => {}
        }
    }

    /// Returns the share of the target after `event`, if it says one: what a step of a split
    /// did stands in its output, what its undo brings back in what it read beforehand.
    fn share(&self, event: &Event) -> Option<u8> {
        if !matches!(self.attempt.phase, Phase::Split | Phase::Unsplit) {
            return None;
        }
        let share = match event {
            Event::StepDone { output, .. } => output.get("share"),
            Event::UndoDone { step } => self.steps.get(step)?.prepared.get("former_share"),
            _ => None,
        };
        u8::try_from(share?.as_u64()?).ok()
    }

    fn set(&mut self, step: &StepName, status: StepStatus, now: Moment) {
        if let Some(state) = self.steps.get_mut(step) {
            state.status = status;
            state.latest = now;
        }
    }

    fn part(&self, step: &StepName) -> Pause {
        let shape = self
            .table
            .as_ref()
            .and_then(|table| table.position(step).map(|place| &table.steps[place]));
        shape.map_or(Pause::None, |shape| shape.pause)
    }

    /// From the seal's intent to the end of the pause no side takes writes.
    fn write_side(&self, now: WriteSide, event: &Event) -> WriteSide {
        let way = self.attempt.phase.way();
        match event {
            Event::StepIntended { step, .. } if self.part(step) == Pause::Seal => WriteSide::Held,
            Event::StepDone { step, .. } if self.part(step) == Pause::Ends => {
                WriteSide::At(way.to())
            }
            Event::UndoDone { step } if self.part(step) == Pause::Seal => WriteSide::At(way.from()),
            _ => now,
        }
    }
}
