//! What the front counts: totals, and one-second windows of answer times.

use crate::clock;
use crate::control::{Totals, Window};
use crate::store::counts::{SavedCounts, SavedLane};
use crate::tcp::Bytes;
use hdrhistogram::Histogram;
use http::StatusCode;
use segue_model::{Side, Sides};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Seconds that are remembered.
const WINDOWS: u64 = 120;

/// Shards of the current second.
const SHARDS: usize = 4;

/// Classes of status, and none.
pub(crate) const CLASSES: usize = 6;

/// Places of clients that are told apart.
const PLACES: usize = 1_024;

/// Ends of the buckets of answer times, microseconds.
pub(crate) const BOUNDS_US: [u64; 12] = [
    5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_000_000, 5_000_000,
    10_000_000, 30_000_000,
];

/// Longest answer time that is told apart, microseconds.
const LONGEST_US: u64 = 600_000_000;

/// One answered request.
pub(crate) struct Answered {
    /// From forwarding to the head of the answer, microseconds; none if no backend was asked.
    pub(crate) answer_us: Option<u64>,
    /// From the request's head to the end of the answer, microseconds.
    pub(crate) whole_us: u64,
    /// Whether it failed in the client's view.
    pub(crate) failed: bool,
    /// Its status; none if there was no answer at all.
    pub(crate) status: Option<StatusCode>,
    /// What tells the client from others, nearly.
    pub(crate) client: u32,
    /// Whether the run itself asked.
    pub(crate) probe: bool,
}

/// Counters of one side.
pub(crate) struct Lane {
    /// Requests by the first digit of their status; those without one first.
    classes: [AtomicU64; CLASSES],
    failed: AtomicU64,
    longest_us: AtomicU64,
    /// One bit for the clients of each of 1,024 places.
    clients: [AtomicU64; PLACES / 64],
    now: [Mutex<Second>; SHARDS],
    past: Mutex<VecDeque<Window>>,
    life: Mutex<Answers>,
}

/// How long answers took, since the front started.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Answers {
    /// Answers up to each of [`BOUNDS_US`] and above the one before; the last ones above all.
    pub(crate) buckets: [u64; BOUNDS_US.len() + 1],
    /// Sum of all, microseconds.
    pub(crate) sum_us: u64,
}

impl Answers {
    /// Adds those of a second.
    fn add(&mut self, times: &Histogram<u32>) {
        for step in times.iter_recorded() {
            let us = times.lowest_equivalent(step.value_iterated_to());
            let count = step.count_since_last_iteration();
            let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
            self.buckets[bucket] += count;
            self.sum_us = self.sum_us.saturating_add(us.saturating_mul(count));
        }
    }
}

#[derive(Default)]
struct Second {
    count: u64,
    failed: u64,
    refused: u64,
    /// One bit for the clients of each of 64 places: enough to tell one from many.
    clients: u64,
    /// Made when it is needed: of thousands of units few are busy at once.
    times: Option<Box<Histogram<u32>>>,
}

impl Second {
    fn times(&mut self) -> &mut Histogram<u32> {
        self.times.get_or_insert_with(|| {
            let times = Histogram::new_with_bounds(1, LONGEST_US, 2)
                .expect("bounds that are constants are valid or not at the first start already");
            Box::new(times)
        })
    }

    /// Takes over what another one counted, and leaves it empty.
    fn take(&mut self, other: &mut Self) {
        let Self { count, failed, refused, clients, times } = other;
        self.count += std::mem::take(count);
        self.failed += std::mem::take(failed);
        self.refused += std::mem::take(refused);
        self.clients |= std::mem::take(clients);
        let Some(counted) = times.as_mut().filter(|times| !times.is_empty()) else {
            *times = None;
            return;
        };
        // Both have the same bounds, so that adding cannot fail.
        let _ = self.times().add(&**counted);
        counted.reset();
    }
}

/// Counters of a front or of one of its units.
pub(crate) struct Counts {
    /// Requests by the side they were sent to.
    pub(crate) sides: Sides<Lane>,
    /// Requests that came through another front.
    pub(crate) relayed: Lane,
    /// The run's own probes; they count in their side's totals as well, in no second.
    pub(crate) probes: Lane,
    /// Connections at ports for TCP, by the side they were sent to.
    pub(crate) tcp: Sides<Bytes>,
}

impl Counts {
    /// Builds counters with nothing counted.
    pub(crate) fn new() -> Self {
        Self {
            sides: Sides::from_fn(|_| Lane::new()),
            relayed: Lane::new(),
            probes: Lane::new(),
            tcp: Sides::from_fn(|_| Bytes::default()),
        }
    }

    /// Returns what was counted so far, to be kept; none if nothing was.
    pub(crate) fn saved(&self) -> Option<SavedCounts> {
        let saved = SavedCounts {
            sides: Sides::from_fn(|side| self.sides.get(side).saved()),
            relayed: self.relayed.saved(),
            probes: self.probes.saved(),
            tcp: Sides::from_fn(|side| self.tcp.get(side).totals()),
        };
        (saved != SavedCounts::default()).then_some(saved)
    }

