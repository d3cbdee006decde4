//! Benchmarks by name. Each compares with what people would use otherwise, in the same
//! run, and writes `target/bench/NAME.json`.

mod engine;
mod front;
mod result;

use anyhow::{Result, bail};
use result::Row;
use std::path::PathBuf;

/// Runs the benchmark of that name.
///
/// # Errors
/// If there is none of that name, it cannot be run, or its goal is missed.
pub(crate) fn run(name: &str) -> Result<()> {
    let rows = match name {
        "engine" => engine::run(&target_dir()?)?,
        "front" => front::run(&target_dir()?)?,
        _ => bail!("no such benchmark: `{name}`; there are: engine, front"),
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
