//! The board: what it keeps, what it forgets, and what it says of silence.

use async_trait::async_trait;
use segue_engine::board::SampleStore;
use segue_engine::clock::TestClock;
use segue_engine::gates::{BoundGate, FnGate, Gate, GateContext, all_of};
use segue_engine::{Board, SystemClock};
use segue_model::gate::{Before, Bound, GateNoData, GateSpec, Verdict};
use segue_model::{Fault, FaultKind, Sample, Side, UnitName, What};
use segue_port::{Clock, Outcome, Sampler};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const LAG: What = What::DatabaseLagMs(Side::Source);

fn lag(value: f64, taken_at_ms: u64, from: &str) -> Sample {
    Sample { what: LAG, value, count: 1, taken_at_ms, from: from.into() }
}

fn at_most(max: f64) -> Arc<dyn Gate> {
    BoundGate::new(
        "lag",
        Bound { what: LAG, from: None, max: Some(max), min: None, fresh_for_ms: 1000 },
    )
}

async fn ask(gate: &Arc<dyn Gate>, board: &Board, clock: &Arc<TestClock>) -> (Verdict, String) {
    let context = GateContext {
        board: board.clone(),
        clock: clock.clone(),
        facts: Arc::default(),
        state: Arc::default(),
    };
    let answer = gate.ask(&context).await;
    (answer.verdict, answer.because)
}

#[tokio::test]
async fn a_gate_is_unknown_without_a_fresh_sample() {
    let clock = Arc::new(TestClock::standing(50_000));
    let board = Board::without_samplers(clock.clone());
    let gate = at_most(100.0);
    assert_eq!(ask(&gate, &board, &clock).await.0, Verdict::Unknown);
    board.put(lag(12.0, 50_000, "database"));
    let (verdict, because) = ask(&gate, &board, &clock).await;
    assert_eq!(verdict, Verdict::Pass);
    assert!(because.contains("12") && because.contains("at most 100"), "{because}");
    clock.advance(Duration::from_millis(1001));
    assert_eq!(ask(&gate, &board, &clock).await.0, Verdict::Unknown);
    board.put(lag(101.0, clock.boot_ms(), "database"));
    assert_eq!(ask(&gate, &board, &clock).await.0, Verdict::Wait);
    board.put(lag(f64::NAN, clock.boot_ms() + 1, "database"));
    assert_ne!(ask(&gate, &board, &clock).await.0, Verdict::Pass);
}

#[tokio::test]
async fn a_gate_asks_every_origin() {
    let clock = Arc::new(TestClock::standing(50_000));
    let board = Board::without_samplers(clock.clone());
    board.put(lag(1.0, 50_000, "one"));
    board.put(lag(1000.0, 50_000, "two"));
    assert_eq!(ask(&at_most(100.0), &board, &clock).await.0, Verdict::Wait);
    board.put(lag(1.0, 50_000, "two"));
    board.put(lag(1.0, 48_000, "three"));
    assert_eq!(ask(&at_most(100.0), &board, &clock).await.0, Verdict::Unknown);
}

#[tokio::test]
async fn a_gate_of_the_plan_asks_for_its_time_its_origin_and_its_silence() {
    let clock = Arc::new(TestClock::standing(50_000));
    let board = Board::without_samplers(clock.clone());
    let spec = GateSpec {
        name: "lag".into(),
        before: Before::Arm,
        bound: Bound {
            what: LAG,
            from: Some("one".into()),
            max: Some(10.0),
            min: None,
            fresh_for_ms: 1000,
        },
        for_ms: 5_000,
        no_data: GateNoData::Fail,
        failback: false,
    };
    let gate: Arc<dyn Gate> = BoundGate::of(&spec);
    assert!(gate.asks().contains("at most 10 for 5 s"), "{}", gate.asks());
    assert_eq!(ask(&gate, &board, &clock).await.0, Verdict::Fail, "silence, as the plan says");
    let mut verdicts = Vec::new();
    for value in [99.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0] {
        board.put(lag(value, clock.boot_ms(), "one"));
        board.put(lag(99.0, clock.boot_ms(), "another"));
        verdicts.push(ask(&gate, &board, &clock).await.0);
        clock.advance(Duration::from_secs(1));
    }
    // The first value leaves the time after five seconds; before that it breaks it.
    assert_eq!(verdicts[..5], [const { Verdict::Wait }; 5]);
    assert_eq!(verdicts[6], Verdict::Pass);
}

