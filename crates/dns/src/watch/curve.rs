//! How a change spreads over resolvers.

use super::verdict::Verdict;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Shares at which the curve is told, percent.
const SHARES: [u64; 3] = [50, 95, 99];

/// When a share of the resolvers had the new data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// Percent of the resolvers.
    pub percent: u64,
    /// Milliseconds after the change was published; `None` while fewer have it.
    pub after_ms: Option<u64>,
}

/// What was seen so far.
#[derive(Debug, Clone, Default)]
pub struct Curve {
    last: BTreeMap<SocketAddr, Verdict>,
    /// Since when a resolver has had the new data without a break.
    since: BTreeMap<SocketAddr, u64>,
}

impl Curve {
    /// Takes a verdict; returns whether it is another one than before.
    pub fn take(&mut self, resolver: SocketAddr, verdict: Verdict, after_ms: u64) -> bool {
        if verdict.is_new() {
            self.since.entry(resolver).or_insert(after_ms);
        } else {
            // Some resolvers are many machines: one that went back has not arrived.
            self.since.remove(&resolver);
        }
        let word = verdict.word();
        let former = self.last.insert(resolver, verdict);
        former.is_none_or(|former| former.word() != word)
    }

    /// Returns the newest verdict of every resolver.
    pub fn last(&self) -> &BTreeMap<SocketAddr, Verdict> {
        &self.last
    }

    /// Returns when 50, 95 and 99 % of the resolvers had the new data.
    pub fn reached(&self) -> Vec<Reached> {
        let mut times: Vec<u64> = self.since.values().copied().collect();
        times.sort_unstable();
        let all = self.last.len() as u64;
        let reached = SHARES.map(|percent| {
            // So many resolvers are that share, rounded up.
            let wanted = (all * percent).div_ceil(100).max(1);
            let place = usize::try_from(wanted - 1).unwrap_or(usize::MAX);
            Reached { percent, after_ms: times.get(place).copied() }
        });
        reached.into()
    }

    /// Returns in how many seconds the last honest resolver has the new data; `None` if nobody
    /// can tell, because one overstays, fails, or answers something else.
    pub fn eta_s(&self) -> Option<u64> {
        let left = self.last.values().map(|verdict| match verdict {
            Verdict::New => Some(0),
            Verdict::WithinTtl { left_s } => Some(*left_s),
            _ => None,
        });
        left.collect::<Option<Vec<u64>>>()?.into_iter().max()
    }

    /// Whether every resolver has the new data.
    pub fn is_everywhere(&self) -> bool {
        !self.last.is_empty() && self.last.values().all(Verdict::is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver(number: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, number], 53))
    }

    #[test]
    fn tells_when_which_share_arrived() {
        let mut curve = Curve::default();
        for number in 0..100 {
            assert!(curve.take(resolver(number), Verdict::WithinTtl { left_s: 7 }, 0));
        }
        assert_eq!(curve.eta_s(), Some(7));
        for number in 0..95 {
            assert!(curve.take(resolver(number), Verdict::New, 1000 + u64::from(number)));
            assert!(!curve.take(resolver(number), Verdict::New, 5000));
        }
        let after: Vec<_> = curve.reached().iter().map(|r| r.after_ms).collect();
        assert_eq!(after, [Some(1049), Some(1094), None]);
        assert!(!curve.is_everywhere());
    }

    #[test]
    fn one_that_went_back_has_not_arrived() {
        let mut curve = Curve::default();
        curve.take(resolver(1), Verdict::New, 10);
        assert!(curve.is_everywhere());
        assert!(curve.take(resolver(1), Verdict::Overstaying { by_s: 1 }, 20));
        assert_eq!(curve.reached()[0].after_ms, None);
        assert_eq!(curve.eta_s(), None);
        curve.take(resolver(1), Verdict::New, 30);
        assert_eq!(curve.reached()[0].after_ms, Some(30));
    }
}
