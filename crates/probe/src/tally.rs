//! Counting probes: totals, seconds, and the longest interruption.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Seconds kept; older ones are only in the totals.
const SECONDS: usize = 2 * 3600;
/// Highest time that the histogram tells apart, microseconds.
const HIGHEST_US: u64 = 60_000_000;
/// Completions are kept this long for samples, milliseconds.
const RECENT_MS: u64 = 1000;

/// One second of probing, by intended send time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeSecond {
    /// The second, since 1970.
    pub second: u64,
    /// Requests of it that have ended.
    pub sent: u64,
    /// Failed ones.
    pub failed: u64,
    /// Longest time from intended send time to end, milliseconds.
    pub max_ms: f64,
    /// Median of these times, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, milliseconds.
    pub p99_ms: f64,
    /// Good answers by the side that gave them.
    pub by_side: BTreeMap<String, u64>,
}

/// A run of failed probes without a good one between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interruption {
    /// Intended send time of the first failed probe, milliseconds since 1970.
    pub began_ms: u64,
    /// From there to the intended send time of the first good probe after, milliseconds.
    pub length_ms: u64,
    /// Failed probes in it.
    pub probes: u64,
    /// Whether no good probe has followed yet.
    pub open: bool,
}

/// Everything since the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeSummary {
    /// The probe's name.
    pub name: String,
    /// Where it asked.
    pub address: String,
    /// Requests per second it intended.
    pub per_second: u32,
    /// Requests that have ended, failed or not.
    pub sent: u64,
    /// Failed ones.
    pub failed: u64,
    /// Failed ones by kind: `status 503`, `reset`, `eof`, `timeout`, `marker`, `connect`, `garbled`.
    pub failures: BTreeMap<String, u64>,
    /// Good answers by the side that gave them; `unknown` without the header.
    pub by_side: BTreeMap<String, u64>,
    /// Longest time from intended send time to end, milliseconds.
    pub max_ms: f64,
    /// Median of these times, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, milliseconds.
    pub p99_ms: f64,
    /// Number of interruptions.
    pub interruptions: u64,
    /// The longest of them; the truth lies within one probe interval of it.
    pub longest_interruption: Option<Interruption>,
}

/// How one probe ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    /// Its number, from 0 without gaps.
    pub(crate) number: u64,
    /// Intended send time, milliseconds since 1970.
    pub(crate) intended_ms: u64,
    /// Time from then to its end, microseconds.
    pub(crate) took_us: u64,
    /// The side that gave a good answer, or the kind of failure.
    pub(crate) result: Result<String, String>,
}

/// What a sample shows of the last second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Recent {
    pub(crate) ended: u64,
    pub(crate) failed: u64,
    pub(crate) max_ms: f64,
}

struct Second {
    public: ProbeSecond,
    times_us: Vec<u64>,
}

