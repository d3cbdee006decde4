//! Time of the front: the boot clock, which also runs while the machine sleeps.

use rustix::time::{ClockId, clock_gettime};

/// Returns microseconds of `CLOCK_BOOTTIME`.
pub(crate) fn now_us() -> u64 {
    let t = clock_gettime(ClockId::Boottime);
    // The boot clock starts at zero and never runs backwards.
    (t.tv_sec as u64) * 1_000_000 + (t.tv_nsec as u64) / 1_000
}

/// Returns milliseconds of `CLOCK_BOOTTIME`.
pub(crate) fn now_ms() -> u64 {
    now_us() / 1_000
}

/// Returns a length in microseconds as milliseconds with fraction.
pub(crate) fn as_ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}
