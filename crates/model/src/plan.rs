//! The plan: what will be done, immutable and hashed.
//!
//! The plan *file* is a type of its own (`segue-plan`); it becomes this one after
//! every check has passed. Addresses, not host names, so that nothing is looked up
//! while the plan runs.

use crate::gate::{GateSpec, Trigger};
use crate::ids::UnitName;
use crate::side::{Side, Sides, Way};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

mod cdn;
mod front;
mod mirror;
mod moves;
mod proxy;
mod sessions;
mod split;
mod ways;
mod zone;

pub use cdn::{CdnPlan, CdnVendor};
pub use front::{AccessLogPlan, FrontLimits, FrontPlan, PortKind, PortPlan, TcpPlan, TlsPlan};
pub use mirror::MirrorPlan;
pub use moves::{MovesPlan, ProviderPlan, SigningWish, ZoneMove};
pub use proxy::{Abilities, HaproxyPlan, NginxPlan, ProxyPlan, Queue};
pub use sessions::{LoginPlan, SessionStore, SessionsPlan};
pub use split::SplitPlan;
pub use ways::OWN_AGENT;
pub use zone::{
    AuthorityPlan, OwnedSet, QueryLogFormat, QueryLogPlan, TsigKey, ZoneGuard, ZonePlan,
};

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
    /// Its sites: none if only data moves, several if units were joined.
    pub sites: Vec<SitePlan>,
    /// One front on every address that DNS names or will name; sites may share one.
    pub fronts: Vec<FrontPlan>,
    /// Its databases.
    pub databases: Vec<DatabasePlan>,
    /// Directory trees.
    pub trees: Vec<TreePlan>,
    /// Zones with the record sets this unit owns.
    pub zones: Vec<ZonePlan>,
    /// CDNs before the sites whose origin is switched with the record sets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cdns: Vec<CdnPlan>,
    /// Cron jobs and workers that do not pass the fronts.
    pub workers: Vec<WorkerPlan>,
    /// Requests a day, if they are known: what waves by traffic go by.
    pub requests_per_day: Option<u64>,
    /// Day on which the account was made, `2024-05-31`, if it is known.
    pub created: Option<String>,
    /// What is measured besides, for gates and triggers.
    #[serde(default, skip_serializing_if = "MeasurePlan::is_empty")]
    pub measures: MeasurePlan,
}

impl UnitPlan {
    /// Returns the web server of every site at `side`.
    pub fn backends(&self, side: Side) -> impl Iterator<Item = &Backend> {
        self.sites.iter().map(move |site| site.backends.get(side))
    }

    /// Returns the address from which a web server at `side` is reached around its front,
    /// if it needs one: behind a port that was taken over, any other leads to the front.
    pub fn egress_to(&self, side: Side, server: SocketAddr) -> Option<IpAddr> {
        let here = || self.fronts.iter().filter(|front| front.side == side);
        here().find(|front| front.listens_at(server)).or_else(|| here().next())?.egress
    }

    /// Returns every name that is shown a certificate, and where: the hosts of the sites at the
    /// TLS ports of the fronts, and what the plan names besides.
    pub fn certified(&self) -> Vec<(String, SocketAddr)> {
        let ports = || self.fronts.iter().flat_map(FrontPlan::tls);
        let hosts = self.sites.iter().flat_map(|site| &site.hosts);
        let of_sites = hosts.flat_map(|host| ports().map(|port| (host.clone(), port.listen)));
        of_sites.chain(self.measures.certificates.also.iter().cloned()).collect()
    }

    /// Returns where certificates are shown to those who ask for one of the unit's hosts, unread by
    /// the front: mail, panels. Which of the hosts are asked for there no plan says.
    pub fn certified_by_name(&self) -> BTreeSet<SocketAddr> {
        let by_name = |(port, tcp): (&PortPlan, &TcpPlan)| {
            (tcp.by_name && !port.proxy_in).then_some(port.listen)
        };
        let ports = self.fronts.iter().flat_map(FrontPlan::tcp).filter_map(by_name);
        ports.filter(|_| self.sites.iter().any(|site| !site.hosts.is_empty())).collect()
    }

    /// Returns what tells each database from the others of the unit: its schema, with the
    /// source's address where two have one name. The only database needs no such word.
    pub fn database_labels(&self) -> Vec<Option<String>> {
        let all = &self.databases;
        let namesakes = |schema: &str| all.iter().filter(|one| one.schema == schema).count();
        let label = |one: &DatabasePlan| match namesakes(&one.schema) {
            1 => one.schema.clone(),
            _ => format!("{}@{}", one.schema, one.servers.source.address),
        };
        all.iter().map(|one| (all.len() > 1).then(|| label(one))).collect()
    }

    /// Returns what tells each site from the others of the unit; nothing for the only one.
    pub fn site_label(&self, site: &SitePlan) -> Option<String> {
        (self.sites.len() > 1).then(|| site.name.to_string())
    }
}

