//! Who still asks which name servers: their query logs, read as they grow.
//!
//! A log tells of the servers that write it, so what is counted belongs to the authority in whose
//! entry of the plan it stands. Only where a zone's authorities have different name servers does
//! that say something of a move.
//!
//! **Invariant.** Bounded: so many resolvers are remembered, so much is read at once. A log that
//! cannot be read makes shares unknown: a share of what is left would be wrong.

mod bind;
mod dnstap;
mod logs;
mod tail;
mod tally;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use logs::{AuthorityQueries, QueryLogs, QuerySampler, ZoneQueries};
pub use tally::Asking;

use std::net::IpAddr;

/// A question that a name server was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    /// When.
    pub(crate) at: Time,
    /// Who asked.
    pub(crate) from: IpAddr,
    /// For which name: lower case, without its last dot.
    pub(crate) name: String,
    /// For which type, such as `A`.
    pub(crate) rtype: String,
}

/// When a line of a log says that something was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// Milliseconds since 1970.
    Utc(u64),
    /// The same by a clock of an unknown zone.
    Local(u64),
    /// It does not say.
    Unknown,
}

/// Returns a name as it is compared: lower case, without its last dot.
pub(crate) fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
