//! UPDATE messages (RFC 2136): all or none, and only to the zone that was read.

use super::{Draft, MESSAGE_MAX, Soa};
use crate::sets::{Data, Owner, RecordSet, SetKey};
use bytes::Bytes;
use domain::base::Rtype;
use domain::base::iana::{Class, Opcode};
use domain::base::message_builder::{MessageBuilder, PushError};
use domain::base::rdata::UnknownRecordData;

/// Builds the UPDATE (RFC 2136) that takes the sets `from` to `to`.
///
/// Prerequisites: the zone's SOA is exactly `soa`, and every set that changes still has
/// exactly its data of `from`. A set is deleted whole and added whole: adding a record
/// with another TTL alone is ignored by some servers. All deletions come first, so that
/// a CNAME can take the place of addresses and the other way round. The zone's own NS set and
/// its keys are changed record by record, see [`singly`]. With a `minimum` the SOA gets it, and
/// the next serial. Without `named` the SOA is no prerequisite.
///
/// The zone's own NS set cannot be deleted whole, nor can its last record (section 3.4.2.4): both
/// are acknowledged and ignored. So new records come first, and the former ones go one by one.
///
/// # Errors
/// If the message, with `reserve` octets for the signature, would exceed 64 KiB.
pub(crate) fn update(
    zone: &Owner,
    soa: &Soa,
    from: &[RecordSet],
    to: &[RecordSet],
    minimum: Option<u32>,
    named: bool,
    reserve: usize,
) -> Result<Draft, PushError> {
    let changes = || from.iter().zip(to).filter(|(from, to)| from != to);
    let mut draft = start_update(zone, named.then_some(soa), reserve)?;
    // PowerDNS compares what it stores, and its own keys are not stored as records.
    for (set, _) in changes().filter(|(set, _)| set.key.rtype != Rtype::DNSKEY) {
        require(&mut draft, set)?;
    }
    let mut draft = draft.authority();
    let whole = |(set, _): &(&RecordSet, &RecordSet)| !is_guarded(zone, &set.key);
    for (set, _) in changes().filter(whole).filter(|(set, _)| set.exists()) {
        draft.push((&set.key.name, Class::ANY, 0, empty(set.key.rtype)?))?;
    }
    for (_, set) in changes().filter(whole) {
        for data in &set.data {
            draft.push((&set.key.name, Class::IN, set.ttl, raw(set.key.rtype, data)?))?;
        }
    }
    for (from, to) in changes().filter(|change| !whole(change)) {
        singly(&mut draft, from, to)?;
    }
    if minimum.is_some() {
        draft.push((zone, Class::IN, soa.ttl, raw(Rtype::SOA, &soa.next(minimum))?))?;
    }
    Ok(draft.additional())
}

/// Whether servers keep a set from being deleted whole: the zone's own NS set and its keys.
/// BIND, Knot and PowerDNS acknowledge it and do nothing (RFC 2136 section 3.4.2.3).
fn is_guarded(zone: &Owner, key: &SetKey) -> bool {
    key.rtype == Rtype::DNSKEY || (key.rtype == Rtype::NS && key.name == *zone)
}

/// Takes a guarded set from one value to another without ever leaving none.
///
/// A TTL changes in ways that three makes of servers agree on: to BIND and Knot the TTL of a new
/// record is that of its set, and PowerDNS wants every one again. Without a new record, Knot
/// wants each one taken away before it comes again; PowerDNS takes none away until everything is
/// added, and then not as many as there are. So a set does not lose records and change its TTL
/// in one change (see `Zone::published`).
fn singly(draft: &mut Changes, from: &RecordSet, to: &RecordSet) -> Result<(), PushError> {
    let (name, rtype) = (&to.key.name, to.key.rtype);
    let add =
        |draft: &mut Changes, data: &Data| draft.push((name, Class::IN, to.ttl, raw(rtype, data)?));
    let delete =
        |draft: &mut Changes, data: &Data| draft.push((name, Class::NONE, 0, raw(rtype, data)?));
    for data in to.data.difference(&from.data) {
        add(draft, data)?;
    }
    if from.ttl != to.ttl {
        // The only one cannot be taken away; some servers take its new TTL when it comes again.
        let each = from.data == to.data && from.data.len() > 1;
        for data in from.data.intersection(&to.data) {
            if each {
                delete(draft, data)?;
            }
            add(draft, data)?;
        }
    }
    for data in from.data.difference(&to.data) {
        delete(draft, data)?;
    }
    Ok(())
}

/// Builds the UPDATE that only moves the serial forward by one.
///
/// Every UPDATE built before it names the former SOA in its prerequisite and is refused
/// from then on, however late it arrives. Without `named` the SOA is no prerequisite.
pub(crate) fn bump(
    zone: &Owner,
    soa: &Soa,
    named: bool,
    reserve: usize,
) -> Result<Draft, PushError> {
    let mut draft = start_update(zone, named.then_some(soa), reserve)?.authority();
    draft.push((zone, Class::IN, soa.ttl, raw(Rtype::SOA, &soa.next)?))?;
    Ok(draft.additional())
}

type Prerequisites = domain::base::message_builder::AnswerBuilder<Vec<u8>>;
type Changes = domain::base::message_builder::AuthorityBuilder<Vec<u8>>;

fn start_update(
    zone: &Owner,
    soa: Option<&Soa>,
    reserve: usize,
) -> Result<Prerequisites, PushError> {
    let mut draft = MessageBuilder::new_vec();
    draft.set_push_limit(MESSAGE_MAX.saturating_sub(reserve));
    draft.header_mut().set_random_id();
    draft.header_mut().set_opcode(Opcode::UPDATE);
    let mut draft = draft.question();
    draft.push((zone, Rtype::SOA))?;
    let mut draft = draft.answer();
    if let Some(soa) = soa {
        draft.push((zone, Class::IN, 0, raw(Rtype::SOA, &soa.data)?))?;
    }
    Ok(draft)
}

/// Adds the prerequisite that a set has exactly this data, or does not exist.
fn require(draft: &mut Prerequisites, set: &RecordSet) -> Result<(), PushError> {
    if !set.exists() {
        return draft.push((&set.key.name, Class::NONE, 0, empty(set.key.rtype)?));
    }
    for data in &set.data {
        draft.push((&set.key.name, Class::IN, 0, raw(set.key.rtype, data)?))?;
    }
    Ok(())
}

fn raw(rtype: Rtype, data: &Data) -> Result<UnknownRecordData<Bytes>, PushError> {
    UnknownRecordData::from_octets(rtype, data.wire.clone()).map_err(|_| PushError::ShortBuf)
}

fn empty(rtype: Rtype) -> Result<UnknownRecordData<Bytes>, PushError> {
    UnknownRecordData::from_octets(rtype, Bytes::new()).map_err(|_| PushError::ShortBuf)
}
