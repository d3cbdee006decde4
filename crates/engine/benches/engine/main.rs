//! What the engine does in a second, beside SQLite where a row is a row.
//!
//! Each measurement is printed as a line of JSON, `{"name", "value"}`; `cargo xtask bench
//! engine` reads them and compares them with the goals. Nothing here is linked into `segue`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod course;
mod durable;
mod fold;

use segue_engine::simulator::{Script, run};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the simulator runs.
const SIMULATED: Duration = Duration::from_secs(4);

fn main() {
    // `cargo bench` adds a word of its own.
    let mut wanted = std::env::args().skip(1).filter(|word| word != "--bench");
    let folder = wanted.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let records = wanted.next().map_or(1_000_000, |count| count.parse().unwrap());
    durable::measure(&folder);
    fold::measure(&folder, records);
    simulate();
}

/// Tells one measurement.
fn told(name: &str, value: f64) {
    println!("{}", serde_json::json!({ "name": name, "value": value }));
}

/// Runs seeds on one core.
fn simulate() {
    let began = Instant::now();
    let mut runs = 0;
    while began.elapsed() < SIMULATED {
        runs += 1;
        let report = run(&Script::of(runs, None), false);
        assert_eq!(report.violation, None, "seed {runs}");
    }
    told("simulated run, us", began.elapsed().as_secs_f64() * 1e6 / runs as f64);
}
