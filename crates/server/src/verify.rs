//! What a terminal may verify by itself: it only reads, and needs no controller.

use crate::api::Line;
use crate::progress::Rates;
use segue_database::verification;
pub use segue_database::verification::{Seen, Verified, Wish};
pub use segue_database::{Difference, DifferentRange, Keys};
use segue_engine::SystemClock;
use segue_model::Fault;
use segue_model::plan::{DatabasePlan, Plan};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Lines of progress that wait to be shown.
const LINES: usize = 64;

/// Compares one database of a unit at both sides. What was done is kept below the run directory
/// `dir`, and gone on with when it is asked for again; `show` gets the lines of progress.
///
/// # Errors
/// As [`verification::verify`].
pub async fn verify(
    dir: &Path,
    plan: &Plan,
    database: &DatabasePlan,
    wish: &Wish,
    mut show: impl FnMut(&Line),
) -> Result<Verified, Fault> {
    let unit = &plan.unit.name;
    let notes = verification::file(dir, unit, database);
    let bound = segue_plan::hash(plan);
    let (send, mut lines) = broadcast::channel(LINES);
    let rates = Rates::new(send, Arc::new(SystemClock));
    let work = verification::verify(database, unit, wish, (&notes, &bound), &rates);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            // Lines that were missed are older than the next one.
            line = lines.recv() => if let Ok(line) = line { show(&line) },
        }
    }
}
