//! Files of dnstap messages: Frame Streams (a control frame, then data frames, each behind its
//! length) with one protocol buffer a frame, as `dnstap.proto` of dnstap.info defines it. Only
//! the few fields that are needed are read.

use super::{Query, Time, plain};
use domain::base::Message;
use domain::base::iana::Class;
use std::net::IpAddr;

/// Longest data frame: a message of DNS is 64 KiB at most, its frame little more.
const FRAME_MAX: usize = 256 * 1024;
/// Longest control frame (Frame Streams: 512 octets).
const CONTROL_MAX: usize = 512;
/// What the data frames of a dnstap file are.
const CONTENT: &[u8] = b"protobuf:dnstap.Dnstap";
/// Control frame that begins a stream.
const START: u32 = 2;
/// Field of a control frame that says what the data frames are.
const CONTENT_TYPE: u32 = 1;

/// `Message.Type`: what a client or resolver asked an authoritative server, and its answer. BIND
/// calls it `CLIENT` where recursion was asked for.
const QUERIES: [u64; 2] = [1, 5];
const RESPONSES: [u64; 2] = [2, 6];

/// Takes a file apart, piece by piece.
#[derive(Debug, Default)]
pub(super) struct Frames {
    rest: Vec<u8>,
    begun: bool,
    /// Where a server logs questions, its answers tell nothing new.
    has_queries: bool,
    /// Why nothing more is read of this file.
    broken: Option<&'static str>,
}

impl Frames {
    /// Takes the next octets of the file.
    ///
    /// # Errors
    /// Says why this is no file of dnstap messages; nothing more is read of it.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        take: &mut dyn FnMut(Query),
    ) -> Result<(), &'static str> {
        if let Some(why) = self.broken {
            return Err(why);
        }
        self.rest.extend_from_slice(bytes);
        let mut used = 0;
        let done = loop {
            match frame(&self.rest[used..]) {
                Ok(None) => break Ok(()),
                Err(why) => break Err(why),
                Ok(Some((octets, Frame::Control(control)))) => {
                    if !self.begun {
                        if !is_start(control) {
                            break Err("it does not begin as a dnstap file does");
                        }
                        self.begun = true;
                    }
                    used += octets;
                }
                Ok(Some((octets, Frame::Data(data)))) => {
                    if !self.begun {
                        break Err("it does not begin as a dnstap file does");
                    }
                    if let Some((query, is_query)) = message(data) {
                        self.has_queries |= is_query;
                        if is_query || !self.has_queries {
                            take(query);
                        }
                    }
                    used += octets;
                }
            }
        };
        self.rest.drain(..used);
        if let Err(why) = done {
            self.broken = Some(why);
            self.rest = Vec::new();
        }
        done
    }
}

enum Frame<'a> {
    Control(&'a [u8]),
    Data(&'a [u8]),
}

/// Takes the first frame off, with how long it is; `None` if it is not all there yet.
fn frame(bytes: &[u8]) -> Result<Option<(usize, Frame<'_>)>, &'static str> {
    let Some(length) = word(bytes, 0) else { return Ok(None) };
    if length == 0 {
        let Some(length) = word(bytes, 4) else { return Ok(None) };
        if length > CONTROL_MAX {
            return Err("a control frame is too long for a dnstap file");
        }
        let end = 8 + length;
        return Ok(bytes.get(8..end).map(|control| (end, Frame::Control(control))));
    }
    if length > FRAME_MAX {
        return Err("a frame is too long for a dnstap file");
    }
    let end = 4 + length;
    Ok(bytes.get(4..end).map(|data| (end, Frame::Data(data))))
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let octets = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(octets)).ok()
}

fn is_start(control: &[u8]) -> bool {
    let is =
        |at, wanted: u32| word(control, at).and_then(|is| u32::try_from(is).ok()) == Some(wanted);
    let content = word(control, 8).and_then(|length| control.get(12..12 + length));
    is(0, START) && is(4, CONTENT_TYPE) && content == Some(CONTENT)
}

/// A field of a protocol buffer.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Takes the first field off; `None` at the end, and where it cannot be read.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = varint(bytes)?;
    let value = match key & 7 {
        0 => Value::Number(varint(bytes)?),
        1 => Value::Number(u64::from_le_bytes(some(bytes, 8)?.try_into().ok()?)),
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Value::Bytes(some(bytes, length)?)
        }
        5 => Value::Number(u32::from_le_bytes(some(bytes, 4)?.try_into().ok()?).into()),
        _ => return None,
    };
    Some((key >> 3, value))
}

fn some<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let octet = *some(bytes, 1)?.first()?;
        value |= u64::from(octet & 0x7f).checked_shl(7 * place)?;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Reads a frame: the question, and whether it was logged as such; `None` if it is another.
fn message(mut data: &[u8]) -> Option<(Query, bool)> {
    let mut found = None;
    while let Some((number, value)) = field(&mut data) {
        if let (14, Value::Bytes(inner)) = (number, value) {
            found = Some(inner);
        }
    }
    let mut inner = found?;
    let (mut kind, mut from, mut asked, mut answered) = (0, None, None, None);
    let (mut seconds, mut nanos) = (None, 0);
    while let Some((number, value)) = field(&mut inner) {
        match (number, value) {
            (1, Value::Number(number)) => kind = number,
            (4, Value::Bytes(bytes)) => from = address(bytes),
            (8, Value::Number(number)) => seconds = Some(number),
            (9, Value::Number(number)) => nanos = number,
            (10, Value::Bytes(bytes)) => asked = Some(bytes),
            (14, Value::Bytes(bytes)) => answered = Some(bytes),
            _ => {}
        }
    }
    let is_query = QUERIES.contains(&kind);
    if !is_query && !RESPONSES.contains(&kind) {
        return None;
    }
    let message = Message::from_octets(asked.or(answered)?).ok()?;
    let question = message.first_question()?;
    if question.qclass() != Class::IN {
        return None;
    }
    let at = seconds.and_then(|s| s.checked_mul(1000)?.checked_add(nanos / 1_000_000));
    let query = Query {
        at: at.map_or(Time::Unknown, Time::Utc),
        from: from?,
        name: plain(&question.qname().to_string()),
        rtype: question.qtype().to_string(),
    };
    Some((query, is_query))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}
