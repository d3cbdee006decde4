//! The simulator finds nothing in the protocol, and every mutant of it.
//!
//! `SEGUE_SIM_SECONDS` says how long random seeds are tried (3 if it is not set),
//! `SEGUE_SIM_FIRST` where they begin, `SEGUE_SIM_THREADS` on how many threads.

mod mutants;

use segue_engine::simulator::{Script, Stats, fixtures, run, shrink};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Runs that once failed; they are replayed first.
const FIXTURES: &str = include_str!("fixtures.txt");

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect(name))
}

/// Says how a script fails, as small as it gets.
fn told(script: &Script) -> String {
    let (small, report) = shrink(script);
    let seed = script.seed;
    let why = report.violation.unwrap_or_default();
    let trace = report.trace.join("\n");
    format!(
        "seed {seed}: {why}\n{trace}\nshortest failing prefix, disturbed by {:?}\n\
         for fixtures.txt: {small}  # {why}",
        report.disturbed
    )
}

#[test]
fn what_once_failed_does_not_fail_again() {
    let failing: Vec<String> = fixtures(FIXTURES)
        .unwrap()
        .iter()
        .filter(|script| run(script, false).violation.is_some())
        .map(told)
        .collect();
    assert!(failing.is_empty(), "{}", failing.join("\n"));
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..50 {
        let script = Script::of(seed, None);
        let (one, other) = (run(&script, true), run(&script, true));
        assert_eq!((one.stats, one.trace), (other.stats, other.trace), "seed {seed}");
    }
}

/// Bounded by time; prints what it did.
#[allow(clippy::print_stdout)]
#[test]
fn every_seed_is_safe_and_ends() {
    let (began, next) = (Instant::now(), AtomicU64::new(setting("SEGUE_SIM_FIRST", 1)));
    let first = next.load(Ordering::Relaxed);
    let until = Duration::from_secs(setting("SEGUE_SIM_SECONDS", 3));
    let (all, failed) = (Mutex::new(Stats::default()), Mutex::new(None));
    let work = || {
        let mut mine = Stats::default();
        while began.elapsed() < until && failed.lock().unwrap().is_none() {
            for seed in next.fetch_add(100, Ordering::Relaxed).. {
                let script = Script::of(seed, None);
                let report = run(&script, false);
                mine.add(&report.stats);
                if report.violation.is_some() {
                    failed.lock().unwrap().get_or_insert(script);
                    break;
                }
                if seed % 100 == (first + 99) % 100 {
                    break;
                }
            }
        }
        all.lock().unwrap().add(&mine);
    };
    std::thread::scope(|scope| {
        for _ in 0..setting("SEGUE_SIM_THREADS", 1) {
            scope.spawn(work);
        }
    });
    if let Some(script) = failed.into_inner().unwrap() {
        panic!("{}", told(&script));
    }
    let (all, runs) = (all.into_inner().unwrap(), next.into_inner() - first);
    let a_second = runs as f64 / began.elapsed().as_secs_f64();
    println!("{runs} runs, {a_second:.0} a second: {all:?}");
    // A simulation is worth something only if all of it happens.
    for (what, times) in [
        ("moved", all.moved),
        ("withdrawn", all.withdrawn),
        ("went back", all.went_back),
        ("a failback withdrawn", all.stayed),
        ("crashed", all.crashes),
        ("stuck", all.stuck),
        ("refused a journal", all.refused),
        ("confirmed", all.confirmed),
        ("the timer ran out", all.timer),
        ("the timer ran out unwatched", all.overdue),
        ("asked to go back", all.homeward),
    ] {
        assert!(times * 1000 > runs, "{what}: {times} times in {runs} runs");
    }
}
