//! A dynamic update as a person sends it by hand.

use super::bind::{KEY, ask};
use super::description::{Description, Zone};
use anyhow::{Context, Result, bail};
use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::rdata::UnknownRecordData;
use domain::base::{Message, MessageBuilder, Name, Rtype, Ttl};
use domain::rdata::A;
use domain::rdata::tsig::Time48;
use domain::tsig::{Algorithm, ClientTransaction, Key, KeyName};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::str::FromStr;
use std::time::Duration;

/// Replaces the A record set of `host` by one address, signed with the zone's key.
///
/// No prerequisites: whatever is there goes (RFC 2136, sections 2.5.2 and 2.5.1).
pub(crate) fn point(zone: &Zone, host: &str, ttl_s: u32, address: Ipv4Addr) -> Result<()> {
    let what = || format!("point `{host}` at {address}");
    let secret = Description::secret(&zone.key_secret_file)?;
    let secret: Vec<u8> = domain::utils::base64::decode(&secret).with_context(what)?;
    let key = Key::new(Algorithm::Sha256, &secret, KeyName::from_str(KEY)?, None, None)
        .with_context(what)?;
    let apex = Name::<Vec<u8>>::from_str(&zone.name)?;
    let owner = Name::<Vec<u8>>::from_str(host)?;

    let mut question = MessageBuilder::new_vec().question();
    question.header_mut().set_random_id();
    question.header_mut().set_opcode(Opcode::UPDATE);
    question.push((&apex, Rtype::SOA))?;
    let mut changes = question.answer().authority();
    let nothing = UnknownRecordData::from_octets(Rtype::A, Vec::<u8>::new())?;
    changes.push((&owner, Class::ANY, Ttl::ZERO, nothing))?;
    changes.push((&owner, Class::IN, Ttl::from_secs(ttl_s), A::new(address)))?;
    let mut message = changes.additional();
    let transaction = ClientTransaction::request(key, &mut message, Time48::now())?;

    let mut answer = exchange(zone, &message.finish()).with_context(what)?;
    transaction.answer(&mut answer, Time48::now()).with_context(what)?;
    if answer.header().rcode() != Rcode::NOERROR {
        bail!("{}: {} answered {}", what(), zone.primary, answer.header().rcode());
    }
    Ok(())
}

/// Sends a message over TCP and reads the answer.
fn exchange(zone: &Zone, message: &[u8]) -> Result<Message<Vec<u8>>> {
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&zone.primary, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(&u16::try_from(message.len())?.to_be_bytes())?;
    stream.write_all(message)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Message::from_octets(answer).ok().context("the answer is too short")
}

impl Description {
    /// Makes `host` point at one address, as a person would by hand.
    ///
    /// # Errors
    /// If the primary refuses it.
    pub fn point(&self, host: &str, ttl_s: u32, address: Ipv4Addr) -> Result<()> {
        point(&self.zone, host, ttl_s, address)
    }

    /// Returns the addresses that `server` gives for `host`; an answer that does not come is
    /// asked for a few times.
    ///
    /// # Errors
    /// If `host` is no name or the server does not answer.
    pub fn address_at(&self, server: SocketAddr, host: &str) -> Result<Vec<Ipv4Addr>> {
        let name = Name::<Vec<u8>>::from_str(host)?;
        let answer = (0..5).find_map(|_| ask(server, &name, Rtype::A));
        let answer = answer.with_context(|| format!("ask {server} for `{host}`: no answer"))?;
        let records = answer.answer()?.limit_to::<A>();
        Ok(records.flatten().map(|record| record.data().addr()).collect())
    }
}
