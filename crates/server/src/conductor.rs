//! The conductor: takes commands, opens attempts, lets the engine execute their tables.

mod orders;

use crate::active::Active;
use crate::api::{Command, Line, Request};
use crate::phases::{answer, compared, comparisons, table_of};
use crate::progress::Rates;
use crate::{plans, status, watch};
use segue_engine::{Ended, Executor, Journal, Wish};
use segue_model::event::{Actor, Event, Phase};
use segue_model::plan::Plan;
use segue_model::state::{RunState, Stage};
use segue_model::{Epoch, Fault, FaultKind, RunId};
use segue_port::Clock;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, RwLock, broadcast, watch as signal};

/// Lines kept for a view that is slow to read.
const LINES_KEPT: usize = 4_096;

/// Drives the run of one directory. All of its methods may be called at any time.
pub(crate) struct Conductor {
    pub(crate) dir: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journal: Journal,
    epoch: Epoch,
    lines: broadcast::Sender<Line>,
    active: RwLock<Option<Arc<Active>>>,
    /// Held by whoever executes a table.
    busy: Mutex<()>,
    /// The wish of the table that is being executed.
    wish: signal::Sender<Wish>,
    stop: Notify,
}

/// Answer of a command: exit code, sentence, result.
type Answer = Result<(u8, String), Fault>;

impl Conductor {
    /// Builds a conductor that does nothing yet.
    pub(crate) fn new(
        dir: &Path,
        clock: Arc<dyn Clock>,
        journal: Journal,
        epoch: Epoch,
    ) -> Arc<Self> {
        let (lines, _) = broadcast::channel(LINES_KEPT);
        let (wish, _) = signal::channel(Wish::Forward);
        let conductor = Arc::new(Self {
            dir: dir.to_owned(),
            clock,
            journal,
            epoch,
            lines,
            active: RwLock::new(None),
            busy: Mutex::new(()),
            wish,
            stop: Notify::new(),
        });
        conductor.relay_records();
        conductor
    }

