//! Named points at which a crash test ends, stops or disturbs the process.
//!
//! Compiled to nothing in a release build without the feature `crashpoints`. Otherwise the
//! environment gives the orders:
//!
//! | order | what happens |
//! |---|---|
//! | `SEGUE_CRASH_AT=n` | the n-th hit sends SIGKILL to the process itself |
//! | `SEGUE_CRASH_AT=point/of` | the first hit of that point does |
//! | `SEGUE_STOP_AT=...` | the same with SIGSTOP: the process sleeps until somebody wakes it |
//! | `SEGUE_FULL_AT=n+m` | appends n to n+m-1 to the journal find no space |
//! | `SEGUE_CRASH_COUNT=file` | number and name of every hit are appended to the file |
//!
//! A kill is SIGKILL so that no destructor runs and nothing is flushed.

/// Passes the point `point` of the object `of` (a step or an event).
#[cfg(not(any(feature = "crashpoints", debug_assertions)))]
#[inline(always)]
pub fn hit(_point: &str, _of: &str) {}

/// Says whether this append to the journal shall find no space.
#[cfg(not(any(feature = "crashpoints", debug_assertions)))]
#[inline(always)]
pub fn is_full() -> bool {
    false
}

/// Passes the point `point` of the object `of` (a step or an event).
#[cfg(any(feature = "crashpoints", debug_assertions))]
pub fn hit(point: &str, of: &str) {
    armed::hit(point, of);
}

/// Says whether this append to the journal shall find no space.
#[cfg(any(feature = "crashpoints", debug_assertions))]
pub fn is_full() -> bool {
    armed::is_full()
}

/// Calls `hook` with number, point and object of every later hit, in the thread that passes
/// it. Only the first hook counts.
#[cfg(any(feature = "crashpoints", debug_assertions))]
pub fn listen(hook: impl Fn(u64, &str, &str) + Send + Sync + 'static) {
    armed::listen(Box::new(hook));
}

#[cfg(any(feature = "crashpoints", debug_assertions))]
mod armed {
    use rustix::process::{Signal, getpid, kill_process};
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Duration;

    type Hook = Box<dyn Fn(u64, &str, &str) + Send + Sync>;

    struct Orders {
        crash_at: Option<String>,
        stop_at: Option<String>,
        full_at: std::ops::Range<u64>,
        count: Option<PathBuf>,
    }

    static ORDERS: OnceLock<Orders> = OnceLock::new();
    static HOOK: OnceLock<Hook> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);
    static STOPPED: AtomicBool = AtomicBool::new(false);
    static APPENDS: AtomicU64 = AtomicU64::new(0);

    fn orders() -> &'static Orders {
        ORDERS.get_or_init(|| Orders {
            crash_at: std::env::var("SEGUE_CRASH_AT").ok(),
            stop_at: std::env::var("SEGUE_STOP_AT").ok(),
            full_at: std::env::var("SEGUE_FULL_AT").ok().and_then(range).unwrap_or(0..0),
            count: std::env::var_os("SEGUE_CRASH_COUNT").map(PathBuf::from),
        })
    }

    fn range(text: String) -> Option<std::ops::Range<u64>> {
        let (first, many) = text.split_once('+')?;
        let (first, many): (u64, u64) = (first.parse().ok()?, many.parse().ok()?);
        Some(first..first.saturating_add(many))
    }

    #[cfg(any(feature = "crashpoints", debug_assertions))]
    pub(super) fn listen(hook: Hook) {
        let _ = HOOK.set(hook);
    }

    pub(super) fn is_full() -> bool {
        orders().full_at.contains(&(APPENDS.fetch_add(1, Ordering::SeqCst) + 1))
    }

    pub(super) fn hit(point: &str, of: &str) {
        let orders = orders();
        let number = HITS.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(path) = &orders.count {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            let written = file.and_then(|mut file| writeln!(file, "{number} {point} {of}"));
            if let Err(error) = written {
                tracing::error!(%error, path = %path.display(), "hit not counted");
            }
        }
        if let Some(hook) = HOOK.get() {
            hook(number, point, of);
        }
        let here = |wanted: &String| {
            *wanted == number.to_string() || wanted.split_once('/') == Some((point, of))
        };
        if orders.crash_at.as_ref().is_some_and(here) {
            raise(Signal::KILL);
        }
        // Once: woken, the process may pass a point of the same name again.
        if orders.stop_at.as_ref().is_some_and(here) && !STOPPED.swap(true, Ordering::SeqCst) {
            raise(Signal::STOP);
            // The kernel may stop another thread first; this one must not run ahead.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn raise(signal: Signal) {
        if let Err(error) = kill_process(getpid(), signal) {
            tracing::error!(%error, "point without effect");
        }
    }
}
