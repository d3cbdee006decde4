//! The file of zones that move between DNS providers.

use super::{CloudflareFile, PowerdnsFile, Route53File, UpdateFile, ZoneFileFile};
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::SocketAddr;

/// Zones that move from one DNS provider to another, or get or lose their signatures.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MovesFile {
    /// The provider that the zones leave. Without it they stay where they are, and only their
    /// signing changes.
    pub source: Option<ProviderFile>,
    /// The provider to which they go, or where they are.
    pub target: ProviderFile,
    /// Zones with nothing of their own, by name: lower case, without trailing dot.
    #[serde(default)]
    pub zones: Vec<String>,
    /// Zones with something of their own.
    #[serde(default)]
    pub zone: Vec<MoveFile>,
    /// What becomes of the zones' signing. Default: `keep`.
    #[serde(default)]
    pub dnssec: SigningFile,
    /// TTL of a zone's own NS set while it moves, seconds, 1 to 3600. Default: 60.
    #[serde(default = "lowered_ttl_s")]
    pub lowered_ttl_s: u32,
    /// Resolvers, with port: they find the parent's servers and the name servers' addresses,
    /// and those that validate are asked whether they believe the zone. At least one.
    pub resolvers: Vec<SocketAddr>,
    /// Servers of the parent zone, with port. Default: the resolvers find them.
    #[serde(default)]
    pub parents: Vec<SocketAddr>,
    /// Whether records that the target has already, and the source has not, may be replaced.
    /// Default: false.
    #[serde(default)]
    pub replace: bool,
    /// Zones that are worked on at once, 1 to 64. Default: 8.
    #[serde(default = "at_once")]
    pub at_once: u32,
    /// Zones that are begun within a second, at most, 1 to 1000. Default: 20.
    #[serde(default = "zones_per_s")]
    pub zones_per_s: u32,
}

fn lowered_ttl_s() -> u32 {
    60
}

fn at_once() -> u32 {
    8
}

fn zones_per_s() -> u32 {
    20
}

/// A zone with something of its own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveFile {
    /// The zone's name, lower case, without trailing dot.
    pub zone: String,
    /// Instead of the file's `source`.
    pub source: Option<ProviderFile>,
    /// Instead of the file's `target`.
    pub target: Option<ProviderFile>,
    /// Instead of the file's `dnssec`.
    pub dnssec: Option<SigningFile>,
    /// Instead of the file's `replace`.
    pub replace: Option<bool>,
}

/// A provider. Exactly one of `update`, `powerdns`, `zone_file`, `route53`, `cloudflare` and
/// `command` says how its records are changed. `{zone}` in a path or a word of a command is the
/// zone's name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderFile {
    /// Its name. Default: `source` or `target`.
    pub name: Option<String>,
    /// Names of its name servers, as they stand in NS records, lower case, without trailing dot.
    pub name_servers: Vec<String>,
    /// Every address of every one of them, with port.
    pub servers: Vec<SocketAddr>,
    /// Signed UPDATE at a primary, which may be hidden: BIND, Knot, PowerDNS and others.
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
}

/// What becomes of a zone's signing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SigningFile {
    /// It stays as it is: a zone that the parent vouches for is validated all the way.
    #[default]
    Keep,
    /// In the end the parent vouches for it.
    Sign,
    /// First the parent stops to vouch for it.
    Unsign,
}
