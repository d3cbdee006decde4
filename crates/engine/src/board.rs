//! The board: polls every sampler, keeps what was measured, and keeps it for the report.
//!
//! ```text
//! sampler -> ring of 120 s in memory -> gates, triggers
//!                                    -> roll-up of each second -> samples.db -> report
//! ```
//!
//! **Invariants.** Nothing else polls. A sampler that fails or hangs leaves its last samples
//! to grow old; no value is made up for it. Samplers do not wait for each other.

mod ring;
mod store;

use ring::{KEEP_MS, Ring};
use segue_model::{Fault, FaultKind, Sample, UnitName, What};
use segue_port::{Clock, Outcome, Sampler};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::Batch;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

pub use store::{RollUp, SampleStore, UnitSamples, samples};

/// Longest time a sampler may take for one turn, unless it samples more rarely.
const MOST_TIME: Duration = Duration::from_secs(2);
const SECOND: Duration = Duration::from_secs(1);
/// How far back the board remembers, milliseconds; a trigger cannot look further.
pub const REMEMBERED_MS: u64 = KEEP_MS;

#[derive(Default)]
struct Seen {
    rings: BTreeMap<(What, String), Ring>,
    faults: BTreeMap<String, Fault>,
}

struct Inner {
    seen: Mutex<Seen>,
    clock: Arc<dyn Clock>,
    /// Where roll-ups are kept, if anywhere.
    samples: Option<UnitSamples>,
    /// Least time between two turns of a sampler.
    pace: watch::Sender<Duration>,
    /// Ends the samplers with the last handle.
    tasks: Mutex<JoinSet<()>>,
}

/// A handle to the board; clones share it. Sampling ends with the last one.
#[derive(Clone)]
pub struct Board {
    inner: Arc<Inner>,
}

