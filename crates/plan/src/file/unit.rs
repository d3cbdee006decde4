//! What moves, as written in the plan file.

use super::SecretText;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One of the two sets of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SideFile {
    /// Where the unit lives before the migration.
    Source,
    /// Where it shall live afterwards.
    Target,
}

/// The smallest set that must switch together.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnitFile {
    /// Name of the unit: letters, digits, `-`, `_` and `.`, at most 64.
    pub name: String,
    /// Host names of the site, lower case, without trailing dot. At least one if the unit has
    /// a web server. Default: none.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Requests a day. Default: not known, and then waves by traffic leave the unit for the
    /// last one.
    pub requests_per_day: Option<u64>,
    /// Day on which the account was made, as `2024-05-31`. Default: not known.
    pub created: Option<String>,
}

/// The web servers that answer for the unit.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendsFile {
    /// The one at the source.
    pub source: BackendFile,
    /// The one at the target.
    pub target: BackendFile,
    /// How long the head of an answer may take and each further part, seconds, before a front
    /// gives up: 1 to 3600. It counts from the last byte of the request: how long an upload takes
    /// is no part of it. Default: 60.
    pub answer_timeout_s: Option<u64>,
}

/// The address of a web server, or those of several that have the same application and data.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AddressesFile {
    /// One.
    One(SocketAddr),
    /// Several, among which the fronts spread requests. The run's own probes ask the first.
    Several(Vec<SocketAddr>),
}

/// TLS from the fronts to a web server. Without a key in it, the certificate has to be for the
/// name and one of the system's roots has to vouch for it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendTlsFile {
    /// The name that the certificate is for. Default: the site's first host.
    pub name: Option<String>,
    /// A file of root certificates in PEM, in place of the system's: an absolute path, read by the
    /// fronts. Default: `/etc/ssl/certs/ca-certificates.crt`.
    pub roots: Option<PathBuf>,
    /// SHA-256 of certificates that are taken, whoever vouches for them, in hexadecimal digits
    /// as `openssl x509 -fingerprint -sha256` prints them. In place of roots. Default: none.
    #[serde(default)]
    pub pins: Vec<String>,
    /// Whether the certificate is looked at. Without, nobody can listen, and somebody who stands
    /// between can read and change everything. Default: true.
    pub verify: Option<bool>,
}

/// What a front looks at every second to see whether one of several web servers answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackendCheckFile {
    /// That it takes a connection.
    Connect,
    /// That it answers at its `health_path` with a status below 400.
    Path,
}

/// A web server behind the fronts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendFile {
    /// Its address with port, as the fronts reach it, or a list of several. A server that does
    /// not answer gets no requests until it does; the other side is never asked in its place.
    pub address: AddressesFile,
    /// TLS from the fronts to it. Default: none, HTTP in clear.
    pub tls: Option<BackendTlsFile>,
    /// The server that TLS for the site's hosts goes to unread at the fronts' ports for `tls`: the
    /// fronts need no certificate for them, and cannot promise that no request fails. At both
    /// sides or at none. Default: none.
    pub passthrough: Option<SocketAddr>,
    /// The server's own port for TLS: what a certificate authority asks there by TLS for a name of
    /// the site (`acme-tls/1`, RFC 8737) goes to it unread while this side takes the site's
    /// requests, so that its own renewals work. Default: that of `passthrough`, with `tls` its
    /// `address`, or the server behind a port for TLS that was taken over; with none of them such
    /// a question is turned down.
    pub acme_tls: Option<SocketAddr>,
    /// Whether all its servers, that of `passthrough` too, are told with the PROXY protocol (version
    /// 2) who the client is. They must expect it on every connection. A port that a front takes
    /// over from such a server needs `proxy_in`. Default: false.
    #[serde(default)]
    pub proxy_out: bool,
    /// Where the run's own probes ask, which speak HTTP in clear and no PROXY protocol. Needed with
    /// `tls` or `proxy_out`, and only then. Default: none.
    pub probe_address: Option<SocketAddr>,
    /// What the fronts look at to see which of several answer. Default: `connect`.
    pub check: Option<BackendCheckFile>,
    /// Path that answers 200 while the application is up and that touches no data.
    pub health_path: String,
    /// Its access log in common or combined format. Default: none, and then nobody can
    /// tell whether requests reach it around the front.
    pub access_log: Option<PathBuf>,
    /// Most requests the front sends it at once when a hold is released. Default: 64.
    #[serde(default = "concurrency")]
    pub concurrency: usize,
}

fn concurrency() -> usize {
    64
}

/// A database and the two servers that hold it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseFile {
    /// The schema to move.
    pub schema: String,
    /// Logins of the application (the user part). At least one.
    pub logins: Vec<String>,
    /// The server at the source.
    pub source: ServerFile,
    /// The server at the target.
    pub target: ServerFile,
}

/// One MariaDB server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerFile {
    /// Its address with port, as Segue and the other server reach it.
    pub address: SocketAddr,
    /// Administrator's login, used to create one login an epoch and to end former ones.
    pub admin: String,
    /// Where the administrator's password is: `file:/path` or `env:NAME`.
    pub password: SecretText,
}

/// A directory tree.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TreeFile {
    /// Its name in reports.
    pub name: String,
    /// Its root at the source: an absolute path.
    pub source: PathBuf,
    /// Its root at the target: an absolute path.
    pub target: PathBuf,
    /// Paths below the root that do not move, as rsync patterns. Default: none.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// A cron job or queue worker.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkerFile {
    /// Its name.
    pub name: String,
    /// Its commands at the source.
    pub source: CommandsFile,
    /// Its commands at the target.
    pub target: CommandsFile,
}

/// Argument vectors. The first word is an absolute path; no shell reads them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandsFile {
    /// Stops the worker and returns once its last job has ended.
    pub stop: Vec<String>,
    /// Starts it.
    pub start: Vec<String>,
    /// Exits 0 while it runs, 1 while it does not.
    pub running: Vec<String>,
}

/// What the probes ask for, through every front.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeFile {
    /// Path of a GET that reads the unit's data.
    pub path: String,
    /// Text that stands in every right answer.
    pub marker: String,
    /// Requests per second to each front, 1 to 1000. Default: 20.
    #[serde(default = "per_second")]
    pub per_second: u32,
}

fn per_second() -> u32 {
    20
}
