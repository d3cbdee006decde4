//! The breaker: ends a split by itself where the target fails, before anybody is asked.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Time over which failures are counted, microseconds.
const WINDOW_US: u64 = 5_000_000;
/// Fewest requests of which half must have failed.
const LEAST: usize = 10;
/// So many failures in a row are enough, however few requests there are.
const IN_A_ROW: u32 = 3;
/// Most requests that are remembered.
const MOST: usize = 1_024;
/// First and longest time for which nobody is sent, microseconds; it doubles in between.
const REST_US: (u64, u64) = (10_000_000, 60_000_000);
/// After a rest single requests are let through; so many good ones close the breaker.
const GOOD_IN_A_ROW: u32 = 3;

/// Says whether the target gets requests.
#[derive(Default)]
pub(super) struct Breaker {
    /// When the rest ends, microseconds; 0 while it is closed. Read without a lock.
    until_us: AtomicU64,
    opened: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// When each request was answered, and whether it failed.
    recent: VecDeque<(u64, bool)>,
    failed: usize,
    in_a_row: u32,
    /// How long the last rest was.
    rest_us: u64,
    /// Half open: requests let through one at a time.
    good: u32,
    trying_since_us: Option<u64>,
}

impl Breaker {
    /// Says whether a request may go to the target; after a rest, one at a time.
    pub(super) fn lets_through(&self, now_us: u64) -> bool {
        let until_us = self.until_us.load(Ordering::Relaxed);
        if until_us == 0 {
            return true;
        }
        if now_us < until_us {
            return false;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was never answered for is not waited for longer than a window.
        let busy = seen.trying_since_us.is_some_and(|since| now_us < since + WINDOW_US);
        if !busy {
            seen.trying_since_us = Some(now_us);
        }
        !busy
    }

    /// Takes note of what came of a request at the target.
    pub(super) fn note(&self, failed: bool, now_us: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let until_us = self.until_us.load(Ordering::Relaxed);
        if until_us > 0 {
            if now_us < until_us {
                // Sent before it opened.
                return;
            }
            seen.trying_since_us = None;
            seen.good = if failed { 0 } else { seen.good + 1 };
            if failed {
                self.open(&mut seen, now_us);
            } else if seen.good >= GOOD_IN_A_ROW {
                *seen = Seen { rest_us: seen.rest_us, ..Seen::default() };
                self.until_us.store(0, Ordering::Relaxed);
            }
            return;
        }
        seen.note(failed, now_us);
        if seen.is_bad() {
            self.open(&mut seen, now_us);
        }
    }

    fn open(&self, seen: &mut Seen, now_us: u64) {
        let rest_us = (seen.rest_us * 2).clamp(REST_US.0, REST_US.1);
        *seen = Seen { rest_us, ..Seen::default() };
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.until_us.store((now_us + rest_us).max(1), Ordering::Relaxed);
    }

    /// Says whether it keeps requests from the target now.
    pub(super) fn is_open(&self, _now_us: u64) -> bool {
        self.until_us.load(Ordering::Relaxed) > 0
    }

    /// Returns how often it opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }
}

impl Seen {
    fn note(&mut self, failed: bool, now_us: u64) {
        while let Some((at, old)) = self.recent.front().copied() {
            if self.recent.len() < MOST && at + WINDOW_US >= now_us {
                break;
            }
            self.recent.pop_front();
            self.failed -= usize::from(old);
        }
        self.recent.push_back((now_us, failed));
        self.failed += usize::from(failed);
        self.in_a_row = if failed { self.in_a_row + 1 } else { 0 };
    }

    fn is_bad(&self) -> bool {
        let half = self.recent.len() >= LEAST && self.failed * 2 >= self.recent.len();
        half || self.in_a_row >= IN_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn half_of_the_requests_or_three_in_a_row_open_it() {
        let breaker = Breaker::default();
        // One in three fails, never three in a row: closed however long it lasts.
        for at in 0..3_000 {
            breaker.note(at % 3 == 0, at * 1_000);
        }
        assert!(!breaker.is_open(0) && breaker.lets_through(4 * SECOND));
        let breaker = Breaker::default();
        for at in 0..10 {
            breaker.note(at % 2 == 0, at * 1_000);
        }
        assert!(breaker.is_open(0) && !breaker.lets_through(SECOND));
        let breaker = Breaker::default();
        for at in 0..3 {
            assert!(breaker.lets_through(at * SECOND));
            breaker.note(true, at * SECOND);
        }
        assert!(breaker.is_open(0));
    }

    #[test]
    fn failures_are_forgotten_after_a_while() {
        let breaker = Breaker::default();
        for at in 0..40 {
            // Two failures, then a good one, each seven seconds after the other.
            breaker.note(at % 3 != 2, at * 7 * SECOND);
        }
        assert!(!breaker.is_open(0));
    }

    #[test]
    fn after_a_rest_one_request_at_a_time_tries_and_three_good_ones_close_it() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            breaker.note(true, SECOND);
        }
        assert!(!breaker.lets_through(10 * SECOND), "it rests for ten seconds");
        assert!(breaker.lets_through(12 * SECOND));
        assert!(!breaker.lets_through(12 * SECOND), "one at a time");
        breaker.note(true, 12 * SECOND);
        assert!(!breaker.lets_through(31 * SECOND), "twice as long");
        for at in [33, 34, 35] {
            assert!(breaker.is_open(0));
            assert!(breaker.lets_through(at * SECOND), "at {at}");
            breaker.note(false, at * SECOND);
        }
        assert!(!breaker.is_open(0) && breaker.lets_through(36 * SECOND));
        assert_eq!(breaker.opened(), 2);
    }

    #[test]
    fn one_that_was_sent_before_does_not_count_while_it_rests() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            breaker.note(true, SECOND);
        }
        for _ in 0..9 {
            breaker.note(false, 2 * SECOND);
        }
        assert!(breaker.is_open(0) && !breaker.lets_through(3 * SECOND));
        // A trial request that is never answered does not lock it for ever.
        assert!(breaker.lets_through(12 * SECOND));
        assert!(!breaker.lets_through(13 * SECOND));
        assert!(breaker.lets_through(18 * SECOND));
    }
}
