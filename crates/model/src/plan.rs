//! The plan: what will be done, immutable and hashed.
//!
//! The plan *file* is a type of its own (`segue-plan`); it becomes this one after
//! every check has passed. Addresses, not host names, so that nothing is looked up
//! while the plan runs.

use crate::gate::Trigger;
use crate::ids::UnitName;
use crate::side::{Side, Sides};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// Where a secret is read from at the moment it is needed. Never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretRef(pub String);

/// A whole plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The plan's name, chosen by its author.
    pub name: String,
    /// The unit it moves.
    pub unit: UnitPlan,
    /// What the operator allows; units share it as a rule.
    pub policy: Arc<Policy>,
}

/// Everything that switches together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitPlan {
    /// The unit's name.
    pub name: UnitName,
    /// Host names of the site, lower case, without trailing dot.
    pub hosts: Vec<String>,
    /// The web servers that answer for the unit, if it has a site.
    pub backends: Option<Sides<Backend>>,
    /// One front on every address that DNS names or will name.
    pub fronts: Vec<FrontPlan>,
    /// The database, if there is one.
    pub database: Option<DatabasePlan>,
    /// Directory trees.
    pub trees: Vec<TreePlan>,
    /// Zones with the record sets this unit owns.
    pub zones: Vec<ZonePlan>,
    /// Cron jobs and workers that do not pass the fronts.
    pub workers: Vec<WorkerPlan>,
    /// What the probes ask for.
    pub probe: Option<ProbePlan>,
    /// Requests a day, if they are known: what waves by traffic go by.
    pub requests_per_day: Option<u64>,
    /// Day on which the account was made, `2024-05-31`, if it is known.
    pub created: Option<String>,
}

impl UnitPlan {
    /// Returns the web server at `side`, if the unit has a site.
    pub fn backend(&self, side: Side) -> Option<&Backend> {
        self.backends.as_ref().map(|backends| backends.get(side))
    }
}

/// A web server behind the fronts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Its address.
    pub address: SocketAddr,
    /// Path that answers 200 when the application is up and touches no data.
    pub health_path: String,
    /// Its access log in common or combined format, if it can be read.
    pub access_log: Option<PathBuf>,
    /// Most requests the front sends it at once when a hold is released.
    pub concurrency: usize,
}

/// A front to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontPlan {
    /// Its name: `source` or `target` as a rule.
    pub name: String,
    /// On whose address it stands.
    pub side: Side,
    /// The address that DNS names (or will name), with port.
    pub listen: SocketAddr,
    /// Whether a live server listens there and the port is taken over from it.
    pub take_over: bool,
    /// Address its own connections to that live server come from.
    pub egress: Option<IpAddr>,
    /// Its control socket.
    pub control: PathBuf,
    /// Where it keeps its last routes.
    pub state: PathBuf,
}

/// A database and the two servers that hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabasePlan {
    /// The schema to move.
    pub schema: String,
    /// The servers.
    pub servers: Sides<DatabaseServer>,
    /// Logins of the unit (`user` part); any other login with rights on the schema is a finding.
    pub logins: Vec<String>,
}

/// One MariaDB server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseServer {
    /// Address of the server, as Segue and the other server reach it.
    pub address: SocketAddr,
    /// Administrator's login, used only to create one login an epoch and to end former ones.
    pub admin: String,
    /// Its password.
    pub password: SecretRef,
}

/// A directory tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreePlan {
    /// Its name in reports.
    pub name: String,
    /// Root of the tree on each side.
    pub roots: Sides<PathBuf>,
    /// Paths below the root that do not move (rsync patterns).
    pub exclude: Vec<String>,
}

/// A zone and the record sets this unit owns in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZonePlan {
    /// The zone's name without trailing dot.
    pub zone: String,
    /// The server that takes updates.
    pub primary: SocketAddr,
    /// Every address of every authoritative server, the primary included.
    pub servers: Vec<SocketAddr>,
    /// TSIG key for UPDATE, AXFR and NOTIFY.
    pub key: TsigKey,
    /// The owned record sets with their data on either side.
    pub records: Vec<OwnedSet>,
    /// TTL of the owned sets while the unit may move, seconds.
    pub lowered_ttl_s: u32,
}

/// A TSIG key, its secret by reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TsigKey {
    /// Key name.
    pub name: String,
    /// Algorithm such as `hmac-sha256`.
    pub algorithm: String,
    /// Base64 secret, by reference.
    pub secret: SecretRef,
}

/// A record set owned by the unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedSet {
    /// Owner name, absolute, without trailing dot.
    pub name: String,
    /// Record type such as `A`.
    pub rtype: String,
    /// Record data in presentation format, by side.
    pub data: Sides<Vec<String>>,
}

/// Cron job or queue worker that writes without passing a front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerPlan {
    /// Its name.
    pub name: String,
    /// How it is stopped and started on each side.
    pub sides: Sides<WorkerCommands>,
}

/// Argument vectors, never shell text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerCommands {
    /// Stops it; returns after the last job ended.
    pub stop: Vec<String>,
    /// Starts it.
    pub start: Vec<String>,
    /// Exits 0 if it runs, 1 if not.
    pub running: Vec<String>,
}

/// What the probes ask for, through every front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePlan {
    /// Path of a GET.
    pub path: String,
    /// Text that a right body contains.
    pub marker: String,
    /// Requests per second to each front.
    pub per_second: u32,
}

/// What the operator allows. Defaults stand in the plan file's documentation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Longest pause before the cutover withdraws by itself, milliseconds.
    pub pause_budget_ms: u64,
    /// Time kept in reserve for seal, promote and route, milliseconds.
    pub seal_reserve_ms: u64,
    /// Life of an unrenewed hold or fence, milliseconds.
    pub lease_ms: u64,
    /// Oldest request that a sealed hold keeps before it answers 503, milliseconds.
    pub hold_age_max_ms: u64,
    /// Most requests that a front holds.
    pub hold_count_max: usize,
    /// How long the hold waits for a moment without slow requests, milliseconds.
    pub quiet_wait_ms: u64,
    /// Paths whose requests are known to be slow; a hold begins only when none is running.
    pub slow_paths: Vec<String>,
    /// Database lag allowed before a cutover, milliseconds.
    pub database_lag_max_ms: f64,
    /// Files lag allowed before a cutover, milliseconds.
    pub files_lag_max_ms: f64,
    /// Oldest full comparison that counts as fresh, seconds.
    pub verified_within_s: u64,
    /// How long all traffic must have passed the fronts before a cutover, seconds.
    pub all_traffic_for_s: u64,
    /// How long a gate may wait before the table gives up, seconds.
    pub gate_wait_s: u64,
    /// How long after a cutover somebody must confirm, or the unit goes back by itself,
    /// seconds; 0 is without a timer.
    pub commit_timer_s: u64,
    /// How long the unit must be stable after confirm before settle, seconds.
    pub stable_for_s: u64,
    /// Conditions that start an action while the unit is watched.
    pub triggers: Vec<Trigger>,
}
