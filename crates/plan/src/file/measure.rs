//! What is measured besides, as written in the plan file.

use super::{SecretText, SideFile};
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What is measured besides what fronts, probes and copies measure by themselves.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MeasureFile {
    /// Logs of the application. Default: none.
    pub application_log: Option<ApplicationLogFile>,
    /// Mail log of the target as Postfix writes it: an absolute path. Default: none.
    pub mail_log: Option<PathBuf>,
    /// Resolvers that stand for those of the users. Default: none.
    pub resolvers: Option<ResolversFile>,
    /// Hosts whose processor and memory are read. Default: none.
    pub host: Vec<HostFile>,
    /// Certificates of mail, panels and others. Default: those of the sites at the fronts' TLS
    /// ports, verified by this machine's authorities.
    pub certificates: CertificatesFile,
    /// Where the site keeps the sessions of those who are logged in. Default: not known, and the
    /// plan says so.
    pub sessions: Option<SessionsFile>,
    /// Copies of users' requests, which the target answers beside the source. Default: none.
    pub mirror: Option<MirrorFile>,
    /// Measures of the plan's own. Default: none.
    pub custom: Vec<CustomFile>,
}

/// Where the site keeps sessions: said, or found in PHP's configuration. Without either the
/// application's own is looked for in the site's tree (WordPress, Magento, Drupal, Joomla,
/// PrestaShop, Laravel, Symfony, Django, Rails).
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SessionsFile {
    /// PHP's configuration at the source (php.ini, the pool's file, .user.ini, .htaccess), absolute
    /// paths; what comes later counts. Default: none.
    pub source_config: Vec<PathBuf>,
    /// The same at the target. Default: none.
    pub target_config: Vec<PathBuf>,
    /// Where they are at the source: `files:/path`, `redis:10.0.0.5:6379`,
    /// `memcached:10.0.0.5:11211` or `database:SCHEMA.TABLE`; without the schema it is the only
    /// database that moves. Default: what the configuration says.
    pub source: Option<String>,
    /// The same at the target. Default: what the configuration says.
    pub target: Option<String>,
    /// Where the `Cookie` header of one login of yours is read from: `file:` or `env:`. It is tried
    /// through every front all the while, over TLS where that ends at the front. Default: none.
    pub cookie: Option<SecretText>,
    /// A page that only those see who are logged in; with `cookie`. Default: none.
    pub path: Option<String>,
    /// Text that stands in it for them and for nobody else; with `cookie`. Default: none.
    pub marker: Option<String>,
}

/// Copies of users' requests: while the source has the unit and nothing is held, its fronts ask the
/// target what a user asked, after the user's answer has passed, and compare. What the source does
/// not answer the same twice is noise. Users wait for nothing and meet nothing of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MirrorFile {
    /// GET and HEAD on paths that begin so are copied: they must change nothing. At least one.
    pub paths: Vec<String>,
    /// Of so many requests of a hundred, 1 to 100. Where the source compresses, answers with a
    /// part, or a user has cookies that the copy does not carry, it is asked once more for each.
    /// Default: 5.
    pub percent: Option<u8>,
    /// Most requests that are copied at once, at each front, 1 to 64: from when one is chosen, while
    /// its own answer passes, until its copy is compared. Others are dropped and counted. Default: 4.
    pub at_once: Option<usize>,
    /// Longest body that is compared, bytes, up to 4194304; of longer ones it is compared that they
    /// are longer. Default: 262144.
    pub body_bytes_max: Option<usize>,
    /// Whether copies carry the users' cookies: then what is written for one user is read at the
    /// target too. Default: false.
    #[serde(default)]
    pub cookies: bool,
    /// Whether requests with `Authorization` are copied, which then carry it. Default: false.
    #[serde(default)]
    pub authorization: bool,
    /// Headers that are compared, in lower case. Default: `content-type`, `location`,
    /// `cache-control`, `content-encoding`, `vary`.
    pub headers: Option<Vec<String>>,
    /// Words; a line of a body with one of them is not compared. Default: none.
    #[serde(default)]
    pub noise: Vec<String>,
}