/// Returns a name of one of several parts: `database` alone, `database:shop` with a label.
pub fn labelled(name: &str, label: Option<&str>) -> String {
    label.map_or_else(|| name.to_owned(), |label| format!("{name}:{label}"))
}

/// A site: host names, the web servers that answer for them, what the probes ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SitePlan {
    /// Name of the unit whose file it stands in.
    pub name: UnitName,
    /// Host names, lower case, without trailing dot.
    pub hosts: Vec<String>,
    /// The web servers.
    pub backends: Sides<Backend>,
    /// How long the head of an answer may take once its request is there, and each further part,
    /// seconds; none for the fronts' own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_timeout_s: Option<u64>,
    /// What the probes ask for.
    pub probe: Option<ProbePlan>,
    /// Commands that start the real application of each side in the room of a rehearsal; none
    /// for Segue's own stand-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Sides<Vec<String>>>,
}

/// A web server behind the fronts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Its address.
    pub address: SocketAddr,
    /// Further servers with the same application and data, among which fronts spread requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<SocketAddr>,
    /// What fronts look at to see which of several answers.
    #[serde(default, skip_serializing_if = "BackendCheck::is_connect")]
    pub check: BackendCheck,
    /// TLS to them; none for HTTP in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// The server that TLS for the site's hosts goes to unread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<SocketAddr>,
    /// The server's own port for TLS, where a certificate authority's question by TLS goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme_tls: Option<SocketAddr>,
    /// Whether each of its servers is told with the PROXY protocol, version 2, who the client is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_out: bool,
    /// Where the run's own probes ask in clear, if not at its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_address: Option<SocketAddr>,
    /// Path that answers 200 when the application is up and touches no data.
    pub health_path: String,
    /// Its access log in common or combined format, if it can be read.
    pub access_log: Option<PathBuf>,
    /// Most requests the front sends it at once when a hold is released.
    pub concurrency: usize,
}

/// What a front looks at every second to see whether one of several web servers answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendCheck {
    /// That it takes a connection.
    #[default]
    Connect,
    /// That it answers at its health path with a status below 400.
    Path,
}

impl BackendCheck {
    fn is_connect(&self) -> bool {
        *self == Self::Connect
    }
}

/// TLS from fronts to a web server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendTls {
    /// The name that its certificate is for; none for the site's first host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which certificate is taken.
    pub verify: TlsVerify,
}

/// Which certificate of a web server is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum TlsVerify {
    /// One for the name that a root vouches for.
    Roots {
        /// A file of roots in PEM; none for the system's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<PathBuf>,
    },
    /// One of these, whoever vouches for it and whatever name it is for.
    Pins {
        /// SHA-256 of each, in hexadecimal digits.
        sha256: Vec<String>,
    },
    /// Any: it keeps out those who listen, and nobody who stands between.
    Off,
}

impl Backend {
    /// Returns where the run's own probes ask, which speak HTTP in clear.
    pub fn asked_at(&self) -> SocketAddr {
        self.probe_address.unwrap_or(self.address)
    }

    /// Returns every address at which it is reached.
    pub fn reached_at(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses().chain(self.passthrough).chain(self.acme_tls)
    }

    /// Returns the addresses of all its servers.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        [self.address].into_iter().chain(self.beside.iter().copied())
    }
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

/// What is measured besides what the families measure by themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeasurePlan {
    /// Logs of the applications.
    pub application_logs: Vec<ApplicationLogPlan>,
    /// Mail logs of the target, as Postfix writes them.
    pub mail_logs: Vec<PathBuf>,
    /// Resolvers that are asked for a name of the unit.
    pub resolvers: Vec<ResolversPlan>,
    /// Hosts whose load is read.
    pub hosts: Vec<HostPlan>,
    /// Certificates that are looked at besides those of the fronts, and who is trusted.
    #[serde(skip_serializing_if = "CertificatesPlan::is_default")]
    pub certificates: CertificatesPlan,
    /// Where sites keep the sessions of those who are logged in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SessionsPlan>,
    /// Copies of users' requests for the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorPlan>,
    /// Measures of the plan's own.
    pub custom: Vec<CustomPlan>,
}

/// Certificates that are looked at, besides those of every host at every front's TLS port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CertificatesPlan {
    /// A file with the authorities that are trusted, in place of those of this machine.
    pub roots: Option<PathBuf>,
    /// Names of mail, panels and others, and the TLS ports where they are shown.
    pub also: Vec<(String, SocketAddr)>,
}

impl CertificatesPlan {
    /// Says whether it asks for nothing besides.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl MeasurePlan {
    /// Says whether nothing is measured besides.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Logs of the application on both sides, and the words that make a line an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationLogPlan {
    /// Name of the unit whose file it stands in.
    pub name: UnitName,
    /// The files.
    pub files: Sides<Option<PathBuf>>,
    /// A line with one of these counts.
    pub words: Vec<String>,
}

