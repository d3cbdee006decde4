//! What is not plain about the way to a site's servers.

use segue_model::Sides;
use segue_model::plan::{BackendCheck, SitePlan, TlsVerify};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// How a site's servers are reached, where that is not one server in clear at each side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reach {
    /// From a request to the head of its answer, and between two parts of the answer,
    /// milliseconds; none for the front's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_ms: Option<u64>,
    /// The servers of each side.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub servers: Sides<Servers>,
}

impl Reach {
    /// Returns the way to a site's servers as its plan has it; none if it is plain.
    pub fn of(site: &SitePlan) -> Option<Box<Self>> {
        let servers = Sides::from_fn(|side| {
            let plan = site.backends.get(side);
            let check = (plan.check == BackendCheck::Path).then(|| plan.health_path.clone());
            let tls = plan.tls.as_ref().map(|tls| ServerTls {
                name: tls.name.clone(),
                verify: match &tls.verify {
                    TlsVerify::Roots { file } => Verify::Roots { file: file.clone() },
                    TlsVerify::Pins { sha256 } => Verify::Pins { sha256: sha256.clone() },
                    TlsVerify::Off => Verify::Off,
                },
            });
            let (passthrough, acme_tls) = (plan.passthrough, plan.acme_tls);
            let (beside, proxy_out) = (plan.beside.clone(), plan.proxy_out);
            Servers { beside, check, tls, passthrough, acme_tls, proxy_out }
        });
        let reach = Self { answer_ms: site.answer_timeout_s.map(|s| s * 1_000), servers };
        (reach != Self::default()).then(|| Box::new(reach))
    }
}

fn is_plain(servers: &Sides<Servers>) -> bool {
    *servers == Sides::default()
}

/// The servers of a site at one side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Servers {
    /// Further ones beside the first. A request goes to the one with the least under way of
    /// those that answer, never to the other side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<SocketAddr>,
    /// A path that each is asked for every second, to see whether it answers with a status below
    /// 400; none if taking a connection is enough. One alone is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// TLS to them; none for HTTP in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// The server that TLS for the site's hosts goes to unread, at ports for TLS; of both sides or
    /// of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<SocketAddr>,
    /// The server that a certificate authority's question by TLS goes to unread (`acme-tls/1`); none
    /// for the one of `passthrough`, or the first that TLS is spoken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme_tls: Option<SocketAddr>,
    /// Whether all of them are told with the PROXY protocol, version 2, who the client is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_out: bool,
}

/// TLS to the servers of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// The name that the certificate is for; none for the site's first host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which certificate is taken.
    pub verify: Verify,
}

/// Which certificate of a server is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Verify {
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
    /// Any.
    Off,
}
