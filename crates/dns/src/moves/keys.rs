//! Keys of a zone, and what the parent names of them (RFC 4034 sections 2 and 5).

use super::look::ServerLook;
use crate::sets::{Data, Owner, RecordSet, SetKey};
use domain::base::Rtype;
use domain::base::rdata::ParseAnyRecordData;
use domain::crypto::common::{DigestBuilder, DigestType};
use domain::dep::octseq::parse::Parser;
use domain::rdata::AllRecordData;
use domain::utils::base16;
use std::collections::BTreeSet;

type Names<'d> = domain::base::name::ParsedName<&'d [u8]>;
type Value<'d> = AllRecordData<&'d [u8], Names<'d>>;

/// Number of the digest that a person is given: SHA-256, which every parent takes (RFC 8624).
const SHA256: u8 = 2;
/// Digest SHA-384 (RFC 6605).
const SHA384: u8 = 4;

fn value(rtype: Rtype, data: &Data) -> Option<Value<'_>> {
    let mut parser = Parser::from_ref(data.wire.as_ref());
    AllRecordData::parse_any_rdata(rtype, &mut parser).ok()
}

/// Tag and algorithm of a key, as signatures name it.
pub(super) type Tag = (u16, u8);

/// Returns by which keys a set of this type is signed.
pub(super) fn signers(signatures: &RecordSet, covered: Rtype) -> BTreeSet<Tag> {
    let tags = signatures.data.iter().filter_map(|data| match value(Rtype::RRSIG, data)? {
        AllRecordData::Rrsig(signature) if signature.type_covered() == covered => {
            Some((signature.key_tag(), signature.algorithm().to_int()))
        }
        _ => None,
    });
    tags.collect()
}

/// Returns the key's tag (RFC 4034 appendix B) and algorithm.
pub(super) fn tag(key: &Data) -> Option<Tag> {
    match value(Rtype::DNSKEY, key)? {
        AllRecordData::Dnskey(key) => Some((key.key_tag(), key.algorithm().to_int())),
        _ => None,
    }
}

/// Returns the keys of a set that have one of these tags.
pub(super) fn keys_of(keys: &RecordSet, tags: &BTreeSet<Tag>) -> BTreeSet<Data> {
    let named = |key: &&Data| tag(key).is_some_and(|tag| tags.contains(&tag));
    keys.data.iter().filter(named).cloned().collect()
}

/// Returns the keys with which servers sign sets of a type: SOA or DNSKEY.
pub(super) fn signing(servers: &[ServerLook], covered: Rtype) -> BTreeSet<Data> {
    let of = |server: &ServerLook| {
        let own = &server.own;
        let signatures =
            if covered == Rtype::DNSKEY { &own.key_signatures } else { &own.soa_signatures };
        keys_of(&own.keys, &signers(signatures, covered))
    };
    servers.iter().flat_map(of).collect()
}

/// Returns tag and algorithm of the key that a DS names.
pub(super) fn named(ds: &Data) -> Option<Tag> {
    match value(Rtype::DS, ds)? {
        AllRecordData::Ds(ds) => Some((ds.key_tag(), ds.algorithm().to_int())),
        _ => None,
    }
}

/// Says whether a DS names this key of the zone.
pub(super) fn names_key(apex: &Owner, ds: &Data, key: &Data) -> bool {
    let Some(AllRecordData::Ds(ds)) = value(Rtype::DS, ds) else { return false };
    if tag(key) != Some((ds.key_tag(), ds.algorithm().to_int())) {
        return false;
    }
    digest(apex, key, ds.digest_type().to_int()).is_some_and(|digest| digest == *ds.digest())
}

/// Computes the digest of a key (RFC 4034 section 5.1.4); `None` for a kind that is not known.
fn digest(apex: &Owner, key: &Data, kind: u8) -> Option<Vec<u8>> {
    let kind = match kind {
        1 => DigestType::Sha1,
        SHA256 => DigestType::Sha256,
        SHA384 => DigestType::Sha384,
        _ => return None,
    };
    let mut builder = DigestBuilder::new(kind);
    builder.update(apex.as_slice());
    builder.update(&key.wire);
    Some(builder.finish().as_ref().to_vec())
}

/// Returns the DS of a key as a registrar wants it: `12345 13 2 0A1B...`.
pub(super) fn ds_text(apex: &Owner, key: &Data) -> Option<String> {
    let (tag, algorithm) = tag(key)?;
    let digest = digest(apex, key, SHA256)?;
    Some(format!("{tag} {algorithm} {SHA256} {}", base16::encode_string(&digest)))
}

/// Returns the key of the zone's set of this type.
pub(super) fn at(apex: &Owner, rtype: Rtype) -> SetKey {
    SetKey { name: apex.clone(), rtype }
}
