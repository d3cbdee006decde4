//! Messages: queries, NOTIFY, UPDATE, and what their answers say.
//!
//! **Invariant.** Pure: bytes in, values out; no socket and no clock.

mod update;

pub(crate) use update::{bump, update};

use crate::sets::{Data, Owner, RecordSet, SetKey, lower_case};
use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::message_builder::{AdditionalBuilder, MessageBuilder, PushError};
use domain::base::name::ToName;
use domain::base::rdata::ParseAnyRecordData;
use domain::base::{Message, ParsedName, Record, Rtype};
use domain::rdata::{AllRecordData, Soa as SoaData};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A message being built.
pub(crate) type Draft = AdditionalBuilder<Vec<u8>>;
/// A message as it was received.
pub(crate) type Answer = Message<Vec<u8>>;

/// Most octets of a message over TCP.
const MESSAGE_MAX: usize = 65_535;

/// The start of authority of a zone as one server holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Soa {
    /// The serial.
    pub(crate) serial: u32,
    /// TTL of the record itself, seconds.
    pub(crate) ttl: u32,
    /// How long resolvers keep that something does not exist, seconds (RFC 2308 section 5).
    pub(crate) negative_ttl: u32,
    /// Its last field, which bounds that.
    pub(crate) minimum: u32,
    /// The exact data.
    pub(crate) data: Data,
    /// The same data with the next serial.
    next: Data,
}

impl Soa {
    /// Returns the data with the next serial and, if one is given, another minimum.
    pub(crate) fn next(&self, minimum: Option<u32>) -> Data {
        let Some(minimum) = minimum else { return self.next.clone() };
        // The minimum is the last field.
        let mut wire = self.next.wire.to_vec();
        let place = wire.len().saturating_sub(4);
        wire.truncate(place);
        wire.extend(minimum.to_be_bytes());
        Data::from_wire(Rtype::SOA, &wire.into()).unwrap_or_else(|| self.next.clone())
    }

    /// Takes the data of an SOA record and its TTL; `None` if it is other data.
    pub(crate) fn of(ttl: u32, data: &Data) -> Option<Self> {
        let mut parser = domain::dep::octseq::parse::Parser::from_ref(&data.wire);
        match AllRecordData::parse_any_rdata(Rtype::SOA, &mut parser).ok()? {
            AllRecordData::Soa(data) => Some(soa(ttl, &data)),
            _ => None,
        }
    }
}

/// Builds a query without RD: the question is for an authoritative server.
pub(crate) fn query(name: &Owner, rtype: Rtype) -> Result<Draft, PushError> {
    let mut draft = MessageBuilder::new_vec();
    draft.header_mut().set_random_id();
    let mut draft = draft.question();
    draft.push((name, rtype))?;
    Ok(draft.additional())
}

/// Largest datagram that is asked for, octets (DNS flag day 2020).
const PAYLOAD_MAX: u16 = 1232;

/// Builds a query without RD that wants signatures (RFC 4035 section 3.2.1).
pub(crate) fn query_signed(name: &Owner, rtype: Rtype) -> Result<Draft, PushError> {
    let mut draft = query(name, rtype)?;
    draft.opt(|opt| {
        opt.set_udp_payload_size(PAYLOAD_MAX);
        opt.set_dnssec_ok(true);
        Ok(())
    })?;
    Ok(draft)
}

/// Builds a NOTIFY (RFC 1996) without the optional serial: the receiver asks for it.
pub(crate) fn notify(zone: &Owner) -> Result<Draft, PushError> {
    let mut draft = query(zone, Rtype::SOA)?;
    draft.header_mut().set_opcode(Opcode::NOTIFY);
    draft.header_mut().set_aa(true);
    Ok(draft)
}

/// A record of an answer.
type Parsed<'a> = Record<ParsedName<&'a [u8]>, AllRecordData<&'a [u8], ParsedName<&'a [u8]>>>;

