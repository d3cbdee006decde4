//! One measurement, and the words for what is measured.

use crate::side::Side;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a sample measures. The unit of the value is part of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Age of the newest heartbeat of `side` seen on the other side, milliseconds.
    DatabaseLagMs(Side),
    /// Age of the oldest change of the tree at `side` not yet on the other side, milliseconds.
    FilesLagMs(Side),
    /// Number of differences found by the last full comparison of databases.
    DatabaseDifferences,
    /// Number of differences found by the last full comparison of files.
    FilesDifferences,
    /// Fronts that answer with the expected generation, as a share 0..=1.
    FrontsReady,
    /// Requests in the last second that reached the source around the front.
    DirectRequests,
    /// Requests finished per second, answered by `side`.
    RequestsPerSecond(Side),
    /// Requests per second that failed in the client's view, answered by `side`.
    FailedPerSecond(Side),
    /// 50th percentile of the answer time of `side` over the last second, milliseconds.
    ResponseP50Ms(Side),
    /// 95th percentile of the answer time of `side` over the last second, milliseconds.
    ResponseP95Ms(Side),
    /// Probe requests that failed in the last second.
    ProbeFailed,
    /// Longest probe answer in the last second, from the intended send time, milliseconds.
    ProbeMaxMs,
    /// Probe requests sent in the last second.
    ProbeCount,
    /// Whether the application at `side` answers its health path, 0 or 1.
    BackendHealthy(Side),
    /// Whether the database at `side` answers a read of the unit's data, 0 or 1.
    DatabaseReadable(Side),
    /// Authoritative servers whose content is as expected, as a share 0..=1.
    ZoneServersEqual,
    /// Highest TTL now served for an owned record set, seconds.
    ZoneTtlMaxS,
    /// Requests in the last second that arrived at the address that DNS no longer names.
    StragglersPerSecond,
    /// Free bytes on the disk that holds the target's data.
    TargetDiskFreeBytes,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::DatabaseLagMs(side) => return write!(f, "database_lag_ms({side})"),
            Self::FilesLagMs(side) => return write!(f, "files_lag_ms({side})"),
            Self::RequestsPerSecond(side) => return write!(f, "requests_per_second({side})"),
            Self::FailedPerSecond(side) => return write!(f, "failed_per_second({side})"),
            Self::ResponseP50Ms(side) => return write!(f, "response_p50_ms({side})"),
            Self::ResponseP95Ms(side) => return write!(f, "response_p95_ms({side})"),
            Self::BackendHealthy(side) => return write!(f, "backend_healthy({side})"),
            Self::DatabaseReadable(side) => return write!(f, "database_readable({side})"),
            Self::DatabaseDifferences => "database_differences",
            Self::FilesDifferences => "files_differences",
            Self::FrontsReady => "fronts_ready",
            Self::DirectRequests => "direct_requests",
            Self::ProbeFailed => "probe_failed",
            Self::ProbeMaxMs => "probe_max_ms",
            Self::ProbeCount => "probe_count",
            Self::ZoneServersEqual => "zone_servers_equal",
            Self::ZoneTtlMaxS => "zone_ttl_max_s",
            Self::StragglersPerSecond => "stragglers_per_second",
            Self::TargetDiskFreeBytes => "target_disk_free_bytes",
        };
        f.write_str(text)
    }
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What was measured, in the unit its name says.
    pub what: What,
    /// The value.
    pub value: f64,
    /// How many observations the value rests on (requests, rows); 1 for a single reading.
    pub count: u64,
    /// When, by the boot clock, milliseconds.
    pub taken_at_ms: u64,
    /// Which sampler or object it comes from, for example `front:source`.
    pub from: String,
}
