//! Record data: by the DNS library for the types that it reads, field by field for others.
//!
//! **Invariant.** Data of a type that neither reads is refused, never guessed; any type can
//! be written as RFC 3597 section 5 says (`\# 4 0a000001`).

use super::lexer::Token;
use super::problem::Wrong;
use super::scan::Scan;
use super::{location, ttl};
use crate::sets::{Data, Owner};
use bytes::Bytes;
use domain::base::Rtype;
use domain::base::rdata::ComposeRecordData;
use domain::base::scan::Scanner;
use domain::rdata::ZoneRecordData;
use domain::utils::base16;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Most octets of record data.
const DATA_MAX: usize = 65_535;

/// What a field is written as, and is on the wire.
#[derive(Debug, Clone, Copy)]
enum Field {
    Name,
    U8,
    U16,
    V4,
    V6,
    /// Letters and digits, as a text.
    Tag,
    /// One text of at most 255 octets.
    Text,
    /// Four digits or more, as a text.
    Digits,
    /// One text that may be missing.
    MaybeText,
    /// One or more of them.
    Texts,
    /// One text without a length, to the end.
    Rest,
    /// Hex digits to the end.
    Hex,
    /// Octets in hex with hyphens between.
    Eui(usize),
    /// Four groups of up to four hex digits.
    Locator,
}

/// Fields of types that the library takes for unknown.
fn fields(rtype: Rtype) -> Option<&'static [Field]> {
    use Field::{
        Digits, Eui, Hex, Locator, MaybeText, Name, Rest, Tag, Text, Texts, U8, U16, V4, V6,
    };
    Some(match rtype.to_int() {
        // The library would take an address with escapes.
        1 => &[V4],
        28 => &[V6],
        18 | 21 | 36 | 107 => &[U16, Name], // AFSDB and RT (RFC 1183), KX (2230), LP (6742)
        19 => &[Digits],                    // X25 (RFC 1183)
        20 => &[Text, MaybeText],           // ISDN (RFC 1183)
        26 => &[U16, Name, Name],           // PX (RFC 2163)
        52 | 53 => &[U8, U8, U8, Hex],      // TLSA (RFC 6698), SMIMEA (8162)
        56 | 99 | 258 => &[Texts],          // NINFO, SPF (RFC 4408), AVC
        104 | 106 => &[U16, Locator],       // NID and L64 (RFC 6742)
        105 => &[U16, V4],                  // L32 (RFC 6742)
        108 => &[Eui(6)],                   // EUI48 (RFC 7043)
        109 => &[Eui(8)],                   // EUI64 (RFC 7043)
        257 => &[U8, Tag, Rest],            // CAA (RFC 8659)
        256 => &[U16, U16, Rest],           // URI (RFC 7553)
        _ => return None,
    })
}

/// Where a type names an algorithm of DNSSEC, from 0.
fn algorithm_at(rtype: Rtype) -> Option<usize> {
    match rtype {
        Rtype::DS | Rtype::CDS | Rtype::RRSIG => Some(1),
        Rtype::DNSKEY | Rtype::CDNSKEY => Some(2),
        _ => None,
    }
}

/// Algorithms by the words that zone files use for them (IANA "DNS Security Algorithm
/// Numbers"; the library takes numbers only).
const ALGORITHMS: [(&str, &[u8]); 12] = [
    ("RSAMD5", b"1"),
    ("DSA", b"3"),
    ("RSASHA1", b"5"),
    ("NSEC3DSA", b"6"),
    ("NSEC3RSASHA1", b"7"),
    ("RSASHA256", b"8"),
    ("RSASHA512", b"10"),
    ("ECDSAP256SHA256", b"13"),
    ("ECDSAP384SHA384", b"14"),
    ("ED25519", b"15"),
    ("ED448", b"16"),
    ("PRIVATEDNS", b"253"),
];

/// Writes an algorithm's number in the place of its word.
fn numbered<'t>(rtype: Rtype, tokens: &[Token<'t>]) -> Option<Vec<Token<'t>>> {
    let place = algorithm_at(rtype)?;
    let word = tokens.get(place)?;
    let (_, raw) = ALGORITHMS.into_iter().find(|(name, _)| word.is(name))?;
    let mut tokens = tokens.to_vec();
    tokens[place].raw = raw;
    Some(tokens)
}

/// Whether a type has text, which alone may stand in quotes: HINFO, TXT, X25, ISDN, NAPTR, NINFO,
/// SVCB, HTTPS, SPF, URI, CAA and AVC.
fn has_text(rtype: Rtype) -> bool {
    matches!(rtype.to_int(), 13 | 16 | 19 | 20 | 35 | 56 | 64 | 65 | 99 | 256 | 257 | 258)
}

