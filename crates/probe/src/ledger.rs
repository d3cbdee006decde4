//! Lines of a server's log against the requests that fronts passed to it.
//!
//! A server that is told who its clients are logs them and not the fronts, so its log does not
//! show by addresses who came around. Then numbers have to: every line more than fronts passed
//! is somebody else's. Where it does show the fronts, addresses tell it at once.

use std::collections::VecDeque;

/// What is missing in the log at least before it is said, requests.
const LACK_MIN: i64 = 20;
/// And as a share of what was passed through this: a log that leaves out more shows nothing.
const LACK_SHARE: i64 = 20;
/// A request is logged when its server is done, and counted when its client is: a difference has
/// to stay for so many readings.
const SETTLES: usize = 5;
/// So many readings are looked at for it: a server may write its lines by the minute.
const READINGS: usize = 90;

/// Sums since the first reading.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Lines.
    lines: i64,
    /// What fronts had passed at the first reading.
    base: Option<u64>,
    /// Lines so far beyond what fronts passed: what has been told.
    most: i64,
    /// The latest differences, with what had been passed by then.
    recent: VecDeque<(i64, i64)>,
}

/// What an interval shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// So many requests came around the fronts.
    Around(u64),
    /// The log has so many requests fewer than fronts passed, of so many: it shows nobody.
    Lacks(i64, i64),
    /// It cannot be told yet: there are too few readings, fronts began to count anew, or the log is
    /// behind.
    Nothing,
}

impl Ledger {
    /// Adds an interval: its lines, and what fronts have passed so far, read after the lines: what
    /// they passed meanwhile makes nobody suspicious.
    ///
    /// A front counts a request before its server has logged it, or at the same moment, since those
    /// that run count. So lines less requests are never more than what came around, and the
    /// highest such difference is what did.
    pub(crate) fn add(&mut self, lines: u64, passed: u64) -> Shown {
        let Some(base) = self.base.filter(|base| *base <= passed) else {
            *self = Self { base: Some(passed), ..Self::default() };
            return Shown::Nothing;
        };
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let passed = signed(passed - base);
        self.lines += signed(lines);
        if self.recent.len() == READINGS {
            self.recent.pop_front();
        }
        self.recent.push_back((self.lines - passed, passed));
        let window = self.window();
        let allowed = LACK_MIN.max(window.passed / LACK_SHARE);
        let missing = self.most - window.best;
        if window.whole && missing > allowed {
            // What fronts answered themselves stays missing, and hides nobody from here on.
            *self = Self::default();
            return Shown::Lacks(missing, window.passed);
        }
        // Until a log that is written by the minute had its minute, one that is behind says nothing.
        let behind = !window.whole && self.most - window.last > allowed;
        if behind || (window.lines == 0 && window.passed > 0) {
            return Shown::Nothing;
        }
        if window.whole && window.first - window.last <= LACK_MIN {
            self.most -= missing.max(0);
        }
        let latest = self.recent.iter().rev().take(SETTLES).map(|(beyond, _)| *beyond);
        let Some(stays) = latest.min().filter(|_| self.recent.len() >= SETTLES) else {
            return Shown::Nothing;
        };
        let more = (stays - self.most).max(0);
        self.most += more;
        Shown::Around(more.unsigned_abs())
    }

    fn window(&self) -> Window {
        let beyond = || self.recent.iter().map(|(beyond, _)| *beyond);
        let edge = |edge: Option<&(i64, i64)>| edge.copied().unwrap_or_default();
        let ((first, from), (last, to)) = (edge(self.recent.front()), edge(self.recent.back()));
        Window {
            whole: self.recent.len() == READINGS,
            best: beyond().max().unwrap_or_default(),
            first,
            last,
            passed: to - from,
            lines: (last + to) - (first + from),
        }
    }
}

/// The latest readings.
struct Window {
    /// Whether there are as many as are looked at.
    whole: bool,
    /// The most lines beyond what fronts passed, of all readings, of the first and of the last.
    best: i64,
    first: i64,
    last: i64,
    /// What fronts passed, and what was logged.
    passed: i64,
    lines: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds readings of ten requests each; returns how many came around, or what is wrong.
    fn readings(
        ledger: &mut Ledger,
        count: u64,
        passed: &mut u64,
        lines: u64,
    ) -> Result<u64, Shown> {
        let mut around = 0;
        for _ in 0..count {
            *passed += 10;
            match ledger.add(lines, *passed) {
                Shown::Around(more) => around += more,
                Shown::Nothing => {}
                lacks @ Shown::Lacks(..) => return Err(lacks),
            }
        }
        Ok(around)
    }

