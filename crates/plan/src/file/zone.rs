//! Zones in a plan file.

use super::SecretText;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A DNS zone and the record sets that the unit owns in it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoneFile {
    /// The zone's name, lower case, without trailing dot.
    pub zone: String,
    /// The server that takes updates, with port. Short for an `authority` of its own with
    /// `update`; `key` and `servers` belong to it.
    #[serde(default, deserialize_with = "maybe_server")]
    pub primary: Option<SocketAddr>,
    /// Every address of every authoritative server, the primary included.
    #[serde(default, deserialize_with = "servers")]
    pub servers: Vec<SocketAddr>,
    /// Servers of the parent zone, with port: they are asked how long the parent holds owned name
    /// servers and their addresses. Default: none, and that stays unknown.
    #[serde(default, deserialize_with = "servers")]
    pub parents: Vec<SocketAddr>,
    /// TTL of owned addresses (A, AAAA, HTTPS, SVCB) and delegations (NS) while the unit may
    /// move, seconds. Default: 60.
    #[serde(default = "lowered_ttl_s")]
    pub lowered_ttl_s: u32,
    /// TTL of the other owned sets (MX, CNAME, TXT and so on) meanwhile, seconds. 60 gives a
    /// way back in caches as fast as that of addresses. Default: 300, or `lowered_ttl_s` if
    /// that is higher.
    pub lowered_other_ttl_s: Option<u32>,
    /// The TSIG key.
    pub key: Option<KeyFile>,
    /// The providers that serve the zone, each with its name servers: several while it moves
    /// from one to another. Instead of `primary`, `servers` and `key`.
    #[serde(default)]
    pub authority: Vec<AuthorityFile>,
    /// Guards that are overridden, because what they hold back is meant. Default: none.
    #[serde(default)]
    pub allow: Vec<ZoneGuardFile>,
    /// Query logs of the name servers; of an `authority` they stand there. Default: none.
    #[serde(default)]
    pub query_log: Vec<QueryLogFile>,
    /// The owned record sets. At least one.
    pub record: Vec<RecordFile>,
}

/// A query log of a name server, on this machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryLogFile {
    /// How it is written.
    pub format: QueryLogFormatFile,
    /// The file that the server writes now: an absolute path. It may be rotated, and it may be
    /// missing for a while.
    pub file: PathBuf,
}

/// How a name server logs what it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueryLogFormatFile {
    /// Text, as BIND 9 writes its category `queries`.
    Bind,
    /// A file of dnstap messages, as BIND, Knot DNS (`mod-dnstap`), NSD and others write it.
    Dnstap,
}

/// What a change of a zone is held back for until somebody says by name that it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ZoneGuardFile {
    /// More than 30 % of a zone of ten or more records would change or go.
    Share,
    /// A record would lead to a name without address, such as an MX without host.
    Dangling,
    /// Receivers would reject the SPF record: more than ten questions, or two records.
    Spf,
    /// An owned name proves to somebody else that the domain is his, such as
    /// `_acme-challenge`.
    Validation,
    /// The zone's own NS set is owned. The delegation at its parent is not changed by it.
    ApexNs,
    /// Two providers of the zone share a name server, as members of a DNS cluster do.
    SharedCluster,
    /// The primary is not among `servers`: nobody but Segue and the secondaries asks it.
    HiddenPrimary,
}

fn address<E: serde::de::Error>(text: &str) -> Result<SocketAddr, E> {
    let wanted = || format!("`{text}` is not an address with port, such as 192.0.2.53:53");
    text.parse().map_err(|_| E::custom(wanted()))
}

fn server<'de, D: Deserializer<'de>>(source: D) -> Result<SocketAddr, D::Error> {
    address(&String::deserialize(source)?)
}

fn maybe_server<'de, D: Deserializer<'de>>(source: D) -> Result<Option<SocketAddr>, D::Error> {
    server(source).map(Some)
}

fn servers<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<SocketAddr>, D::Error> {
    Vec::<String>::deserialize(source)?.iter().map(|text| address(text)).collect()
}

fn lowered_ttl_s() -> u32 {
    60
}

