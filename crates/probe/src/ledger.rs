//! Lines of a server's log against the requests that fronts passed to it.
//!
//! A server that is told who its clients are logs them and not the fronts, so its log does not
//! show by addresses who came around. Then numbers have to: every line more than fronts passed
//! is somebody else's.

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
    /// Lines that do not come from a front by their address.
    others: i64,
    /// Lines that do.
    fronts: i64,
    /// What fronts had passed at the first reading.
    base: Option<u64>,
    /// Most lines so far beyond what fronts passed.
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
    /// It was the first reading, or fronts began to count anew.
    Nothing,
}

impl Ledger {
    /// Adds an interval: lines by who they come from, and what fronts have passed so far, read
    /// after the lines: what they passed meanwhile makes nobody suspicious.
    ///
    /// A front counts a request before its server has logged it, or at the same moment, since those
    /// that run count. So lines less requests are never more than what came around, and the
    /// highest such difference is what did.
    pub(crate) fn add(&mut self, others: u64, fronts: u64, passed: u64) -> Shown {
        let Some(base) = self.base.filter(|base| *base <= passed) else {
            *self = Self { base: Some(passed), ..Self::default() };
            return Shown::Nothing;
        };
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (others, passed) = (signed(others), signed(passed - base));
        self.others += others;
        self.fronts += signed(fronts);
        // The log shows the fronts themselves: then every other line is somebody's.
        if self.fronts * 2 >= passed {
            (self.others, self.most) = (0, 0);
            self.recent.clear();
            self.rebase(passed);
            return Shown::Around(others.unsigned_abs());
        }
        let beyond = self.others - passed;
        if self.recent.len() == READINGS {
            self.recent.pop_front();
        }
        self.recent.push_back((beyond, passed));
        if let Some(lack) = self.lack() {
            return lack;
        }
        let latest = || self.recent.iter().rev().take(SETTLES);
        let stays =
            latest().map(|(beyond, _)| *beyond).min().filter(|_| latest().count() == SETTLES);
        let more = stays.map_or(0, |stays| (stays - self.most).max(0));
        self.most += more;
        Shown::Around(more.unsigned_abs())
    }

    /// Begins anew from here, where addresses told everything so far.
    fn rebase(&mut self, passed: i64) {
        self.base = self.base.map(|base| base + passed.unsigned_abs());
        self.fronts = 0;
    }

    /// Says so if the log fell behind what fronts passed and did not come up again.
    fn lack(&self) -> Option<Shown> {
        let (_, first) = self.recent.front().filter(|_| self.recent.len() == READINGS)?;
        let (_, last) = self.recent.back()?;
        let best = self.recent.iter().map(|(beyond, _)| *beyond).max()?;
        let (missing, of) = (self.most - best, last - first);
        (missing > LACK_MIN.max(of / LACK_SHARE)).then_some(Shown::Lacks(missing, *last))
    }
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
            match ledger.add(lines, 0, *passed) {
                Shown::Around(more) => around += more,
                other => return Err(other),
            }
        }
        Ok(around)
    }

    #[test]
    fn every_line_more_than_fronts_passed_is_somebody_elses() {
        let (mut ledger, mut passed) = (Ledger::default(), 700);
        assert_eq!(ledger.add(99, 0, passed), Shown::Nothing, "there is no interval yet");
        assert_eq!(readings(&mut ledger, 50, &mut passed, 10), Ok(0));
        passed += 10;
        ledger.add(12, 0, passed);
        assert_eq!(readings(&mut ledger, 50, &mut passed, 10), Ok(2), "each counts once");
        // Logged, and counted a moment later: its client is slow.
        passed += 5;
        ledger.add(10, 0, passed);
        passed += 5;
        assert_eq!(readings(&mut ledger, 10, &mut passed, 10), Ok(0));
        // Written late, all at once: no line is more than was passed.
        assert_eq!(readings(&mut ledger, 30, &mut passed, 0), Ok(0));
        assert_eq!(ledger.add(301, 0, passed), Shown::Around(0));
        assert_eq!(readings(&mut ledger, 10, &mut passed, 10), Ok(1));
        // A front that began anew has counted nothing.
        assert_eq!(ledger.add(5, 0, 3), Shown::Nothing);
    }

    #[test]
    fn a_log_that_shows_the_fronts_is_read_by_its_addresses() {
        let mut ledger = Ledger::default();
        ledger.add(0, 0, 0);
        for passed in 1..50 {
            // Half of what was passed is not logged, and hides nobody.
            assert_eq!(ledger.add(1, 5, passed * 10), Shown::Around(1));
        }
        assert_eq!(ledger.add(3, 0, 490), Shown::Around(3), "nobody else did anything");
    }

    #[test]
    fn a_log_that_leaves_requests_out_shows_nobody() {
        let (mut ledger, mut passed) = (Ledger::default(), 0);
        ledger.add(0, 0, 0);
        let shown = readings(&mut ledger, 200, &mut passed, 5);
        assert_eq!(shown, Err(Shown::Lacks(45, 980)), "more than a twentieth of 890");
        // Few are missed by any log that is read at another moment.
        let (mut ledger, mut passed) = (Ledger::default(), 0);
        ledger.add(0, 0, 0);
        passed += 10;
        assert_eq!(ledger.add(0, 0, passed), Shown::Around(0));
        assert_eq!(readings(&mut ledger, 200, &mut passed, 10), Ok(0));
    }
}
