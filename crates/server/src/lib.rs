//! The controller: one process that owns a run directory and drives its run.
//!
//! Commands are requests on a socket; every one of them may be asked from any
//! terminal, and losing the terminal ends only the view.

pub mod api;
pub mod around;
pub mod client;
pub mod compare;
pub mod doctor;
pub mod outline;
pub mod plans;
pub mod quiet;
pub mod rehearsal;
pub mod timeline;
pub mod verify;

mod active;
mod commit_timer;
mod conductor;
mod phases;
mod places;
mod progress;
mod rest;
mod series;
mod socket;
mod spread;
mod status;
mod unit;
mod watch;

pub use series::series;

use conductor::Conductor;
use segue_engine::{Journal, Lease, SystemClock};
use segue_model::{Fault, FaultKind};
use segue_port::Clock;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How a controller comes to its run directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Come {
    /// Only if no other one has it.
    IfFree,
    /// A controller that has it is killed first: one that hangs or sleeps.
    TakeOver,
}

/// Returns the process that holds, or last held, the run directory.
pub fn holder(dir: &Path) -> Option<u32> {
    Lease::holder(dir).map(|holder| holder.pid)
}

/// Waits until the controller that was told to stop has ended.
///
/// # Errors
/// `SG0840` if it still runs after `limit`.
pub async fn wait_until_ended(dir: &Path, limit: Duration) -> Result<(), Fault> {
    let gone = async {
        while Lease::holder_runs(dir) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(limit, gone).await.map_err(|_| {
        let op = format!("stop the controller of `{}`", dir.display());
        let cause = format!("it still runs after {} s", limit.as_secs());
        Fault::new("SG0840", FaultKind::Timeout, op, cause)
            .hint("its log says what it waits for; `segue resume --take-over` ends it and goes on")
    })
}

/// Runs the controller of `dir` until it is told to stop.
///
/// An attempt that a former controller left open is taken up at once: what it had sent
/// is quenched, the world observed, then the attempt goes on or back.
///
/// # Errors
/// If another controller has the run, or journal, samples or socket cannot be used.
pub async fn run(dir: &Path, come: Come) -> Result<(), Fault> {
    run_with(dir, come, None).await
}

/// Runs the controller of a room, whose readings stand in `readings`.
///
/// # Errors
/// As [`run`].
pub async fn run_in_room(dir: &Path, readings: &Path) -> Result<(), Fault> {
    run_with(dir, Come::IfFree, Some(readings.to_owned())).await
}

async fn run_with(dir: &Path, come: Come, readings: Option<PathBuf>) -> Result<(), Fault> {
    plans::create_dir(dir)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let lease = match come {
        Come::IfFree => Lease::take(dir)?,
        Come::TakeOver => Lease::take_over(dir)?,
    };
    let journal = Journal::open(dir, Arc::clone(&clock))?;
    let epoch = lease.take_epoch(&journal).await?;
    let conductor = Conductor::new(dir, clock, journal, epoch, readings)?;
    let listener = socket::bind(dir)?;
    conductor.take_up().await?;
    let ended = socket::serve(listener, Arc::clone(&conductor)).await;
    conductor.close().await;
    drop(lease);
    ended
}

/// Asks the running controller of `dir` to put the present totals of fronts and probes
/// into the journal. A failure only means that older totals are reported.
pub async fn refresh_totals(dir: &Path) {
    if let Ok(mut answers) = client::send(dir, "report", api::Command::Status).await {
        while let Ok(Some(line)) = answers.next().await {
            if matches!(line, api::Line::End { .. }) {
                return;
            }
        }
    }
}
