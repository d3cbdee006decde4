//! Signatures and keys of a zone (RFC 4034), and whether the parent vouches for them.

use super::records::value;
use crate::sets::{Owner, SetKey};
use crate::zone::Contents;
use domain::base::Rtype;
use domain::rdata::AllRecordData;
use serde::Serialize;

/// One DNSKEY, or what a DS names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ZoneKey {
    /// The key's tag (RFC 4034 appendix B).
    pub tag: u16,
    /// Number of its algorithm.
    pub algorithm: u8,
    /// Whether it may sign keys (flag SEP).
    pub entry_point: bool,
}

/// State of a zone's signatures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Signing {
    /// Its keys.
    pub keys: Vec<ZoneKey>,
    /// Signatures seen.
    pub signatures: usize,
    /// When the first of them ends, seconds since 1970.
    pub first_expiry_s: Option<u64>,
    /// How non-existence is proved: `NSEC`, `NSEC3`, or nothing.
    pub denial: Option<String>,
    /// What the parent names by DS; `None` if the parent was not asked.
    pub ds: Option<Vec<ZoneKey>>,
    /// What makes it bogus, or would.
    pub wrong: Vec<String>,
}

impl Signing {
    /// Whether the zone is signed.
    pub fn signed(&self) -> bool {
        !self.keys.is_empty() || self.signatures > 0
    }

    /// Takes what the parent says, and tells whether it fits.
    pub(super) fn with_ds(&mut self, ds: Vec<ZoneKey>) {
        let fits = |ds: &ZoneKey| {
            self.keys.iter().any(|key| key.tag == ds.tag && key.algorithm == ds.algorithm)
        };
        if !ds.is_empty() && !ds.iter().any(fits) {
            self.wrong.push(match self.signed() {
                true => "no DS at the parent fits a key of the zone: it is bogus".to_owned(),
                false => "the parent has a DS, and the zone is not signed: it is bogus".to_owned(),
            });
        }
        if ds.is_empty() && self.signed() {
            self.wrong.push("the parent has no DS: nobody validates the signatures".to_owned());
        }
        self.ds = Some(ds);
    }
}

/// Reads a zone's own part of it.
pub(super) fn of(apex: &Owner, contents: &Contents) -> Signing {
    let mut signing = Signing::default();
    let keys = contents.set(&SetKey { name: apex.clone(), rtype: Rtype::DNSKEY });
    for data in &keys.data {
        if let Some(AllRecordData::Dnskey(key)) = value(Rtype::DNSKEY, data) {
            signing.keys.push(ZoneKey {
                tag: key.key_tag(),
                algorithm: key.algorithm().to_int(),
                entry_point: key.is_secure_entry_point(),
            });
        }
    }
    signing.keys.sort();
    for set in contents.sets() {
        match set.key.rtype {
            Rtype::NSEC => signing.denial = Some("NSEC".into()),
            Rtype::NSEC3 => signing.denial = Some("NSEC3".into()),
            Rtype::RRSIG => {
                for data in &set.data {
                    let Some(AllRecordData::Rrsig(sig)) = value(Rtype::RRSIG, data) else {
                        continue;
                    };
                    signing.signatures += 1;
                    let expiry = u64::from(sig.expiration().into_int());
                    let first = signing.first_expiry_s.get_or_insert(expiry);
                    *first = expiry.min(*first);
                }
            }
            _ => {}
        }
    }
    if !signing.keys.is_empty() && signing.signatures == 0 {
        signing.wrong.push("keys, and no signature".into());
    }
    if signing.keys.is_empty() && signing.signatures > 0 {
        signing.wrong.push("signatures, and no key".into());
    }
    signing
}
