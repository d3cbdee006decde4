//! kill -9 at every point, again while it resumes, and what the world says afterwards.

use crate::toy::{self, CUTOVER, World};
use segue_engine::{Board, Executor, Journal, Lease, SystemClock, UnitJournal, Wish};
use segue_model::event::{Actor, Event, Phase, UnitEntry};
use segue_model::state::{EndedHow, RunState, Stage, UnitState};
use segue_model::{EffectLeft, RunId, StepName, UnitName};
use segue_port::{Clock, NoProgress};
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

const DIR: &str = "SEGUE_TOY_DIR";
const TURN_BACK: &str = "SEGUE_TOY_TURN_BACK";

/// The controller: takes the lease, goes on where the journal stands, and ends when the unit
/// is at the target or went back. Started by the other tests as a process of its own; by
/// itself it shows that the way without a crash completes.
#[test]
fn controller_runs_all_tables_to_the_target() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Some(dir) = std::env::var_os(DIR) {
        runtime.block_on(control(Path::new(&dir)));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (world, _) = World::start(dir.path(), 1);
    runtime.block_on(control(dir.path()));
    let end = check(dir.path(), &world);
    assert_eq!(end.stage, Stage::Watching);
}

async fn control(dir: &Path) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let lease = Lease::take(dir).unwrap();
    let journal = Journal::open(dir, Arc::clone(&clock)).unwrap();
    let epoch = lease.take_epoch(&journal).await.unwrap();
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
    if let Ok(step) = std::env::var(TURN_BACK) {
        tokio::spawn(turn_back_after(journal.clone(), step, wish.clone()));
    }
    let socket = dir.join("world.sock");
    loop {
        let state = journal.state();
        if let Some(open) = &state.open {
            let table = toy::table(open.attempt.phase, &socket);
            executor.resume(table, wished.clone()).await.unwrap();
            continue;
        }
        let went_back = state.history.last().is_some_and(|past| past.how == EndedHow::Withdrawn);
        let phase = match state.stage {
            Stage::Fresh => Phase::Sync,
            Stage::Synced => Phase::Prepare,
            Stage::Prepared => Phase::Cutover,
            _ => return,
        };
        if went_back {
            return;
        }
        let begun = journal.begin(phase, Actor::Controller, "the plan".into()).await.unwrap();
        let table = toy::table(phase, &socket);
        executor.execute(table, begun.unwrap(), wished.clone()).await.unwrap();
    }
}

async fn turn_back_after(journal: UnitJournal, step: String, wish: watch::Sender<Wish>) {
    let step = StepName(step);
    let mut records = journal.journal().subscribe();
    while let Ok(record) = records.recv().await {
        if matches!(&record.event, Event::StepDone { step: done, .. } if *done == step) {
            let by = Actor::Person("tester".into());
            wish.send_replace(Wish::TurnBack { by, because: "asked to".into() });
        }
    }
}

