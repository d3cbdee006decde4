//! The engine at the size of a large move: 100,000 units planned, 1,000,000 events folded,
//! durable events, simulated runs, 10,000 units that follow.
//!
//! What runs inside a crate is a program of that crate (`benches/`) and tells its numbers as
//! lines of JSON; the plan is compiled by `segue plan` itself, and the idle fleet is followed
//! by a controller as anybody would start it.

mod idle;
mod plan;
mod servers;

use super::result::Row;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs everything and compares it with the goals.
pub(super) fn run(target: &Path) -> Result<Vec<Row>> {
    let binary = target.join("release/segue");
    ensure!(binary.exists(), "`{}` is missing: cargo build --release", binary.display());
    let scratch = Scratch::new(target, "engine")?;
    let mut rows = plan::measure(&binary, &scratch.0)?;
    let engine = program("segue-engine", "engine", &[&scratch.0.display().to_string()])?;
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
    rows.extend(idle::measure(&binary, &scratch.0)?);
    Ok(rows)
}

/// A scratch folder that goes with the benchmark.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(target: &Path, name: &str) -> Result<Self> {
        let folder = target.join("bench").join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left says where it came from.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One measurement, as a program tells it.
#[derive(Deserialize)]
struct Told {
    name: String,
    value: f64,
}

/// Builds and runs a benchmark program of a crate; returns what it measured.
///
/// It is built together with `segue`, so that what both depend on is compiled once.
fn program(package: &str, bench: &str, arguments: &[&str]) -> Result<BTreeMap<String, f64>> {
    let output = Command::new(env!("CARGO"))
        .args(["bench", "--locked", "--quiet", "--package", "segue-cli", "--package", package])
        .args(["--bench", bench, "--"])
        .args(arguments)
        .current_dir(crate::root()?)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run the benchmark `{bench}` of `{package}`"))?;
    ensure!(output.status.success(), "the benchmark `{bench}` of `{package}` failed");
    let text = String::from_utf8(output.stdout)?;
    Ok(told(&text))
}

fn told(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Told>(line).ok());
    lines.map(|told| (told.name, told.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn reads_measurements_and_nothing_else() {
        let text = "a line for people\n{\"name\":\"fold, s\",\"value\":1.5}\n";
        let told = told(text);
        assert_eq!((told.len(), told["fold, s"]), (1, 1.5));
    }
}
