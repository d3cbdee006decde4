//! Zones: the record sets a unit owns, and the providers that serve them.

use super::SecretRef;
use crate::side::Sides;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The record sets that a unit owns in a zone, at one provider of the zone.
///
/// A zone that several providers serve, as while it moves from one to another, is several of
/// these with the same records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZonePlan {
    /// The zone's name without trailing dot.
    pub zone: String,
    /// The provider's name; none if it is the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// How the provider's records are read and changed.
    pub authority: AuthorityPlan,
    /// Every address of every name server that answers from these records.
    pub servers: Vec<SocketAddr>,
    /// Servers of the parent zone, to be asked what it holds of this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<SocketAddr>,
    /// The owned record sets with their data on either side.
    pub records: Vec<OwnedSet>,
    /// TTL of owned addresses and delegations while the unit may move, seconds.
    pub lowered_ttl_s: u32,
    /// TTL of the other owned sets (MX, CNAME, TXT, ...) meanwhile, seconds.
    pub lowered_other_ttl_s: u32,
    /// Guards that somebody overrode by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<ZoneGuard>,
    /// Query logs of these name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_logs: Vec<QueryLogPlan>,
}

/// A query log of a name server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryLogPlan {
    /// How it is written.
    pub format: QueryLogFormat,
    /// The file.
    pub file: PathBuf,
}

/// How a name server logs what it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryLogFormat {
    /// Text, as BIND 9 writes its category `queries`.
    Bind,
    /// Frame Streams of dnstap messages, as BIND, Knot DNS, NSD and others write them.
    Dnstap,
}

/// What a change of a zone is held back for until somebody says by name that it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoneGuard {
    /// A large part of the zone's records would change or go.
    Share,
    /// A record that receives mail, or another, would lead to a name without address.
    Dangling,
    /// Receivers of mail would reject the SPF record.
    Spf,
    /// A name is owned by which somebody else proves that the domain is his: a certificate
    /// authority's challenge, a panel's or a provider's.
    Validation,
    /// The zone's own name servers are owned; its parent's delegation is another set.
    ApexNs,
    /// Two providers of the zone share a name server: what is changed at one is changed at the
    /// other, too.
    SharedCluster,
    /// The server that takes updates is asked by nobody else.
    HiddenPrimary,
}

impl ZoneGuard {
    /// Returns its name in a plan file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Dangling => "dangling",
            Self::Spf => "spf",
            Self::Validation => "validation",
            Self::ApexNs => "apex_ns",
            Self::SharedCluster => "shared_cluster",
            Self::HiddenPrimary => "hidden_primary",
        }
    }
}

/// Types whose TTL decides how fast visitors follow.
const LEADS_VISITORS: [&str; 5] = ["A", "AAAA", "HTTPS", "NS", "SVCB"];

impl ZonePlan {
    /// Returns the TTL of an owned set of this type while the unit may move, seconds.
    pub fn lowered_ttl_of(&self, rtype: &str) -> u32 {
        if LEADS_VISITORS.contains(&rtype) { self.lowered_ttl_s } else { self.lowered_other_ttl_s }
    }

    /// Says whether a set is the zone's own NS.
    pub fn is_apex_ns(&self, set: &OwnedSet) -> bool {
        set.rtype == "NS" && set.name == self.zone
    }

    /// Returns the zone's name, with the provider's if there are several:
    /// `example.test at old`.
    pub fn label(&self) -> Cow<'_, str> {
        match &self.provider {
            None => Cow::Borrowed(&self.zone),
            Some(provider) => Cow::Owned(format!("{} at {provider}", self.zone)),
        }
    }
}

/// How a provider's records are read and changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorityPlan {
    /// Signed UPDATE and AXFR at the primary (RFC 2136, 5936, 8945).
    Update {
        /// The server that takes updates.
        primary: SocketAddr,
        /// TSIG key for UPDATE, AXFR and NOTIFY.
        key: TsigKey,
    },
    /// The HTTP API of a PowerDNS server.
    Powerdns {
        /// Where the API is: `http://127.0.0.1:8081`.
        url: String,
        /// The server's id in it, `localhost` as a rule.
        server: String,
        /// The API key.
        key: SecretRef,
    },
    /// A zone file, and a command that makes the server read it.
    ZoneFile {
        /// The file.
        file: PathBuf,
        /// Makes the server read it, such as `rndc reload example.test`.
        reload: Vec<String>,
    },
    /// Amazon Route 53.
    Route53 {
        /// The API: `https://route53.amazonaws.com`.
        url: String,
        /// The hosted zone's id, such as `Z1D633PJN98FT9`.
        zone_id: String,
        /// Access key id.
        access_key: SecretRef,
        /// Secret access key.
        secret_key: SecretRef,
    },
    /// Cloudflare.
    Cloudflare {
        /// The API: `https://api.cloudflare.com/client/v4`.
        url: String,
        /// The zone's id.
        zone_id: String,
        /// An API token that may write DNS.
        token: SecretRef,
        /// Most records of one batch: 200 on the free plan, 3500 on the others.
        batch_max: u32,
        /// Lowest TTL, seconds: 60, or 30 on the Enterprise plan.
        ttl_min_s: u32,
    },
    /// A program of the operator that reads and changes records for us.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
    },
}

impl AuthorityPlan {
    /// Returns its name in a plan file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Update { .. } => "update",
            Self::Powerdns { .. } => "powerdns",
            Self::ZoneFile { .. } => "zone_file",
            Self::Route53 { .. } => "route53",
            Self::Cloudflare { .. } => "cloudflare",
            Self::Command { .. } => "command",
        }
    }

    /// Returns the secrets it needs.
    pub fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Self::Update { key, .. } => vec![&key.secret],
            Self::Powerdns { key, .. } => vec![key],
            Self::Route53 { access_key, secret_key, .. } => vec![access_key, secret_key],
            Self::Cloudflare { token, .. } => vec![token],
            Self::ZoneFile { .. } | Self::Command { .. } => Vec::new(),
        }
    }

    /// Returns the server that takes updates, and the key, if that is how it is done.
    pub fn update(&self) -> Option<(SocketAddr, &TsigKey)> {
        match self {
            Self::Update { primary, key } => Some((*primary, key)),
            _ => None,
        }
    }
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

impl OwnedSet {
    /// Says whether both sides have data and it differs: publishing leads somewhere else.
    pub fn moves(&self) -> bool {
        let Sides { source, target } = &self.data;
        let within = |one: &[String], other: &[String]| one.iter().all(|data| other.contains(data));
        let same = within(source, target) && within(target, source);
        !source.is_empty() && !target.is_empty() && !same
    }
}
