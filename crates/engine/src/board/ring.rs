//! The last two minutes of one measured value.

use segue_model::Sample;
use std::collections::VecDeque;

/// How long samples are kept, milliseconds.
pub(super) const KEEP_MS: u64 = 120_000;
/// Most samples kept, whatever the rate.
const KEEP_COUNT: usize = 4096;

/// One second of samples, put together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Second {
    /// Its beginning by the boot clock, milliseconds.
    pub(super) boot_ms: u64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) sum: f64,
    /// Number of samples.
    pub(super) samples: u64,
    /// Observations behind them.
    pub(super) count: u64,
}

impl Second {
    fn of(sample: &Sample) -> Self {
        Self {
            boot_ms: sample.taken_at_ms / 1000 * 1000,
            min: sample.value,
            max: sample.value,
            sum: sample.value,
            samples: 1,
            count: sample.count,
        }
    }

    fn join(&mut self, sample: &Sample) {
        self.min = self.min.min(sample.value);
        self.max = self.max.max(sample.value);
        self.sum += sample.value;
        self.samples += 1;
        self.count += sample.count;
    }
}

#[derive(Default)]
pub(super) struct Ring {
    samples: VecDeque<Sample>,
    seconds: VecDeque<Second>,
}

impl Ring {
    pub(super) fn push(&mut self, sample: Sample, now_ms: u64) {
        let second = sample.taken_at_ms / 1000 * 1000;
        match self.seconds.iter_mut().rev().find(|kept| kept.boot_ms == second) {
            Some(kept) => kept.join(&sample),
            None => self.seconds.push_back(Second::of(&sample)),
        }
        self.samples.push_back(sample);
        let oldest = now_ms.saturating_sub(KEEP_MS);
        while self.samples.len() > KEEP_COUNT
            || self.samples.front().is_some_and(|first| first.taken_at_ms < oldest)
        {
            self.samples.pop_front();
        }
        while self.seconds.len() > KEEP_COUNT {
            self.seconds.pop_front();
        }
    }

    pub(super) fn newest(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// Returns the samples taken after `after`, oldest first.
    pub(super) fn since(&self, after: u64) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.taken_at_ms > after)
    }

    /// Hands out the seconds that were over at `over_ms` and forgets them.
    pub(super) fn roll_up(&mut self, over_ms: u64, mut take: impl FnMut(Second)) {
        self.seconds.retain(|second| {
            let over = second.boot_ms + 1000 <= over_ms;
            if over {
                take(*second);
            }
            !over
        });
    }
}