/// Reads the data of one record.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn read(rtype: Rtype, tokens: &[Token<'_>], origin: &Owner) -> Result<Data, Wrong> {
    let by_number = numbered(rtype, tokens);
    let tokens = by_number.as_deref().unwrap_or(tokens);
    let mut scan = Scan::new(tokens, origin);
    let generic = tokens.first().is_some_and(|t| !t.quoted && t.raw == b"\\#");
    if let Some(token) = tokens.iter().find(|token| token.quoted && !has_text(rtype)) {
        return Err(format!("\"{}\" stands in quotes where a word is wanted", token.text()).into());
    }
    let wire = match (rtype, fields(rtype)) {
        _ if generic => by_library(rtype, &mut scan)?,
        (Rtype::SOA, _) => start(&mut scan)?,
        (Rtype::LOC, _) => location::read(&mut scan)?,
        (_, Some(fields)) => by_fields(fields, &mut scan)?,
        _ => by_library(rtype, &mut scan)?,
    };
    scan.finish()?;
    if wire.len() > DATA_MAX {
        return Err(
            format!("{} octets of data, at most {DATA_MAX} are possible", wire.len()).into()
        );
    }
    if !generic && !base64_ends(rtype, tokens) {
        return Err("base64 whose last digit says more than there are octets".into());
    }
    if !generic && rtype == Rtype::NSEC3 && !tokens.get(4).is_none_or(base32_ends) {
        return Err("base32 whose last digit says more than there are octets".into());
    }
    if !generic && rtype == Rtype::NSEC3 && wire.first() == Some(&1) {
        // Algorithm 1 is SHA-1 (RFC 5155 section 11).
        let salt = wire.get(4).copied().map_or(0, usize::from);
        if wire.get(5 + salt) != Some(&20) {
            return Err("a hash that is not as long as its algorithm says".into());
        }
    }
    if before_last(rtype, &wire).is_some_and(|before| wire.len() <= before) {
        return Err(format!("data of type {rtype} without its last part").into());
    }
    if !digest_fits(rtype, &wire) {
        return Err("a digest that is not as long as its type says".into());
    }
    // Whatever was read in whatever way is data of this type, or is refused.
    Data::from_wire(rtype, &wire.into())
        .ok_or_else(|| format!("the octets are not data of type {rtype}").into())
}

fn by_library(rtype: Rtype, scan: &mut Scan<'_, '_>) -> Result<Vec<u8>, Wrong> {
    let data = ZoneRecordData::<Bytes, Owner>::scan(rtype, scan)?;
    let mut wire = Vec::new();
    // Appending to a `Vec` cannot fail; the error type is uninhabited.
    let Ok(()) = data.compose_rdata(&mut wire);
    Ok(wire)
}

/// Returns how many octets stand before the last part of types whose last part is not empty.
fn before_last(rtype: Rtype, wire: &[u8]) -> Option<usize> {
    let behind_name = |from: usize| {
        let mut at = from;
        while let Some(length) = wire.get(at).filter(|length| **length > 0) {
            at += usize::from(*length) + 1;
        }
        at + 1
    };
    Some(match rtype.to_int() {
        16 | 49 | 56 | 61 | 99 | 258 => 0, // TXT, DHCID, NINFO, OPENPGPKEY, SPF, AVC
        52 | 53 => 3,                      // TLSA, SMIMEA
        43 | 48 | 59 | 60 => 4,            // DS, DNSKEY, CDS, CDNSKEY
        37 => 5,                           // CERT
        47 => behind_name(0),              // NSEC
        46 => behind_name(18),             // RRSIG
        _ => return None,
    })
}

/// Whether a digest has as many octets as its type says (IANA "Digest Algorithms", RFC 4255).
fn digest_fits(rtype: Rtype, wire: &[u8]) -> bool {
    let (head, kind) = match rtype {
        Rtype::DS | Rtype::CDS => (4, wire.get(3)),
        Rtype::SSHFP => (2, wire.get(1)),
        _ => return true,
    };
    let length = match kind {
        Some(1) => 20,
        Some(2) => 32,
        Some(3) if rtype != Rtype::SSHFP => 32,
        Some(4) if rtype != Rtype::SSHFP => 48,
        _ => return true,
    };
    wire.len() == head + length
}

