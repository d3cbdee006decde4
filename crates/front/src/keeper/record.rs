//! How often workers died, and what follows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A worker that served for less did not work.
const PROVEN: Duration = Duration::from_millis(100);

/// So many in a row that did not work are a loop.
const ROW_MAX: u32 = 5;

/// So many deaths within [`SPAN`] are a loop as well, however long each worked.
const DEATHS_MAX: usize = 30;
const SPAN: Duration = Duration::from_secs(60);

/// Longest pause before the next start.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What follows a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next one starts after a pause.
    After(Duration),
    /// It makes no sense to start one; whoever must does it after a pause.
    GiveUp(Duration),
}

/// The deaths so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    deaths: VecDeque<Instant>,
    row: u32,
}

impl Record {
    /// Notes that a worker died that had served since then, if it ever did.
    pub(super) fn died(&mut self, now: Instant, since: Option<Instant>) -> Next {
        let proven = since.is_some_and(|since| now.duration_since(since) >= PROVEN);
        self.row = if proven { 0 } else { self.row + 1 };
        while self.deaths.front().is_some_and(|then| now.duration_since(*then) > SPAN) {
            self.deaths.pop_front();
        }
        self.deaths.push_back(now);
        // The first two start at once.
        let pause = match self.row {
            0 | 1 => Duration::ZERO,
            row => (PROVEN / 4 * 2_u32.pow(row.min(8))).min(PAUSE_MAX),
        };
        if self.row >= ROW_MAX {
            return Next::GiveUp(pause);
        }
        if self.deaths.len() >= DEATHS_MAX {
            self.deaths.pop_front();
            return Next::GiveUp(PAUSE_MAX);
        }
        Next::After(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_one_starts_at_once_unless_none_of_them_works() {
        let (mut record, start) = (Record::default(), Instant::now());
        for second in 0..20 {
            let now = start + Duration::from_secs(second);
            let since = now.checked_sub(PROVEN);
            assert_eq!(record.died(now, since), Next::After(Duration::ZERO), "{second}");
        }
        let now = start + Duration::from_secs(20);
        let pauses: Vec<_> = (0..9).map(|_| record.died(now, None)).collect();
        assert_eq!(pauses[0], Next::After(Duration::ZERO));
        assert_eq!(pauses[1], Next::After(Duration::from_millis(100)));
        assert_eq!(pauses[3], Next::After(Duration::from_millis(400)));
        assert_eq!(pauses[4], Next::GiveUp(Duration::from_millis(800)));
        assert_eq!(pauses[8], Next::GiveUp(PAUSE_MAX));
        assert_eq!(record.died(now, now.checked_sub(PROVEN)), Next::GiveUp(PAUSE_MAX), "the 30th");
        let later = now + SPAN * 2;
        assert_eq!(record.died(later, Some(now)), Next::After(Duration::ZERO));
    }
}
