//! What the visitors of a trial met at each side.

use crate::control::{SeenSide, Trial as TrialReport};
use hdrhistogram::Histogram;
use segue_model::{Side, Sides};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Longest answer time that is told apart, microseconds.
const LONGEST_US: u64 = 600_000_000;
const MINUTE_US: u64 = 60_000_000;
/// Bits by which the visitors of one minute are counted.
const BITS: usize = 4_096;

/// What came of a request of the trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// No answer, too late an answer, one with 5xx, or one that ended before its end.
    pub(crate) failed: bool,
    /// Whether the visitor has seen that: an answer that has begun is asked for nowhere else.
    pub(crate) cut: bool,
    /// From forwarding to the head of the answer, microseconds; none without one.
    pub(crate) answer_us: Option<u64>,
}

/// Counts of one share of a split.
pub(super) struct Trial {
    began_us: u64,
    warm_us: u64,
    /// The minute that is being counted.
    minute: AtomicU64,
    sides: Sides<Counted>,
    saved: AtomicU64,
}

struct Counted {
    seen: Sketch,
    failed: Sketch,
    /// Those of the minutes that are over.
    past: Mutex<Past>,
}

#[derive(Clone)]
struct Past {
    cells: u64,
    failing: u64,
    requests: u64,
    times: Histogram<u64>,
}

impl Trial {
    /// Begins to count after `warm`: caches over there are cold at first.
    pub(super) fn begin(now_us: u64, warm: Duration) -> Self {
        Self {
            began_us: now_us,
            warm_us: warm.as_micros() as u64,
            minute: AtomicU64::new(0),
            sides: Sides::from_fn(|_| Counted::new()),
            saved: AtomicU64::new(0),
        }
    }

    /// Takes over what another one counted of the source.
    pub(super) fn keep_source(&self, former: &Self) {
        former.sides.source.close();
        let past = former.sides.source.past().clone();
        *self.sides.source.past() = past;
    }

    /// Counts a request.
    pub(super) fn count(&self, side: Side, visitor: u64, outcome: Outcome, now_us: u64) {
        if side == Side::Target && outcome.failed && !outcome.cut {
            self.saved.fetch_add(1, Ordering::Relaxed);
        }
        if now_us < self.began_us + self.warm_us {
            return;
        }
        self.tick(now_us);
        let counted = self.sides.get(side);
        counted.seen.add(visitor);
        if outcome.failed {
            counted.failed.add(visitor);
        }
        let mut past = counted.past();
        past.requests += 1;
        if let Some(us) = outcome.answer_us {
            past.times.saturating_record(us.clamp(1, LONGEST_US));
        }
    }

    /// Closes the minute if it is over.
    pub(super) fn tick(&self, now_us: u64) {
        let minute = now_us.saturating_sub(self.began_us) / MINUTE_US;
        if self.minute.load(Ordering::Relaxed) == minute
            || self.minute.swap(minute, Ordering::Relaxed) == minute
        {
            return;
        }
        self.sides.source.close();
        self.sides.target.close();
    }

    /// Returns how many requests the source answered in place of the target.
    pub(super) fn saved(&self) -> u64 {
        self.saved.load(Ordering::Relaxed)
    }

    /// Returns everything counted so far.
    pub(super) fn report(&self, id: &str, percent: u8, now_us: u64) -> TrialReport {
        let counts_from = self.began_us + self.warm_us;
        TrialReport {
            id: id.to_owned(),
            percent,
            lasts_ms: now_us.saturating_sub(counts_from) / 1_000,
            sides: Sides::from_fn(|side| self.sides.get(side).report()),
        }
    }
}

impl Counted {
    fn new() -> Self {
        let times = Histogram::new_with_bounds(1, LONGEST_US, 2)
            .expect("bounds that are constants are valid or not at the first start already");
        let past = Past { cells: 0, failing: 0, requests: 0, times };
        Self { seen: Sketch::new(), failed: Sketch::new(), past: Mutex::new(past) }
    }

    fn past(&self) -> std::sync::MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let (cells, failing) = (self.seen.take(), self.failed.take());
        let mut past = self.past();
        past.cells += cells;
        past.failing += failing;
    }

    fn report(&self) -> SeenSide {
        let past = self.past();
        let times = past.times.iter_recorded();
        SeenSide {
            cells: past.cells + self.seen.count(),
            failing: past.failing + self.failed.count(),
            requests: past.requests,
            times_us: times.map(|t| (t.value_iterated_to(), t.count_at_value())).collect(),
        }
    }
}

