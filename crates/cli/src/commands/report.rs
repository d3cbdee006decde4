//! `segue report`: the run as one HTML page and as JSON.

use crate::output;
use anyhow::{Context, Result, bail};
use segue_server::client;
use std::path::Path;

/// Writes `report.html` and `report.json` into `out`.
///
/// # Errors
/// If no run has begun, or journal, samples or files cannot be used.
pub(crate) async fn run(dir: &Path, out: &Path, json: bool) -> Result<u8> {
    if client::is_running(dir).await {
        // Counters of the fronts and probes are read once more, so that the figures are
        // those of now; an old figure is better than none if this fails.
        segue_server::refresh_totals(dir).await;
    }
    let records = segue_engine::Journal::read_all(dir)?;
    let series = segue_server::series(dir)?;
    let Some(report) = segue_report::build(&records, series) else {
        bail!("no run has begun in `{}`: there is nothing to report", dir.display());
    };
    std::fs::create_dir_all(out).with_context(|| format!("create folder `{}`", out.display()))?;
    let text = serde_json::to_string_pretty(&report)?;
    std::fs::write(out.join("report.json"), &text)
        .with_context(|| format!("write report to `{}`", out.display()))?;
    std::fs::write(out.join("report.html"), segue_report::html(&report, &output::date_time))
        .with_context(|| format!("write report to `{}`", out.display()))?;
    if json {
        println!("{text}");
    } else {
        println!("wrote {} and report.json", out.join("report.html").display());
    }
    Ok(0)
}
