//! Signatures of record sets, verified as a resolver does (RFC 4034 section 3.1.8, RFC 4035
//! section 5.3). Whether the parent vouches for the keys is the audit's question.

use crate::sets::{Owner, RecordSet};
use domain::base::Rtype;
use domain::base::name::{ToLabelIter, ToName};
use domain::base::rdata::ParseAnyRecordData;
use domain::crypto::common::PublicKey;
use domain::dep::octseq::parse::Parser;
use domain::rdata::{AllRecordData, Dnskey, Rrsig};

type Names<'d> = domain::base::name::ParsedName<&'d [u8]>;

/// Says whether one of the signatures at its name holds for a set: of the zone, made by one of
/// the keys, over exactly this data and TTL, and valid now.
///
/// # Errors
/// Says why none does.
pub(crate) fn verified(
    apex: &Owner,
    set: &RecordSet,
    signatures: &RecordSet,
    keys: &RecordSet,
    now_s: u64,
) -> Result<(), String> {
    let mut reasons = Vec::new();
    for data in &signatures.data {
        let mut parser = Parser::from_ref(data.wire.as_ref());
        let parsed = AllRecordData::parse_any_rdata(Rtype::RRSIG, &mut parser);
        let Ok(AllRecordData::Rrsig(signature)) = parsed else { continue };
        if signature.type_covered() != set.key.rtype {
            continue;
        }
        match holds(apex, set, &signature, keys, now_s) {
            Ok(()) => return Ok(()),
            Err(why) => reasons.push(format!("signature by key {}: {why}", signature.key_tag())),
        }
    }
    if reasons.is_empty() {
        return Err(format!("`{}` has no signature", set.key));
    }
    Err(format!("`{}`: {}", set.key, reasons.join("; ")))
}

fn holds(
    apex: &Owner,
    set: &RecordSet,
    signature: &Rrsig<&[u8], Names<'_>>,
    keys: &RecordSet,
    now_s: u64,
) -> Result<(), String> {
    if !signature.signer_name().name_eq(apex) {
        return Err(format!("it is of zone `{}`", signature.signer_name()));
    }
    if signature.original_ttl().as_secs() != set.ttl {
        let original = signature.original_ttl().as_secs();
        return Err(format!("it is over a TTL of {original} s, not {} s", set.ttl));
    }
    // Both are serial numbers (RFC 4034 section 3.1.5): the distance counts.
    let now = (now_s & u64::from(u32::MAX)) as u32;
    let since = now.wrapping_sub(signature.inception().into_int());
    let left = signature.expiration().into_int().wrapping_sub(now);
    if since > i32::MAX as u32 || left > i32::MAX as u32 {
        return Err("it is not valid now".to_owned());
    }
    let text = signed(set, signature);
    for data in &keys.data {
        let mut parser = Parser::from_ref(data.wire.as_ref());
        let parsed = AllRecordData::<&[u8], Names<'_>>::parse_any_rdata(Rtype::DNSKEY, &mut parser);
        let Ok(AllRecordData::Dnskey(key)) = parsed else { continue };
        if fits(&key, signature) {
            let key = PublicKey::from_dnskey(&key).map_err(|e| e.to_string())?;
            if key.verify(&text, signature.signature()).is_ok() {
                return Ok(());
            }
        }
    }
    Err("no key of the zone made it over this data".to_owned())
}

fn fits(key: &Dnskey<&[u8]>, signature: &Rrsig<&[u8], Names<'_>>) -> bool {
    key.is_zone_key()
        && key.algorithm() == signature.algorithm()
        && key.key_tag() == signature.key_tag()
}

/// Builds the octets that are signed: the signature's own fields, then every record in canonical
/// order (RFC 4034 section 6).
fn signed(set: &RecordSet, signature: &Rrsig<&[u8], Names<'_>>) -> Vec<u8> {
    let mut text = Vec::new();
    text.extend(signature.type_covered().to_int().to_be_bytes());
    text.push(signature.algorithm().to_int());
    text.push(signature.labels());
    text.extend(signature.original_ttl().as_secs().to_be_bytes());
    text.extend(signature.expiration().into_int().to_be_bytes());
    text.extend(signature.inception().into_int().to_be_bytes());
    text.extend(signature.key_tag().to_be_bytes());
    text.extend(signature.signer_name().to_canonical_name::<Vec<u8>>().as_slice());
    let name = owner_as_signed(&set.key.name, signature.labels());
    for data in &set.data {
        text.extend(&name);
        text.extend(set.key.rtype.to_int().to_be_bytes());
        text.extend(1_u16.to_be_bytes());
        text.extend(signature.original_ttl().as_secs().to_be_bytes());
        let canonical = data.canonical();
        // Record data is never longer than this.
        text.extend((canonical.len() as u16).to_be_bytes());
        text.extend_from_slice(canonical);
    }
    text
}

/// Returns the owner with which a set was signed: a wildcard, if the name was made from one.
fn owner_as_signed(name: &Owner, labels: u8) -> Vec<u8> {
    let own = name.iter_labels().count() - 1;
    let first = usize::from(name.as_slice().starts_with(b"\x01*"));
    let labels = usize::from(labels);
    if labels + first >= own {
        return name.as_slice().to_vec();
    }
    let mut wild = b"\x01*".to_vec();
    if let Some(above) = name.iter_suffixes().nth(own - labels) {
        wild.extend(above.to_canonical_name::<Vec<u8>>().as_slice());
    }
    wild
}
