//! One unit at work: its drivers, its attempts, and what persons ask of it.

mod drill;
mod orders;
mod visitors;

use crate::active::{Active, Shared};
use crate::api::Line;
use crate::phases::{answer, compared, comparisons, table_of};
use crate::progress::Rates;
use crate::rest;
use segue_engine::{Ended, Executor, UnitJournal, Wish};
use segue_model::event::{Actor, Event, Phase, WriteSide};
use segue_model::plan::Plan;
use segue_model::state::{Stage, UnitState};
use segue_model::{Epoch, Fault, FaultKind, RunId, UnitName};
use segue_port::Clock;
use segue_traffic::TrafficTotals;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::{Mutex, RwLock, broadcast, watch as signal};

/// A unit of the run. All of its methods may be called at any time.
pub(crate) struct Unit {
    pub(crate) plan: Arc<Plan>,
    pub(crate) journal: UnitJournal,
    pub(crate) clock: Arc<dyn Clock>,
    run: RunId,
    epoch: Epoch,
    pub(crate) shared: Arc<Shared>,
    lines: broadcast::Sender<Line>,
    active: RwLock<Option<Arc<Active>>>,
    /// Held by whoever executes a table.
    busy: Mutex<()>,
    /// The wish of the table that is being executed.
    wish: signal::Sender<Wish>,
    /// When this process last looked at the commit timer, boot clock, milliseconds.
    pub(crate) looked_ms: AtomicU64,
}

/// Who executes an open attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// Whoever opened it, just now.
    WithIt,
    /// Somebody who found it open. A cutover that a killed controller had only opened is
    /// withdrawn: nobody asked for it at this hour.
    Later,
}

/// Answer of a command: exit code, sentence.
pub(crate) type Answer = Result<(u8, String), Fault>;

impl Unit {
    /// Builds a unit that does nothing yet.
    pub(crate) fn new(
        plan: Arc<Plan>,
        journal: UnitJournal,
        run: RunId,
        epoch: Epoch,
        clock: Arc<dyn Clock>,
        shared: Arc<Shared>,
        lines: broadcast::Sender<Line>,
    ) -> Arc<Self> {
        let (wish, _) = signal::channel(Wish::Forward);
        Arc::new(Self {
            plan,
            journal,
            clock,
            run,
            epoch,
            shared,
            lines,
            active: RwLock::new(None),
            busy: Mutex::new(()),
            wish,
            looked_ms: AtomicU64::new(0),
        })
    }

    /// Returns its name.
    pub(crate) fn name(&self) -> &UnitName {
        self.journal.unit()
    }

    /// Returns its state.
    pub(crate) fn state(&self) -> Arc<UnitState> {
        self.journal.state()
    }

    /// Goes on with what the journal holds, if it holds something of this unit. One of `many`
    /// that rests is left asleep: its turn comes.
    ///
    /// # Errors
    /// If a resource refuses this controller's lease.
    pub(crate) async fn take_up(self: &Arc<Self>, many: bool) -> Result<(), Fault> {
        let state = self.state();
        let idle = state.stage == Stage::Fresh && state.open.is_none();
        if idle || state.stage == Stage::Settled && state.open.is_none() {
            return Ok(());
        }
        if many && rest::sleeps_at_start(&self.plan, &state) {
            return Ok(());
        }
        let active = self.activate().await?;
        if state.stage >= Stage::Prepared {
            active.start_probes();
        }
        if let Some(open) = state.open.as_ref().filter(|open| open.stuck.is_none()) {
            let (unit, phase) = (Arc::clone(self), open.attempt.phase);
            tokio::spawn(async move {
                let ended = unit.go_on(phase).await;
                tracing::info!(unit = %unit.name(), ?ended, "the attempt that was open has ended");
            });
        } else if state.stage >= Stage::Synced && state.stage < Stage::Settled {
            self.follow_files(&active, &state).await;
        }
        Ok(())
    }

    /// Files are followed by this process: where it does not yet, it starts.
    async fn follow_files(&self, active: &Arc<Active>, state: &UnitState) {
        let side = match state.write_side {
            WriteSide::At(side) => side,
            WriteSide::Held => return,
        };
        let trees = active.families.trees.iter();
        for tree in trees.filter(|tree| tree.write_side() != Some(side)) {
            if let Err(fault) = tree.resume_following(side).await {
                tracing::error!(%fault, "files are not followed");
                let _ = self.journal.append(Event::Noted { text: fault.to_string() }).await;
            }
        }
    }

    /// Puts the unit's drivers to work, if they are not.
    pub(crate) async fn activate(&self) -> Result<Arc<Active>, Fault> {
        let mut place = self.active.write().await;
        if let Some(active) = &*place {
            return Ok(Arc::clone(active));
        }
        let clock = Arc::clone(&self.clock);
        let active = Active::start(&self.plan, &self.run, &self.shared, self.epoch, clock).await?;
        *place = Some(Arc::clone(&active));
        Ok(active)
    }

    /// Returns what acts for the unit, if anything does.
    pub(crate) async fn active(&self) -> Option<Arc<Active>> {
        self.active.read().await.clone()
    }