    #[test]
    fn every_line_more_than_fronts_passed_is_somebody_elses() {
        let (mut ledger, mut passed) = (Ledger::default(), 700);
        assert_eq!(ledger.add(99, passed), Shown::Nothing, "there is no interval yet");
        for _ in 1..SETTLES {
            passed += 10;
            assert_eq!(ledger.add(10, passed), Shown::Nothing, "too few say nothing");
        }
        assert_eq!(readings(&mut ledger, 50, &mut passed, 10), Ok(0));
        passed += 10;
        ledger.add(12, passed);
        assert_eq!(readings(&mut ledger, 50, &mut passed, 10), Ok(2), "each counts once");
        // Logged, and counted a moment later: its client is slow.
        passed += 5;
        ledger.add(10, passed);
        passed += 5;
        assert_eq!(readings(&mut ledger, 10, &mut passed, 10), Ok(0));
        // Written late, all at once: no line is more than was passed.
        assert_eq!(readings(&mut ledger, 30, &mut passed, 0), Ok(0));
        assert_eq!(ledger.add(301, passed), Shown::Around(0));
        assert_eq!(readings(&mut ledger, 10, &mut passed, 10), Ok(1));
        // A front that began anew has counted nothing.
        assert_eq!(ledger.add(5, 3), Shown::Nothing);
    }

    #[test]
    fn a_log_without_a_line_passes_no_gate() {
        let (mut ledger, mut passed) = (Ledger::default(), 0);
        ledger.add(0, passed);
        let mut silent = 0;
        let lacks = loop {
            passed += 10;
            match ledger.add(0, passed) {
                Shown::Nothing => silent += 1,
                other => break other,
            }
        };
        assert!(matches!(lacks, Shown::Lacks(45.., 890)), "{lacks:?}");
        assert!((READINGS..READINGS + 10).contains(&silent), "{silent}");
    }

    #[test]
    fn what_fronts_answered_themselves_hides_nobody_for_long() {
        let (mut ledger, mut passed) = (Ledger::default(), 0);
        ledger.add(0, passed);
        assert_eq!(readings(&mut ledger, 100, &mut passed, 10), Ok(0));
        passed += 15;
        ledger.add(0, passed);
        assert_eq!(readings(&mut ledger, 100, &mut passed, 10), Ok(0), "within what is allowed");
        passed += 10;
        ledger.add(13, passed);
        assert_eq!(readings(&mut ledger, 10, &mut passed, 10), Ok(3));
    }

    #[test]
    fn a_log_that_leaves_requests_out_shows_nobody() {
        let (mut ledger, mut passed) = (Ledger::default(), 0);
        ledger.add(0, passed);
        for _ in 1..READINGS {
            passed += 10;
            assert_eq!(ledger.add(5, passed), Shown::Nothing, "nor that nobody came");
        }
        let shown = readings(&mut ledger, 100, &mut passed, 5);
        assert!(matches!(shown, Err(Shown::Lacks(45.., _))), "{shown:?}");
    }

    #[test]
    fn a_log_that_is_written_late_is_waited_for() {
        let (mut ledger, mut passed) = (Ledger::default(), 0);
        ledger.add(0, passed);
        for _ in 1..60 {
            passed += 100;
            assert_eq!(ledger.add(0, passed), Shown::Nothing, "its minute is not over");
        }
        passed += 100;
        assert_eq!(ledger.add(6_000, passed), Shown::Around(0));
        // A few of the first interval come in the next one: they are nobody else's.
        let mut ledger = Ledger::default();
        ledger.add(0, passed);
        ledger.add(0, passed + 15);
        ledger.add(15, passed + 15);
        for _ in 2..2 * SETTLES {
            assert!(matches!(ledger.add(0, passed + 15), Shown::Nothing | Shown::Around(0)));
        }
    }
}
