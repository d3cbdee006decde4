//! Effects in memory that do what a test tells them, and a bench to execute them on.

use async_trait::async_trait;
use segue_engine::clock::TestClock;
use segue_engine::{
    Board, Budget, Ended, Executor, Journal, Pause, Retry, Step, Table, UnitJournal, Wish,
};
use segue_model::event::{Actor, Event, Phase, UnitEntry};
use segue_model::state::UnitState;
use segue_model::{EffectLeft, Epoch, Fault, FaultKind, RunId, StepName, UnitName};
use segue_port::{Call, Effect, NoProgress, Observed, Outcome};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

pub(crate) const CUTOVER: [&str; 6] = ["arm", "hold", "fence", "seal", "promote", "route"];

/// What one call of an effect does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Succeeds after so many milliseconds.
    Takes(u64),
    /// Fails, having changed the world or not.
    Fails { kind: FaultKind, left: EffectLeft, changed: bool },
    /// Never answers; changes the world first or not.
    Hangs { changed: bool },
    /// A mistake in the family.
    Panics,
    /// The operator wants to go back while it runs, and it does not answer any more.
    TurnsBack,
}

/// What happened in memory, and what shall happen.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) on: BTreeSet<String>,
    pub(crate) log: Vec<String>,
    pub(crate) runs: BTreeMap<String, VecDeque<Act>>,
    pub(crate) undos: BTreeMap<String, u32>,
    pub(crate) quenches: BTreeMap<String, u32>,
    /// Steps whose state cannot be told.
    pub(crate) unknown: BTreeSet<String>,
    /// Facts seen by each run.
    pub(crate) facts: BTreeMap<String, Vec<String>>,
}

struct Fake {
    step: String,
    script: Arc<Mutex<Script>>,
    clock: Arc<TestClock>,
    wish: watch::Sender<Wish>,
}

impl Fake {
    fn fault(&self, kind: FaultKind, left: EffectLeft) -> Fault {
        Fault::new("SG0600", kind, format!("change `{}`", self.step), "told to fail").leaving(left)
    }

    fn log(&self, verb: &str) {
        self.script.lock().unwrap().log.push(format!("{verb} {}", self.step));
    }
}

#[async_trait]
impl Effect for Fake {
    fn what(&self) -> String {
        format!("change {}", self.step)
    }

    fn by_hand(&self) -> String {
        format!("change {} back by hand", self.step)
    }

    async fn prepare(&self, _call: &Call) -> Outcome<Value> {
        Ok(json!({ "inverse_of": self.step }))
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        assert_eq!(call.prepared, json!({ "inverse_of": self.step }));
        self.log("run");
        let act = {
            let mut script = self.script.lock().unwrap();
            let facts = call.facts.keys().map(ToString::to_string).collect();
            script.facts.insert(self.step.clone(), facts);
            let act = script.runs.get_mut(&self.step).and_then(VecDeque::pop_front);
            let changes = match &act {
                None | Some(Act::Takes(_)) => true,
                Some(Act::Fails { changed, .. } | Act::Hangs { changed }) => *changed,
                Some(Act::Panics | Act::TurnsBack) => false,
            };
            if changes {
                script.on.insert(self.step.clone());
            }
            act
        };
        match act {
            None => {}
            Some(Act::Takes(ms)) => self.clock.advance(Duration::from_millis(ms)),
            Some(Act::Fails { kind, left, .. }) => return Err(self.fault(kind, left)),
            Some(Act::Hangs { .. }) => std::future::pending().await,
            Some(Act::Panics) => panic!("told to panic"),
            Some(Act::TurnsBack) => {
                self.wish.send_replace(turn_back());
                std::future::pending().await
            }
        }
        Ok(json!(self.step))
    }

    async fn observe(&self, _call: &Call) -> Outcome<Observed> {
        self.log("observe");
        let script = self.script.lock().unwrap();
        if script.unknown.contains(&self.step) {
            return Ok(Observed::Unknown("told so".into()));
        }
        Ok(match script.on.contains(&self.step) {
            true => Observed::Applied(json!(self.step)),
            false => Observed::NotApplied,
        })
    }

    async fn undo(&self, _call: &Call) -> Outcome<()> {
        self.log("undo");
        let mut script = self.script.lock().unwrap();
        let fails = script.undos.entry(self.step.clone()).or_default();
        if *fails > 0 {
            *fails -= 1;
            return Err(self.fault(FaultKind::Unreachable, EffectLeft::Maybe));
        }
        script.on.remove(&self.step);
        Ok(())
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        self.log("quench");
        let mut script = self.script.lock().unwrap();
        let fails = script.quenches.entry(self.step.clone()).or_default();
        if *fails > 0 {
            *fails -= 1;
            return Err(self.fault(FaultKind::Unreachable, EffectLeft::Maybe));
        }
        Ok(())
    }
}

pub(crate) fn turn_back() -> Wish {
    Wish::TurnBack { by: Actor::Person("admin".into()), because: "asked to".into() }
}

