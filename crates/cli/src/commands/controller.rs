//! `segue controller`: the process that owns a run directory.

use anyhow::Result;
use segue_server::Come;
use std::path::Path;
use tracing_subscriber::EnvFilter;

/// Runs until told to stop.
///
/// # Errors
/// If another controller has the run, or journal or socket cannot be opened.
pub(crate) async fn run(dir: &Path, take_over: bool, readings: Option<&Path>) -> Result<u8> {
    // A session of its own: a lost terminal must not reach this process. Fails where the
    // process already leads a session, which is as good.
    let _ = rustix::process::setsid();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("SEGUE_LOG").unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    if let Some(readings) = readings {
        segue_server::run_in_room(dir, readings).await?;
        return Ok(0);
    }
    let come = if take_over { Come::TakeOver } else { Come::IfFree };
    segue_server::run(dir, come).await?;
    Ok(0)
}
