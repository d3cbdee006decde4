//! The controller under test: a process of its own that runs the toy's tables.

use crate::toy;
use segue_engine::{Board, Ended, Executor, Journal, Lease, SystemClock, UnitJournal, Wish};
use segue_model::event::{Actor, Attempt, Event, Phase, UnitEntry};
use segue_model::state::{EndedHow, Stage, UnitState};
use segue_model::{FaultKind, RunId, StepName, UnitName};
use segue_port::{Clock, NoProgress};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The run directory; without it nothing is run.
pub(super) const DIR: &str = "SEGUE_TOY_DIR";
/// Where it ends: `prepared`, `target` or `source` (there and back).
pub(super) const GOAL: &str = "SEGUE_TOY_GOAL";
/// A step after which somebody wishes to turn back.
pub(super) const TURN_BACK: &str = "SEGUE_TOY_TURN_BACK";
/// The hit at which somebody wishes to turn back.
pub(super) const TURN_BACK_AT: &str = "SEGUE_TOY_TURN_BACK_AT";
/// How it gets its lease: `take over`, or `stolen`, which leaves the former holder alive.
pub(super) const LEASE: &str = "SEGUE_TOY_LEASE";
/// The test that is this process.
pub(super) const NAME: &str = "crash::control::runs_all_tables";

/// Takes the lease, goes on where the journal stands, and ends when the unit is at the goal
/// or went back. Started by the other tests; by itself it does nothing.
#[test]
fn runs_all_tables() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(control(Path::new(&dir)));
}

fn order(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn lease(dir: &Path) -> Lease {
    match order(LEASE).as_str() {
        "take over" => Lease::take_over(dir).unwrap(),
        "stolen" => {
            // A lock file that somebody removed, or a disk that two machines see.
            std::fs::remove_file(dir.join("controller.lock")).unwrap();
            Lease::take(dir).unwrap()
        }
        _ => Lease::take(dir).unwrap(),
    }
}

async fn control(dir: &Path) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let lease = lease(dir);
    let journal = Journal::open(dir, Arc::clone(&clock)).unwrap();
    let epoch = loop {
        match lease.take_epoch(&journal).await {
            Err(fault) if fault.kind == FaultKind::Busy => tokio::task::yield_now().await,
            epoch => break epoch.unwrap(),
        }
    };
    let (run, unit) = (RunId::from("run"), UnitName::from("shop"));
    if journal.state().run.is_none() {
        let event = Event::RunStarted {
            run: run.clone(),
            name: String::new(),
            plan_hash: "hash".into(),
            units: vec![UnitEntry { unit: unit.clone(), plan_hash: "own".into(), wave: 1 }],
            by: Actor::Controller,
        };
        journal.append(event).await.unwrap();
    }
    let board = Board::without_samplers(Arc::clone(&clock));
    let journal = journal.of(unit);
    let executor = Executor::new(journal.clone(), board, clock, epoch, run, Arc::new(NoProgress));
    let (wish, wished) = watch::channel(Wish::Forward);
    if let Ok(at) = order(TURN_BACK_AT).parse::<u64>() {
        let wish = wish.clone();
        segue_engine::crashpoint::listen(move |hit, _, _| {
            if hit == at {
                wish.send_replace(turn_back());
            }
        });
    }
    if !order(TURN_BACK).is_empty() {
        tokio::spawn(turn_back_after(journal.clone(), order(TURN_BACK), wish.clone()));
    }
    while let Some(phase) = next(&journal.state()) {
        let table = toy::table(phase, &dir.join("world.sock"));
        let ended = match journal.state().open {
            Some(_) => executor.resume(table, wished.clone()).await,
            None => executor.execute(table, begin(&journal, phase).await, wished.clone()).await,
        };
        let ended = ended.unwrap();
        if matches!(ended, Ended::Stuck { .. }) {
            return;
        }
    }
}

/// Returns the phase that is open or comes next; `None` at the goal and after a way back.
fn next(state: &UnitState) -> Option<Phase> {
    if let Some(open) = &state.open {
        return Some(open.attempt.phase);
    }
    if state.history.last().is_some_and(|past| past.how == EndedHow::Withdrawn) {
        return None;
    }
    let goal = order(GOAL);
    let went = state.history.iter().any(|past| past.state.attempt.phase == Phase::Failback);
    match state.stage {
        Stage::Fresh => Some(Phase::Sync),
        Stage::Synced => Some(Phase::Prepare),
        Stage::Prepared if goal != "prepared" && !went => Some(Phase::Cutover),
        Stage::Watching if goal == "source" => Some(Phase::Failback),
        _ => None,
    }
}

async fn begin(journal: &UnitJournal, phase: Phase) -> Attempt {
    loop {
        match journal.begin(phase, Actor::Controller, "the plan".into()).await {
            Err(fault) if fault.kind == FaultKind::Busy => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            begun => return begun.unwrap().unwrap(),
        }
    }
}

fn turn_back() -> Wish {
    Wish::TurnBack { by: Actor::Person("tester".into()), because: "asked to".into() }
}

async fn turn_back_after(journal: UnitJournal, step: String, wish: watch::Sender<Wish>) {
    let step = StepName(step);
    let mut records = journal.journal().subscribe();
    while let Ok(record) = records.recv().await {
        if matches!(&record.event, Event::StepDone { step: done, .. } if *done == step) {
            wish.send_replace(turn_back());
        }
    }
}
