//! What was seen of one side.

/// What was seen of one side since the split has its share.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Visitors, each counted once in every minute it came.
    pub cells: u64,
    /// Those of them with a request that failed in that minute.
    pub failing: u64,
    /// How long answers took.
    pub times: Times,
}

impl Seen {
    /// Returns the share of cells that failed; 0 without any.
    #[allow(clippy::cast_precision_loss)] // Visitors of a site.
    pub fn failing_share(&self) -> f64 {
        if self.cells == 0 { 0.0 } else { self.failing as f64 / self.cells as f64 }
    }
}

/// A histogram of answer times.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Times {
    /// Upper bound of a bucket in milliseconds, and the answers up to it from the one before.
    buckets: Vec<(f64, u64)>,
    count: u64,
}

impl Times {
    /// Builds a histogram from pairs of a time in milliseconds and a number of answers, in any
    /// order. Times that are not above zero count as a microsecond.
    pub fn of(pairs: impl IntoIterator<Item = (f64, u64)>) -> Self {
        let mut buckets: Vec<(f64, u64)> =
            pairs.into_iter().filter(|(_, n)| *n > 0).map(|(ms, n)| (ms.max(0.001), n)).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = buckets.iter().map(|(_, n)| n).sum();
        Self { buckets, count }
    }

    /// Returns how many answers were timed.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the time in milliseconds within which the share `p` of all answers came.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn quantile(&self, p: f64) -> Option<f64> {
        let rank = ((self.count as f64 * p).ceil() as u64).clamp(1, self.count.max(1));
        let mut passed = 0;
        self.buckets
            .iter()
            .find(|(_, n)| {
                passed += n;
                passed >= rank
            })
            .map(|(ms, _)| *ms)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_time_within_which_that_share_was_answered() {
        let times = Times::of([(30.0, 1), (10.0, 50), (20.0, 49), (0.0, 0)]);
        assert_eq!(times.count(), 100);
        for (p, ms) in [(0.0, 10.0), (0.5, 10.0), (0.51, 20.0), (0.99, 20.0), (1.0, 30.0)] {
            assert_eq!(times.quantile(p), Some(ms), "{p}");
        }
        assert_eq!(Times::default().quantile(0.5), None);
    }
}
