//! The executor: carries out what [`decide`](crate::decide::decide) says, write-ahead.
//!
//! ```text
//! gates -> prepare -> StepIntended (durable) -> run -> StepDone
//!                          |                     |
//!                          +--- crash, fault ----+-> quench -> observe -> finish or undo
//! ```
//!
//! **Invariants.** Nothing is sent before its intent is durable. What was sent by a former
//! process, or timed out, is quenched before it is observed, run again or undone. From the
//! intent of the step of no return on nothing is undone.

mod back;
mod forward;
mod waits;

use crate::board::Board;
use crate::decide::{Here, Next, Wish, decide};
use crate::journal::UnitJournal;
use crate::step::{Step, Table};
use segue_model::event::{Actor, Attempt, Event, Record};
use segue_model::state::{AttemptState, Direction, EndedHow, PastAttempt};
use segue_model::table::TableShape;
use segue_model::{Epoch, Fault, FaultKind, RunId};
use segue_port::{Authority, Call, Clock, Facts, Outcome, ProgressSink};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Time between two tries to write a journal whose disk is full.
const SPACE_WAIT: Duration = Duration::from_millis(250);
/// Tries after which it is said again.
const SPACE_TOLD_EVERY: u32 = 40;

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Every step is done.
    Completed,
    /// Every step is undone; the unit is as before the attempt.
    Withdrawn {
        /// Why.
        because: String,
    },
    /// A person must act; the attempt stays open.
    Stuck {
        /// Why.
        because: String,
        /// What a person can do.
        way_out: Vec<String>,
    },
}

/// Executes tables of one unit under one epoch.
#[derive(Clone)]
pub struct Executor {
    journal: UnitJournal,
    board: Board,
    clock: Arc<dyn Clock>,
    epoch: Epoch,
    run: RunId,
    progress: Arc<dyn ProgressSink>,
}

impl Executor {
    /// Builds an executor that acts on the journal's unit under `epoch`.
    pub fn new(
        journal: UnitJournal,
        board: Board,
        clock: Arc<dyn Clock>,
        epoch: Epoch,
        run: RunId,
        progress: Arc<dyn ProgressSink>,
    ) -> Self {
        Self { journal, board, clock, epoch, run, progress }
    }

    /// Executes `table` as `attempt` until it is completed, withdrawn or stuck.
    ///
    /// The caller has begun the attempt ([`UnitJournal::begin`]); if none is open it is begun
    /// here on behalf of the controller. An attempt that already has steps is gone on with as
    /// by [`Self::resume`].
    ///
    /// # Errors
    /// `SG0620` if another attempt is open or the table differs from the one it began with;
    /// any fault of the journal, after which nothing more was done: resume later.
    pub async fn execute(
        &self,
        table: Table,
        attempt: Attempt,
        wish: watch::Receiver<Wish>,
    ) -> Outcome<Ended> {
        if self.journal.state().open.is_none() {
            let because = "the plan goes on".to_owned();
            self.append(Event::AttemptStarted { attempt, by: Actor::Controller, because }).await?;
        }
        let open = self.open()?;
        if open.attempt != attempt {
            let cause = format!("attempt {} is open", open.attempt.number);
            return Err(misuse(attempt, cause));
        }
        let here = if open.table.is_some() { Here::Resumed } else { Here::Began };
        self.follow(table, attempt, wish, here).await
    }

    /// Goes on with the open attempt after a crash, a takeover or a stuck attempt that a
    /// person resumed: before the point of no return it goes back, after it forward; a table
    /// without one goes forward.
    ///
    /// # Errors
    /// As [`Self::execute`]; `SG0620` also if no attempt is open.
    pub async fn resume(&self, table: Table, wish: watch::Receiver<Wish>) -> Outcome<Ended> {
        let attempt = self.open()?.attempt;
        self.follow(table, attempt, wish, Here::Resumed).await
    }

    async fn follow(
        &self,
        table: Table,
        attempt: Attempt,
        wish: watch::Receiver<Wish>,
        here: Here,
    ) -> Outcome<Ended> {
        let shape = table.shape();
        if let Some(stuck) = self.open()?.stuck {
            return Ok(Ended::Stuck { because: stuck.because, way_out: stuck.way_out });
        }
        match self.open()?.table {
            None => {
                shape.check().map_err(|rule| misuse(attempt, rule))?;
                self.append(Event::TableFixed { table: shape.clone() }).await?;
            }
            Some(begun) if begun.same_rules(&shape) => {}
            Some(_) => {
                let cause = "its table differs from the one it began with";
                return Err(misuse(attempt, cause)
                    .hint("finish it with the version of Segue and the plan that began it"));
            }
        }
        let told_of_wish = false;
        Course { executor: self, table, shape, attempt, wish, here, told_of_wish }.go().await
    }

    /// Appends a record. Where the disk is full it waits for space: nothing was written and
    /// nothing is sent meanwhile. Leases that run out before the seal end by themselves, so
    /// service goes on at the writing side; from the seal on only going on helps.
    async fn append(&self, event: Event) -> Outcome<Record> {
        let mut tries = 0;
        loop {
            let fault = match self.journal.append(event.clone()).await {
                Err(fault) if fault.kind == FaultKind::Busy => fault,
                other => return other,
            };
            if tries % SPACE_TOLD_EVERY == 0 {
                tracing::error!(%fault, "the attempt waits until the journal can be written");
            }
            tries += 1;
            self.clock.sleep(SPACE_WAIT).await;
        }
    }

