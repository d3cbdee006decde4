//! A front as the plan has it: one process, at one or several ports.

use super::SitePlan;
use super::proxy::{Abilities, ProxyPlan};
use crate::network::Network;
use crate::side::{Side, Sides};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// A front to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct FrontPlan {
    /// Its name: `source` or `target` as a rule.
    pub name: String,
    /// On whose address it stands.
    pub side: Side,
    /// Where it listens; at least one port, none twice.
    pub ports: Vec<PortPlan>,
    /// Address its own connections to the servers behind ports that were taken over come from.
    pub egress: Option<IpAddr>,
    /// Its control socket.
    pub control: PathBuf,
    /// Where it keeps its last routes.
    pub state: PathBuf,
    /// Proxies before it that are believed about who a client is.
    pub trusted: Vec<Network>,
    /// What it takes of clients at most.
    pub limits: FrontLimits,
    /// Where its figures are shown in the form that Prometheus reads, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// Where requests are logged, if anywhere.
    pub access_log: Option<AccessLogPlan>,
    /// The operator's own proxy that stands there in the place of a front of ours; none for ours.
    pub proxy: Option<ProxyPlan>,
}

/// A log of requests, one JSON object a line, without query strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessLogPlan {
    /// The file. It is opened anew when somebody moves it away.
    pub path: PathBuf,
    /// One request of so many is logged, and every one that failed.
    pub every: u64,
}

/// What a front takes of its clients; what is none is the front's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontLimits {
    /// Most connections at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
    /// Most connections at once of one client: an IPv4 address or an IPv6 /64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_per_client: Option<usize>,
    /// Most header fields of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<usize>,
    /// Least bytes a second of a request's body, on average; 0 asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_rate: Option<u64>,
}

/// A port of a front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortPlan {
    /// What clients speak there.
    pub kind: PortKind,
    /// The address that DNS names (or will name), with port.
    pub listen: SocketAddr,
    /// Whether a live server listens there and the port is taken over from it.
    pub take_over: bool,
    /// The port of the same address at which the front listens while a live server has `listen`:
    /// the packet filter leads new connections there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<u16>,
    /// Whether a live server listens there that shares the port, and is reached elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub join: bool,
    /// What a port for TLS needs, and no other has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsPlan>,
    /// Whether trusted proxies say with the PROXY protocol who a client is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_in: bool,
    /// Where connections of a port for TCP go, and no other has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpPlan>,
}

/// The servers behind a port at which any protocol over TCP is spoken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpPlan {
    /// The server at each side.
    pub backends: Sides<SocketAddr>,
    /// Whether they are told with the PROXY protocol, version 2, who the client is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_out: bool,
    /// Whether clients speak TLS from the first byte, or HTTP in clear, and the unit of a connection
    /// is the one that has the host they ask for. Without, the port is one unit's alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_name: bool,
}

/// The certificates of a port where clients speak TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsPlan {
    /// Files and folders with certificates and their keys; none only where nobody's TLS ends at
    /// the front. It reads them itself, and again when they change.
    pub certificates: Vec<PathBuf>,
    /// The host name whose certificate clients get that name none, or one that has none. Without
    /// it they are refused.
    pub default_certificate: Option<String>,
    /// Whether clients that speak HTTP/2 are served in it; HTTP/1.1 is served in any case.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub http2: bool,
    /// Another port at which the live server of a joined port speaks TLS itself: names that have
    /// no certificate here are passed on to it, and certificate authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strangers: Option<SocketAddr>,
}

fn yes() -> bool {
    true
}

/// What clients speak at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortKind {
    /// HTTP in clear.
    Http,
    /// HTTP over TLS, which the front terminates.
    Tls,
    /// Anything over TCP: mail, databases. The front passes bytes.
    Tcp,
}

impl PortKind {
    /// Returns its name, as in a plan file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Tcp => "tcp",
        }
    }
}

impl fmt::Display for PortKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PortPlan {
    /// Returns a port where clients speak HTTP in clear.
    pub fn http(listen: SocketAddr, take_over: bool) -> Self {
        Self {
            kind: PortKind::Http,
            listen,
            take_over,
            redirect: None,
            join: false,
            tls: None,
            proxy_in: false,
            tcp: None,
        }
    }

