//! Whether a log shows the fronts themselves or their visitors, by its latest lines.

use super::lines::Lines;
use std::collections::VecDeque;

/// So many readings count: two minutes, as a server may write its lines by the minute.
const READINGS: usize = 120;

/// One of so many lines has to be a front's. Fewer are somebody's who asks at the same machine; where
/// more come, taking a visitor for one who came around makes a gate wait, and the other way round
/// it would pass.
const SHARE: u64 = 20;

/// What the latest readings say.
#[derive(Debug, Default)]
pub(super) struct Manner {
    /// Lines of fronts, those of others, and whether a line had the address of its connection.
    recent: VecDeque<(u64, u64, bool)>,
    by_address: bool,
}

impl Manner {
    /// Takes a reading; returns whether the log shows fronts. Where nothing was logged for a
    /// while, it does what it did.
    pub(super) fn add(&mut self, lines: &Lines) -> bool {
        if self.recent.len() == READINGS {
            self.recent.pop_front();
        }
        self.recent.push_back((lines.fronts, lines.direct, lines.told));
        let fronts: u64 = self.recent.iter().map(|one| one.0).sum();
        let all: u64 = fronts + self.recent.iter().map(|one| one.1).sum::<u64>();
        let told = self.recent.iter().any(|one| one.2);
        if told || all > 0 {
            self.by_address = told || (fronts > 0 && fronts * SHARE >= all);
        }
        self.by_address
    }

    /// Returns whether nobody's line came lately.
    pub(super) fn is_silent(&self) -> bool {
        self.recent.iter().all(|(fronts, others, _)| fronts + others == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_of_the_same_machine_count_for_a_while_only() {
        let lines = |fronts, direct| Lines { fronts, direct, ..Lines::default() };
        let mut manner = Manner::default();
        assert!(!manner.add(&lines(0, 0)) && manner.is_silent());
        assert!(manner.add(&lines(1, 3)), "no visitor is taken for granted");
        assert!(!manner.is_silent() && !manner.add(&lines(0, 30)));
        assert!(manner.add(&lines(40, 1)));
        for _ in 1..READINGS {
            assert!(manner.add(&lines(0, 0)), "as it was");
        }
        assert!(!manner.add(&lines(0, 1)), "what was long ago is over");
        assert!(manner.add(&Lines { told: true, ..lines(0, 900) }));
        assert!(manner.add(&lines(0, 900)));
    }
}
