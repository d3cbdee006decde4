//! What a front is told at its start, and the file that tells it.

use segue_model::plan::{
    AccessLogPlan, FrontLimits, FrontPlan, PortKind, PortPlan, TcpPlan, TlsPlan,
};
use segue_model::{Fault, FaultKind, Network, Side};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What a front is told at its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontOptions {
    /// Its name, as answers carry it.
    pub name: String,
    /// The side at whose address it stands.
    pub side: Side,
    /// Where it listens; at least one port.
    pub ports: Vec<PortOptions>,
    /// The run that started it, after which its table in the packet filter is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Where its own connections come from; needed in the place of a live server.
    pub egress: Option<IpAddr>,
    /// Path of the control socket.
    pub control: PathBuf,
    /// Path of the state file.
    pub state: PathBuf,
    /// Proxies that are believed about who a client is.
    #[serde(default)]
    pub trusted: Vec<Network>,
    /// What it takes of clients at most.
    #[serde(default)]
    pub limits: FrontLimits,
    /// Where its figures are shown in the form that Prometheus reads.
    #[serde(default)]
    pub metrics: Option<SocketAddr>,
    /// Where requests are logged.
    #[serde(default)]
    pub access_log: Option<AccessLogPlan>,
}

/// A port of a front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortOptions {
    /// What clients speak there.
    pub kind: PortKind,
    /// Its address.
    pub listen: SocketAddr,
    /// Whether a live server listens there, whose port is taken over.
    pub take_over: bool,
    /// Another port of the address, at which the front listens while the packet filter leads
    /// new connections of the live server's port there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<u16>,
    /// Whether a live server listens there that shares the port, which the front joins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub join: bool,
    /// Where requests for hosts go that belong to no unit; in clear.
    pub default_backend: SocketAddr,
    /// Whether that one is told with the PROXY protocol who the client is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_out: bool,
    /// What a port for TLS needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsPlan>,
    /// Whether trusted proxies say with the PROXY protocol who a client is.
    #[serde(default)]
    pub proxy_in: bool,
    /// Where connections of a port for TCP go. They belong to the front's only unit, or to the
    /// one with the host that their clients ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpPlan>,
}

/// The web server of a unit where a front stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub address: SocketAddr,
    /// Whether it is told with the PROXY protocol who the client is.
    pub proxy_out: bool,
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Self { address, proxy_out: false }
    }
}

impl PortOptions {
    /// Returns whether a live server listens there, in whose place the front gets connections, and
    /// which the front reaches at that very address.
    pub fn is_live(&self) -> bool {
        self.take_over || self.redirect.is_some()
    }

    /// Returns whether opening it changes something about a live server's port.
    pub(crate) fn is_shared(&self) -> bool {
        self.take_over || self.join
    }

    /// Returns where the front itself listens.
    pub fn bound(&self) -> SocketAddr {
        SocketAddr::new(self.listen.ip(), self.redirect.unwrap_or(self.listen.port()))
    }
}

impl FrontOptions {
    /// Returns whether the packet filter leads connections to it.
    pub(crate) fn redirects(&self) -> bool {
        self.ports.iter().any(|port| port.redirect.is_some())
    }

    /// Returns a port of a server that was joined and has nobody else than fronts at it, if there
    /// is one.
    pub(crate) async fn unserved(&self) -> Option<SocketAddr> {
        let joined = self.ports.iter().filter(|port| port.join).map(|port| port.listen);
        let joined: Vec<_> = joined.collect();
        let first = *joined.first()?;
        // All processes of the machine are looked at.
        let look = tokio::task::spawn_blocking(move || segue_doors::join::unserved(&joined));
        look.await.unwrap_or(Some(first))
    }

