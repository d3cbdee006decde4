//! `segue status`: how the run stands, with or without a controller.

use crate::drive;
use crate::output;
use anyhow::Result;
use segue_server::api::Command;
use segue_server::client;
use std::path::Path;

/// Asks the controller; where none runs, reads the journal.
///
/// # Errors
/// If there is no journal or it cannot be read.
pub(crate) async fn run(dir: &Path, json: bool) -> Result<u8> {
    if client::is_running(dir).await {
        return drive::follow(dir, json, Command::Status).await;
    }
    let records = segue_engine::Journal::read_all(dir)?;
    let Some(report) = segue_report::build(&records, Vec::new()) else {
        println!("no run has begun in `{}`", dir.display());
        return Ok(0);
    };
    if json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(0);
    }
    println!("no controller runs for `{}`", dir.display());
    if let Some(last) = records.last() {
        println!("last record {} at {}", last.seq, output::date_time(last.at_ms));
    }
    if report.attempts.last().is_some_and(|attempt| attempt.ended == "open") {
        println!("an attempt is open: `segue resume` quenches, observes and goes on or back");
    }
    for unit in &report.units {
        let outcome = serde_json::to_string(&unit.outcome)?;
        println!("unit {}: {}, at {}", unit.unit, outcome.trim_matches('"'), unit.at);
    }
    Ok(0)
}
