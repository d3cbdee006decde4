//! A split of the traffic, as written in the plan file.

use schemars::JsonSchema;
use serde::Deserialize;
use std::net::IpAddr;

/// A split of the traffic before the cutover: `segue split`. Only GET and HEAD on the
/// `harmless_paths` of the policy go to the target, and of a visitor who wrote none.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SplitFile {
    /// The target's shares in order, percent of the visitors, 1 to 100 and rising; at most 20.
    /// Default: 5, 25, 50, 75, 100.
    pub shares: Option<Vec<u8>>,
    /// How long each share stands at least, seconds, 1 to 86400. Default: 300.
    pub dwell_s: Option<u64>,
    /// How long a share may take to be shown no worse before the whole split is taken back,
    /// seconds, from `dwell_s` to 604800. Default: 3600.
    pub longest_s: Option<u64>,
    /// How long nothing is counted after each share was set, because caches are cold over
    /// there, seconds, at most 3600. Default: 60.
    pub warm_s: Option<u64>,
    /// An answer of the target whose head takes longer is asked at the source instead,
    /// milliseconds, 50 to 30000. Default: 2000.
    pub slow_ms: Option<u64>,
    /// Probability of taking a healthy target for a harmful one, over the whole split, 0.0001
    /// to 0.1. Default: 0.01.
    pub false_alarm: Option<f64>,
    /// Share of visitors that may fail at the target beyond those at the source, 0.0001 to 0.1.
    /// Default: 0.005.
    pub failing_margin: Option<f64>,
    /// Factor by which the median of the target's answer times may be larger, 1.01 to 10.
    /// Default: 1.1.
    pub p50_factor: Option<f64>,
    /// Factor by which 95 % of the target's answer times may be larger, 1.01 to 10. Default: 1.1.
    pub p95_factor: Option<f64>,
    /// Whether a larger share wants proof that the target is no worse. Without it, that no harm
    /// was shown is enough: small sites have too few visitors for a proof. Default: true.
    pub proof: Option<bool>,
    /// Addresses of visitors who see the target whatever the share is. Default: none.
    pub testers: Option<Vec<IpAddr>>,
    /// Name of the cookie that keeps a visitor in its place; taken back when the split ends.
    /// Default: `segue-split`.
    pub cookie: Option<String>,
}
