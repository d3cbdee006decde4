//! What the operator allows, as written in the plan file.

use super::SideFile;
use schemars::JsonSchema;
use serde::Deserialize;

/// What the operator allows.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyFile {
    /// Longest pause before a cutover withdraws by itself, milliseconds, 100 to 60000.
    /// Default: 1000.
    pub pause_budget_ms: Option<u64>,
    /// Part of the budget kept for seal, promote and route, milliseconds. Default: 250.
    pub seal_reserve_ms: Option<u64>,
    /// Life of a hold or fence that nobody renews, milliseconds, 500 to 10000, and at
    /// least twice `seal_reserve_ms`. Default: 2000.
    pub lease_ms: Option<u64>,
    /// Age at which a sealed hold answers 503 to a waiting request, milliseconds, from
    /// `pause_budget_ms` to 120000. Default: 8000.
    pub hold_age_max_ms: Option<u64>,
    /// Most requests that one front holds, 1 to 1000000. Default: 5000.
    pub hold_count_max: Option<usize>,
    /// How long the hold may wait for a moment without a request to one of the
    /// `slow_paths`, milliseconds, at most 3600000. Default: 60000.
    pub quiet_wait_ms: Option<u64>,
    /// Paths whose requests are known to take longer than the budget. Default: none.
    pub slow_paths: Option<Vec<String>>,
    /// Database lag allowed before a cutover, milliseconds. Default: 1000.
    pub database_lag_max_ms: Option<f64>,
    /// Lag of the trees allowed before a cutover, milliseconds. Default: 60000.
    pub files_lag_max_ms: Option<f64>,
    /// Oldest full comparison that counts as fresh, seconds. Default: 3600.
    pub verified_within_s: Option<u64>,
    /// How long all traffic must have passed the fronts before a cutover, seconds.
    /// Default: 60.
    pub all_traffic_for_s: Option<u64>,
    /// How long a gate may wait before its table gives up, seconds, 1 to 86400.
    /// Default: 600.
    pub gate_wait_s: Option<u64>,
    /// How long after a cutover somebody must confirm, or the unit goes back by itself,
    /// seconds. A timer that runs out while no controller watches waits for a person instead.
    /// Default: 0, which is without a timer.
    pub commit_timer_s: Option<u64>,
    /// How long the unit must be stable after confirm before settle, seconds.
    /// Default: 259200, which is 72 hours.
    pub stable_for_s: Option<u64>,
}

/// What a trigger measures. The measures of one side need `side` as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Age of the newest heartbeat of `side` seen on the other side, milliseconds.
    DatabaseLagMs,
    /// Age of the oldest change of the trees of `side` not yet on the other side,
    /// milliseconds.
    FilesLagMs,
    /// Differences found by the last full comparison of the database.
    DatabaseDifferences,
    /// Differences found by the last full comparison of the trees.
    FilesDifferences,
    /// Share of the fronts that answer with the expected generation, 0 to 1.
    FrontsReady,
    /// Requests in the last second that reached the source around the front.
    DirectRequests,
    /// Requests per second answered by `side`.
    RequestsPerSecond,
    /// Requests per second answered by `side` that failed in the client's view.
    FailedPerSecond,
    /// Median answer time of `side` over the last second, milliseconds.
    #[serde(rename = "response_p50_ms")]
    ResponseP50Ms,
    /// 95th percentile of the answer time of `side` over the last second, milliseconds.
    #[serde(rename = "response_p95_ms")]
    ResponseP95Ms,
    /// Probe requests that failed in the last second.
    ProbeFailed,
    /// Longest probe answer in the last second, milliseconds.
    ProbeMaxMs,
    /// Probe requests sent in the last second.
    ProbeCount,
    /// Whether the application at `side` answers its health path, 0 or 1.
    BackendHealthy,
    /// Whether the database at `side` answers a read of the unit's data, 0 or 1.
    DatabaseReadable,
    /// Share of the authoritative servers with the expected content, 0 to 1.
    ZoneServersEqual,
    /// Highest TTL now served for an owned record set, seconds.
    ZoneTtlMaxS,
    /// Requests in the last second at the address that DNS no longer names.
    StragglersPerSecond,
    /// Free bytes on the disk that holds the target's data.
    TargetDiskFreeBytes,
}

/// What a trigger makes of missing samples.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoDataFile {
    /// Missing samples do not count.
    Ignore,
    /// Missing samples count like a violation.
    Violates,
}

/// What a trigger starts.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionFile {
    /// Fail the unit back to the source.
    FailBack,
    /// Stop and ask a person; nothing moves.
    HoldAndAsk,
}

/// A condition that starts an action while the unit is watched.
///
/// It fires once the bound was violated by every sample of the last `for_ms`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerFile {
    /// Its name.
    pub name: String,
    /// What is measured.
    pub what: Measure,
    /// Of which side. Needed for the measures of one side, and only for those.
    pub side: Option<SideFile>,
    /// The value must be at most this. At least one of `max` and `min` is needed.
    pub max: Option<f64>,
    /// The value must be at least this.
    pub min: Option<f64>,
    /// How long the bound must be violated, milliseconds, 1 to 120000. Default: 3000.
    #[serde(default = "for_ms")]
    pub for_ms: u64,
    /// Age from which a sample counts as missing, milliseconds, 1 to 120000.
    /// Default: 3000.
    #[serde(default = "fresh_for_ms")]
    pub fresh_for_ms: u64,
    /// Fewest samples in `for_ms`, 1 to 1000. Default: 3.
    #[serde(default = "min_samples")]
    pub min_samples: usize,
    /// Fewest observations (requests, rows) behind each sample. Default: 1.
    #[serde(default = "min_count")]
    pub min_count: u64,
    /// What missing samples mean. Default: `ignore`.
    #[serde(default = "no_data")]
    pub no_data: NoDataFile,
    /// What it starts. Default: `fail_back`.
    #[serde(default = "action")]
    pub action: ActionFile,
}

fn for_ms() -> u64 {
    3000
}

fn fresh_for_ms() -> u64 {
    3000
}

fn min_samples() -> usize {
    3
}

fn min_count() -> u64 {
    1
}

fn no_data() -> NoDataFile {
    NoDataFile::Ignore
}

fn action() -> ActionFile {
    ActionFile::FailBack
}