impl Board {
    /// Starts polling `samplers`, and keeps roll-ups in `samples`.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(
        samplers: Vec<Arc<dyn Sampler>>,
        clock: Arc<dyn Clock>,
        samples: UnitSamples,
    ) -> Self {
        let board = Self::build(clock, Some(samples));
        for sampler in samplers {
            board.add(sampler);
        }
        let weak = Arc::downgrade(&board.inner);
        let clock = Arc::clone(&board.inner.clock);
        let mut pace = board.inner.pace.subscribe();
        board.tasks().spawn(async move {
            loop {
                rest(clock.as_ref(), SECOND, &mut pace).await;
                let Some(inner) = weak.upgrade() else { return };
                Self { inner }.hand_over(false, None);
            }
        });
        board
    }

    /// Builds a board that only remembers what is [`put`](Self::put) on it.
    pub fn without_samplers(clock: Arc<dyn Clock>) -> Self {
        Self::build(clock, None)
    }

    fn build(clock: Arc<dyn Clock>, samples: Option<UnitSamples>) -> Self {
        let seen = Mutex::new(Seen::default());
        let tasks = Mutex::new(JoinSet::new());
        let pace = watch::Sender::new(Duration::ZERO);
        Self { inner: Arc::new(Inner { seen, clock, samples, pace, tasks }) }
    }

    /// Lets samplers take their turns no more often than every `least`; zero is their own
    /// rate. For units that nobody is about to move: thousands of them cost next to nothing.
    ///
    /// A gate whose samples must be fresher than that answers Unknown until the pace is
    /// raised again.
    pub fn set_pace(&self, least: Duration) {
        self.inner.pace.send_if_modified(|pace| std::mem::replace(pace, least) != least);
    }

    /// Writes everything measured so far to `samples.db`, the running second included (it may
    /// then have two rows). For the moment before a report and before the end.
    ///
    /// # Errors
    /// `SG0630` if it was not written.
    pub async fn flush(&self) -> Outcome<()> {
        let (written, done) = oneshot::channel();
        self.hand_over(true, Some(written));
        match done.await {
            Ok(true) => Ok(()),
            _ => Err(Fault::new("SG0630", FaultKind::Denied, "write `samples.db`", "not written")
                .hint("the log says why; the journal is not concerned")),
        }
    }

    /// Starts polling one more sampler. Must be called within a tokio runtime.
    pub fn add(&self, sampler: Arc<dyn Sampler>) {
        let weak = Arc::downgrade(&self.inner);
        let clock = Arc::clone(&self.inner.clock);
        let mut pace = self.inner.pace.subscribe();
        self.tasks().spawn(async move {
            let name = sampler.name();
            let every = sampler.every();
            let most = every.max(MOST_TIME);
            loop {
                let began_ms = clock.boot_ms();
                let turn = tokio::select! {
                    biased;
                    turn = sampler.sample(began_ms) => turn,
                    () = clock.sleep(most) => Err(Fault::new(
                        "SG0631",
                        FaultKind::Timeout,
                        format!("sample `{name}`"),
                        format!("no answer within {} ms", most.as_millis()),
                    )),
                };
                let Some(inner) = weak.upgrade() else { return };
                Self { inner }.take(&name, turn);
                let used = Duration::from_millis(clock.boot_ms().saturating_sub(began_ms));
                let left = every.saturating_sub(used).max(Duration::from_millis(1));
                rest(clock.as_ref(), left, &mut pace).await;
            }
        });
    }

    /// Puts one sample on the board. One that is no finite number is dropped: its gate
    /// becomes Unknown.
    pub fn put(&self, sample: Sample) {
        if !sample.value.is_finite() {
            tracing::warn!(what = %sample.what, from = sample.from, "sample is no number");
            return;
        }
        let now_ms = self.inner.clock.boot_ms();
        let mut seen = self.seen();
        let key = (sample.what, sample.from.clone());
        seen.rings.entry(key).or_default().push(sample, now_ms);
    }

    fn take(&self, name: &str, turn: Outcome<Vec<Sample>>) {
        match turn {
            Ok(samples) => {
                self.seen().faults.remove(name);
                for sample in samples {
                    self.put(sample);
                }
            }
            Err(fault) => {
                let former = self.seen().faults.insert(name.to_owned(), fault.clone());
                if former.is_none_or(|former| former.code != fault.code) {
                    tracing::warn!(sampler = name, %fault, "sampler failed");
                }
            }
        }
    }

    /// Returns the newest sample of `what`, whoever took it.
    pub fn latest(&self, what: What) -> Option<Sample> {
        self.latest_of_each(what).into_iter().max_by_key(|sample| sample.taken_at_ms)
    }

    /// Returns the newest sample of `what` from every origin of the last 120 s.
    pub fn latest_of_each(&self, what: What) -> Vec<Sample> {
        let oldest = self.inner.clock.boot_ms().saturating_sub(KEEP_MS);
        let seen = self.seen();
        let rings = seen.rings.iter().filter(|((of, _), _)| *of == what);
        rings
            .filter_map(|(_, ring)| ring.newest().cloned())
            .filter(|sample| sample.taken_at_ms >= oldest)
            .collect()
    }

    /// Returns every origin of which a sample of `what` was ever taken here.
    pub fn origins(&self, what: What) -> Vec<String> {
        let seen = self.seen();
        let rings = seen.rings.keys().filter(|(of, _)| *of == what);
        rings.map(|(_, from)| from.clone()).collect()
    }

    /// Returns the samples of `what` of the last `ms` milliseconds, oldest first.
    pub fn window(&self, what: What, ms: u64) -> Vec<Sample> {
        let after = self.inner.clock.boot_ms().saturating_sub(ms);
        let seen = self.seen();
        let rings = seen.rings.iter().filter(|((of, _), _)| *of == what);
        let mut samples: Vec<Sample> =
            rings.flat_map(|(_, ring)| ring.since(after)).cloned().collect();
        samples.sort_by_key(|sample| sample.taken_at_ms);
        samples
    }

    /// Returns every newest sample, for people.
    pub fn all_latest(&self) -> Vec<Sample> {
        self.seen().rings.values().filter_map(|ring| ring.newest().cloned()).collect()
    }

    /// Returns the samplers that failed at their last turn, with the fault.
    pub fn faults(&self) -> BTreeMap<String, Fault> {
        self.seen().faults.clone()
    }

    fn hand_over(&self, running_too: bool, written: Option<oneshot::Sender<bool>>) {
        let Some(samples) = &self.inner.samples else { return };
        let rows = self.roll_up(running_too, &samples.unit);
        if rows.is_empty() && written.is_none() {
            return;
        }
        if !samples.send(Batch { rows, written }) {
            tracing::error!("the thread of `samples.db` has ended");
        }
    }

    /// Takes the roll-ups of all seconds that are over, or of all.
    fn roll_up(&self, running_too: bool, unit: &UnitName) -> Vec<RollUp> {
        let clock = &self.inner.clock;
        let (now_ms, wall_ms) = (clock.boot_ms(), clock.wall_ms());
        let mut seen = self.seen();
        let mut batch = Vec::new();
        for ((what, from), ring) in &mut seen.rings {
            let over_ms = if running_too { u64::MAX } else { now_ms };
            ring.roll_up(over_ms, |second| {
                batch.push(RollUp {
                    unit: unit.clone(),
                    what: *what,
                    from: from.clone(),
                    at_ms: wall_ms.saturating_sub(now_ms.saturating_sub(second.boot_ms)),
                    boot_ms: second.boot_ms,
                    min: second.min,
                    max: second.max,
                    avg: second.sum / second.samples as f64,
                    samples: second.samples,
                    count: second.count,
                });
            });
        }
        batch
    }

    // A panic while the lock was held leaves samples, not invariants, behind.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for `own`, or for the pace if that is slower; a change of the pace counts at once.
async fn rest(clock: &dyn Clock, own: Duration, pace: &mut watch::Receiver<Duration>) {
    let began_ms = clock.boot_ms();
    loop {
        let wanted = own.max(*pace.borrow_and_update());
        let gone = Duration::from_millis(clock.boot_ms().saturating_sub(began_ms));
        if gone >= wanted {
            return;
        }
        tokio::select! {
            biased;
            changed = pace.changed() => if changed.is_err() { return },
            () = clock.sleep(wanted - gone) => return,
        }
    }
}