/// All counts of one probe.
pub(crate) struct Tally {
    total: ProbeSummary,
    times: Histogram<u64>,
    seconds: BTreeMap<u64, Second>,
    recent: VecDeque<(u64, u64, bool)>,
    /// Ended, but an earlier one has not: runs are counted in intended order.
    waiting: BTreeMap<u64, (u64, bool)>,
    next: u64,
    current: Option<Interruption>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            total: ProbeSummary::default(),
            // Three digits over this range are always accepted.
            times: Histogram::new_with_bounds(1, HIGHEST_US, 3)
                .expect("bounds and digits are constants that the histogram accepts"),
            seconds: BTreeMap::new(),
            recent: VecDeque::new(),
            waiting: BTreeMap::new(),
            next: 0,
            current: None,
        }
    }

    /// Takes one ended probe at `now_ms`, by the boot clock.
    pub(crate) fn ended(&mut self, ended: Ended, now_ms: u64) {
        let good = ended.result.is_ok();
        self.total.sent += 1;
        self.times.saturating_record(ended.took_us.max(1));
        let second = self.seconds.entry(ended.intended_ms / 1000).or_insert_with(|| Second {
            public: ProbeSecond { second: ended.intended_ms / 1000, ..ProbeSecond::default() },
            times_us: Vec::new(),
        });
        second.public.sent += 1;
        second.times_us.push(ended.took_us);
        match ended.result {
            Ok(side) => {
                *second.public.by_side.entry(side.clone()).or_default() += 1;
                *self.total.by_side.entry(side).or_default() += 1;
            }
            Err(kind) => {
                second.public.failed += 1;
                self.total.failed += 1;
                *self.total.failures.entry(kind).or_default() += 1;
            }
        }
        if self.seconds.len() > SECONDS {
            self.seconds.pop_first();
        }
        self.recent.push_back((now_ms, ended.took_us, good));
        self.forget(now_ms);
        self.waiting.insert(ended.number, (ended.intended_ms, good));
        while let Some((intended_ms, good)) = self.waiting.remove(&self.next) {
            self.in_order(intended_ms, good);
            self.next += 1;
        }
    }

    fn in_order(&mut self, intended_ms: u64, good: bool) {
        match (&mut self.current, good) {
            (None, true) => {}
            (None, false) => {
                self.total.interruptions += 1;
                let began_ms = intended_ms;
                self.current = Some(Interruption { began_ms, length_ms: 0, probes: 1, open: true });
            }
            (Some(run), false) => {
                run.probes += 1;
                run.length_ms = intended_ms.saturating_sub(run.began_ms);
            }
            (Some(run), true) => {
                run.length_ms = intended_ms.saturating_sub(run.began_ms);
                run.open = false;
                let run = *run;
                self.current = None;
                self.total.longest_interruption = longer(self.total.longest_interruption, run);
            }
        }
    }

    fn forget(&mut self, now_ms: u64) {
        while self.recent.front().is_some_and(|r| r.0 + RECENT_MS <= now_ms) {
            self.recent.pop_front();
        }
    }

    /// Returns what ended in the second before `now_ms`, by the boot clock.
    pub(crate) fn recent(&mut self, now_ms: u64) -> Recent {
        self.forget(now_ms);
        let longest = self.recent.iter().map(|r| r.1).max().unwrap_or(0);
        Recent {
            ended: self.recent.len() as u64,
            failed: self.recent.iter().filter(|r| !r.2).count() as u64,
            max_ms: ms(longest),
        }
    }

    /// Returns how long the interruption lasts that has not ended, at `wall_ms`; 0 without one.
    pub(crate) fn interrupted_ms(&self, wall_ms: u64) -> u64 {
        self.current.map_or(0, |run| wall_ms.saturating_sub(run.began_ms))
    }

    pub(crate) fn summary(&self) -> ProbeSummary {
        let mut summary = self.total.clone();
        summary.max_ms = if summary.sent == 0 { 0.0 } else { ms(self.times.max()) };
        summary.p50_ms = ms(self.times.value_at_quantile(0.5));
        summary.p99_ms = ms(self.times.value_at_quantile(0.99));
        if let Some(run) = self.current {
            summary.longest_interruption = longer(summary.longest_interruption, run);
        }
        summary
    }

    pub(crate) fn seconds(&self) -> Vec<ProbeSecond> {
        let finished = self.seconds.values().map(|second| {
            let mut times = second.times_us.clone();
            times.sort_unstable();
            let at = |q: f64| {
                // Nearest rank; a second holds few values.
                let rank = (q * times.len() as f64).ceil() as usize;
                times.get(rank.saturating_sub(1)).copied().map_or(0.0, ms)
            };
            let (max_ms, p50_ms, p99_ms) = (at(1.0), at(0.5), at(0.99));
            ProbeSecond { max_ms, p50_ms, p99_ms, ..second.public.clone() }
        });
        finished.collect()
    }
}

fn longer(longest: Option<Interruption>, run: Interruption) -> Option<Interruption> {
    match longest {
        Some(longest) if longest.length_ms >= run.length_ms => Some(longest),
        _ => Some(run),
    }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Ended, Interruption, Tally};

    fn probe(number: u64, good: bool) -> Ended {
        let result = if good { Ok("source".into()) } else { Err("reset".into()) };
        Ended { number, intended_ms: 10_000 + number * 100, took_us: 5_000, result }
    }

    #[test]
    fn counts_an_interruption_in_intended_order() {
        let mut tally = Tally::new();
        // 2, 3 and 4 failed; their ends arrive out of order.
        for (number, good) in
            [(0, true), (1, true), (5, true), (3, false), (2, false), (6, true), (4, false)]
        {
            tally.ended(probe(number, good), 0);
        }
        let summary = tally.summary();
        assert_eq!((summary.sent, summary.failed, summary.interruptions), (7, 3, 1));
        let expected = Interruption { began_ms: 10_200, length_ms: 300, probes: 3, open: false };
        assert_eq!(summary.longest_interruption, Some(expected));
        assert_eq!(summary.failures["reset"], 3);
    }

    #[test]
    fn shows_an_interruption_that_has_not_ended() {
        let mut tally = Tally::new();
        for number in 0..4 {
            tally.ended(probe(number, number == 0), 0);
        }
        let open = tally.summary().longest_interruption.unwrap();
        assert!(open.open);
        assert_eq!((open.length_ms, open.probes), (200, 3));
        assert_eq!(tally.interrupted_ms(16_000), 5_900, "it began at 10 100");
        tally.ended(probe(4, true), 0);
        assert_eq!(tally.interrupted_ms(16_000), 0);
    }

    #[test]
    fn forgets_what_is_older_than_a_second_in_samples_only() {
        let mut tally = Tally::new();
        tally.ended(probe(0, false), 5_000);
        assert_eq!(tally.recent(5_999).failed, 1);
        assert_eq!(tally.recent(6_000).ended, 0);
        assert_eq!(tally.summary().failed, 1);
        assert_eq!(tally.seconds()[0].failed, 1);
    }
}