    /// Returns the options of a front of a plan. What belongs to no unit goes to the server
    /// whose place a port for HTTP in clear takes, else to `server`. It believes the proxies of its plan, and
    /// its unit's other fronts, which may relay to it.
    pub fn of(plan: &FrontPlan, server: Server, fronts: &[FrontPlan]) -> Self {
        let others = fronts.iter().filter(|other| other.name != plan.name);
        let relays = others.flat_map(|other| {
            other.egress.into_iter().chain(other.ports.iter().map(|port| port.listen.ip()))
        });
        let own = |network: &Network| plan.ports.iter().any(|p| network.contains(p.listen.ip()));
        let relays = relays.map(Network::from).filter(|relay| !own(relay));
        let mut trusted: Vec<Network> = plan.trusted.iter().copied().chain(relays).collect();
        trusted.dedup();
        let port = |port: &PortPlan| PortOptions {
            kind: port.kind,
            listen: port.listen,
            take_over: port.take_over,
            redirect: port.redirect,
            join: port.join,
            default_backend: match port.kind {
                PortKind::Http if port.is_live() => port.listen,
                PortKind::Http | PortKind::Tls => server.address,
                PortKind::Tcp if port.is_live() => port.listen,
                PortKind::Tcp => {
                    port.tcp.as_ref().map_or(server.address, |tcp| *tcp.backends.get(plan.side))
                }
            },
            // Whoever came to a port that is taken over, said who the client is or did not.
            proxy_out: match port.kind {
                PortKind::Http if port.is_live() => port.proxy_in,
                PortKind::Http | PortKind::Tls => server.proxy_out,
                PortKind::Tcp => false,
            },
            tcp: port.tcp.clone(),
            tls: port.tls.clone(),
            proxy_in: port.proxy_in,
        };
        Self {
            name: plan.name.clone(),
            side: plan.side,
            run: None,
            ports: plan.ports.iter().map(port).collect(),
            egress: plan.egress,
            control: plan.control.clone(),
            state: plan.state.clone(),
            trusted,
            limits: plan.limits.clone(),
            metrics: plan.metrics,
            access_log: plan.access_log.clone(),
        }
    }

    /// Returns where a controller keeps the options of the front with this state file.
    pub fn beside(state: &Path) -> PathBuf {
        let mut name = state.as_os_str().to_owned();
        name.push(".options");
        PathBuf::from(name)
    }

    /// Reads options from a file.
    ///
    /// # Errors
    /// `SG0127` if the file cannot be read or is none that this version writes.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let fault = |cause: &dyn std::fmt::Display, hint: &str| {
            let op = format!("read options of a front in `{}`", path.display());
            Fault::new("SG0127", FaultKind::Invalid, op, cause).hint(hint)
        };
        let text = fs::read(path)
            .map_err(|e| fault(&e, "name the file that the controller wrote beside the state"))?;
        let options: Self = serde_json::from_slice(&text)
            .map_err(|e| fault(&e, "start front and controller from one version of the program"))?;
        if options.ports.is_empty() {
            return Err(fault(&"no port is named", "name one port at least"));
        }
        Ok(options)
    }

    /// Writes options to a file, mode 0600, in place of what it held.
    ///
    /// # Errors
    /// `SG0127` if it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Fault> {
        let written = serde_json::to_vec_pretty(self)
            .map_err(io::Error::from)
            .and_then(|text| replace(path, &text));
        written.map_err(|e| {
            let op = format!("write options of front `{}` to `{}`", self.name, path.display());
            Fault::new("SG0127", FaultKind::Invalid, op, e)
                .hint("make room and rights in the folder of the front's state file")
        })
    }
}

/// Replaces a file so that after a crash either the former or the new content is there.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".next");
    let next = folder.join(name);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn options() -> FrontOptions {
        let port = |listen: &str| PortOptions {
            kind: PortKind::Http,
            listen: listen.parse().unwrap(),
            take_over: true,
            redirect: None,
            join: false,
            default_backend: listen.parse().unwrap(),
            proxy_out: false,
            tls: None,
            proxy_in: false,
            tcp: None,
        };
        FrontOptions {
            name: "source".into(),
            side: Side::Source,
            run: None,
            ports: vec![port("127.0.0.2:80"), port("127.0.0.2:8080")],
            egress: Some("127.0.0.250".parse().unwrap()),
            control: "/run/a.sock".into(),
            state: "/var/a.json".into(),
            trusted: vec!["198.51.100.0/24".parse().unwrap()],
            limits: FrontLimits { body_rate: Some(0), ..FrontLimits::default() },
            metrics: Some("127.0.0.1:9180".parse().unwrap()),
            access_log: None,
        }
    }

    #[test]
    fn are_for_the_owner_only_and_come_back_as_they_were() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = FrontOptions::beside(&folder.path().join("a.json"));
        assert_eq!(path.file_name().unwrap(), "a.json.options");
        options().write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(FrontOptions::read(&path).unwrap(), options());
    }

    #[test]
    fn what_another_version_wrote_is_refused() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("options");
        assert_eq!(FrontOptions::read(&path).unwrap_err().code, "SG0127", "missing");
        let good = serde_json::to_value(options()).unwrap();
        let mut more = good.clone();
        more["colour"] = "blue".into();
        let mut no_port = good.clone();
        no_port["ports"] = serde_json::json!([]);
        for (bad, why) in [(more, "unknown field `colour`"), (no_port, "no port")] {
            fs::write(&path, bad.to_string()).unwrap();
            let fault = FrontOptions::read(&path).unwrap_err();
            assert!(fault.code == "SG0127" && fault.cause.contains(why), "{fault}");
        }
    }
}
