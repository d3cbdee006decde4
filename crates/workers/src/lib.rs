//! Cron jobs and queue workers: what writes without passing a front.
//!
//! They are stopped at the side that is left and started at the side that is entered, and
//! only those that were running. The commands are the plan's; whether a worker runs is asked
//! before and after, so every step can be repeated.
//!
//! **Invariant.** No worker is started that was not found running before the stop.

mod commands;
mod effects;
mod preflight;

pub use effects::{start_workers, stop_workers};
pub use preflight::preflight;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
