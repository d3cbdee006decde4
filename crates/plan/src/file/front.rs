//! Fronts as written in the plan file.

use super::SideFile;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// A front to run: one process, at one port (`listen`) or several (`port`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FrontFile {
    /// Its name, as a rule that of its side.
    pub name: String,
    /// On whose address it stands.
    pub side: SideFile,
    /// The address that DNS names or will name, with port, if HTTP at this port is all it
    /// serves. Default: none; then there is a `port` at least.
    pub listen: Option<SocketAddr>,
    /// Whether a live server listens at `listen`, from which the port is taken over.
    /// Default: false.
    pub take_over: Option<bool>,
    /// The ports, in place of `listen` and `take_over`. They are taken over all or none.
    /// Default: none.
    #[serde(default)]
    pub port: Vec<PortFile>,
    /// Address that the front's own connections to the live servers behind it come from. Needed
    /// with `take_over` or `redirect`, and only then. Default: none.
    pub egress: Option<IpAddr>,
    /// Its control socket: an absolute path of at most 107 bytes.
    pub control: PathBuf,
    /// File in which it keeps its last routes: an absolute path.
    pub state: PathBuf,
    /// Proxies before it, such as a CDN or a TLS terminator, that are believed about who a
    /// client is: addresses and networks (`198.51.100.0/24`). From anybody else the front
    /// replaces `X-Forwarded-*` and `Forwarded`. Default: none but the unit's other fronts.
    #[serde(default)]
    pub trusted: Vec<String>,
    /// What it takes of clients at most.
    #[serde(default)]
    pub limits: FrontLimitsFile,
    /// Where its figures are shown to Prometheus (`GET /metrics`), address and port. Whoever
    /// reaches it reads them. Default: none.
    pub metrics: Option<SocketAddr>,
    /// A log of requests. Default: none.
    pub access_log: Option<AccessLogFile>,
    /// HAProxy stands there and is driven by its Runtime socket, which is `control`; Segue starts
    /// nothing. Default: none; the front is Segue's own.
    pub haproxy: Option<HaproxyFile>,
    /// nginx stands there and is driven by a file and a reload; Segue starts nothing. Default:
    /// none; the front is Segue's own.
    pub nginx: Option<NginxFile>,
}

/// A log of requests: one JSON object a line, without query strings.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessLogFile {
    /// The file, an absolute path. It is opened anew when it is moved away.
    pub path: PathBuf,
    /// One request of so many is logged, and every one that failed. Default: 100.
    pub every: Option<u64>,
}

/// HAProxy as a front. `segue fragments PLAN` prints what its configuration needs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaproxyFile {
    /// Its configuration, an absolute path: read to see whether the retry settings are right.
    pub config: PathBuf,
    /// The folder of Segue's maps and script, an absolute path: HAProxy reads and Segue writes.
    pub folder: PathBuf,
}

/// nginx as a front. `segue fragments PLAN` prints what its configuration needs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NginxFile {
    /// The folder of Segue's part of its configuration, an absolute path: nginx includes and
    /// Segue writes it.
    pub folder: PathBuf,
    /// The file with the id of its main process, an absolute path.
    pub pid: PathBuf,
    /// Whether the requests are taken that a reload loses: at 2,000 requests a second over 64
    /// connections 1 to 2 of clients that look whether theirs was closed, about one a connection of
    /// others (nginx 1.22; fewer from 1.27.4 on with `keepalive_min_timeout`). A cutover makes three
    /// reloads. Default: false, and the plan is refused.
    #[serde(default)]
    pub accept_reload_losses: bool,
    /// Whether it is taken that requests are refused with 503 during the pause, as nothing
    /// queues. Default: false, and the plan is refused.
    #[serde(default)]
    pub accept_refusals: bool,
}

