//! Named points at which a crash test kills the process.
//!
//! Compiled to nothing without the feature `crashpoints`. With it, `SEGUE_CRASH_AT=n`
//! makes the n-th hit send SIGKILL to the process itself: no destructor runs and nothing
//! is flushed. `SEGUE_CRASH_COUNT=file` appends number and name of every hit.

/// Passes the point `point` of the object `of` (a step or an event).
#[cfg(not(feature = "crashpoints"))]
#[inline(always)]
pub fn hit(_point: &str, _of: &str) {}

/// Passes the point `point` of the object `of` (a step or an event).
#[cfg(feature = "crashpoints")]
pub fn hit(point: &str, of: &str) {
    armed::hit(point, of);
}

#[cfg(feature = "crashpoints")]
mod armed {
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Orders {
        crash_at: Option<u64>,
        count: Option<PathBuf>,
    }

    static ORDERS: OnceLock<Orders> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);

    pub(super) fn hit(point: &str, of: &str) {
        let orders = ORDERS.get_or_init(|| Orders {
            crash_at: std::env::var("SEGUE_CRASH_AT").ok().and_then(|text| text.parse().ok()),
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
        if orders.crash_at == Some(number) {
            let me = rustix::process::getpid();
            if let Err(error) = rustix::process::kill_process(me, rustix::process::Signal::KILL) {
                tracing::error!(%error, "kill point without effect");
            }
        }
    }
}
