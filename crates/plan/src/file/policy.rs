//! What the operator allows, as written in the plan file.

use super::SplitFile;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// What the operator allows.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyFile {
    /// Longest pause before a cutover withdraws by itself, milliseconds, 100 to 60000.
    /// Default: 1000.
    pub pause_budget_ms: Option<u64>,
    /// Longest pause of a failback, milliseconds, from `pause_budget_ms` to
    /// `hold_age_max_ms`. Requests in flight at the side that is left have half of it to
    /// end; one that runs longer goes on there, and its writes are refused. Default:
    /// `hold_age_max_ms`.
    pub failback_budget_ms: Option<u64>,
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
    /// Most bytes of requests that one front holds: their heads, and what came of their bodies.
    /// 65536 to 17179869184. Default: 67108864, which is 64 MiB.
    pub hold_bytes_max: Option<u64>,
    /// The page that visitors get whose request waits in vain, with status 503: an absolute path
    /// to a file of at most 64 KiB that ends with `.html`, `.htm`, `.txt` or `.json`. Fronts read
    /// it when they are inserted. Default: none; they get a line of text.
    pub hold_page: Option<PathBuf>,
    /// Paths, by how they begin, on which GET and HEAD change nothing, not even a session: they
    /// pass a hold, and a split may send them to the target. Default: none.
    pub harmless_paths: Option<Vec<String>>,
    /// Database lag allowed before a cutover, milliseconds: the bound of the gates
    /// `database_lag` and `database_lag_back`. Default: 1000.
    pub database_lag_max_ms: Option<f64>,
    /// Lag of the trees allowed before a cutover, milliseconds: the bound of the gate
    /// `files_lag`. Default: 60000.
    pub files_lag_max_ms: Option<f64>,
    /// Oldest full comparison that counts as fresh, seconds: the bound of the gate
    /// `verified`. Default: 3600.
    pub verified_within_s: Option<u64>,
    /// How long all traffic must have passed the fronts before a cutover, seconds, at
    /// most 120: the time of the gate `all_traffic`. Default: 60.
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
    /// How long nobody may have come to the address that the unit has left before the source may go,
    /// days, 1 to 90: the timeline's gate `no-stragglers`. Default: 7.
    pub straggler_days: Option<u64>,
    /// Longest pause of a plan with `strategy = "maintenance_window"`, seconds, 10 to 86400;
    /// others have none. Default: 1800.
    pub maintenance_budget_s: Option<u64>,
    /// How the traffic is split before the cutover. Default: not at all.
    pub split: Option<SplitFile>,
}
