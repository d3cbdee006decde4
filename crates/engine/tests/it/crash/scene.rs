//! A world, the controllers that act in it one after another, and the judgement at the end.

use super::control;
use crate::toy::{self, CUTOVER, FAILBACK, PREPARE, ReplyFault, Running, SYNC, World};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use segue_engine::Journal;
use segue_model::EffectLeft;
use segue_model::state::{RunState, Stage, UnitState};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long one controller may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Cases that are played at a time; most of their time they wait.
const AT_A_TIME: usize = 4;

/// Orders to a controller: names and values of its environment.
pub(super) type Orders = Vec<(&'static str, String)>;

/// Where a case begins and what is asked for.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// `None`: an empty run directory. Otherwise the goal that was reached before.
    pub(super) from: Option<&'static str>,
    pub(super) orders: Orders,
    pub(super) refuses: Option<(&'static str, EffectLeft)>,
}

impl Case {
    /// From nothing to the target.
    pub(super) fn whole() -> Self {
        Self { name: "whole", from: None, orders: vec![], refuses: None }
    }

    /// The cutover alone.
    pub(super) fn cutover() -> Self {
        Self { name: "cutover", from: Some("prepared"), orders: vec![], refuses: None }
    }

    /// The failback alone.
    pub(super) fn failback() -> Self {
        let orders = vec![(control::GOAL, "source".to_owned())];
        Self { name: "failback", from: Some("target"), orders, refuses: None }
    }

    /// The same, and somebody wishes to turn back once `step` is done.
    pub(super) fn turned_back_after(mut self, step: &str) -> Self {
        self.orders.push((control::TURN_BACK, step.to_owned()));
        self
    }

    /// Returns the stage it begins in, to which a withdrawal returns.
    pub(super) fn before(&self) -> Stage {
        if self.from == Some("target") { Stage::Watching } else { Stage::Prepared }
    }

    /// Returns the stage of its goal.
    pub(super) fn after(&self) -> Stage {
        if self.from == Some("target") { Stage::Prepared } else { Stage::Watching }
    }

    /// Returns the steps it takes from its beginning to its goal.
    pub(super) fn steps(&self) -> Vec<&'static str> {
        match self.from {
            None => SYNC.into_iter().chain(PREPARE).chain(CUTOVER).collect(),
            Some("target") => FAILBACK.into(),
            Some(_) => CUTOVER.into(),
        }
    }

    /// Runs without a fault and returns the names of the points it passed, and the calls.
    pub(super) fn count(&self) -> (Vec<String>, usize) {
        let scene = Scene::new(self, 7);
        let file: PathBuf = scene.dir().join("hits");
        let ended = scene.control(&[("SEGUE_CRASH_COUNT", file.display().to_string())]);
        assert!(ended.success(), "{}", self.name);
        scene.judge();
        let text = std::fs::read_to_string(file).unwrap();
        let points = text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
        (points, scene.world.now().calls)
    }
}

/// The files of a journal.
const FILES: [&str; 3] = ["journal.db", "journal.db-wal", "journal.head"];

/// A file's name and contents.
type Content = (&'static str, Vec<u8>);

/// Journals that stand at a goal, made once a process: names and contents.
fn template(goal: &'static str) -> &'static [Content] {
    static MADE: OnceLock<[Vec<Content>; 2]> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        ["prepared", "target"].map(|goal| {
            let orders = vec![(control::GOAL, goal.to_owned())];
            let case = Case { name: goal, from: None, orders, refuses: None };
            let scene = Scene::new(&case, 3);
            assert!(scene.control(&[]).success(), "{goal} is reached");
            scene.judge();
            let read = |name| Some((name, std::fs::read(scene.dir().join(name)).ok()?));
            FILES.into_iter().filter_map(read).collect()
        })
    });
    &made[usize::from(goal == "target")]
}

/// A folder in memory where there is one: kills need no disk.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// How a controller ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Exit(i32),
    Signal(i32),
    /// It sleeps.
    Stopped,
}

impl How {
    pub(super) fn success(self) -> bool {
        self == Self::Exit(0)
    }

    pub(super) fn killed(self) -> bool {
        self == Self::Signal(9)
    }
}

/// A world with its run directory.
pub(super) struct Scene {
    case: Case,
    pub(super) world: Running,
    dir: tempfile::TempDir,
}

impl Scene {
    pub(super) fn new(case: &Case, seed: u64) -> Self {
        let dir = folder();
        let world = World::start(dir.path(), seed);
        if let Some(goal) = case.from {
            for (name, content) in template(goal) {
                std::fs::write(dir.path().join(name), content).unwrap();
            }
            let records = Journal::read_all(dir.path()).unwrap();
            world.now().on = toy::in_force(&records);
        }
        world.now().refuses = case.refuses.map(|(step, left)| (step.to_owned(), left));
        Self { case: case.clone(), world, dir }
    }

