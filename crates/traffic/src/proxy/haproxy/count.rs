//! Seconds, made of counters that only rise.

use super::read::Script;
use segue_front::control::Window;
use segue_model::Sides;
use std::collections::{BTreeMap, VecDeque};

/// Seconds that are kept.
const KEPT: usize = 120;

/// What was counted so far at one side.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) requests: u64,
    pub(super) failed: u64,
    pub(super) refused: u64,
    pub(super) times: BTreeMap<i32, u64>,
}

/// The seconds of a unit, as far as somebody looked once a second at least.
#[derive(Debug, Default)]
pub(super) struct Seconds {
    /// The second of the last look, and what it saw.
    last: Option<(u64, Sides<Sum>)>,
    windows: Sides<VecDeque<Window>>,
}

impl Seconds {
    /// Takes a look in second `now` of the boot clock. What came between two looks belongs to
    /// the second that ended between them; over a longer gap nothing is said.
    pub(super) fn look(&mut self, now: u64, sums: Sides<Sum>) {
        if let Some((second, _)) = &self.last
            && *second == now
        {
            return;
        }
        if let Some((second, former)) = self.last.replace((now, sums.clone()))
            && second + 1 == now
        {
            for (windows, (sum, former)) in [
                (&mut self.windows.source, (&sums.source, &former.source)),
                (&mut self.windows.target, (&sums.target, &former.target)),
            ] {
                windows.extend(window(second, sum, former));
                let surplus = windows.len().saturating_sub(KEPT);
                windows.drain(..surplus);
            }
        }
    }

    /// Returns the seconds in which requests were answered, oldest first.
    pub(super) fn windows(&self) -> Sides<Vec<Window>> {
        let list = |windows: &VecDeque<Window>| windows.iter().cloned().collect();
        Sides { source: list(&self.windows.source), target: list(&self.windows.target) }
    }
}

fn window(second: u64, sum: &Sum, former: &Sum) -> Option<Window> {
    let count = sum.requests.checked_sub(former.requests).filter(|count| *count > 0)?;
    let times: Vec<(i32, u64)> = sum
        .times
        .iter()
        .map(|(bucket, n)| {
            (*bucket, n.saturating_sub(former.times.get(bucket).copied().unwrap_or(0)))
        })
        .filter(|(_, n)| *n > 0)
        .collect();
    Some(Window {
        second,
        count,
        failed: sum.failed.saturating_sub(former.failed),
        refused: sum.refused.saturating_sub(former.refused),
        clients: 0,
        p50_ms: quantile(&times, 0.5),
        p95_ms: quantile(&times, 0.95),
        max_ms: times.last().map_or(0.0, |(bucket, _)| ms(*bucket)),
    })
}

/// Returns the upper end of the bucket in which a share of the times lies, milliseconds.
#[allow(clippy::cast_precision_loss)] // Counts of one second.
fn quantile(times: &[(i32, u64)], share: f64) -> f64 {
    let all: u64 = times.iter().map(|(_, n)| n).sum();
    let mut below = 0;
    let reached = times.iter().find(|(_, n)| {
        below += n;
        below as f64 >= all as f64 * share
    });
    reached.map_or(0.0, |(bucket, _)| ms(*bucket))
}

fn ms(bucket: i32) -> f64 {
    1.1_f64.powi(bucket) / 1_000.0
}

/// Returns the longest time of a side, milliseconds.
#[allow(clippy::cast_precision_loss)] // Microseconds.
pub(super) fn longest(script: &Script) -> Sides<f64> {
    let ms = |us: u64| us as f64 / 1_000.0;
    Sides { source: ms(script.slowest_us.source), target: ms(script.slowest_us.target) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(requests: u64, failed: u64, bucket: i32) -> Sides<Sum> {
        let times = BTreeMap::from([(bucket, requests)]);
        let source = Sum { requests, failed, refused: 0, times };
        Sides { source, target: Sum::default() }
    }

    #[test]
    fn what_came_between_two_looks_belongs_to_the_second_that_ended() {
        let mut seconds = Seconds::default();
        seconds.look(10, sums(100, 1, 73));
        seconds.look(10, sums(150, 1, 73));
        seconds.look(11, sums(160, 3, 73));
        // Nobody looked for a while: what came in it belongs to no second.
        seconds.look(15, sums(900, 3, 73));
        seconds.look(16, sums(900, 3, 73));
        let windows = seconds.windows();
        assert_eq!(windows.target.len(), 0);
        let told: Vec<_> = windows.source.iter().map(|w| (w.second, w.count, w.failed)).collect();
        assert_eq!(told, [(10, 60, 2)]);
        let p50 = windows.source.first().map_or(0.0, |w| w.p50_ms);
        assert!((1.0..1.2).contains(&p50), "1.1^73 µs is {p50} ms");
    }
}