/// Visits every record of a section; the reason why not, if it cannot be read.
fn each<'a>(
    section: Result<
        domain::base::message::RecordSection<'a, Vec<u8>>,
        domain::base::wire::ParseError,
    >,
    mut visit: impl FnMut(Parsed<'a>),
) -> Result<(), String> {
    for record in section.map_err(garbled)? {
        visit(record.map_err(garbled)?.into_any_record().map_err(garbled)?);
    }
    Ok(())
}

fn garbled(cause: impl std::fmt::Display) -> String {
    format!("the answer cannot be read: {cause}")
}

/// Reads a record set from the answer to its query.
///
/// A delegation (type NS below the zone's apex) is taken from the referral, which is
/// how an authoritative server shows it.
///
/// # Errors
/// Says why the answer cannot be believed: an error code, no authority, not readable.
pub(crate) fn read_set(answer: &Answer, key: &SetKey) -> Result<RecordSet, String> {
    let rcode = answer.header().rcode();
    if rcode != Rcode::NOERROR && rcode != Rcode::NXDOMAIN {
        return Err(format!("it answered {rcode}"));
    }
    let mut set = RecordSet::absent(key.clone());
    let mut take = |record: Parsed<'_>| {
        let same = record.owner().name_eq(&key.name) && record.rtype() == key.rtype;
        if same && record.class() == Class::IN {
            set.ttl = record.ttl().as_secs();
            set.data.insert(Data::compose(record.data()));
        }
    };
    each(answer.answer(), &mut take)?;
    if !answer.header().aa() {
        if key.rtype == Rtype::NS {
            each(answer.authority(), &mut take)?;
        }
        if !set.exists() {
            return Err("it is not authoritative for the zone".into());
        }
        if key.rtype != Rtype::NS {
            return Err("it answered without authority (AA)".into());
        }
    }
    Ok(set)
}

/// Reads the signatures that an answer gives along with its set; without data if it has none.
pub(crate) fn read_signatures(answer: &Answer, key: &SetKey) -> RecordSet {
    let key = SetKey { name: key.name.clone(), rtype: Rtype::RRSIG };
    let mut set = RecordSet::absent(key.clone());
    // What cannot be read signs nothing.
    let _ = each(answer.answer(), |record| {
        if record.owner().name_eq(&key.name) && record.rtype() == Rtype::RRSIG {
            set.ttl = record.ttl().as_secs();
            set.data.insert(Data::compose(record.data()));
        }
    });
    set
}

/// Reads a record set from a resolver's answer, which has no authority; without data if the
/// answer has none.
pub(crate) fn read_cached(answer: &Answer, key: &SetKey) -> RecordSet {
    let mut set = RecordSet::absent(key.clone());
    // What cannot be read holds no such set.
    let _ = each(answer.answer(), |record| {
        if record.owner().name_eq(&key.name) && record.rtype() == key.rtype {
            set.ttl = record.ttl().as_secs();
            set.data.insert(Data::compose(record.data()));
        }
    });
    set
}

/// Reads a record set that a referral gives along (glue); without data if it has none.
pub(crate) fn read_glue(answer: &Answer, key: &SetKey) -> RecordSet {
    let mut set = RecordSet::absent(key.clone());
    // What cannot be read is no glue.
    let _ = each(answer.additional(), |record| {
        if record.owner().name_eq(&key.name) && record.rtype() == key.rtype {
            set.ttl = record.ttl().as_secs();
            set.data.insert(Data::compose(record.data()));
        }
    });
    set
}

/// Reads how long an answer allows to keep that something does not exist, seconds (RFC 2308
/// section 5); none if it does not say.
pub(crate) fn read_negative_ttl(answer: &Answer) -> Option<u32> {
    let mut kept = None;
    // What cannot be read says nothing.
    let _ = each(answer.authority(), |record| {
        if let AllRecordData::Soa(data) = record.data() {
            kept = Some(soa(record.ttl().as_secs(), data).negative_ttl);
        }
    });
    kept
}