/// Certificates that are looked at, besides those of every host at every front's TLS port.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CertificatesFile {
    /// A file with the authorities that are trusted (PEM), an absolute path. Default: those of this
    /// machine.
    pub roots: Option<PathBuf>,
    /// Names of mail, panels and others. Default: none.
    pub also: Vec<CertifiedFile>,
}

/// A name and a TLS port where it is shown.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertifiedFile {
    /// The name that clients use.
    pub name: String,
    /// Address and port: TLS from the first byte, as 993, 465 or 2083.
    pub address: SocketAddr,
}

/// Logs of the application. At least one file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplicationLogFile {
    /// The file of the source: an absolute path. Without it there is no level to compare
    /// with. Default: none.
    pub source: Option<PathBuf>,
    /// The file of the target: an absolute path. Default: none.
    pub target: Option<PathBuf>,
    /// A line that holds one of these counts as an error. Default: `ERROR`, `CRITICAL`,
    /// `Fatal error`, `Uncaught`.
    #[serde(default = "words")]
    pub words: Vec<String>,
}

fn words() -> Vec<String> {
    ["ERROR", "CRITICAL", "Fatal error", "Uncaught"].map(str::to_owned).to_vec()
}

/// Resolvers that are asked for names of the unit.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolversFile {
    /// Their addresses with port, 1 to 32.
    pub addresses: Vec<SocketAddr>,
    /// The owned name that they are asked for with every question; it has an A or AAAA record
    /// set in the plan. Default: every owned set of addresses that differs between the sides,
    /// in turns.
    pub name: Option<String>,
    /// Time between two questions to each, seconds, 1 to 30. Default: 1.
    #[serde(default = "every_s")]
    pub every_s: u64,
    /// Commands that make your own resolvers forget what was published, run after every
    /// publish: lists of words that begin with an absolute path. `{name}` and `{type}` stand
    /// for each published record set, such as
    /// `["/usr/sbin/unbound-control", "flush_type", "{name}", "{type}"]` or
    /// `["/usr/sbin/rndc", "flushname", "{name}"]`. Default: none.
    #[serde(default)]
    pub flush: Vec<Vec<String>>,
}

fn every_s() -> u64 {
    1
}

/// A host whose processor and memory are read. One of `proc` and `command`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostFile {
    /// Of which side.
    pub side: SideFile,
    /// Folder with `stat` and `meminfo`, if the host is this machine: `/proc`.
    pub proc: Option<PathBuf>,
    /// Command that writes the host's `/proc/stat` and then its `/proc/meminfo`: a list of
    /// words that begins with an absolute path, such as
    /// `["/usr/bin/ssh", "web2", "cat", "/proc/stat", "/proc/meminfo"]`.
    pub command: Option<Vec<String>>,
}

/// A measure of the plan's own. One of `http`, `command` and `prometheus`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomFile {
    /// Its name: `of` of a gate or trigger.
    pub name: String,
    /// A GET: the value is 1 if the answer is 200, else 0.
    pub http: Option<CustomHttpFile>,
    /// A command: the value is the number on its standard output; without one it is 1 for
    /// exit code 0, else 0. A list of words that begins with an absolute path.
    pub command: Option<Vec<String>>,
    /// An instant query: the value of its only result.
    pub prometheus: Option<PrometheusFile>,
    /// Time between two samples, milliseconds, 500 to 60000. Default: 1000.
    #[serde(default = "every_ms")]
    pub every_ms: u64,
}

fn every_ms() -> u64 {
    1000
}

/// A GET.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomHttpFile {
    /// The server's address with port; it is asked without TLS.
    pub address: SocketAddr,
    /// The host that is asked for. Default: `localhost`.
    #[serde(default = "localhost")]
    pub host: String,
    /// Path and query.
    pub path: String,
}

/// An instant query of a Prometheus server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusFile {
    /// The server's address with port; it is asked without TLS.
    pub address: SocketAddr,
    /// The query in PromQL. It has one result.
    pub query: String,
}

fn localhost() -> String {
    "localhost".to_owned()
}
