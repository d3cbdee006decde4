//! What is said of a split.

use segue_model::Sides;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A split of a unit's requests while the source is the write side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitRoute {
    /// Name of the split; the same for all its shares. Visitors keep their places within it.
    pub id: String,
    /// Share of the visitors whose requests may go to the target, 0 to 100. With 0 and no
    /// testers the split is over, and its cookies are taken back.
    pub percent: u8,
    /// Paths, by how they begin, on which GET and HEAD do not write.
    pub paths: Vec<String>,
    /// Visitors who see the target whatever the share is.
    pub testers: Vec<IpAddr>,
    /// Name of its cookie.
    pub cookie: String,
    /// How long nothing is counted after the share was set, milliseconds.
    pub warm_ms: u64,
    /// Whether another front stands before the target's backend: it is told where to send what
    /// comes from here.
    #[serde(default)]
    pub relayed: bool,
    /// An answer of the target whose head takes longer is asked at the source, milliseconds.
    pub slow_ms: u64,
}

/// How a split stands at a front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitStatus {
    /// Name of the split.
    pub id: String,
    /// The target's share, percent.
    pub percent: u8,
    /// Whether the front keeps requests from the target by itself, because it failed.
    pub open: bool,
    /// How often it began to.
    pub opened: u64,
    /// Requests that the source answered after the target had failed them.
    pub saved: u64,
}

/// What visitors met at both sides since the share was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Name of the split.
    pub id: String,
    /// The target's share, percent.
    pub percent: u8,
    /// How long it counts, milliseconds.
    pub lasts_ms: u64,
    /// What was met at each side, of requests that may go to either.
    pub sides: Sides<SeenSide>,
}

/// What visitors met at one side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenSide {
    /// Visitors, each counted once in every minute it came.
    pub cells: u64,
    /// Those of them with a request that failed.
    pub failing: u64,
    /// Requests.
    pub requests: u64,
    /// Histogram: answer times up to so many microseconds, and how many there were.
    pub times_us: Vec<(u64, u64)>,
}