    fn open(&self) -> Outcome<AttemptState> {
        self.journal.state().open.clone().ok_or_else(|| {
            Fault::new("SG0620", FaultKind::Bug, "execute a table", "no attempt is open")
        })
    }
}

fn misuse(attempt: Attempt, cause: impl std::fmt::Display) -> Fault {
    let op = format!("execute attempt {} `{}`", attempt.number, attempt.phase.as_str());
    Fault::new("SG0620", FaultKind::Invalid, op, cause)
}

/// One execution under way.
struct Course<'a> {
    executor: &'a Executor,
    table: Table,
    shape: TableShape,
    attempt: Attempt,
    wish: watch::Receiver<Wish>,
    here: Here,
    /// A wish that came too late was noted.
    told_of_wish: bool,
}

impl Course<'_> {
    async fn go(mut self) -> Outcome<Ended> {
        loop {
            // Cancelled or broken off in between, the attempt stays open and is resumed.
            let Some(open) = self.executor.journal.state().open.clone() else {
                return Ok(self.ended());
            };
            let wish = self.wish.borrow().clone();
            self.note_late_wish(&open, &wish).await?;
            match decide(&self.shape, &open, self.here, &wish) {
                Next::Gate(place) => self.gate(place).await?,
                Next::Intend(place) => self.intend(place).await?,
                Next::Run(place) => self.run(place).await?,
                Next::Recover(place) => self.recover(place, 0, None).await?,
                Next::Undo(place) => self.undo(place).await?,
                Next::Complete => self.append(Event::AttemptCompleted).await.map(drop)?,
                Next::Withdraw { by, because } => self.withdraw(by, because).await?,
                Next::Withdrawn => self.append(Event::AttemptWithdrawn).await.map(drop)?,
                Next::Stuck(stuck) => {
                    return Ok(Ended::Stuck { because: stuck.because, way_out: stuck.way_out });
                }
            }
        }
    }

    /// Returns how the attempt ended, from its last record.
    fn ended(&self) -> Ended {
        let state = self.executor.journal.state();
        match state.history.last().map(|past| &**past) {
            Some(PastAttempt { how: EndedHow::Withdrawn, state, .. }) => {
                let because = match &state.direction {
                    Direction::Back { because, .. } => because.clone(),
                    Direction::Forward => String::new(),
                };
                Ended::Withdrawn { because }
            }
            _ => Ended::Completed,
        }
    }

    async fn note_late_wish(&mut self, open: &AttemptState, wish: &Wish) -> Outcome<()> {
        if let (Wish::TurnBack { because, .. }, true, false) =
            (wish, open.crossed(), self.told_of_wish)
        {
            self.told_of_wish = true;
            let text =
                format!("asked to turn back after the point of no return: {because}; finishing");
            self.append(Event::Noted { text }).await?;
        }
        Ok(())
    }

    async fn withdraw(&mut self, by: Actor, because: String) -> Outcome<()> {
        self.append(Event::WithdrawalStarted { by, because }).await.map(drop)
    }

    async fn withdraw_because(&mut self, because: impl Into<String>) -> Outcome<()> {
        self.withdraw(Actor::Controller, because.into()).await
    }

    async fn stuck(&mut self, place: usize, because: String, hint: &str) -> Outcome<()> {
        let step = &self.table.steps[place];
        let mut way_out = Vec::new();
        if !hint.is_empty() {
            way_out.push(hint.to_owned());
        }
        way_out.push("mend the cause, then let the attempt try again".to_owned());
        way_out.push(format!("{}: {}", step.name, step.effect.by_hand()));
        self.append(Event::AttemptStuck { because, way_out }).await.map(drop)
    }

    async fn append(&self, event: Event) -> Outcome<Record> {
        self.executor.append(event).await
    }

    fn open(&self) -> Outcome<AttemptState> {
        self.executor.open()
    }

    fn step(&self, place: usize) -> &Step {
        &self.table.steps[place]
    }

    fn now_ms(&self) -> u64 {
        self.executor.clock.boot_ms()
    }

    /// Builds what an effect is told; facts are the outputs up to the step itself.
    fn call(&self, place: usize, prepared: Value, time_allowed: Duration) -> Outcome<Call> {
        let facts: Facts = self.open()?.facts();
        let executor = self.executor;
        let authority = Authority {
            run: executor.run.clone(),
            unit: executor.journal.unit().clone(),
            step: self.step(place).name.clone(),
            attempt: self.attempt,
            epoch: executor.epoch,
        };
        let progress = Arc::clone(&executor.progress);
        Ok(Call { progress, authority, prepared, facts: Arc::new(facts), time_allowed })
    }

    /// Returns what the step's intent holds.
    fn prepared(&self, place: usize) -> Outcome<Value> {
        let open = self.open()?;
        let state = open.steps.get(&self.step(place).name);
        Ok(state.map_or(Value::Null, |state| state.prepared.clone()))
    }
}