    /// Returns whether a live server listens there, in whose place the front gets connections, and
    /// which the front reaches at that very address.
    pub fn is_live(&self) -> bool {
        self.take_over || self.redirect.is_some()
    }

    /// Returns where the live server of a joined port speaks TLS to names that are not moved.
    pub fn strangers(&self) -> Option<SocketAddr> {
        self.tls.as_ref()?.strangers
    }

    /// Returns where the front itself listens.
    pub fn bound(&self) -> SocketAddr {
        SocketAddr::new(self.listen.ip(), self.redirect.unwrap_or(self.listen.port()))
    }
}

impl FrontPlan {
    /// Returns whether it listens at this very address and port.
    pub fn listens_at(&self, address: SocketAddr) -> bool {
        self.ports.iter().any(|port| port.listen == address)
    }

    /// Returns whether one of its ports has this address, whatever the port's number.
    pub fn stands_on(&self, address: IpAddr) -> bool {
        self.ports.iter().any(|port| port.listen.ip() == address)
    }

    /// Returns whether it stands in the place of a live server at one of its ports.
    pub fn takes_over(&self) -> bool {
        self.ports.iter().any(PortPlan::is_live)
    }

    /// Returns whether the packet filter leads connections of a live port to it.
    pub fn redirects(&self) -> bool {
        self.ports.iter().any(|port| port.redirect.is_some())
    }

    /// Returns its ports for TCP, with the servers behind them.
    pub fn tcp(&self) -> impl Iterator<Item = (&PortPlan, &TcpPlan)> {
        self.ports.iter().filter_map(|port| Some((port, port.tcp.as_ref()?)))
    }

    /// Returns the ports where a site is asked for in HTTP in clear, in the order of the plan.
    pub fn web(&self) -> impl Iterator<Item = &PortPlan> {
        self.ports.iter().filter(|port| port.kind == PortKind::Http)
    }

    /// Returns the ports where anybody may speak TLS to it, in the order of the plan: one that wants
    /// the PROXY protocol first speaks to no stranger.
    pub fn tls(&self) -> impl Iterator<Item = &PortPlan> {
        self.ports.iter().filter(|port| port.kind == PortKind::Tls && !port.proxy_in)
    }

    /// Returns the ports where a site is asked for over TLS that ends at it, in the order of the plan.
    pub fn tls_of(&self, site: &SitePlan) -> impl Iterator<Item = &PortPlan> {
        let read = site.backends.source.passthrough.is_none();
        self.tls().filter(move |_| read)
    }

    /// Returns what it can do.
    pub fn abilities(&self) -> Abilities {
        self.proxy.as_ref().map_or(Abilities::OWN, ProxyPlan::abilities)
    }

    /// Returns the addresses of all ports for a text: `192.0.2.10:80, 192.0.2.10:8080`.
    pub fn addresses(&self) -> String {
        let all: Vec<_> = self.ports.iter().map(|port| port.listen.to_string()).collect();
        all.join(", ")
    }
}

/// A front as it is written. One with a single port for HTTP in clear stands there as it did
/// before a front could have several: the hash of a plan that was approved then is the same.
#[derive(Serialize, Deserialize)]
struct Form {
    name: String,
    side: Side,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    take_over: Option<bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ports: Vec<PortPlan>,
    egress: Option<IpAddr>,
    control: PathBuf,
    state: PathBuf,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    trusted: Vec<Network>,
    #[serde(default, skip_serializing_if = "is_default")]
    limits: FrontLimits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metrics: Option<SocketAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access_log: Option<AccessLogPlan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proxy: Option<ProxyPlan>,
}

fn is_default(limits: &FrontLimits) -> bool {
    *limits == FrontLimits::default()
}

impl From<FrontPlan> for Form {
    fn from(front: FrontPlan) -> Self {
        let FrontPlan { name, side, ports, egress, control, state, .. } = front;
        let FrontPlan { trusted, limits, metrics, access_log, proxy, .. } = front;
        let form = Self {
            name,
            side,
            listen: None,
            take_over: None,
            ports: Vec::new(),
            egress,
            control,
            state,
            trusted,
            limits,
            metrics,
            access_log,
            proxy,
        };
        match ports.as_slice() {
            [
                PortPlan {
                    kind: PortKind::Http,
                    listen,
                    take_over,
                    redirect: None,
                    join: false,
                    tls: None,
                    proxy_in: false,
                    tcp: None,
                },
            ] => Self { listen: Some(*listen), take_over: Some(*take_over), ..form },
            _ => Self { ports, ..form },
        }
    }
}

