//! The shop: a small live site with every habit that makes a move hard.
//!
//! It behaves as hosted PHP does: a database connection for every dynamic request,
//! login sessions in files, GETs that write. Cron and the neighbour write without
//! passing any web server.

mod answer;
mod cron;
mod database;
mod faults;
mod ledger;
mod orders;
mod pages;
mod serve;
mod sessions;
mod tenant;
mod uploads;

pub use cron::{CronWord, cron, cron_ctl};
pub use serve::serve;
pub use tenant::tenant;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for SIGTERM, the word for a clean end.
pub(crate) fn termination() -> Result<Signal> {
    signal(SignalKind::terminate()).context("listen for SIGTERM")
}

/// Whether `text` may be part of a file name or a key: short, letters, digits, `-`, `_`.
pub(crate) fn is_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(good)
}