    pub(super) fn with_fault(self, at: usize, fault: ReplyFault) -> Self {
        self.world.now().fault = Some((at, fault));
        self
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a controller with the case's orders and more. It is waited for by its pid,
    /// which also tells that it stopped.
    #[allow(clippy::zombie_processes)]
    pub(super) fn start(&self, more: &[(&str, String)]) -> Controller {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([control::NAME, "--exact", "--nocapture"])
            .env(control::DIR, self.dir())
            .envs(self.case.orders.iter().map(|(name, value)| (name, value)))
            .envs(more.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Controller(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap())
    }

    /// Starts a controller and waits for its end.
    pub(super) fn control(&self, more: &[(&str, String)]) -> How {
        let mut controller = self.start(more);
        let how = controller.wait();
        assert_ne!(how, How::Stopped, "{more:?}");
        how
    }

    /// Waits until whatever was sent has landed or never will.
    pub(super) fn rest(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.world.now().pending > 0 {
            assert!(Instant::now() < deadline, "the world did not come to rest");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Checks that nothing is half done and that world and journal agree.
    pub(super) fn judge(&self) -> Arc<UnitState> {
        let records = Journal::read_all(self.dir()).unwrap();
        let state = RunState::fold(&records).unwrap();
        let state = Arc::clone(state.only_unit().unwrap().1);
        assert!(state.open.is_none(), "an attempt is open: {:?}", state.open);
        self.rest();
        let world = self.world.now();
        assert_eq!(world.violations, Vec::<String>::new());
        assert_eq!(world.writers(), 1, "exactly one side takes writes: {:?}", world.on);
        assert_eq!(world.on, toy::in_force(&records), "world and journal differ");
        let on = |steps: &[&str]| -> usize {
            let on: BTreeSet<&str> =
                steps.iter().copied().filter(|step| world.on.contains(*step)).collect();
            assert!(on.is_empty() || on.len() == steps.len(), "half done: {on:?}");
            on.len()
        };
        let (there, back) = (on(&CUTOVER) > 0, on(&FAILBACK) > 0);
        let expected = match state.stage {
            Stage::Watching => (true, false),
            _ => (back, back),
        };
        assert_eq!((there, back), expected, "the stage is {:?}", state.stage);
        state
    }

    /// Kills at each of `kills` in turn, then lets it end; returns the stage it ended in and
    /// how many kills struck.
    pub(super) fn killed_at(&self, kills: &[usize]) -> (Stage, usize) {
        let mut struck = 0;
        for kill in kills {
            let how = self.control(&[("SEGUE_CRASH_AT", kill.to_string())]);
            assert!(how.killed() || how.success(), "{kills:?}: {how:?}");
            struck += usize::from(how.killed());
        }
        if struck == kills.len() {
            assert!(self.control(&[]).success(), "resumed after {kills:?}");
        }
        (self.judge().stage, struck)
    }
}

/// A running controller. Dropping it ends the process.
pub(super) struct Controller(Pid);

impl Controller {
    /// Waits until it ends or sleeps.
    pub(super) fn wait(&mut self) -> How {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let changed = waitpid(Some(self.0), WaitOptions::NOHANG | WaitOptions::UNTRACED);
            match changed.unwrap() {
                Some((_, status)) if status.stopped() => return How::Stopped,
                Some((_, status)) => {
                    let signal = status.terminating_signal().map(How::Signal);
                    return signal.unwrap_or(How::Exit(status.exit_status().unwrap_or(-1)));
                }
                None => {}
            }
            if Instant::now() > deadline {
                kill_process(self.0, Signal::KILL).unwrap();
                let _ = waitpid(Some(self.0), WaitOptions::empty());
                panic!("a controller did not end");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Wakes it.
    pub(super) fn wake(&self) {
        kill_process(self.0, Signal::CONT).unwrap();
    }
}

/// Plays every case, some at a time; fails with the names of all that failed.
pub(super) fn each<T: Sync + std::fmt::Debug>(what: &str, cases: &[T], play: impl Fn(&T) + Sync) {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let played =
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(case)));
                    if let Err(panic) = played {
                        let text = panic.downcast_ref::<String>().cloned();
                        let text = text.or(panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
                        wrong.lock().unwrap().push(format!("{case:?}: {text:?}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{what}: {} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Tells how much was covered, for whoever collects it; `SEGUE_MATRIX_OUT` names the file.
pub(super) fn tell(kind: &str, covered: usize, total: usize, kills: usize, began: Instant) {
    let line = serde_json::json!({
        "kind": kind,
        "covered": covered,
        "total": total,
        "kills": kills,
        "seconds": began.elapsed().as_secs(),
    });
    println!("{line}");
    if let Some(path) = std::env::var_os("SEGUE_MATRIX_OUT") {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}