impl From<Form> for FrontPlan {
    fn from(form: Form) -> Self {
        let Form { name, side, listen, take_over, ports, egress, control, .. } = form;
        let Form { state, trusted, limits, metrics, access_log, proxy, .. } = form;
        let only = listen.map(|listen| PortPlan::http(listen, take_over.unwrap_or_default()));
        let ports = only.into_iter().chain(ports).collect();
        Self {
            name,
            side,
            ports,
            egress,
            control,
            state,
            trusted,
            limits,
            metrics,
            access_log,
            proxy,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn front(ports: Vec<PortPlan>) -> FrontPlan {
        FrontPlan {
            name: "source".into(),
            side: Side::Source,
            ports,
            egress: None,
            control: "/run/a.sock".into(),
            state: "/var/a.json".into(),
            trusted: Vec::new(),
            limits: FrontLimits::default(),
            metrics: None,
            access_log: None,
            proxy: None,
        }
    }

    #[test]
    fn one_port_is_written_as_it_was_before_there_were_several() {
        let one = front(vec![PortPlan::http("192.0.2.10:80".parse().unwrap(), true)]);
        let text = r#"{"name":"source","side":"source","listen":"192.0.2.10:80","take_over":true,"egress":null,"control":"/run/a.sock","state":"/var/a.json"}"#;
        assert_eq!(serde_json::to_string(&one).unwrap(), text);
        assert_eq!(serde_json::from_str::<FrontPlan>(text).unwrap(), one);
    }

    #[test]
    fn several_ports_come_back_as_they_were() {
        let ports = ["192.0.2.10:80", "192.0.2.10:8080"];
        let several = front(ports.map(|p| PortPlan::http(p.parse().unwrap(), false)).into());
        let text = serde_json::to_string(&several).unwrap();
        assert!(!text.contains("\"listen\":\"192.0.2.10:80\",\"take_over\":false,\"egress\""));
        assert_eq!(serde_json::from_str::<FrontPlan>(&text).unwrap(), several);
    }

    #[test]
    fn a_port_that_is_redirected_comes_back_as_it_was() {
        let plain = PortPlan::http("192.0.2.10:80".parse().unwrap(), false);
        let text = serde_json::to_string(&plain).unwrap();
        assert!(!text.contains("redirect"), "the hash of others is as it was: {text}");
        let port = PortPlan { redirect: Some(8_080), ..plain };
        assert_eq!((port.is_live(), port.bound()), (true, "192.0.2.10:8080".parse().unwrap()));
        let front = front(vec![port]);
        assert!(front.takes_over() && front.redirects());
        let text = serde_json::to_string(&front).unwrap();
        assert_eq!(serde_json::from_str::<FrontPlan>(&text).unwrap(), front);
    }

    #[test]
    fn a_port_that_is_joined_comes_back_as_it_was() {
        let plain = PortPlan::http("192.0.2.10:80".parse().unwrap(), false);
        let text = serde_json::to_string(&plain).unwrap();
        assert!(!text.contains("join"), "the hash of others is as it was: {text}");
        let front = front(vec![PortPlan { join: true, ..plain }]);
        assert!(!front.takes_over(), "the server is reached elsewhere");
        let text = serde_json::to_string(&front).unwrap();
        assert_eq!(serde_json::from_str::<FrontPlan>(&text).unwrap(), front);
    }

    #[test]
    fn what_is_asked_of_clients_comes_back_as_it_was() {
        let port =
            PortPlan { proxy_in: true, ..PortPlan::http("192.0.2.10:80".parse().unwrap(), true) };
        let trusted = vec!["198.51.100.0/24".parse().unwrap()];
        let limits = FrontLimits { connections: Some(7), ..FrontLimits::default() };
        let strict = FrontPlan { trusted, limits, ..front(vec![port]) };
        let text = serde_json::to_string(&strict).unwrap();
        assert_eq!(serde_json::from_str::<FrontPlan>(&text).unwrap(), strict);
    }
}