/// A provider of a zone. Exactly one of `update`, `powerdns`, `zone_file`, `route53`,
/// `cloudflare` and `command` says how its records are changed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorityFile {
    /// Its name; unique in the zone.
    pub name: String,
    /// Every address of every name server that answers from its records, with port.
    #[serde(deserialize_with = "servers")]
    pub servers: Vec<SocketAddr>,
    /// Signed UPDATE at a primary: BIND, Knot DNS, PowerDNS and others.
    pub update: Option<UpdateFile>,
    /// The HTTP API of PowerDNS.
    pub powerdns: Option<PowerdnsFile>,
    /// A zone file and a command that makes the server read it.
    pub zone_file: Option<ZoneFileFile>,
    /// Amazon Route 53.
    pub route53: Option<Route53File>,
    /// Cloudflare.
    pub cloudflare: Option<CloudflareFile>,
    /// A program that reads and changes records; see the manual for what it is told.
    pub command: Option<Vec<String>>,
    /// Query logs of its name servers. Default: none.
    #[serde(default)]
    pub query_log: Vec<QueryLogFile>,
}

/// Signed UPDATE at a primary.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateFile {
    /// The server that takes updates, with port.
    #[serde(deserialize_with = "server")]
    pub primary: SocketAddr,
    /// The TSIG key.
    pub key: KeyFile,
}

/// The HTTP API of PowerDNS.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerdnsFile {
    /// Where it is: `http://127.0.0.1:8081`.
    pub url: String,
    /// The server's id. Default: `localhost`.
    #[serde(default = "localhost")]
    pub server: String,
    /// Where the API key is: `file:/path` or `env:NAME`.
    pub key: SecretText,
}

fn localhost() -> String {
    "localhost".to_owned()
}

/// A zone file and a command that makes the server read it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoneFileFile {
    /// The file, by its absolute path.
    pub file: PathBuf,
    /// Makes the server read it; the first word is an absolute path.
    pub reload: Vec<String>,
}

/// Amazon Route 53.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route53File {
    /// The API. Default: `https://route53.amazonaws.com`.
    #[serde(default = "route53_url")]
    pub url: String,
    /// The hosted zone's id.
    pub zone_id: String,
    /// Where the access key id is: `file:/path` or `env:NAME`.
    pub access_key: SecretText,
    /// Where the secret access key is.
    pub secret_key: SecretText,
}

fn route53_url() -> String {
    "https://route53.amazonaws.com".to_owned()
}

/// Cloudflare.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloudflareFile {
    /// The API. Default: `https://api.cloudflare.com/client/v4`.
    #[serde(default = "cloudflare_url")]
    pub url: String,
    /// The zone's id.
    pub zone_id: String,
    /// Where the API token is: `file:/path` or `env:NAME`. It must be allowed to edit DNS.
    pub token: SecretText,
    /// Most records of one batch. Default: 200, what the free plan allows; others allow 3500.
    #[serde(default = "batch_max")]
    pub batch_max: u32,
    /// Lowest TTL, seconds. Default: 60; the Enterprise plan allows 30.
    #[serde(default = "ttl_min_s")]
    pub ttl_min_s: u32,
}

fn cloudflare_url() -> String {
    "https://api.cloudflare.com/client/v4".to_owned()
}

fn batch_max() -> u32 {
    200
}

fn ttl_min_s() -> u32 {
    60
}

/// A TSIG key for UPDATE, AXFR and NOTIFY.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// The key's name.
    pub name: String,
    /// `hmac-sha256`, `hmac-sha384`, `hmac-sha512` or `hmac-sha1`. Default: `hmac-sha256`.
    #[serde(default = "algorithm")]
    pub algorithm: String,
    /// Where the secret is, in base64: `file:/path` or `env:NAME`.
    pub secret: SecretText,
}

fn algorithm() -> String {
    "hmac-sha256".to_owned()
}

/// A record set that the unit owns: data of one type at one name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordFile {
    /// Owner name in full, lower case, without trailing dot.
    pub name: String,
    /// Type in capitals, such as `A`.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Data while the unit is at the source, in presentation format.
    pub source: Vec<String>,
    /// Data while the unit is at the target.
    pub target: Vec<String>,
}
