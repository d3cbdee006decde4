//! How the traffic is split before a cutover.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A split: the target gets a rising share of the visitors' requests that read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitPlan {
    /// The target's shares in order, percent of the visitors.
    pub shares: Vec<u8>,
    /// How long each share stands at least, seconds, without the time to warm up.
    pub dwell_s: u64,
    /// How long a share may take to be shown no worse before the split is taken back, seconds.
    pub longest_s: u64,
    /// How long nothing is counted after each share was set, seconds: caches are cold.
    pub warm_s: u64,
    /// An answer of the target whose head takes longer is asked at the source, milliseconds.
    pub slow_ms: u64,
    /// Probability of taking a healthy target for a harmful one, over the whole split.
    pub false_alarm: f64,
    /// Share of visitors that may fail at the target beyond those at the source, 0 to 1.
    pub failing_margin: f64,
    /// Factor by which the median of answer times may be larger.
    pub p50_factor: f64,
    /// Factor by which 95 % of answer times may be larger.
    pub p95_factor: f64,
    /// Whether a larger share wants proof that the target is no worse; without it, that no
    /// harm was shown is enough.
    pub proof: bool,
    /// Addresses of visitors who see the target whatever the share is.
    pub testers: Vec<IpAddr>,
    /// Name of the cookie that keeps a visitor in its place.
    pub cookie: String,
}