/// Reads the addresses from a resolver's answer, whatever aliases lead to them. None if it
/// is an error or holds no address.
pub(crate) fn read_addresses(answer: &Answer) -> Option<BTreeSet<IpAddr>> {
    if answer.header().rcode() != Rcode::NOERROR {
        return None;
    }
    let mut addresses = BTreeSet::new();
    let mut take = |record: Parsed<'_>| match record.data() {
        AllRecordData::A(data) => drop(addresses.insert(IpAddr::V4(data.addr()))),
        AllRecordData::Aaaa(data) => drop(addresses.insert(IpAddr::V6(data.addr()))),
        _ => {}
    };
    each(answer.answer(), &mut take).ok()?;
    (!addresses.is_empty()).then_some(addresses)
}

/// Reads the SOA from the answer to its query.
///
/// # Errors
/// Says why the answer cannot be believed.
pub(crate) fn read_soa(answer: &Answer, zone: &Owner) -> Result<Soa, String> {
    let header = answer.header();
    if header.rcode() != Rcode::NOERROR {
        return Err(format!("it answered {}", header.rcode()));
    }
    if !header.aa() {
        return Err("it is not authoritative for the zone".into());
    }
    let mut found = None;
    each(answer.answer(), |record| {
        if let AllRecordData::Soa(data) = record.data()
            && record.owner().name_eq(zone)
        {
            found = Some(soa(record.ttl().as_secs(), data));
        }
    })?;
    found.ok_or_else(|| "it answered without an SOA".into())
}

fn soa<N: ToName>(ttl: u32, data: &SoaData<N>) -> Soa {
    let next = SoaData::new(
        data.mname(),
        data.rname(),
        data.serial().add(1),
        data.refresh(),
        data.retry(),
        data.expire(),
        data.minimum(),
    );
    Soa {
        serial: data.serial().into_int(),
        ttl,
        negative_ttl: ttl.min(data.minimum().as_secs()),
        minimum: data.minimum().as_secs(),
        data: Data::compose(data),
        next: Data::compose(&next),
    }
}

/// Collects a zone transfer message by message.
pub(crate) struct Transfer {
    zone: Owner,
    soa: Option<Soa>,
    finished: bool,
    sets: BTreeMap<SetKey, RecordSet>,
}

impl Transfer {
    /// Starts an empty one.
    pub(crate) fn new(zone: Owner) -> Self {
        Self { zone, soa: None, finished: false, sets: BTreeMap::new() }
    }

    /// Takes the next message; returns whether the closing SOA has come (RFC 5936 section 2.2).
    ///
    /// # Errors
    /// Says why the transfer cannot be believed.
    pub(crate) fn take(&mut self, message: &Answer) -> Result<bool, String> {
        let rcode = message.header().rcode();
        if rcode != Rcode::NOERROR {
            return Err(format!("it answered {rcode}"));
        }
        let (mut count, mut wrong) = (0, None);
        each(message.answer(), |record| {
            count += 1;
            if let Err(cause) = self.record(&record) {
                wrong = Some(cause);
            }
        })?;
        match wrong {
            Some(cause) => Err(cause),
            None if count == 0 => Err("it sent a message without records".into()),
            None => Ok(self.finished),
        }
    }

    fn record(&mut self, record: &Parsed<'_>) -> Result<(), String> {
        if self.finished {
            return Err("records follow the closing SOA".into());
        }
        if let AllRecordData::Soa(data) = record.data()
            && record.owner().name_eq(&self.zone)
        {
            let soa = soa(record.ttl().as_secs(), data);
            match &self.soa {
                None => self.soa = Some(soa),
                Some(first) if *first == soa => self.finished = true,
                Some(_) => return Err("the closing SOA differs from the first".into()),
            }
            return Ok(());
        }
        if self.soa.is_none() {
            return Err("it does not begin with the zone's SOA".into());
        }
        let key = SetKey { name: lower_case(record.owner()), rtype: record.rtype() };
        let set = self.sets.entry(key).or_insert_with_key(|key| RecordSet::absent(key.clone()));
        set.ttl = record.ttl().as_secs();
        set.data.insert(Data::compose(record.data()));
        Ok(())
    }

    /// Returns the SOA and every other set, in order; `None` before the closing SOA.
    pub(crate) fn finish(self) -> Option<(Soa, BTreeMap<SetKey, RecordSet>)> {
        if !self.finished {
            return None;
        }
        Some((self.soa?, self.sets))
    }
}
