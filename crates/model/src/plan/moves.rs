//! Zones that move from one DNS provider to another, or get or lose their signatures.

use super::AuthorityPlan;
use crate::side::Sides;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Zones that move, and how fast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovesPlan {
    /// The zones.
    pub zones: Vec<ZoneMove>,
    /// Zones that are worked on at once.
    pub at_once: u32,
    /// Zones that are begun within a second, at most.
    pub zones_per_s: u32,
}

/// A zone's way from one provider to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneMove {
    /// The zone's name without trailing dot.
    pub zone: String,
    /// Its providers; twice the same one if it stays where it is and only its signing changes.
    pub providers: Sides<ProviderPlan>,
    /// What becomes of its signing.
    pub dnssec: SigningWish,
    /// TTL of the zone's own NS set while it moves, seconds.
    pub lowered_ttl_s: u32,
    /// Resolvers: they find the parent's servers and the name servers' addresses, and those
    /// that validate are asked whether they believe the zone.
    pub resolvers: Vec<SocketAddr>,
    /// Servers of the parent zone; empty if the resolvers shall find them.
    pub parents: Vec<SocketAddr>,
    /// Whether records that the target has and the source has not may be replaced.
    pub replace: bool,
}

impl ZoneMove {
    /// Says whether the zone changes its provider.
    pub fn moves(&self) -> bool {
        self.providers.source != self.providers.target
    }
}

/// A provider of a zone: where it answers, by which names, and how its records are changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderPlan {
    /// Its name.
    pub name: String,
    /// The names of its name servers, as they stand in NS records, without trailing dot.
    pub name_servers: Vec<String>,
    /// Every address of every one of them.
    pub servers: Vec<SocketAddr>,
    /// How its records are read and changed.
    pub authority: AuthorityPlan,
}

/// What becomes of a zone's signing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SigningWish {
    /// It stays as it is: a zone that the parent vouches for is validated all the way.
    #[default]
    Keep,
    /// In the end the parent vouches for it.
    Sign,
    /// First the parent stops to vouch for it.
    Unsign,
}
