//! One line a second of what the load sees.

use serde::Serialize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counters since the last line.
#[derive(Debug, Default)]
pub(crate) struct Stats(Mutex<Second>);

#[derive(Debug, Default)]
struct Second {
    sent: u64,
    ok: u64,
    failed: u64,
    latencies: Vec<f64>,
    at_source: u64,
    at_target: u64,
    in_flight: u64,
    reconnects: u64,
    total_sent: u64,
    total_failed: u64,
}

/// What is printed each second. Counts are of that second, except the totals.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Line {
    /// Number of the second.
    pub(crate) second: u64,
    /// Requests begun.
    pub(crate) sent: u64,
    /// Requests answered as expected.
    pub(crate) ok: u64,
    /// Requests that failed.
    pub(crate) failed: u64,
    /// Orders whose acknowledgement became durable.
    pub(crate) orders: u64,
    /// Median latency from the intended time, reports left out.
    pub(crate) p50_ms: f64,
    /// 99 % of the latencies are not longer.
    pub(crate) p99_ms: f64,
    /// Longest latency.
    pub(crate) max_ms: f64,
    /// Requests begun and not finished.
    pub(crate) in_flight: u64,
    /// Answers by the source.
    pub(crate) at_source: u64,
    /// Answers by the target.
    pub(crate) at_target: u64,
    /// Event streams that ended cleanly and were opened again.
    pub(crate) reconnects: u64,
    /// Requests begun since the start.
    pub(crate) total_sent: u64,
    /// Requests failed since the start.
    pub(crate) total_failed: u64,
}

impl Stats {
    fn lock(&self) -> MutexGuard<'_, Second> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request that begins.
    pub(crate) fn begin(&self) {
        let mut second = self.lock();
        second.sent += 1;
        second.total_sent += 1;
        second.in_flight += 1;
    }

    /// Counts a request that ends; `latency_ms` is left out for kinds that are slow by
    /// nature.
    pub(crate) fn end(&self, ok: bool, side: Option<&str>, latency_ms: Option<f64>) {
        let mut second = self.lock();
        second.in_flight = second.in_flight.saturating_sub(1);
        if ok {
            second.ok += 1;
        } else {
            second.failed += 1;
            second.total_failed += 1;
        }
        match side {
            Some("source") => second.at_source += 1,
            Some("target") => second.at_target += 1,
            _ => {}
        }
        second.latencies.extend(latency_ms);
    }

    /// Counts an event stream that ended cleanly.
    pub(crate) fn reconnect(&self) {
        self.lock().reconnects += 1;
    }

    /// Returns the line of second `number` and starts the next one.
    pub(crate) fn line(&self, number: u64, orders: u64) -> Line {
        let mut second = self.lock();
        let mut latencies = std::mem::take(&mut second.latencies);
        latencies.sort_by(f64::total_cmp);
        let line = Line {
            second: number,
            sent: second.sent,
            ok: second.ok,
            failed: second.failed,
            orders,
            p50_ms: rank(&latencies, 0.50),
            p99_ms: rank(&latencies, 0.99),
            max_ms: rank(&latencies, 1.0),
            in_flight: second.in_flight,
            at_source: second.at_source,
            at_target: second.at_target,
            reconnects: second.reconnects,
            total_sent: second.total_sent,
            total_failed: second.total_failed,
        };
        *second = Second {
            in_flight: line.in_flight,
            total_sent: line.total_sent,
            total_failed: line.total_failed,
            ..Second::default()
        };
        line
    }
}

/// Returns the smallest value that a share `q` of the sorted values does not exceed.
fn rank(sorted: &[f64], q: f64) -> f64 {
    let count = sorted.len();
    let at = ((count as f64 * q).ceil() as usize).clamp(1, count.max(1)) - 1;
    sorted.get(at).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_starts_from_zero_and_totals_go_on() {
        let stats = Stats::default();
        for latency in 1..=100 {
            stats.begin();
            stats.end(latency != 7, Some("target"), Some(f64::from(latency)));
        }
        stats.begin();
        let line = stats.line(1, 5);
        assert_eq!((line.sent, line.ok, line.failed, line.in_flight), (101, 99, 1, 1));
        assert_eq!((line.p50_ms, line.p99_ms, line.max_ms), (50.0, 99.0, 100.0));
        assert_eq!((line.at_source, line.at_target, line.orders), (0, 100, 5));
        let next = stats.line(2, 0);
        assert_eq!((next.sent, next.failed, next.in_flight, next.max_ms), (0, 0, 1, 0.0));
        assert_eq!((next.total_sent, next.total_failed), (101, 1));
    }
}
