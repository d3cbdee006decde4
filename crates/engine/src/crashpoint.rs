//! Named points at which a crash test kills the process.
//!
//! Compiled to nothing in a release build without the feature `crashpoints`. Otherwise
//! `SEGUE_CRASH_AT=n` makes the n-th hit send SIGKILL to the process itself, and
//! `SEGUE_CRASH_AT=point/of` the first hit of that point: no destructor runs and nothing is
//! flushed. `SEGUE_CRASH_COUNT=file` appends number and name of every hit.

/// Passes the point `point` of the object `of` (a step or an event).
#[cfg(not(any(feature = "crashpoints", debug_assertions)))]
#[inline(always)]
pub fn hit(_point: &str, _of: &str) {}

/// Passes the point `point` of the object `of` (a step or an event).
#[cfg(any(feature = "crashpoints", debug_assertions))]
pub fn hit(point: &str, of: &str) {
    armed::hit(point, of);
}

#[cfg(any(feature = "crashpoints", debug_assertions))]
mod armed {
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Orders {
        crash_at: Option<String>,
        count: Option<PathBuf>,
    }

    static ORDERS: OnceLock<Orders> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);

    pub(super) fn hit(point: &str, of: &str) {
        let orders = ORDERS.get_or_init(|| Orders {
            crash_at: std::env::var("SEGUE_CRASH_AT").ok(),
            count: std::env::var_os("SEGUE_CRASH_COUNT").map(PathBuf::from),
        });
        let number = HITS.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(path) = &orders.count {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            let written = file.and_then(|mut file| writeln!(file, "{number} {point} {of}"));
            if let Err(error) = written {
                tracing::error!(%error, path = %path.display(), "hit not counted");
            }
        }
        let here = |wanted: &String| {
            *wanted == number.to_string() || wanted.split_once('/') == Some((point, of))
        };
        if orders.crash_at.as_ref().is_some_and(here) {
            let me = rustix::process::getpid();
            if let Err(error) = rustix::process::kill_process(me, rustix::process::Signal::KILL) {
                tracing::error!(%error, "kill point without effect");
            }
        }
    }
}
