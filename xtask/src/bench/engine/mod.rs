//! The engine at the size of a large move: 100,000 units planned, 1,000,000 events folded,
//! durable events, simulated runs, 10,000 units that follow.
//!
//! What runs inside a crate is a program of that crate (`benches/`) and tells its numbers as
//! lines of JSON; the plan is compiled by `segue plan` itself, and the idle fleet is followed
//! by a controller as anybody would start it.

mod idle;
mod plan;

use super::result::Row;
use super::{Scratch, program};
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// Runs everything and compares it with the goals.
pub(super) fn run(target: &Path) -> Result<Vec<Row>> {
    let binary = target.join("release/segue");
    ensure!(binary.exists(), "`{}` is missing: cargo build --release", binary.display());
    let scratch = Scratch::new(target, "engine")?;
    let mut rows = plan::measure(&binary, scratch.path())?;
    let engine = program("segue-engine", "engine", &[&scratch.path().display().to_string()])?;
    let of = |name: &str| {
        engine.get(name).copied().with_context(|| format!("`{name}` was not measured"))
    };
    println!("journal of {:.0} records, snapshot of {:.1} MB", of("records")?, of("snapshot, MB")?);
    rows.extend([
        Row::bound("full fold of 1,000,000 events", "s", of("full fold, s")?, 10.0),
        // The program ends in a panic unless the state is that of the full fold.
        Row::bound("resume from a snapshot, checked", "s", of("resume from the snapshot, s")?, 1.0),
        // 3,000 a second.
        Row::bound("durable event", "us", of("durable event, us")?, 1e6 / 3e3),
        Row::ratio(
            "durable event",
            "us",
            of("durable event, us")?,
            "sqlite, one sync a row",
            engine.get("durable row of sqlite, us").copied(),
            0.5,
        ),
        // 1,000 runs a second.
        Row::bound("simulated run, one core", "us", of("simulated run, us")?, 1e6 / 1e3),
    ]);
    rows.extend(idle::measure(&binary, scratch.path())?);
    Ok(rows)
}