/// Resolvers that stand for those of the users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolversPlan {
    /// Their addresses.
    pub addresses: Vec<SocketAddr>,
    /// The owned name they are asked for; none for every owned set of addresses that differs
    /// between the sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Time between two questions to each, seconds.
    pub every_s: u64,
    /// Commands that make the operator's own resolvers forget a name, `{name}` and `{type}`
    /// standing for what was published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flush: Vec<Vec<String>>,
}

/// A host whose processor and memory are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPlan {
    /// Of which side.
    pub side: Side,
    /// Where its figures come from.
    pub figures: HostFigures,
}

/// Where the figures of a host come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostFigures {
    /// Folder with `stat` and `meminfo` of this machine: `/proc`.
    Proc(PathBuf),
    /// A command that writes `stat` and `meminfo` of the host, one after the other.
    Command(Vec<String>),
}

/// A measure of the plan's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomPlan {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub source: CustomSource,
    /// Time between two samples, milliseconds.
    pub every_ms: u64,
}

/// Where the value of a measure of the plan's own comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomSource {
    /// A GET: 1 if the answer is 200, else 0.
    Http {
        /// The server.
        address: SocketAddr,
        /// Host header.
        host: String,
        /// Path and query.
        path: String,
    },
    /// A command: the number on its standard output, or without one 1 for exit code 0, else 0.
    Command(Vec<String>),
    /// An instant query of a Prometheus server: the value of its only result.
    Prometheus {
        /// The server.
        address: SocketAddr,
        /// The query in PromQL.
        query: String,
    },
}

/// What the operator allows. Defaults stand in the plan file's documentation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Longest pause before the cutover withdraws by itself, milliseconds.
    pub pause_budget_ms: u64,
    /// Longest pause of a failback, milliseconds; requests in flight at the side that is left
    /// have half of it to end.
    #[serde(default = "Policy::failback_budget_of_old_ms")]
    pub failback_budget_ms: u64,
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
    /// Paths, by how they begin, on which GET and HEAD do not write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub harmless_paths: Vec<String>,
    /// Most bytes of requests that a front holds.
    #[serde(
        default = "Policy::usual_hold_bytes_max",
        skip_serializing_if = "Policy::is_usual_hold_bytes_max"
    )]
    pub hold_bytes_max: u64,
    /// File with the answer to a request that waits in vain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_page: Option<PathBuf>,
    /// How the traffic is split before a cutover, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitPlan>,
    /// How long a gate may wait before the table gives up, seconds.
    pub gate_wait_s: u64,
    /// How long after a cutover somebody must confirm, or the unit goes back by itself,
    /// seconds; 0 is without a timer.
    pub commit_timer_s: u64,
    /// How long the unit must be stable after confirm before settle, seconds.
    pub stable_for_s: u64,
    /// How long nobody may have come to the address that the unit has left before the source may go,
    /// days.
    #[serde(
        default = "Policy::usual_straggler_days",
        skip_serializing_if = "Policy::is_usual_straggler_days"
    )]
    pub straggler_days: u64,
    /// Longest pause of a maintenance window, milliseconds; only a run with that strategy has
    /// one, and its cutovers then go the way of a maintenance window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_budget_ms: Option<u64>,
    /// Conditions that start an action while the unit is watched.
    pub triggers: Vec<Trigger>,
    /// Questions before the steps.
    #[serde(default)]
    pub gates: Vec<GateSpec>,
}

impl Policy {
    /// What holds for a plan of a run that was begun before failbacks had a budget.
    fn failback_budget_of_old_ms() -> u64 {
        8_000
    }

    /// Bytes of requests that a front holds where the plan says nothing: 64 MiB.
    pub fn usual_hold_bytes_max() -> u64 {
        64 << 20
    }

    // The form is serde's.
    fn is_usual_hold_bytes_max(bytes: &u64) -> bool {
        *bytes == Self::usual_hold_bytes_max()
    }

    /// Days without a straggler where the plan says nothing: a week, so that whoever comes once a week
    /// is seen.
    pub fn usual_straggler_days() -> u64 {
        7
    }

    // The form is serde's.
    fn is_usual_straggler_days(days: &u64) -> bool {
        *days == Self::usual_straggler_days()
    }

    /// Returns for how many days from the beginning of a cutover on certificates must be valid:
    /// while the unit is watched and kept warm, and 30 days more, with one for what is no whole day.
    pub fn certificate_days(&self) -> u64 {
        self.stable_for_s.div_ceil(86_400) + self.straggler_days + 31
    }

    /// Longest pause of a table of this way, milliseconds.
    pub fn budget_ms(&self, way: Way) -> u64 {
        match way {
            Way::Forward => self.pause_budget_ms,
            Way::Back => self.failback_budget_ms,
        }
    }
}