/// A journal, a clock that leaps over every sleep, and scripted effects.
pub(crate) struct Bench {
    _dir: tempfile::TempDir,
    pub(crate) journal: UnitJournal,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) board: Board,
    pub(crate) script: Arc<Mutex<Script>>,
    pub(crate) wish: watch::Sender<Wish>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::leaping(1_000_000));
        let journal = Journal::open(dir.path(), clock.clone()).unwrap();
        let started = Event::RunStarted {
            run: RunId::from("run"),
            name: String::new(),
            plan_hash: "hash".into(),
            units: vec![UnitEntry {
                unit: UnitName::from("shop"),
                plan_hash: "own".into(),
                wave: 1,
            }],
            by: Actor::Controller,
        };
        journal.append(started).await.unwrap();
        let journal = journal.of(UnitName::from("shop"));
        let board = Board::without_samplers(clock.clone());
        let bench = Self {
            _dir: dir,
            journal,
            clock,
            board,
            script: Arc::default(),
            wish: watch::Sender::new(Wish::Forward),
        };
        bench.restart().await;
        bench
    }

    /// A bench whose unit can be cut over; nothing is logged yet.
    pub(crate) async fn prepared() -> Self {
        let bench = Self::new().await;
        for (phase, step) in [(Phase::Sync, "seed"), (Phase::Prepare, "insert")] {
            let table = bench.table(phase, &[step]);
            assert_eq!(bench.execute(table).await, Ended::Completed);
        }
        let mut script = bench.script.lock().unwrap();
        (script.log, script.on) = Default::default();
        drop(script);
        bench
    }

    /// Takes the next epoch, as a controller that starts does.
    pub(crate) async fn restart(&self) {
        let epoch = Epoch(self.journal.epoch().0 + 1);
        self.journal.journal().append(Event::EpochTaken { epoch, pid: 1 }).await.unwrap();
    }

    fn executor(&self) -> Executor {
        Executor::new(
            self.journal.clone(),
            self.board.clone(),
            self.clock.clone(),
            self.journal.epoch(),
            RunId::from("run"),
            Arc::new(NoProgress),
        )
    }

    pub(crate) fn step(&self, name: &str) -> Step {
        let effect = Fake {
            step: name.to_owned(),
            script: Arc::clone(&self.script),
            clock: Arc::clone(&self.clock),
            wish: self.wish.clone(),
        };
        let mut step = Step::new(name, name, Arc::new(effect));
        step.pause = match name {
            "hold" => Pause::Begins,
            "seal" => Pause::Seal,
            "route" => Pause::Ends,
            _ => Pause::None,
        };
        step.no_return = name == "promote";
        if name == "route" {
            step.retry = Retry::Until { every: Duration::from_millis(100) };
        }
        step
    }

    pub(crate) fn table(&self, phase: Phase, steps: &[&str]) -> Table {
        let moves = matches!(phase, Phase::Cutover | Phase::Failback);
        Table {
            phase,
            steps: steps.iter().map(|name| self.step(name)).collect(),
            budget: moves.then_some(Budget { limit_ms: 1000, reserve_ms: 300 }),
            gate_wait: Duration::from_secs(10),
        }
    }

    pub(crate) fn cutover(&self) -> Table {
        self.table(Phase::Cutover, &CUTOVER)
    }

    /// Begins the table's phase and executes it.
    pub(crate) async fn execute(&self, table: Table) -> Ended {
        let by = Actor::Person("admin".into());
        let attempt = self.journal.begin(table.phase, by, "asked".into()).await.unwrap().unwrap();
        self.executor().execute(table, attempt, self.wish.subscribe()).await.unwrap()
    }

    pub(crate) async fn resume(&self, table: Table) -> Ended {
        self.try_resume(table).await.unwrap()
    }

    pub(crate) async fn try_resume(&self, table: Table) -> Outcome<Ended> {
        self.executor().resume(table, self.wish.subscribe()).await
    }

    /// Executes until `step` runs and hangs there, then lets go, as a crash would; restarts.
    pub(crate) async fn crash_in(&self, table: Table, step: &str, changed: bool) {
        let mut patient = table;
        for each in &mut patient.steps {
            each.time_allowed = Duration::MAX;
        }
        patient.budget = None;
        self.acts(step, [Act::Hangs { changed }]);
        let reached = format!("run {step}");
        tokio::select! {
            biased;
            ended = self.execute(patient) => panic!("ended: {ended:?}"),
            () = async { while !self.log().contains(&reached) { tokio::task::yield_now().await } } => {}
        }
        self.restart().await;
    }

    pub(crate) fn acts<const N: usize>(&self, step: &str, acts: [Act; N]) {
        self.script.lock().unwrap().runs.insert(step.into(), acts.into());
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.script.lock().unwrap().log.clone()
    }

    pub(crate) fn logged(&self, verb: &str) -> Vec<String> {
        let start = format!("{verb} ");
        let found = |line: &String| line.strip_prefix(&start).map(str::to_owned);
        self.log().iter().filter_map(found).collect()
    }

    pub(crate) fn on(&self) -> Vec<String> {
        self.script.lock().unwrap().on.iter().cloned().collect()
    }

    pub(crate) fn state(&self) -> Arc<UnitState> {
        self.journal.state()
    }

    pub(crate) fn records(&self) -> Vec<Event> {
        let records = Journal::read_all(self._dir.path()).unwrap();
        records.into_iter().map(|record| record.event).collect()
    }

    pub(crate) fn failures_of(&self, name: &str) -> usize {
        let name = StepName::from(name);
        let failed =
            |event: &Event| matches!(event, Event::StepFailed { step, .. } if *step == name);
        self.records().iter().filter(|event| failed(event)).count()
    }
}
