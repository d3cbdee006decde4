//! A copy of a zone for a rehearsal, as the text of a zone file.

use crate::zone::{Contents, Zone};
use crate::zonefile;
use domain::base::Rtype;
use segue_port::Outcome;
use std::collections::BTreeMap;
use std::time::Duration;

/// Records that only the holder of the zone's signing keys can keep right.
const SIGNED: [Rtype; 7] = [
    Rtype::RRSIG,
    Rtype::NSEC,
    Rtype::NSEC3,
    Rtype::NSEC3PARAM,
    Rtype::DNSKEY,
    Rtype::CDS,
    Rtype::CDNSKEY,
];

/// A zone's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneText {
    /// The zone file.
    pub text: String,
    /// Records in it besides the SOA.
    pub records: u64,
    /// Whether it is signed; the copy is not.
    pub signed: bool,
    /// Highest TTL of an owned set, seconds, before it was cut.
    pub owned_ttl_s: u32,
}

impl Zone {
    /// Reads the zone from its primary by AXFR and writes it as a zone file. The owned sets get
    /// a TTL of `ttl_max_s` at most.
    ///
    /// # Errors
    /// As [`Zone::contents`].
    pub async fn text(&self, ttl_max_s: u32, time_allowed: Duration) -> Outcome<ZoneText> {
        let contents = self.contents(time_allowed).await?;
        let declared = self.declared()?;
        let mut sets = BTreeMap::new();
        let mut copy = ZoneText { text: String::new(), records: 0, signed: false, owned_ttl_s: 0 };
        for set in contents.sets() {
            if SIGNED.contains(&set.key.rtype) {
                copy.signed = true;
                continue;
            }
            let mut ttl = set.ttl;
            if declared.keys.contains(&set.key) {
                copy.owned_ttl_s = copy.owned_ttl_s.max(ttl);
                ttl = ttl.min(ttl_max_s);
            }
            copy.records += set.data.len() as u64;
            sets.insert(set.key.clone(), set.with_ttl(ttl));
        }
        let kept = Contents { soa: contents.soa, sets };
        copy.text = zonefile::written(&declared.apex, &kept);
        Ok(copy)
    }
}