    /// Counts what another process counted.
    pub(crate) fn add(&self, saved: &SavedCounts) {
        for side in [Side::Source, Side::Target] {
            self.sides.get(side).add(saved.sides.get(side));
            self.tcp.get(side).add(saved.tcp.get(side));
        }
        self.relayed.add(&saved.relayed);
        self.probes.add(&saved.probes);
    }

    /// Closes the current second; called once a second.
    pub(crate) fn tick(&self) {
        self.sides.source.tick();
        self.sides.target.tick();
        self.relayed.tick();
        self.probes.tick();
    }
}

impl Lane {
    /// Builds a lane with nothing counted.
    pub(crate) fn new() -> Self {
        Self {
            classes: Default::default(),
            failed: AtomicU64::new(0),
            longest_us: AtomicU64::new(0),
            clients: Default::default(),
            now: std::array::from_fn(|_| Mutex::default()),
            past: Mutex::default(),
            life: Mutex::default(),
        }
    }

    /// Returns what was counted so far, to be kept.
    pub(crate) fn saved(&self) -> SavedLane {
        let Answers { buckets, sum_us } = self.answers();
        SavedLane {
            classes: self.classes(),
            failed: self.failed.load(Ordering::Relaxed),
            longest_us: self.longest_us.load(Ordering::Relaxed),
            buckets,
            sum_us,
        }
    }

    /// Counts what another process counted.
    pub(crate) fn add(&self, saved: &SavedLane) {
        for (own, more) in self.classes.iter().zip(saved.classes) {
            own.fetch_add(more, Ordering::Relaxed);
        }
        self.failed.fetch_add(saved.failed, Ordering::Relaxed);
        self.longest_us.fetch_max(saved.longest_us, Ordering::Relaxed);
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        for (own, more) in life.buckets.iter_mut().zip(saved.buckets) {
            *own += more;
        }
        life.sum_us = life.sum_us.saturating_add(saved.sum_us);
    }

