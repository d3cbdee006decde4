//! Directory trees: the first copy, following, the way back, and the proof of equality.
//!
//! One [`TreeReplica`] stands for one tree of the plan on both sides. Changes are found by
//! inotify on every directory of the *write side* and carried to the other side in small
//! batches; the whole tree is read only before the pause. Switching the write side exchanges
//! the two watches, nothing else.
//!
//! **Invariants.** Nothing of Segue's ever lies inside a customer's tree. No deletion is
//! carried back to the source of a path that this run has not seen at the target. A path
//! leaves the dirty list only after the mover has carried the state that it had at or after
//! the last event read for it.
//!
//! **Not provable.** A tree has no fence: what keeps writers away is the hold at the fronts
//! and the stopped workers. A write around them is detected after the drain and makes the
//! cutover withdraw. Writes through a shared memory map raise no event; only a comparison
//! finds them.

mod batch;
mod claim;
mod clone;
mod compare;
mod dirty;
mod effects;
mod exclude;
mod feed;
mod links;
mod live;
mod mover;
mod preflight;
mod remove;
mod replica;
mod rsync;
mod samplers;
mod seen;
mod switch;
mod walk;
mod watch;

pub use clone::{clone_tree, tree_bytes};
pub use compare::{Comparison, Difference, Kind};
pub use mover::{Moved, Mover, Pass};
pub use replica::{TreeReplica, TreeSettings};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic of another holder does not spoil plain data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds of the boot clock, which runs on while the machine sleeps.
fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000
        + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Runs blocking file work away from the runtime's workers.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> segue_port::Outcome<T> + Send + 'static,
) -> segue_port::Outcome<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => {
            Err(segue_model::Fault::new("SG0499", segue_model::FaultKind::Bug, "work on a tree", e)
                .leaving(segue_model::EffectLeft::Maybe))
        }
    }
}
