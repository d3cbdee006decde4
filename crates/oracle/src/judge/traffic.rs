//! What the clients experienced.

use super::{Detail, Evidence, Failure, Kind, LISTED, Publish, Request};
use std::collections::BTreeMap;

/// An answer may take so long beyond the normal time of its kind, milliseconds.
const LIMIT_MS: f64 = 5000.0;

impl Kind {
    /// Returns how long an answer takes by nature, milliseconds.
    fn normal_ms(self) -> f64 {
        if self == Self::Report { 5000.0 } else { 0.0 }
    }

    /// Returns the only status that is not a failure.
    fn expected(self) -> u16 {
        match self {
            Self::Order | Self::Upload => 201,
            Self::Login => 204,
            Self::Catalogue | Self::Static | Self::Account | Self::Report | Self::Events => 200,
        }
    }
}

impl Request {
    /// Returns why the request failed, if it did. The ledger's own word is not enough for
    /// a pass: status and time are looked at again. A stream that the client ended before
    /// it was answered has no status.
    fn failure(&self) -> Option<String> {
        if !self.ok {
            return Some(self.fail.clone().unwrap_or_else(|| "without a reason".to_owned()));
        }
        match self.status {
            Some(status) if status != self.kind.expected() => Some(format!("status {status}")),
            None => Some("ok without a status".to_owned()),
            Some(_) if self.excess_ms() > LIMIT_MS => Some("timeout".to_owned()),
            Some(_) => None,
        }
    }

    fn excess_ms(&self) -> f64 {
        (self.latency_ms - self.kind.normal_ms()).max(0.0)
    }
}

/// Fills in what concerns requests; returns the longest excess over the normal time of a
/// kind, milliseconds.
pub(super) fn judge(evidence: &Evidence, detail: &mut Detail) -> f64 {
    let mut longest = 0.0_f64;
    let mut latencies = BTreeMap::<Kind, Vec<f64>>::new();
    let mut failures = Vec::new();
    for request in &evidence.requests {
        longest = longest.max(request.excess_ms());
        latencies.entry(request.kind).or_default().push(request.latency_ms);
        let kind = detail.kinds.entry(request.kind).or_default();
        kind.requests += 1;
        if let Some(fail) = request.failure() {
            kind.failed += 1;
            *detail.fails.entry(fail.clone()).or_default() += 1;
            failures.push((request, fail));
        }
    }
    for (kind, mut values) in latencies {
        values.sort_by(f64::total_cmp);
        let entry = detail.kinds.entry(kind).or_default();
        (entry.p50_ms, entry.p99_ms) = (rank(&values, 0.5), rank(&values, 0.99));
        entry.max_ms = rank(&values, 1.0);
    }
    failures.sort_by_key(|(request, _)| request.intended_ms);
    detail.first_failures = failures
        .into_iter()
        .take(LISTED)
        .map(|(request, fail)| Failure {
            intended_ms: request.intended_ms,
            kind: request.kind,
            client: request.client.clone(),
            seq: request.seq,
            address: request.address.clone(),
            fail,
        })
        .collect();
    if let Some(publish) = &evidence.publish {
        former_address(&evidence.requests, publish, detail);
    }
    longest
}

/// Counts the requests that still went to the former address once the other was published.
fn former_address(requests: &[Request], publish: &Publish, detail: &mut Detail) {
    let after = requests.iter().filter(|request| {
        request.address.is_some() && request.sent_ms.unwrap_or(request.intended_ms) >= publish.at_ms
    });
    let (mut all, mut former) = (0_u64, 0_u64);
    for request in after {
        all += 1;
        if request.address.as_deref() == Some(&publish.former_address) {
            former += 1;
            *detail.former_address_by_resolver.entry(request.resolver.clone()).or_default() += 1;
        }
    }
    let share = |all: u64| (former as f64 / all as f64 * 1e4).round() / 1e4;
    detail.share_at_former_address_after_publish = (all > 0).then(|| share(all));
}

/// Returns the smallest value that a share `q` of the sorted values does not exceed.
fn rank(sorted: &[f64], q: f64) -> f64 {
    let at = ((sorted.len() as f64 * q).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or(0.0)
}