    fn relay_records(self: &Arc<Self>) {
        let mut records = self.journal.subscribe();
        let lines = self.lines.clone();
        tokio::spawn(async move {
            loop {
                match records.recv().await {
                    Ok(record) => {
                        // Nobody watching is no failure.
                        let _ = lines.send(Line::Record { record: Box::new(record) });
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
    }

    /// Goes on with the run that the journal holds, if it holds one.
    ///
    /// # Errors
    /// If the plan cannot be read back or a resource refuses this controller's lease.
    pub(crate) async fn take_up(self: &Arc<Self>) -> Result<(), Fault> {
        watch::start(self);
        let state = self.journal.state();
        let Some(run) = state.run.clone() else { return Ok(()) };
        let plan = self.plan_of_run(&state)?;
        let active = self.activate(&plan, &run).await?;
        if state.stage >= Stage::Prepared {
            active.start_probes();
        }
        if let Some(open) = state.open.as_ref().filter(|open| open.stuck.is_none()) {
            let (conductor, phase) = (Arc::clone(self), open.attempt.phase);
            tokio::spawn(async move {
                let ended = conductor.go_on(phase).await;
                tracing::info!(?ended, "the attempt that was open has ended");
            });
        } else if state.stage >= Stage::Synced && state.stage < Stage::Settled {
            self.follow_files(&active, &state).await;
        }
        Ok(())
    }

    /// Files are followed by this process: where it does not yet, it starts.
    async fn follow_files(&self, active: &Arc<Active>, state: &RunState) {
        let side = match state.write_side {
            segue_model::event::WriteSide::At(side) => side,
            segue_model::event::WriteSide::Held => return,
        };
        let trees = active.families.trees.iter();
        for tree in trees.filter(|tree| tree.write_side() != Some(side)) {
            if let Err(fault) = tree.resume_following(side).await {
                tracing::error!(%fault, "files are not followed");
                let _ = self.journal.append(Event::Noted { text: fault.to_string() }).await;
            }
        }
    }

    fn plan_of_run(&self, state: &RunState) -> Result<Plan, Fault> {
        let hash = state.plan_hash.clone().unwrap_or_default();
        plans::load(&self.dir, &hash).map(|(_, plan)| plan)
    }

    async fn activate(&self, plan: &Plan, run: &RunId) -> Result<Arc<Active>, Fault> {
        let active =
            Active::start(plan, run, &self.dir, self.epoch, Arc::clone(&self.clock)).await?;
        *self.active.write().await = Some(Arc::clone(&active));
        Ok(active)
    }

    /// Returns what acts for the run, if a run has begun.
    pub(crate) async fn active(&self) -> Option<Arc<Active>> {
        self.active.read().await.clone()
    }

    /// Returns the lines that every view sees.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Line> {
        self.lines.subscribe()
    }

    /// Returns once somebody asked for the controller's end.
    pub(crate) async fn told_to_stop(&self) {
        self.stop.notified().await;
    }

    /// Ends everything this process runs.
    pub(crate) async fn close(&self) {
        if let Some(active) = self.active().await {
            active.close().await;
        }
    }

    /// Returns the state for people and machines.
    pub(crate) async fn status(&self) -> Value {
        let active = self.active().await;
        status::status(&self.journal.state(), active.as_deref(), self.clock.as_ref())
    }

    /// Ends the controller. Called once the answer to the command is on its way: the
    /// process does not wait for its views.
    pub(crate) fn stop(&self) {
        self.stop.notify_one();
    }

    /// Carries out one command and returns the line that ends it.
    pub(crate) async fn command(self: Arc<Self>, request: Request) -> Line {
        let by = Actor::Person(request.by);
        let answer = match request.command {
            Command::Sync { hash } => self.sync(&hash, by).await,
            Command::Cutover { hash, prepare_only } => self.cutover(&hash, prepare_only, by).await,
            Command::Rollback { because } => self.rollback(because, by).await,
            Command::Confirm => self.confirm(by).await,
            Command::Settle { hash } => self.settle(&hash, by).await,
            Command::Resume => self.resume(by).await,
            Command::Status => {
                self.measure().await;
                let status = self.status().await;
                return Line::End {
                    exit: status::exit(&self.journal.state()),
                    text: status::text(&status),
                    result: status,
                };
            }
            Command::Stop => Ok((0, "the controller ends; fronts and replication go on".into())),
            Command::Hello | Command::Watch => Ok((0, String::new())),
        };
        let result = self.status().await;
        match answer {
            Ok((exit, text)) => Line::End { exit, text, result },
            Err(fault) => {
                let hint = if fault.hint.is_empty() {
                    String::new()
                } else {
                    format!("\nhint: {}", fault.hint)
                };
                Line::End { exit: 1, text: format!("error {fault}{hint}"), result }
            }
        }
    }

    /// Opens an attempt and executes its table. The caller has its turn.
    pub(crate) async fn attempt(
        self: &Arc<Self>,
        phase: Phase,
        by: Actor,
        because: String,
    ) -> Answer {
        let state = self.journal.state();
        let attempt = state.next_attempt(phase);
        let event = Event::AttemptStarted { attempt, by, because };
        if !state.allows(&event) {
            return Err(refuse(
                &format!("begin {}", phase.as_str()),
                &format!("it does not follow the stage `{:?}`", state.stage),
            )
            .hint("`segue status` tells what comes next"));
        }
        // Compare and append: between the look and the record somebody else may have begun.
        let expected = event.clone();
        if self.journal.append_if(event, move |state| state.allows(&expected)).await?.is_none() {
            return Err(refuse(&format!("begin {}", phase.as_str()), "somebody else was first"));
        }
        self.execute(phase).await
    }

    /// Goes on with the open attempt after a crash.
    async fn go_on(self: &Arc<Self>, phase: Phase) -> Answer {
        let _busy = self.busy.lock().await;
        self.execute(phase).await
    }

    async fn execute(self: &Arc<Self>, phase: Phase) -> Answer {
        let Some(active) = self.active().await else {
            return Err(refuse("execute a table", "no run has begun"));
        };
        let state = self.journal.state();
        let (Some(run), Some(open)) = (state.run.clone(), state.open.clone()) else {
            return Err(refuse("execute a table", "no attempt is open"));
        };
        if state.stage >= Stage::Prepared {
            active.start_probes();
        }
        self.wish.send_replace(Wish::Forward);
        let executor = Executor::new(
            self.journal.clone(),
            active.board.clone(),
            Arc::clone(&self.clock),
            self.epoch,
            run,
            active.families.plan.unit.name.clone(),
            Arc::new(Rates::new(self.lines.clone(), Arc::clone(&self.clock))),
        );
        let table = table_of(phase, &active, &state);
        let ended = executor.execute(table, open.attempt, self.wish.subscribe()).await?;
        self.after(&active, phase, &ended).await?;
        Ok(answer(phase, &ended, &self.journal.state()))
    }

    /// Records what the attempt compared and what the fronts and probes counted.
    async fn after(
        self: &Arc<Self>,
        active: &Arc<Active>,
        phase: Phase,
        ended: &Ended,
    ) -> Result<(), Fault> {
        if matches!(ended, Ended::Completed) {
            if phase == Phase::Prepare {
                active.start_probes();
            }
            for event in comparisons(&self.journal.state()) {
                self.journal.append(event).await?;
            }
        }
        // A table that a former controller began leaves files that nobody here follows.
        let state = self.journal.state();
        if state.stage >= Stage::Synced && state.stage < Stage::Settled {
            self.follow_files(active, &state).await;
        }
        self.measure().await;
        Ok(())
    }

    /// Puts the present totals of fronts and probes into the journal.
    pub(crate) async fn measure(&self) {
        let Some(active) = self.active().await else { return };
        if self.journal.state().stage >= Stage::Prepared {
            match active.families.fronts.totals().await {
                Ok(totals) => self.note_measured("traffic", json!(totals)).await,
                Err(fault) => tracing::warn!(%fault, "the fronts' totals are unknown"),
            }
        }
        if let Some(totals) = active.probe_totals() {
            self.note_measured("probe", totals).await;
        }
    }

    /// Compares both sides in full while they are in use: a cutover wants a comparison that
    /// is fresh.
    async fn compare_again(&self) -> Answer {
        let Some(active) = self.active().await else {
            return Err(Fault::new("SG0815", FaultKind::Invalid, "compare", "no run is active"));
        };
        let progress = Arc::new(Rates::new(self.lines.clone(), Arc::clone(&self.clock)));
        let parts = segue_migration::compare_live(&active.families, progress).await?;
        let mut said = Vec::new();
        let mut different = 0;
        for event in compared(&parts) {
            if let Event::Compared { what, differences, .. } = &event {
                said.push(format!("{what}: {differences} differences"));
                different += differences;
            }
            self.journal.append(event).await?;
        }
        let exit = if different == 0 { 0 } else { 3 };
        Ok((exit, format!("in step; both sides compared again: {}", said.join(", "))))
    }

    async fn note_measured(&self, what: &str, detail: Value) {
        let event = Event::Measured { what: what.to_owned(), detail };
        if let Err(fault) = self.journal.append(event).await {
            tracing::warn!(%fault, "totals are not in the journal");
        }
    }

    /// Takes the turn to execute a table, or says that somebody has it.
    pub(crate) fn take_turn(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Fault> {
        self.busy.try_lock().map_err(|_| {
            Fault::new("SG0813", FaultKind::Busy, "begin", "another table is being executed")
                .hint("`segue watch` shows it; `segue rollback` turns it round")
        })
    }
}

fn refuse(op: &str, cause: &str) -> Fault {
    Fault::new("SG0815", FaultKind::Invalid, op, cause)
}
