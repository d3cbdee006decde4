//! Faults that are switched on by files in the shop's folder.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a switch that was read counts, milliseconds.
const FRESH_MS: u64 = 100;

/// The switches `slow_ms` and `fail_percent`.
pub(crate) struct Faults {
    folder: PathBuf,
    since: Instant,
    read_at_ms: AtomicU64,
    slow_ms: AtomicU64,
    fail_percent: AtomicU64,
}

impl Faults {
    pub(crate) fn new(folder: PathBuf) -> Self {
        let faults = Self {
            folder,
            since: Instant::now(),
            read_at_ms: AtomicU64::new(0),
            slow_ms: AtomicU64::new(0),
            fail_percent: AtomicU64::new(0),
        };
        faults.read();
        faults
    }

    /// Returns how long to wait before dynamic work, and whether to fail it.
    pub(crate) fn now(&self) -> (Duration, bool) {
        let now_ms = self.since.elapsed().as_millis() as u64;
        let read_at_ms = self.read_at_ms.load(Ordering::Relaxed);
        let stale = now_ms >= read_at_ms + FRESH_MS;
        // One request reads for all of them.
        if stale
            && self
                .read_at_ms
                .compare_exchange(read_at_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.read();
        }
        let fails = rand::random_range(0..100) < self.fail_percent.load(Ordering::Relaxed);
        (Duration::from_millis(self.slow_ms.load(Ordering::Relaxed)), fails)
    }

    fn read(&self) {
        self.slow_ms.store(self.number("slow_ms"), Ordering::Relaxed);
        self.fail_percent.store(self.number("fail_percent"), Ordering::Relaxed);
    }

    /// No file, or none that holds a number, means no fault.
    fn number(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}
