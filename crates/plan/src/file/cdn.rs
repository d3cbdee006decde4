//! CDNs as written in the plan file.

use super::SecretText;
use schemars::JsonSchema;
use serde::Deserialize;

/// A CDN before the sites whose origin is a setting of its own: it is switched together with the
/// record sets. Exactly one of `fastly`, `bunny` and `cloudflare` says where it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CdnFile {
    /// Its name; unique in the unit.
    pub name: String,
    /// The origin at the source, exactly as the CDN shows it now.
    pub source: String,
    /// The origin at the target, in the same form.
    pub target: String,
    /// Where the API's token is: `file:/path` or `env:NAME`.
    pub token: SecretText,
    /// Fastly: the address of a backend.
    pub fastly: Option<FastlyFile>,
    /// bunny.net: the origin URL of a pull zone.
    pub bunny: Option<BunnyFile>,
    /// Cloudflare: the content of a proxied record, which no unit owns as a record set.
    pub cloudflare: Option<CloudflareOriginFile>,
}

/// A backend of a Fastly service. The token may write the service (`global`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FastlyFile {
    /// The API. Default: `https://api.fastly.com`.
    #[serde(default = "fastly_url")]
    pub url: String,
    /// The service's id.
    pub service: String,
    /// The backend's name.
    pub backend: String,
}

/// A pull zone of bunny.net.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BunnyFile {
    /// The API. Default: `https://api.bunny.net`.
    #[serde(default = "bunny_url")]
    pub url: String,
    /// The pull zone's id.
    pub pull_zone: u64,
}

/// A proxied record of a Cloudflare zone: resolvers see Cloudflare, which asks what stands in it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloudflareOriginFile {
    /// The API. Default: `https://api.cloudflare.com/client/v4`.
    #[serde(default = "cloudflare_url")]
    pub url: String,
    /// The zone's id.
    pub zone_id: String,
    /// The record's name, lower case, without trailing dot.
    pub record: String,
    /// Its type: `A`, `AAAA` or `CNAME`. Default: `A`.
    #[serde(default = "a", rename = "type")]
    pub rtype: String,
}

fn fastly_url() -> String {
    "https://api.fastly.com".to_owned()
}

fn bunny_url() -> String {
    "https://api.bunny.net".to_owned()
}

fn cloudflare_url() -> String {
    "https://api.cloudflare.com/client/v4".to_owned()
}

fn a() -> String {
    "A".to_owned()
}