/// Counts distinct visitors by the bits that they set (linear counting; Whang, Vander-Zanden
/// and Taylor, ACM TODS 15, 1990). Exact to a few percent up to ten thousand.
struct Sketch([AtomicU64; BITS / 64]);

impl Sketch {
    fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    fn add(&self, visitor: u64) {
        let bit = visitor as usize % BITS;
        let word = &self.0[bit / 64];
        if word.load(Ordering::Relaxed) & (1 << (bit % 64)) == 0 {
            word.fetch_or(1 << (bit % 64), Ordering::Relaxed);
        }
    }

    fn count(&self) -> u64 {
        estimate(self.0.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum())
    }

    fn take(&self) -> u64 {
        estimate(self.0.iter().map(|word| word.swap(0, Ordering::Relaxed).count_ones()).sum())
    }
}

/// Returns how many visitors set so many bits, most probably.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn estimate(ones: u32) -> u64 {
    let bits = BITS as f64;
    // All set: more than can be told apart.
    let zeros = (bits - f64::from(ones)).max(0.5);
    (bits * (bits / zeros).ln()).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    fn visitor(number: u64) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one(number)
    }

    fn good(us: u64) -> Outcome {
        Outcome { failed: false, cut: false, answer_us: Some(us) }
    }

    const BAD: Outcome = Outcome { failed: true, cut: false, answer_us: None };

    #[test]
    fn a_visitor_counts_once_a_minute_however_much_it_asks() {
        let trial = Trial::begin(0, Duration::ZERO);
        for minute in 0..3 {
            for number in 0..200 {
                for _ in 0..20 {
                    trial.count(Side::Target, visitor(number), good(900), minute * MINUTE_US + 1);
                }
            }
            trial.count(Side::Target, visitor(7), BAD, minute * MINUTE_US + 2);
            trial.count(Side::Target, visitor(7), BAD, minute * MINUTE_US + 3);
        }
        let report = trial.report("x", 5, 3 * MINUTE_US);
        let target = &report.sides.target;
        assert!(target.cells.abs_diff(600) <= 20, "{}", target.cells);
        assert_eq!((target.failing, target.requests), (3, 12_006));
        assert_eq!(target.times_us.iter().map(|(_, n)| n).sum::<u64>(), 12_000);
        assert_eq!((report.sides.source.cells, trial.saved()), (0, 6));
    }

    #[test]
    fn an_answer_that_is_cut_failed_and_nobody_was_saved() {
        let trial = Trial::begin(0, Duration::ZERO);
        let cut = Outcome { failed: true, cut: true, answer_us: Some(900) };
        trial.count(Side::Target, 1, cut, 1);
        trial.count(Side::Target, 2, BAD, 1);
        let target = trial.report("x", 5, 2).sides.target;
        assert_eq!((target.failing, target.requests, trial.saved()), (2, 2, 1));
    }

    #[test]
    fn distinct_visitors_are_told_apart_up_to_ten_thousand() {
        for wanted in [1, 10, 500, 4_000, 10_000_u64] {
            let sketch = Sketch::new();
            (0..wanted).for_each(|number| sketch.add(visitor(number)));
            let count = sketch.count();
            assert!(count.abs_diff(wanted) * 20 <= wanted, "{count} of {wanted}");
            assert_eq!((sketch.take(), sketch.count()), (count, 0));
        }
        assert!(estimate(BITS as u32) > 30_000);
    }

    #[test]
    fn what_comes_while_caches_are_cold_is_not_counted() {
        let trial = Trial::begin(5, Duration::from_secs(60));
        trial.count(Side::Target, 1, BAD, MINUTE_US);
        trial.count(Side::Target, 1, good(7), MINUTE_US + 5);
        let target = trial.report("x", 5, 2 * MINUTE_US + 5).sides.target;
        assert_eq!((target.cells, target.failing, target.requests), (1, 0, 1));
        assert_eq!(trial.report("x", 5, 2 * MINUTE_US + 5).lasts_ms, 60_000);
    }
}