    /// Counts a request.
    pub(crate) fn count(&self, hint: usize, answered: &Answered) {
        let class = answered.status.map_or(0, |status| usize::from(status.as_u16() / 100));
        self.classes[class.min(CLASSES - 1)].fetch_add(1, Ordering::Relaxed);
        let place = answered.client as usize % PLACES;
        let (clients, bit) = (&self.clients[place / 64], 1 << (place % 64));
        if clients.load(Ordering::Relaxed) & bit == 0 {
            clients.fetch_or(bit, Ordering::Relaxed);
        }
        if answered.failed {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        if answered.whole_us > self.longest_us.load(Ordering::Relaxed) {
            self.longest_us.fetch_max(answered.whole_us, Ordering::Relaxed);
        }
        if answered.probe {
            // What triggers and gates see of each second is what visitors do.
            return;
        }
        let mut second = self.now[hint % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        second.count += 1;
        second.failed += u64::from(answered.failed);
        second.refused += u64::from(class == 4);
        second.clients |= 1 << (answered.client % 64);
        if let Some(answer_us) = answered.answer_us {
            second.times().saturating_record(answer_us.clamp(1, LONGEST_US));
        }
    }

    /// Closes the current second; called once a second.
    pub(crate) fn tick(&self) {
        self.close(clock::now_ms() / 1_000);
    }

    /// Closes the second that ends in `second`. One without requests is not kept: of
    /// thousands of units most are idle, and two minutes of each would be much memory.
    fn close(&self, second: u64) {
        let mut all = Second::default();
        for shard in &self.now {
            all.take(&mut shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        while past.front().is_some_and(|window| window.second + WINDOWS <= second) {
            past.pop_front();
        }
        if all.count == 0 {
            if past.is_empty() && past.capacity() > 0 {
                *past = VecDeque::new();
            }
            return;
        }
        let times = all.times.as_ref();
        if let Some(times) = times {
            self.life.lock().unwrap_or_else(PoisonError::into_inner).add(times);
        }
        let at = |q: f64| times.map_or(0.0, |times| clock::as_ms(times.value_at_quantile(q)));
        let window = Window {
            second,
            count: all.count,
            failed: all.failed,
            refused: all.refused,
            clients: u64::from(all.clients.count_ones()),
            p50_ms: at(0.50),
            p95_ms: at(0.95),
            max_ms: at(1.0),
        };
        past.push_back(window);
    }

    /// Returns everything counted so far.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            requests: self.classes().iter().sum(),
            failed: self.failed.load(Ordering::Relaxed),
            longest_ms: clock::as_ms(self.longest_us.load(Ordering::Relaxed)),
        }
    }

    /// Returns requests by the first digit of their status; those without one first.
    pub(crate) fn classes(&self) -> [u64; CLASSES] {
        std::array::from_fn(|class| self.classes[class].load(Ordering::Relaxed))
    }

    /// Returns how many clients there were, nearly: within 5 % up to 2,000 of them, and no more
    /// than can be told from full places beyond (linear counting, Whang et al. 1990).
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn clients(&self) -> u64 {
        let taken: u32 = self.clients.iter().map(|c| c.load(Ordering::Relaxed).count_ones()).sum();
        let free = (PLACES as f64 - f64::from(taken)).max(1.0);
        (PLACES as f64 * (PLACES as f64 / free).ln()).round() as u64
    }

    /// Returns how long answers to visitors took, up to the last full second.
    pub(crate) fn answers(&self) -> Answers {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the last seconds that had requests, oldest first.
    pub(crate) fn windows(&self) -> Vec<Window> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tells_median_from_tail_and_forgets_old_seconds() {
        let lane = Lane::new();
        for i in 1..=100_u64 {
            let answered = Answered {
                answer_us: Some(i * 1_000),
                whole_us: i * 2_000,
                failed: i > 98,
                status: Some(match i {
                    1..=3 => StatusCode::NOT_FOUND,
                    99.. => StatusCode::BAD_GATEWAY,
                    _ => StatusCode::OK,
                }),
                client: if i == 50 { 7 } else { 3 },
                probe: false,
            };
            lane.count(i as usize, &answered);
        }
        lane.tick();
        let window = lane.windows().pop().unwrap();
        assert_eq!((window.count, window.failed, window.refused, window.clients), (100, 2, 3, 2));
        assert!((window.p50_ms - 50.0).abs() < 1.0, "{window:?}");
        assert!((window.p95_ms - 95.0).abs() < 1.5, "{window:?}");
        assert!((window.max_ms - 100.0).abs() < 1.5, "{window:?}");
        assert_eq!(lane.totals(), Totals { requests: 100, failed: 2, longest_ms: 200.0 });
        assert_eq!((lane.classes(), lane.clients()), ([0, 0, 95, 0, 3, 2], 2));
        let answers = lane.answers();
        assert_eq!(answers.buckets, [5, 5, 15, 25, 50, 0, 0, 0, 0, 0, 0, 0, 0]);
        let sum = std::time::Duration::from_micros(answers.sum_us).as_millis();
        assert!((5_000..5_150).contains(&sum), "1 + 2 + ... + 100 ms is {sum} ms");
    }

    #[test]
    fn tells_nearly_how_many_clients_there_were() {
        let lane = Lane::new();
        for client in 0..2_000_u32 {
            let mut hasher = std::hash::DefaultHasher::new();
            std::hash::Hash::hash(&client, &mut hasher);
            let client = std::hash::Hasher::finish(&hasher) as u32;
            let (failed, status, probe) = (false, Some(StatusCode::OK), false);
            let one = Answered { answer_us: None, whole_us: 1, failed, status, client, probe };
            lane.count(0, &one);
            lane.count(1, &one);
        }
        assert!((1_800..2_200).contains(&lane.clients()), "{}", lane.clients());
    }

    #[test]
    fn keeps_two_minutes_and_no_second_without_requests() {
        let lane = Lane::new();
        let one = |second| {
            let (answer_us, whole_us) = (Some(900), 1_000);
            let (failed, status, client, probe) = (false, Some(StatusCode::OK), 0, false);
            lane.count(0, &Answered { answer_us, whole_us, failed, status, client, probe });
            lane.close(second);
        };
        let seconds = || lane.windows().iter().map(|window| window.second).collect::<Vec<_>>();
        for second in 1..=300 {
            one(second);
        }
        assert_eq!(seconds(), (181..=300).collect::<Vec<_>>());
        lane.close(301);
        assert_eq!(seconds(), (182..=300).collect::<Vec<_>>(), "an idle second is none");
        one(302);
        assert_eq!(seconds(), (183..=300).chain([302]).collect::<Vec<_>>());
        for second in 303..=422 {
            lane.close(second);
        }
        assert_eq!(seconds(), [] as [u64; 0]);
        assert_eq!(lane.past.lock().unwrap().capacity(), 0, "idle for long, it keeps no room");
        assert_eq!(lane.totals().requests, 301);
    }

    #[test]
    fn a_second_tells_of_visitors_and_the_totals_of_probes_too() {
        let lane = Lane::new();
        for probe in [false, true, true] {
            let (answer_us, whole_us, client) = (Some(900), 1_000, 0);
            let (failed, status) = (probe, Some(StatusCode::OK));
            lane.count(0, &Answered { answer_us, whole_us, failed, status, client, probe });
        }
        lane.tick();
        let window = lane.windows().pop().unwrap();
        assert_eq!((window.count, window.failed), (1, 0));
        assert_eq!((lane.totals().requests, lane.totals().failed), (3, 2));
    }
}
