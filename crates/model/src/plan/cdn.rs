//! A CDN before the unit's sites, whose origin is a setting of its own.

use super::SecretRef;
use crate::side::Sides;
use serde::{Deserialize, Serialize};

/// A CDN whose origin is switched with the record sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CdnPlan {
    /// Its name in messages and records; unique in the unit.
    pub name: String,
    /// Where the setting is.
    pub vendor: CdnVendor,
    /// Where the API's token is read from.
    pub token: SecretRef,
    /// The origin at each side, exactly as the vendor shows it.
    pub origins: Sides<String>,
}

/// Whose CDN it is, and which of its settings is the origin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CdnVendor {
    /// Fastly: the address of a backend.
    Fastly {
        /// The API.
        url: String,
        /// The service's id.
        service: String,
        /// The backend's name.
        backend: String,
    },
    /// bunny.net: the origin URL of a pull zone.
    Bunny {
        /// The API.
        url: String,
        /// The pull zone's id.
        pull_zone: u64,
    },
    /// Cloudflare: the content of a proxied record.
    Cloudflare {
        /// The API.
        url: String,
        /// The zone's id.
        zone_id: String,
        /// The record's name, lower case, without trailing dot.
        record: String,
        /// Its type: `A`, `AAAA` or `CNAME`.
        rtype: String,
    },
}

impl CdnVendor {
    /// Returns its name, as in a plan file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Fastly { .. } => "fastly",
            Self::Bunny { .. } => "bunny",
            Self::Cloudflare { .. } => "cloudflare",
        }
    }

    /// Returns the address of its API.
    pub fn url(&self) -> &str {
        match self {
            Self::Fastly { url, .. } | Self::Bunny { url, .. } | Self::Cloudflare { url, .. } => {
                url
            }
        }
    }
}