/// Starts the controller over `dir` and waits for its end.
fn controller(dir: &Path, orders: &[(&str, String)]) -> ExitStatus {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::controller_runs_all_tables_to_the_target", "--exact", "--nocapture"])
        .env(DIR, dir)
        .envs(orders.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the controller over {} did not end", dir.display());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Checks that nothing is half done and that world and journal agree.
fn check(dir: &Path, world: &Mutex<World>) -> Arc<UnitState> {
    let records = Journal::read_all(dir).unwrap();
    let state = RunState::fold(&records).unwrap();
    let state = Arc::clone(state.only_unit().unwrap().1);
    assert!(state.open.is_none(), "an attempt is open: {:?}", state.open);
    let deadline = Instant::now() + Duration::from_secs(5);
    // Whatever a killed controller sent lands now or never.
    while world.lock().unwrap().pending > 0 {
        assert!(Instant::now() < deadline, "the world did not come to rest");
        std::thread::sleep(Duration::from_millis(2));
    }
    let world = world.lock().unwrap();
    assert_eq!(world.violations, Vec::<String>::new());
    assert_eq!(world.on, toy::in_force(&records), "world and journal differ");
    let moved: BTreeSet<&str> =
        CUTOVER.into_iter().filter(|step| world.on.contains(*step)).collect();
    let expected = if state.stage == Stage::Watching { CUTOVER.len() } else { 0 };
    assert_eq!(moved.len(), expected, "the cutover is half done: {moved:?}");
    state
}

struct Case {
    name: &'static str,
    orders: Vec<(&'static str, String)>,
    refuses: Option<(&'static str, EffectLeft)>,
}

impl Case {
    fn world(&self, seed: u64) -> (tempfile::TempDir, Arc<Mutex<World>>) {
        let dir = tempfile::tempdir().unwrap();
        let (world, _) = World::start(dir.path(), seed);
        world.lock().unwrap().refuses = self.refuses.map(|(step, left)| (step.to_owned(), left));
        (dir, world)
    }

    /// Runs without a kill and returns the names of the points it passed.
    fn points(&self) -> Vec<String> {
        let (dir, world) = self.world(7);
        let file: PathBuf = dir.path().join("hits");
        let mut orders = self.orders.clone();
        orders.push(("SEGUE_CRASH_COUNT", file.display().to_string()));
        assert!(controller(dir.path(), &orders).success(), "{}", self.name);
        check(dir.path(), &world);
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    /// Kills at each of `kills` in turn, then lets it end; returns the stage it ended in.
    fn killed_at(&self, kills: &[usize]) -> Stage {
        let seed = kills.iter().fold(1, |seed, kill| seed * 131 + *kill as u64);
        let (dir, world) = self.world(seed);
        for kill in kills {
            let mut orders = self.orders.clone();
            orders.push(("SEGUE_CRASH_AT", kill.to_string()));
            let status = controller(dir.path(), &orders);
            let killed = status.signal() == Some(9);
            assert!(killed || status.success(), "{} {kills:?}: {status}", self.name);
        }
        let status = controller(dir.path(), &self.orders);
        assert!(status.success(), "{} {kills:?}: resume: {status}", self.name);
        let found = std::panic::catch_unwind(|| check(dir.path(), &world).stage);
        found.unwrap_or_else(|_| panic!("{} killed at {kills:?}", self.name))
    }
}

#[test]
fn kill_at_every_point_is_resumed_to_an_end() {
    let case = Case { name: "forward", orders: vec![], refuses: None };
    let points = case.points();
    for point in ["intent.before", "intent.durable", "asked run", "effect.after", "outcome.durable"]
    {
        let of: BTreeSet<&str> =
            points.iter().filter_map(|line| line.strip_prefix(point)).map(str::trim).collect();
        assert_eq!(of.len(), 8, "{point} of each of the eight steps, found {of:?}");
    }
    let promoting = points.iter().position(|point| point == "intent.durable promote").unwrap() + 1;
    for kill in 1..=points.len() {
        let stage = case.killed_at(&[kill]);
        // A journal record is durable one point before the executor passes its own.
        if kill >= promoting {
            assert_eq!(stage, Stage::Watching, "killed at {kill} {}", points[kill - 1]);
        }
    }
}

#[test]
fn kill_at_every_point_of_a_way_back_is_resumed_to_an_end() {
    let orders = vec![(TURN_BACK, "fence".to_owned())];
    let case = Case { name: "turned back", orders, refuses: None };
    let points = case.points();
    let from = points.iter().position(|point| point == "outcome.durable fence").unwrap();
    for kill in from..=points.len() {
        assert_eq!(case.killed_at(&[kill]), Stage::Prepared, "killed at {kill}");
    }
}

#[test]
fn kill_around_a_lost_answer_is_resumed_to_an_end() {
    let case =
        Case { name: "answer lost", orders: vec![], refuses: Some(("seal", EffectLeft::Maybe)) };
    let points = case.points();
    let from = points.iter().position(|point| point == "intent.durable seal").unwrap();
    for kill in (from..=points.len()).step_by(2) {
        assert_eq!(case.killed_at(&[kill]), Stage::Prepared, "killed at {kill}");
    }
}

#[test]
fn kill_while_resuming_is_resumed_again() {
    let case = Case { name: "twice", orders: vec![], refuses: None };
    let points = case.points().len();
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    let mut roll = |sides: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice % sides as u64) as usize + 1
    };
    for _ in 0..24 {
        let first = roll(points);
        // A resumed controller passes few points; most second kills shall be among them.
        let second = roll(24);
        case.killed_at(&[first, second]);
    }
}
