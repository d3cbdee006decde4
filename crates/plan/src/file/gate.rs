//! Gates and triggers, as written in the plan file.

use super::SideFile;
use schemars::JsonSchema;
use serde::Deserialize;

/// What a gate or a trigger measures. The measures of one side need `side` as well.
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
    /// Space for the trees at the target, free or taken by their copy, as a multiple of
    /// what they take at the source.
    TargetRoomRatio,
    /// How far the clock of the database server at `side` is from the controller's, either
    /// way, milliseconds.
    ClockOffsetMs,
    /// How many more things of one kind (tables, views, routines, triggers, events, logins,
    /// grants of the database; records of a zone) one side has than the other.
    CountDifference,
    /// Time since a full comparison of everything found no difference, seconds. For gates
    /// only.
    VerifiedAgeS,
    /// Time until no honest resolver holds an answer with a former TTL, seconds. For gates
    /// only.
    SafeAfterLeftS,
    /// Whether the page of one login of the operator's still knows it, 0 or 1.
    LoginKept,
    /// Copies of users' requests that the target did not answer as the source did, percent of
    /// those since the fronts began to copy.
    MirrorDifferentPercent,
    /// Days for which clients can verify what the TLS ports show for each name; 0 if they cannot
    /// now. Each name at each port is judged.
    CertificateDays,
    /// Whether the last canary request to the target stands in the target's own access
    /// log, 0 or 1.
    CanarySeen,
    /// Requests of the last second that `side` answered with 4xx, percent.
    ClientErrorPercent,
    /// Clients that `side` answered in the last second; at most 64 are told apart.
    ClientsPerSecond,
    /// Requests of the last second that arrived at the target's address, percent.
    TargetArrivalPercent,
    /// Length of the interruption that the probes see now, milliseconds; 0 without one.
    ProbeInterruptionMs,
    /// Lines of the application's log at `side` with one of the plan's words, per second.
    AppErrorsPerSecond,
    /// Processor time of the host at `side` that is in use, percent.
    CpuPercent,
    /// Memory of the host at `side` that is in use, percent.
    RamPercent,
    /// Deliveries of the last minute that the mail log says were bounced, percent.
    MailBouncePercent,
    /// Bytes of the mailboxes that are not yet on the other side. Nothing measures it as
    /// long as mailboxes are not moved.
    MailboxDeltaBytes,
    /// Resolvers of the plan that do not answer, or answer with an error.
    ResolversFailing,
    /// Resolvers of the plan that answer with the target's data, percent of those that
    /// answer.
    ResolversAtTargetPercent,
    /// A measure of the plan's own, a `[[measure.custom]]`; `of` names it.
    Custom,
}

/// The step before which a gate is asked.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BeforeFile {
    /// Before the first copy.
    Seed,
    /// Before a cutover begins: nothing waits yet.
    Arm,
    /// Right before the pause, outside of it.
    Hold,
    /// Before the point of no return.
    Settle,
}

/// What a gate makes of missing samples. Unknown never passes.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateNoDataFile {
    /// The gate waits for a sample, at most `policy.gate_wait_s`.
    Wait,
    /// The table gives up at once.
    Fail,
}

/// A question before a step. One with the name of a default takes its place: what it
/// leaves out stays as in the default. One with a name of its own is asked besides.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateFile {
    /// Its name.
    pub name: String,
    /// Whether the default of this name is not asked at all. Default: false.
    #[serde(default)]
    pub off: bool,
    /// Before which step it is asked. Default: `arm`.
    pub before: Option<BeforeFile>,
    /// What is measured. Needed unless the name is that of a default.
    pub what: Option<Measure>,
    /// Of which side. Needed for the measures of one side, and only for those.
    pub side: Option<SideFile>,
    /// Name of the `[[measure.custom]]`. Needed with `what = "custom"`, and only then.
    pub of: Option<String>,
    /// The value must be at most this. At least one of `max` and `min` is needed.
    pub max: Option<f64>,
    /// The value must be at least this.
    pub min: Option<f64>,
    /// How long every sample must have kept the bound, milliseconds, at most 120000.
    /// Default: 0, the newest samples alone count.
    pub for_ms: Option<u64>,
    /// Age from which a sample counts as missing, milliseconds, 1 to 120000.
    /// Default: 15000.
    pub fresh_for_ms: Option<u64>,
    /// What missing samples mean. Default: `wait`.
    pub no_data: Option<GateNoDataFile>,
    /// Whether it is asked before a failback too, with the sides exchanged. A failback is
    /// urgent: leave it out unless going back without it would do harm. Default: false.
    pub failback: Option<bool>,
}

/// What a trigger makes of missing samples.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoDataFile {
    /// Missing samples start nothing; the verdict is `no_data`, never `quiet`.
    Ignore,
    /// Missing samples count like a violation.
    Violates,
    /// Missing samples stop the unit and ask a person, whatever `action` is.
    Ask,
}

/// What a trigger starts. Whatever it is, the alert is raised and recorded.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionFile {
    /// Nothing but the alert. The only action that is watched for before a cutover too.
    Alert,
    /// Give the target the former, smaller share of the traffic. Refused as long as a plan
    /// cannot split the traffic.
    StepBack,
    /// Fail back to the source.
    FailBack,
    /// Stop and ask a person; nothing moves.
    HoldAndAsk,
}

/// How far the action of a trigger reaches.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScopeFile {
    /// The unit.
    Unit,
    /// Every unit of its wave that was cut over.
    Wave,
    /// The unit's mail alone. Refused as long as a plan cannot move mail.
    Mail,
}

/// What the values of a trigger are compared with.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgainstFile {
    /// The same measure of the other side at the same moment.
    OtherSide,
    /// The same measure of the other side in the minute before the cutover.
    Before,
}

/// A condition that starts an action while the unit is watched.
///
/// It fires once the bound was violated by every sample of the last `for_ms`. With
/// `against` it fires once the mean of these samples violates the bound beyond chance.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerFile {
    /// Its name.
    pub name: String,
    /// What is measured.
    pub what: Measure,
    /// Of which side. Needed for the measures of one side, and only for those.
    pub side: Option<SideFile>,
    /// Name of the `[[measure.custom]]`. Needed with `what = "custom"`, and only then.
    pub of: Option<String>,
    /// The value must be at most this. At least one of `max` and `min` is needed.
    pub max: Option<f64>,
    /// The value must be at least this.
    pub min: Option<f64>,
    /// What the value is compared with. `max` and `min` are then factors of it: 1.1 is ten
    /// percent more. Default: nothing, `max` and `min` are the bound.
    pub against: Option<AgainstFile>,
    /// Difference that `against` always allows, in the unit of the measure. Default: 0.
    pub slack: Option<f64>,
    /// Fewest clients behind each value that `against` compares, 0 to 32, where the fronts
    /// count them. Default: 0.
    pub min_clients: Option<u64>,
    /// How long the bound must be violated, milliseconds, 1 to 120000. Default: 3000.
    #[serde(default = "for_ms")]
    pub for_ms: u64,
    /// Time after the cutover in which it does not count, milliseconds, at most 86400000.
    /// Default: 0.
    #[serde(default)]
    pub after_ms: u64,
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
    /// How far that reaches. Default: `unit`.
    #[serde(default = "scope")]
    pub scope: ScopeFile,
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

fn scope() -> ScopeFile {
    ScopeFile::Unit
}