    /// Puts a unit that rests to work, among `many` for its turn. A table that began meanwhile
    /// has it measured at its own rate.
    pub(crate) async fn wake(&self, many: bool) {
        match self.activate().await {
            Ok(active) if many => {
                active.stir();
                if !rest::rests(&self.plan, &self.state()) {
                    active.wake();
                }
            }
            Ok(active) => active.wake(),
            Err(fault) => tracing::warn!(unit = %self.name(), %fault, "the unit is not measured"),
        }
    }

    /// Ends its turn. A table that began meanwhile keeps it awake.
    pub(crate) async fn sleep(&self) {
        let Some(active) = self.active().await else { return };
        active.sleep();
        if !rest::rests(&self.plan, &self.state()) {
            active.wake();
        }
    }

    /// Ends everything this process runs for the unit.
    pub(crate) async fn close(&self) {
        if let Some(active) = self.active().await {
            active.close().await;
        }
    }

    /// Opens an attempt and executes its table. The caller has its turn.
    pub(crate) async fn attempt(
        self: &Arc<Self>,
        phase: Phase,
        by: Actor,
        because: String,
    ) -> Answer {
        let stage = self.state().stage;
        // Compare and append are one: of two that exclude each other the first wins.
        if self.journal.begin(phase, by, because).await?.is_none() {
            return Err(refuse(
                &format!("begin {} of unit `{}`", phase.as_str(), self.name()),
                &format!("it does not follow the stage `{stage:?}`, or somebody else was first"),
            )
            .hint("`segue status` tells what comes next"));
        }
        self.execute(phase, Came::WithIt).await
    }

    /// Goes on with the open attempt after a crash.
    async fn go_on(self: &Arc<Self>, phase: Phase) -> Answer {
        let _busy = self.busy.lock().await;
        self.execute(phase, Came::Later).await
    }

    async fn execute(self: &Arc<Self>, phase: Phase, came: Came) -> Answer {
        let active = self.activate().await?;
        active.wake();
        let state = self.state();
        let Some(open) = state.open.clone() else {
            return Err(refuse("execute a table", "no attempt is open"));
        };
        if state.stage >= Stage::Prepared {
            active.start_probes();
        }
        let meeting = self.shared.meeting();
        let meets = phase == Phase::Cutover && self.plan.policy.maintenance_budget_ms.is_some();
        // Of units that switch together none stays behind once one of them was promoted.
        let through = came == Came::Later && meets && meeting.decided();
        self.wish.send_replace(if through { Wish::Through } else { Wish::Forward });
        let executor = Executor::new(
            self.journal.clone(),
            active.board.clone(),
            Arc::clone(&self.clock),
            self.epoch,
            self.run.clone(),
            Arc::new(Rates::new(self.lines.clone(), Arc::clone(&self.clock))),
        );
        let table = table_of(phase, &active, &state, &meeting);
        let wish = self.wish.subscribe();
        let ended = match came {
            Came::WithIt => executor.execute(table, open.attempt, wish).await?,
            Came::Later => executor.resume(table, wish).await?,
        };
        self.after(&active, phase, &ended).await?;
        Ok(answer(phase, &ended, &self.state()))
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
            for event in comparisons(&self.state()) {
                self.journal.append(event).await?;
            }
        }
        for database in &active.families.databases {
            database.rest().await;
        }
        // A table that a former controller began leaves files that nobody here follows.
        let state = self.state();
        if state.stage >= Stage::Synced && state.stage < Stage::Settled {
            self.follow_files(active, &state).await;
        }
        if phase == Phase::Drill {
            match self.traffic(active).await {
                Ok(totals) => self.note_drilled(totals.as_ref()).await?,
                Err(fault) => tracing::warn!(%fault, "the drill's pause is unknown"),
            }
        }
        self.measure().await;
        Ok(())
    }

    /// Returns what the fronts counted; none if the unit has no fronts.
    pub(crate) async fn traffic(&self, active: &Active) -> Result<Option<TrafficTotals>, Fault> {
        if self.plan.unit.fronts.is_empty() {
            return Ok(None);
        }
        active.families.fronts.totals().await.map(Some)
    }

    /// Puts the present totals of fronts and probes into the journal.
    pub(crate) async fn measure(&self) {
        let Some(active) = self.active().await else { return };
        if self.state().stage >= Stage::Prepared {
            match active.families.fronts.totals().await {
                Ok(totals) => self.note_measured("traffic", json!(totals)).await,
                Err(fault) => tracing::warn!(%fault, "the fronts' totals are unknown"),
            }
        }
        if let Some(totals) = active.probe_totals() {
            self.note_measured("probe", totals).await;
        }
        self.note_visitors(&active).await;
        active.watching.hear(&self.state());
        self.note_spread(&active).await;
    }

    /// Puts how far what was published has come into the journal.
    pub(crate) async fn note_spread(&self, active: &Active) {
        let clock = &*self.clock;
        if let Some(spread) = active.watching.noted(&self.state(), &active.board, clock) {
            self.note_measured("spread", spread).await;
        }
    }

    /// Compares both sides in full while they are in use: a cutover wants a comparison that
    /// is fresh.
    async fn compare_again(&self) -> Answer {
        let active = self.activate().await?;
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

pub(crate) fn refuse(op: &str, cause: &str) -> Fault {
    Fault::new("SG0815", FaultKind::Invalid, op, cause)
}
