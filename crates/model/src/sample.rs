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
    /// Space for the unit's trees at the target, free or taken by their copy, as a multiple
    /// of what they take at the source.
    TargetRoomRatio,
    /// How far the clock of the database server at `side` is from the controller's, either
    /// way, milliseconds.
    ClockOffsetMs(Side),
    /// How many more things of one kind one side has than the other; the origin names the
    /// kind: `counts:database:tables`.
    CountDifference,
    /// Time since a comparison of every kind found no difference, seconds.
    VerifiedAgeS,
    /// Time until no honest resolver holds an answer with a former TTL, seconds.
    SafeAfterLeftS,
    /// Whether the last canary request to the target stands in the target's own log, 0 or 1.
    CanarySeen,
    /// Requests of the last second that `side` answered with 4xx, percent.
    ClientErrorPercent(Side),
    /// Clients of the last second that `side` answered; at most 64 are told apart.
    ClientsPerSecond(Side),
    /// Share of the requests of the last second that arrived at the target's address, percent.
    TargetArrivalPercent,
    /// Length of the interruption that the probes see now, milliseconds; 0 if they see none.
    ProbeInterruptionMs,
    /// Lines of the application's log at `side` with one of the plan's words, per second.
    AppErrorsPerSecond(Side),
    /// Processor time of the host at `side` that is in use, percent.
    CpuPercent(Side),
    /// Memory of the host at `side` that is in use, percent.
    RamPercent(Side),
    /// Deliveries of the last minute that the mail log says were bounced, percent.
    MailBouncePercent,
    /// Bytes of the mailboxes that are not yet on the other side.
    MailboxDeltaBytes,
    /// Resolvers of the plan that do not answer, or answer with an error.
    ResolversFailing,
    /// Resolvers of the plan that answer with the target's data, percent of those that answer.
    ResolversAtTargetPercent,
    /// Days for which clients can verify what a TLS port shows for a name; the origin names both:
    /// `certificates:shop.example.com@192.0.2.10:443`. 0 if they cannot now.
    CertificateDays,
    /// Whether the page of one login of the operator's still knows it, 0 or 1; the origin names
    /// the site and the front: `login:shop@source`.
    LoginKept,
    /// Copies of users' requests that the target did not answer as the source did, percent.
    MirrorDifferentPercent,
    /// What a measure of the plan's own gives; the origin names it: `custom:queue`.
    Custom,
}

impl What {
    /// Returns the same measure of the other side; none for what is measured once.
    pub fn of_other_side(self) -> Option<Self> {
        Some(match self {
            Self::DatabaseLagMs(side) => Self::DatabaseLagMs(side.other()),
            Self::FilesLagMs(side) => Self::FilesLagMs(side.other()),
            Self::RequestsPerSecond(side) => Self::RequestsPerSecond(side.other()),
            Self::FailedPerSecond(side) => Self::FailedPerSecond(side.other()),
            Self::ResponseP50Ms(side) => Self::ResponseP50Ms(side.other()),
            Self::ResponseP95Ms(side) => Self::ResponseP95Ms(side.other()),
            Self::BackendHealthy(side) => Self::BackendHealthy(side.other()),
            Self::DatabaseReadable(side) => Self::DatabaseReadable(side.other()),
            Self::ClockOffsetMs(side) => Self::ClockOffsetMs(side.other()),
            Self::ClientErrorPercent(side) => Self::ClientErrorPercent(side.other()),
            Self::ClientsPerSecond(side) => Self::ClientsPerSecond(side.other()),
            Self::AppErrorsPerSecond(side) => Self::AppErrorsPerSecond(side.other()),
            Self::CpuPercent(side) => Self::CpuPercent(side.other()),
            Self::RamPercent(side) => Self::RamPercent(side.other()),
            _ => return None,
        })
    }

    /// Returns the side it is measured on; none for what is measured once.
    pub fn side(self) -> Option<Side> {
        match self {
            Self::DatabaseLagMs(side)
            | Self::FilesLagMs(side)
            | Self::RequestsPerSecond(side)
            | Self::FailedPerSecond(side)
            | Self::ResponseP50Ms(side)
            | Self::ResponseP95Ms(side)
            | Self::BackendHealthy(side)
            | Self::DatabaseReadable(side)
            | Self::ClockOffsetMs(side)
            | Self::ClientErrorPercent(side)
            | Self::ClientsPerSecond(side)
            | Self::AppErrorsPerSecond(side)
            | Self::CpuPercent(side)
            | Self::RamPercent(side) => Some(side),
            _ => None,
        }
    }

    /// Returns the largest value the measure can have. The smallest is 0, except for
    /// [`Custom`](Self::Custom), which may be anything.
    pub fn most(self) -> f64 {
        match self {
            Self::FrontsReady
            | Self::BackendHealthy(_)
            | Self::DatabaseReadable(_)
            | Self::ZoneServersEqual
            | Self::CanarySeen
            | Self::LoginKept => 1.0,
            Self::ClientErrorPercent(_)
            | Self::TargetArrivalPercent
            | Self::MirrorDifferentPercent
            | Self::CpuPercent(_)
            | Self::RamPercent(_)
            | Self::MailBouncePercent
            | Self::ResolversAtTargetPercent => 100.0,
            _ => f64::MAX,
        }
    }
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
            Self::ClockOffsetMs(side) => return write!(f, "clock_offset_ms({side})"),
            Self::ClientErrorPercent(side) => return write!(f, "client_error_percent({side})"),
            Self::ClientsPerSecond(side) => return write!(f, "clients_per_second({side})"),
            Self::AppErrorsPerSecond(side) => return write!(f, "app_errors_per_second({side})"),
            Self::CpuPercent(side) => return write!(f, "cpu_percent({side})"),
            Self::RamPercent(side) => return write!(f, "ram_percent({side})"),
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
            Self::TargetRoomRatio => "target_room_ratio",
            Self::CountDifference => "count_difference",
            Self::VerifiedAgeS => "verified_age_s",
            Self::SafeAfterLeftS => "safe_after_left_s",
            Self::CanarySeen => "canary_seen",
            Self::TargetArrivalPercent => "target_arrival_percent",
            Self::ProbeInterruptionMs => "probe_interruption_ms",
            Self::MailBouncePercent => "mail_bounce_percent",
            Self::MailboxDeltaBytes => "mailbox_delta_bytes",
            Self::ResolversFailing => "resolvers_failing",
            Self::ResolversAtTargetPercent => "resolvers_at_target_percent",
            Self::CertificateDays => "certificate_days",
            Self::LoginKept => "login_kept",
            Self::MirrorDifferentPercent => "mirror_different_percent",
            Self::Custom => "custom",
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