/// Whether the last digit before the padding of base64 has no bits that nobody reads.
fn base64_ends(rtype: Rtype, tokens: &[Token<'_>]) -> bool {
    if !matches!(rtype.to_int(), 45 | 46 | 48 | 60 | 61) {
        return true;
    }
    let octets = || tokens.iter().rev().flat_map(|token| token.raw.iter().rev());
    let padding = octets().take_while(|octet| **octet == b'=').count();
    let unread = [1, 4, 16].get(padding).copied().unwrap_or(1);
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let last = octets().nth(padding).and_then(|last| alphabet.iter().position(|o| o == last));
    last.is_none_or(|value| value % unread == 0)
}

/// The same of base32 with the extended alphabet (RFC 4648 section 7), which has no padding here.
fn base32_ends(token: &Token<'_>) -> bool {
    let unread = match token.raw.len() % 8 {
        2 => 4,
        4 => 16,
        5 => 2,
        7 => 8,
        _ => 1,
    };
    let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";
    let last = token.raw.last().map(u8::to_ascii_uppercase);
    let value = last.and_then(|last| alphabet.iter().position(|octet| *octet == last));
    value.is_none_or(|value| value % unread == 0)
}

/// Reads a start of authority, whose times may have units.
fn start(scan: &mut Scan<'_, '_>) -> Result<Vec<u8>, Wrong> {
    let mut wire = Vec::new();
    for _ in 0..2 {
        wire.extend_from_slice(scan.scan_name()?.as_slice());
    }
    wire.extend(number::<u32>(scan)?.to_be_bytes());
    for what in ["refresh", "retry", "expire", "minimum"] {
        let word = scan.word()?;
        let seconds = ttl::seconds(word.raw)
            .ok_or_else(|| format!("`{}` is no time for the SOA's {what}", word.text()))?;
        wire.extend(seconds.to_be_bytes());
    }
    Ok(wire)
}

fn number<T: FromStr>(scan: &mut Scan<'_, '_>) -> Result<T, Wrong> {
    let word = scan.ascii()?;
    let digits = !word.is_empty() && word.bytes().all(|octet| octet.is_ascii_digit());
    let value = digits.then(|| word.parse().ok()).flatten();
    value.ok_or_else(|| format!("`{word}` is no number that fits").into())
}

fn by_fields(fields: &[Field], scan: &mut Scan<'_, '_>) -> Result<Vec<u8>, Wrong> {
    let mut wire = Vec::new();
    for field in fields {
        match field {
            Field::Name => wire.extend_from_slice(scan.scan_name()?.as_slice()),
            Field::U8 => wire.push(number(scan)?),
            Field::U16 => wire.extend(number::<u16>(scan)?.to_be_bytes()),
            Field::V4 => {
                let word = scan.ascii()?;
                let address = Ipv4Addr::from_str(&word)
                    .map_err(|_| format!("`{word}` is no IPv4 address"))?;
                wire.extend(address.octets());
            }
            Field::V6 => {
                let word = scan.ascii()?;
                let address = Ipv6Addr::from_str(&word)
                    .map_err(|_| format!("`{word}` is no IPv6 address"))?;
                wire.extend(address.octets());
            }
            Field::Tag => {
                let word = scan.ascii()?;
                let length = u8::try_from(word.len()).ok().filter(|length| *length > 0);
                let plain = word.bytes().all(|octet| octet.is_ascii_alphanumeric());
                let length = length.filter(|_| plain);
                wire.push(length.ok_or_else(|| format!("`{word}` is no tag"))?);
                wire.extend(word.bytes());
            }
            Field::Text => text(scan, &mut wire)?,
            Field::Digits => {
                let begin = wire.len() + 1;
                text(scan, &mut wire)?;
                let digits = wire.get(begin..).unwrap_or_default();
                if digits.len() < 4 || !digits.iter().all(u8::is_ascii_digit) {
                    return Err("an address of fewer than four digits, or of other octets".into());
                }
            }
            Field::MaybeText if scan.continues() => text(scan, &mut wire)?,
            Field::MaybeText => {}
            Field::Texts => {
                text(scan, &mut wire)?;
                while scan.continues() {
                    text(scan, &mut wire)?;
                }
            }
            Field::Rest => wire.extend(scan.scan_octets()?),
            Field::Hex => {
                let mut digits = scan.ascii()?;
                while scan.continues() {
                    digits.push_str(&scan.ascii()?);
                }
                let octets: Vec<u8> =
                    base16::decode_vec(&digits).map_err(|cause| cause.to_string())?;
                if octets.is_empty() {
                    return Err("no octets".into());
                }
                wire.extend(octets);
            }
            Field::Eui(octets) => groups(scan, '-', *octets, 2, &mut wire)?,
            Field::Locator => groups(scan, ':', 4, 4, &mut wire)?,
        }
    }
    Ok(wire)
}

fn text(scan: &mut Scan<'_, '_>, wire: &mut Vec<u8>) -> Result<(), Wrong> {
    let text = scan.scan_charstr()?;
    // A character string is at most 255 octets long.
    wire.push(text.len() as u8);
    wire.extend_from_slice(text.as_ref());
    Ok(())
}

/// Reads `count` groups of hex digits, each of `width` digits (a locator's of up to four).
fn groups(
    scan: &mut Scan<'_, '_>,
    between: char,
    count: usize,
    width: usize,
    wire: &mut Vec<u8>,
) -> Result<(), Wrong> {
    let word = scan.ascii()?;
    let bad = || Wrong(format!("`{word}` is not {count} groups of {width} hex digits"));
    let groups: Vec<&str> = word.split(between).collect();
    if groups.len() != count {
        return Err(bad());
    }
    for group in groups {
        let length = group.len();
        let fits = if width == 2 { length == 2 } else { (1..=width).contains(&length) };
        if !fits || !group.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let value = u16::from_str_radix(group, 16).map_err(|_| bad())?;
        let octets = value.to_be_bytes();
        wire.extend_from_slice(if width == 2 { &octets[1..] } else { &octets });
    }
    Ok(())
}
