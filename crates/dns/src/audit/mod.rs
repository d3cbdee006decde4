//! What there is to know about a zone before anything of it moves.
//!
//! **Invariant.** What a source of knowledge cannot show is listed as unknown: a zone that
//! was only asked for some names is never shown as a whole one.

mod caa;
pub(crate) mod dangling;
mod owned;
mod pointers;
mod read;
mod records;
mod servers;
mod signing;
pub(crate) mod spf;
mod ttls;

pub use caa::Caa;
pub use dangling::Dangling;
pub use owned::{OwnedAudit, SetAudit};
pub use pointers::Pointer;
pub use read::{From, Key, Question, audit};
pub use servers::{Parent, ServerView};
pub use signing::{Signing, ZoneKey};
pub use spf::Spf;
pub use ttls::TtlRow;

use crate::sets::Owner;
use crate::zone::Contents;
use crate::zonefile::Remark;
pub(crate) use owned::TRANSFER_MAX;
pub(crate) use read::{question, read_zone_file};
pub(crate) use records::{Names, target};
use serde::Serialize;
pub(crate) use servers::{differing, start};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A zone as an operator wants to see it.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    /// The zone, without trailing dot.
    pub zone: String,
    /// The provider whose records these are, as the plan names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// From where it was read.
    pub read: String,
    /// Whether every record was seen.
    pub whole: bool,
    /// Its serial.
    pub serial: u32,
    /// Records besides the SOA.
    pub records: u64,
    /// How long resolvers keep that something does not exist, seconds (RFC 2308 section 5).
    pub negative_ttl_s: u32,
    /// TTLs by type, the highest first.
    pub ttls: Vec<TtlRow>,
    /// Records that lead to the source.
    pub pointers: Vec<Pointer>,
    /// Records that lead nowhere.
    pub dangling: Vec<Dangling>,
    /// Signatures, keys, and what the parent says of them.
    pub signing: Signing,
    /// Every SPF record.
    pub spf: Vec<Spf>,
    /// Who may issue certificates.
    pub caa: Vec<Caa>,
    /// Every authoritative server that was asked.
    pub servers: Vec<ServerView>,
    /// What the parent zone says.
    pub parent: Option<Parent>,
    /// What is legal and surely not meant.
    pub notes: Vec<String>,
    /// What could not be learned, and what would show it.
    pub unknown: Vec<String>,
}

impl Audit {
    /// Tells what the records alone show. `sources` are the addresses that will be left;
    /// `ca` is the name by which CAA records know the authority in use; `made_up` are names that
    /// a provider answers for by what is no record.
    fn of(
        apex: &Owner,
        contents: &Contents,
        made_up: BTreeSet<Owner>,
        sources: &[IpAddr],
        ca: Option<&str>,
    ) -> Self {
        let names = records::Names::with(apex, contents, made_up);
        let (dangling, unknown) = dangling::find(&names, contents);
        Self {
            zone: apex.to_string(),
            provider: None,
            read: String::new(),
            whole: true,
            serial: contents.soa.serial,
            records: contents.records(),
            negative_ttl_s: contents.soa.negative_ttl,
            ttls: ttls::table(contents),
            pointers: pointers::find(contents, sources),
            dangling,
            signing: signing::of(apex, contents),
            spf: spf::find(contents),
            caa: caa::find(contents, ca),
            servers: Vec::new(),
            parent: None,
            notes: Vec::new(),
            unknown,
        }
    }

    /// Takes over what a zone file's reader had to say.
    fn noted(mut self, notes: &[Remark]) -> Self {
        self.notes.extend(notes.iter().map(ToString::to_string));
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
