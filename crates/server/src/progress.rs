//! Progress of effects as lines for the views: with a rate and the time left.

use crate::api::Line;
use segue_port::{Clock, Progress, ProgressSink};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::broadcast::Sender;

/// Time between two lines about the same work, milliseconds.
const EVERY_MS: u64 = 200;

/// A rate rests on the work since this long ago, milliseconds.
const WINDOW_MS: u64 = 10_000;

/// Measures rates and passes lines on.
pub(crate) struct Rates {
    lines: Sender<Line>,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<String, Seen>>,
}

/// Amounts seen of one work, oldest first, as (boot clock, amount).
#[derive(Default)]
struct Seen {
    amounts: Vec<(u64, u64)>,
    told_ms: u64,
    told_amount: u64,
}

impl Rates {
    pub(crate) fn new(lines: Sender<Line>, clock: Arc<dyn Clock>) -> Self {
        Self { lines, clock, known: Mutex::new(HashMap::new()) }
    }
}

impl Seen {
    /// Returns amount per second over the window; 0 while it cannot be told.
    #[allow(clippy::cast_precision_loss)] // Amounts of a copy stay below 2^52.
    fn rate(&self) -> f64 {
        match (self.amounts.first(), self.amounts.last()) {
            (Some((began, first)), Some((ended, last))) if ended > began => {
                last.saturating_sub(*first) as f64 * 1_000.0 / (ended - began) as f64
            }
            _ => 0.0,
        }
    }
}

impl ProgressSink for Rates {
    fn report(&self, progress: Progress) {
        let now = self.clock.boot_ms();
        let Ok(mut known) = self.known.lock() else { return };
        let seen = known.entry(progress.what.clone()).or_default();
        seen.amounts.push((now, progress.done));
        seen.amounts.retain(|(at, _)| now.saturating_sub(*at) <= WINDOW_MS);
        let finished = progress.total > 0 && progress.done >= progress.total;
        let early = now.saturating_sub(seen.told_ms) < EVERY_MS;
        if seen.told_ms > 0 && (seen.told_amount == progress.done || (early && !finished)) {
            return;
        }
        seen.told_ms = now;
        seen.told_amount = progress.done;
        let rate = seen.rate();
        let left = progress.total.saturating_sub(progress.done);
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let eta_s = (rate > 0.0 && progress.total > 0).then(|| (left as f64 / rate).ceil() as u64);
        // Nobody watching is no failure.
        let _ = self.lines.send(Line::Progress {
            what: progress.what,
            done: progress.done,
            total: progress.total,
            unit: progress.unit.to_owned(),
            rate,
            eta_s,
        });
    }
}
