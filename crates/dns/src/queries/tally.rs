//! What is remembered of the questions to the name servers of one authority.

use super::Query;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Most resolvers that are remembered of one authority.
const RESOLVERS_MAX: usize = 10_000;
/// A resolver that did not ask for so long makes room for others, milliseconds.
const FORGOTTEN_MS: u64 = 3_600_000;
/// What a share is about, milliseconds.
pub(super) const MINUTE_MS: u64 = 60_000;
/// Questions of name servers to each other.
const BETWEEN_SERVERS: [&str; 3] = ["SOA", "AXFR", "IXFR"];

/// A resolver that asked.
#[derive(Debug, Clone, Serialize)]
pub struct Asking {
    /// Its address.
    pub resolver: IpAddr,
    /// When it asked last, wall clock in milliseconds.
    pub last_ms: u64,
    /// How often it was seen to ask.
    pub queries: u64,
    /// Whether it is one of the plan's resolvers.
    pub watched: bool,
}

/// Counts of one authority.
#[derive(Debug)]
pub(super) struct Tally {
    zone: String,
    owned: Vec<String>,
    own: Vec<IpAddr>,
    /// Questions for names of the zone, and for owned ones, by the second.
    seconds: BTreeMap<u64, (u64, u64)>,
    resolvers: HashMap<IpAddr, (u64, u64)>,
    left_out: u64,
    /// Questions from this machine.
    own_queries: u64,
}

impl Tally {
    pub(super) fn new(zone: String, owned: Vec<String>, own: Vec<IpAddr>) -> Self {
        Self {
            zone,
            owned,
            own,
            seconds: BTreeMap::new(),
            resolvers: HashMap::new(),
            left_out: 0,
            own_queries: 0,
        }
    }

    /// Says whether a question is about this zone.
    pub(super) fn wants(&self, query: &Query) -> bool {
        let below = query.name.strip_suffix(self.zone.as_str());
        below.is_some_and(|head| head.is_empty() || head.ends_with('.'))
            && !BETWEEN_SERVERS.contains(&query.rtype.as_str())
    }

    /// Counts a question that was asked at `at_ms`.
    pub(super) fn take(&mut self, query: &Query, at_ms: u64) {
        if self.own.contains(&query.from) {
            self.own_queries += 1;
            return;
        }
        let second = self.seconds.entry(at_ms / 1000).or_default();
        second.0 += 1;
        second.1 += u64::from(self.owned.contains(&query.name));
        let full = self.resolvers.len() >= RESOLVERS_MAX;
        match self.resolvers.get_mut(&query.from) {
            Some((last_ms, count)) => {
                *last_ms = at_ms.max(*last_ms);
                *count += 1;
            }
            None if full => self.left_out += 1,
            None => drop(self.resolvers.insert(query.from, (at_ms, 1))),
        }
    }

    /// Forgets what is too old to be told.
    pub(super) fn forget(&mut self, now_ms: u64) {
        self.seconds = self.seconds.split_off(&(now_ms.saturating_sub(2 * MINUTE_MS) / 1000));
        if self.resolvers.len() >= RESOLVERS_MAX {
            let oldest = now_ms.saturating_sub(FORGOTTEN_MS);
            self.resolvers.retain(|_, (last_ms, _)| *last_ms >= oldest);
        }
    }

    /// Returns the questions of the last minute: for names of the zone, and for owned ones.
    pub(super) fn minute(&self, now_ms: u64) -> (u64, u64) {
        let from = now_ms.saturating_sub(MINUTE_MS) / 1000;
        let sum = |(zone, owned): (u64, u64), more: &(u64, u64)| (zone + more.0, owned + more.1);
        self.seconds.range(from + 1..).map(|(_, counts)| counts).fold((0, 0), sum)
    }

    /// Returns who asked, and when last.
    pub(super) fn resolvers(&self) -> impl Iterator<Item = (IpAddr, u64, u64)> + '_ {
        self.resolvers.iter().map(|(address, (last_ms, count))| (*address, *last_ms, *count))
    }

    pub(super) fn own_queries(&self) -> u64 {
        self.own_queries
    }

    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}
