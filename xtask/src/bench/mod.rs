//! Benchmarks by name. Each compares with what people would use otherwise, in the same
//! run, and writes `target/bench/NAME.json`.

mod database;
mod dns;
mod engine;
mod front;
mod mariadb;
mod result;

use anyhow::{Context, Result, bail, ensure};
use result::Row;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs the benchmark of that name.
///
/// # Errors
/// If there is none of that name, it cannot be run, or its goal is missed.
pub(crate) fn run(name: &str) -> Result<()> {
    let rows = match name {
        "database" => database::run(&target_dir()?)?,
        "dns" => dns::run(&target_dir()?)?,
        "engine" => engine::run(&target_dir()?)?,
        "front" => front::run(&target_dir()?)?,
        _ => bail!("no such benchmark: `{name}`; there are: database, dns, engine, front"),
    };
    let path = target_dir()?.join("bench").join(format!("{name}.json"));
    result::write(&path, &rows)?;
    println!("{}\n{}", result::table(&rows), path.display());
    let missed: Vec<_> = rows.iter().filter(|r| !r.pass).map(Row::name).collect();
    if !missed.is_empty() {
        bail!("goal missed: {}", missed.join(", "));
    }
    Ok(())
}

/// Returns where cargo builds to.
fn target_dir() -> Result<PathBuf> {
    Ok(match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => std::path::absolute(folder)?,
        None => crate::root()?.join("target"),
    })
}

/// Returns whether a program is installed.
fn installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    // Daemons of Debian are not on everybody's path.
    let folders = std::env::split_paths(&paths).chain([PathBuf::from("/usr/sbin")]);
    folders.into_iter().any(|f| f.join(program).exists())
}

/// Returns the value in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A scratch folder that goes with the benchmark.
struct Scratch(PathBuf);

impl Scratch {
    fn new(target: &Path, name: &str) -> Result<Self> {
        let folder = target.join("bench").join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    fn path(&self) -> &Path {
        &self.0
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
    use super::{median, told};

    #[test]
    fn takes_the_middle_round() {
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }

    #[test]
    fn reads_measurements_and_nothing_else() {
        let text = "a line for people\n{\"name\":\"fold, s\",\"value\":1.5}\n";
        let told = told(text);
        assert_eq!((told.len(), told["fold, s"]), (1, 1.5));
    }
}