/// What a front takes of its clients. Whoever wants more is refused.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FrontLimitsFile {
    /// Most connections at once. Default: 20000, or half as many as the process may have open
    /// files if that is less.
    pub connections: Option<usize>,
    /// Most connections at once of one client: an IPv4 address or an IPv6 /64. Trusted proxies
    /// may have any number. Default: 1000.
    pub connections_per_client: Option<usize>,
    /// Most header fields of a request. Default: 100.
    pub headers: Option<usize>,
    /// Least bytes a second of a request's body, on average from its twentieth second on;
    /// 0 asks for none. Default: 256.
    pub body_rate: Option<u64>,
}

/// A port of a front.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortFile {
    /// What clients speak there. Default: `http`.
    #[serde(default)]
    pub kind: PortKindFile,
    /// The address that DNS names or will name, with port.
    pub listen: SocketAddr,
    /// Whether a live server listens there, from which the port is taken over.
    /// Default: false.
    #[serde(default)]
    pub take_over: bool,
    /// Another port of the same address, if a live server listens at `listen` and its port can
    /// not be taken over: the front listens here, and a packet filter (nftables, as root) leads new
    /// connections of `listen` here. In place of `take_over`. Default: none.
    pub redirect: Option<u16>,
    /// Whether a live server listens there that shares the port (`SO_REUSEPORT`: nginx with
    /// `listen ... reuseport`, HAProxy by itself) and is reached at another port, which is that of
    /// the source's or target's web server in this plan. The front joins it and gets all new
    /// connections; the server may be reloaded and started anew meanwhile. In place of `take_over`.
    /// Default: false.
    #[serde(default)]
    pub join: bool,
    /// Files and folders with certificates and their keys, at a port for `tls` and only there:
    /// folders as certbot's `live`, pairs `NAME.crt` and `NAME.key`, or `NAME.pem` with both.
    /// The front reads them itself, and again when they change. Needed unless TLS for every site
    /// goes unread (`passthrough`). Default: none.
    #[serde(default)]
    pub certificates: Vec<PathBuf>,
    /// The host name whose certificate clients get that name none, or one that has none.
    /// Default: none; they are refused or, where the port was taken over or joined, passed on to
    /// its server.
    pub default_certificate: Option<String>,
    /// Where the live server speaks TLS itself, at a port for `tls` that is joined and only there:
    /// clients that ask for names without a certificate here are passed on to it, and certificate
    /// authorities. An address with another port; it takes the PROXY protocol if this port has
    /// `proxy_in`. Needed there. Default: none.
    pub strangers: Option<SocketAddr>,
    /// Whether clients that speak HTTP/2 are served in it, at a port for `tls` and only there.
    /// HTTP/1.1 is served in any case. Default: true.
    pub http2: Option<bool>,
    /// Whether proxies of `trusted` say with the PROXY protocol (version 1 or 2) who a client
    /// is, and nothing comes from them without. Default: false.
    #[serde(default)]
    pub proxy_in: bool,
    /// The server at the source, at a port for `tcp` and only there. Default: none.
    pub source: Option<SocketAddr>,
    /// The server at the target, at a port for `tcp` and only there. Default: none.
    pub target: Option<SocketAddr>,
    /// Whether the servers of a port for `tcp` are told with the PROXY protocol (version 2) who
    /// the client is. Both must expect it. Default: false.
    #[serde(default)]
    pub proxy_out: bool,
    /// Whether clients of a port for `tcp` speak TLS from the first byte (IMAPS, SMTPS, panels), or
    /// HTTP in clear, and their unit is the one that has a site with the host they ask for; so
    /// several units may have the port. Nothing is decrypted. Who asks for a host of no unit, or for
    /// none, goes to the server of the front's own side. Default: false, and the port is one
    /// unit's alone.
    #[serde(default)]
    pub by_name: bool,
}

/// What clients speak at a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PortKindFile {
    /// HTTP in clear.
    #[default]
    Http,
    /// HTTP over TLS, which the front terminates.
    Tls,
    /// Anything over TCP, such as IMAP, SMTP, MySQL: the front passes bytes. The port is the
    /// unit's alone, unless it goes `by_name`.
    Tcp,
}