#[tokio::test]
async fn of_several_gates_the_worst_counts() {
    let clock = Arc::new(TestClock::standing(0));
    let board = Board::without_samplers(clock.clone());
    let says = |name: &str, verdict: Verdict| -> Arc<dyn Gate> {
        let because = format!("because of {name}");
        FnGate::new(name, move |_| (verdict.clone(), because.clone()))
    };
    let gate: Arc<dyn Gate> = all_of(
        "both",
        vec![
            says("good", Verdict::Pass),
            says("gone", Verdict::Unknown),
            says("late", Verdict::Wait),
        ],
    );
    let (verdict, because) = ask(&gate, &board, &clock).await;
    assert_eq!(verdict, Verdict::Unknown);
    assert!(because.contains("late") && because.contains("gone") && !because.contains("good"));
    let all: Arc<dyn Gate> = all_of("all", vec![says("good", Verdict::Pass)]);
    assert_eq!(ask(&all, &board, &clock).await.0, Verdict::Pass);
}

#[test]
fn forgets_after_two_minutes() {
    let clock = Arc::new(TestClock::standing(1_000_000));
    let board = Board::without_samplers(clock.clone());
    for _ in 0..300 {
        clock.advance(Duration::from_secs(1));
        board.put(lag(1.0, clock.boot_ms(), "database"));
    }
    assert_eq!(board.window(LAG, 10_000).len(), 10);
    assert!((119..=121).contains(&board.window(LAG, 500_000).len()));
    clock.advance(Duration::from_secs(200));
    assert_eq!(board.latest(LAG), None);
}

/// Counts up; hangs or fails when told to.
struct Counter {
    name: &'static str,
    turns: AtomicU64,
    hangs: bool,
    fails: bool,
}

impl Counter {
    fn new(name: &'static str, hangs: bool, fails: bool) -> Arc<Self> {
        Arc::new(Self { name, turns: AtomicU64::new(0), hangs, fails })
    }
}

#[async_trait]
impl Sampler for Counter {
    fn name(&self) -> String {
        self.name.into()
    }

    fn every(&self) -> Duration {
        Duration::from_millis(20)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let turn = self.turns.fetch_add(1, Ordering::SeqCst);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        if self.fails {
            return Err(Fault::new("SG0600", FaultKind::Unreachable, "sample", "no connection"));
        }
        Ok(vec![lag(turn as f64, now_boot_ms, self.name)])
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within ten seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn one_sampler_that_hangs_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let good = Counter::new("good", false, false);
    let (stuck, broken) = (Counter::new("stuck", true, false), Counter::new("broken", false, true));
    let samplers: Vec<Arc<dyn Sampler>> = vec![stuck, broken, good.clone()];
    let board = {
        let store = SampleStore::open(dir.path()).unwrap();
        Board::start(samplers, Arc::clone(&clock), store.of(&UnitName::from("shop")))
    };
    until("samples", || board.window(LAG, 60_000).len() > 20).await;
    assert_eq!(board.latest_of_each(LAG).len(), 1);
    assert_eq!(board.faults().keys().collect::<Vec<_>>(), ["broken"]);
    until("the time limit", || board.faults().contains_key("stuck")).await;
    assert_eq!(board.faults()["stuck"].code, "SG0631");

    let wall_ms = clock.wall_ms();
    board.flush().await.unwrap();
    let read =
        || segue_engine::board::samples(dir.path(), Some(LAG), wall_ms - 60_000, wall_ms + 60_000);
    let rows = read().unwrap();
    assert!(rows.len() >= 2, "{rows:?}");
    let row = &rows[0];
    assert_eq!((row.from.as_str(), row.what), ("good", LAG));
    assert!(row.min <= row.avg && row.avg <= row.max && row.samples > 0);
    assert_eq!(row.boot_ms % 1000, 0);
    assert!(wall_ms.abs_diff(row.at_ms) < 20_000);

    let turns = good.turns.load(Ordering::SeqCst);
    drop(board);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(good.turns.load(Ordering::SeqCst) <= turns + 1, "sampling ends with the board");
}
