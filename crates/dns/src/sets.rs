//! Record sets as values: what a plan declares, what a server answers, what the
//! journal keeps.
//!
//! **Invariant.** Two sets are equal when owner, type, TTL and data are equal in the
//! canonical form of RFC 4034 section 6.2; the wire form as it was received is kept,
//! so that an inverse restores it octet by octet.

use crate::codes;
use bytes::Bytes;
use domain::base::iana::Class;
use domain::base::name::ToName;
use domain::base::rdata::{ComposeRecordData, ParseAnyRecordData};
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::base::{Name, Rtype};
use domain::dep::octseq::parse::Parser;
use domain::rdata::AllRecordData;
use domain::utils::base16;
use domain::zonefile::inplace::{Entry, Zonefile};
use segue_model::{Fault, FaultKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// An absolute domain name in lower case.
pub(crate) type Owner = Name<Bytes>;

/// Owner and type of a record set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetKey {
    /// Owner name, lower case.
    pub(crate) name: Owner,
    /// Record type.
    pub(crate) rtype: Rtype,
}

impl fmt::Display for SetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.rtype)
    }
}

/// Data of one record, without compression.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    /// As it was received or parsed.
    pub(crate) wire: Bytes,
    /// For comparing.
    canonical: Bytes,
}

impl Data {
    /// Takes record data of a type whose names may be in any case.
    pub(crate) fn compose(data: &impl ComposeRecordData) -> Self {
        let (mut wire, mut canonical) = (Vec::new(), Vec::new());
        // Appending to a `Vec` cannot fail; the error type is uninhabited.
        let Ok(()) = data.compose_rdata(&mut wire);
        let Ok(()) = data.compose_canonical_rdata(&mut canonical);
        Self { wire: wire.into(), canonical: canonical.into() }
    }

    /// Reads uncompressed record data; `None` if it is not data of this type.
    pub(crate) fn from_wire(rtype: Rtype, wire: &Bytes) -> Option<Self> {
        let mut parser = Parser::from_ref(wire);
        let data = AllRecordData::parse_any_rdata(rtype, &mut parser).ok()?;
        (parser.remaining() == 0).then(|| Self::compose(&data))
    }

    /// Returns the data in canonical form (RFC 4034 section 6.2).
    pub(crate) fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// Returns the data in presentation format, names with their last dot. It reads back as the
    /// same data: the library writes some types in a way that does not (SRV without that dot).
    pub(crate) fn text(&self, rtype: Rtype) -> String {
        let mut parser = Parser::from_ref(&self.wire);
        if let Ok(data) = AllRecordData::parse_any_rdata(rtype, &mut parser) {
            let written =
                [data.display_zonefile(DisplayKind::Simple).to_string(), data.to_string()];
            let same =
                |text: &String| crate::zonefile::data(rtype, text).is_ok_and(|read| read == *self);
            if let Some(text) = written.into_iter().find(same) {
                return text;
            }
        }
        // As RFC 3597 section 5 writes any type.
        format!("\\# {} {}", self.wire.len(), base16::encode_string(&self.wire))
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}
impl Eq for Data {}
impl PartialOrd for Data {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Data {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.canonical.cmp(&other.canonical)
    }
}

/// A record set with its data; without data the set does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct RecordSet {
    /// Owner and type.
    pub(crate) key: SetKey,
    /// TTL in seconds; 0 if the set does not exist.
    pub(crate) ttl: u32,
    /// The data, in canonical order.
    pub(crate) data: BTreeSet<Data>,
}

impl RecordSet {
    /// Returns the set that does not exist.
    pub(crate) fn absent(key: SetKey) -> Self {
        Self { key, ttl: 0, data: BTreeSet::new() }
    }

    /// Returns whether there is such a set.
    pub fn exists(&self) -> bool {
        !self.data.is_empty()
    }

    /// Returns the owner name with its dot.
    pub fn name(&self) -> String {
        self.key.name.fmt_with_dot().to_string()
    }

    /// Returns the record type, such as `A`.
    pub fn rtype(&self) -> String {
        self.key.rtype.to_string()
    }

    /// Returns the TTL in seconds; 0 if the set does not exist.
    pub fn ttl_s(&self) -> u32 {
        self.ttl
    }

    /// Returns the record data in presentation format, in canonical order.
    pub fn texts(&self) -> Vec<String> {
        self.data.iter().map(|d| d.text(self.key.rtype)).collect()
    }

    /// Returns the same data with another TTL; a set that does not exist stays so.
    pub(crate) fn with_ttl(&self, ttl: u32) -> Self {
        let ttl = if self.exists() { ttl } else { 0 };
        Self { ttl, ..self.clone() }
    }
}

impl fmt::Display for RecordSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.exists() {
            write!(f, "{} {} [{}]", self.key, self.ttl, self.texts().join(", "))
        } else {
            write!(f, "{} does not exist", self.key)
        }
    }
}

/// How a set stands in the journal: readable, and exact by `wire`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Written {
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    ttl: u32,
    data: Vec<String>,
    wire: Vec<String>,
}

impl From<RecordSet> for Written {
    fn from(set: RecordSet) -> Self {
        Self {
            name: set.key.name.to_string(),
            rtype: set.key.rtype.to_string(),
            ttl: set.ttl,
            data: set.texts(),
            wire: set.data.iter().map(|d| base16::encode_string(&d.wire)).collect(),
        }
    }
}

impl TryFrom<Written> for RecordSet {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let name = owner(&written.name).map_err(|e| format!("name `{}`: {e}", written.name))?;
        let rtype = Rtype::from_str(&written.rtype)
            .map_err(|_| format!("record type `{}`", written.rtype))?;
        let mut data = BTreeSet::new();
        for hex in &written.wire {
            let wire = base16::decode_vec(hex).map_err(|e| format!("data `{hex}`: {e}"))?;
            let item = Data::from_wire(rtype, &wire.into());
            data.insert(item.ok_or_else(|| format!("data `{hex}` is not of type {rtype}"))?);
        }
        Ok(Self { key: SetKey { name, rtype }, ttl: written.ttl, data })
    }
}

/// Parses a name that is absolute even without its trailing dot.
pub(crate) fn owner(text: &str) -> Result<Owner, String> {
    let name = Name::<Bytes>::from_str(text).map_err(|e| e.to_string())?;
    Ok(lower_case(&name))
}

/// Returns the name in lower case.
pub(crate) fn lower_case(name: &impl ToName) -> Owner {
    name.to_canonical_name()
}

/// Parses record data in presentation format into a set.
///
/// Names in the data must be absolute with their trailing dot: a relative name would
/// silently gain the zone's name, and an absolute one written without its dot, too.
/// For the same reason `@` is refused, and an unquoted `;`, which would cut the data off.
///
/// # Errors
/// `SG0301` if the data is not data of this type or could be read in two ways.
pub(crate) fn parse(key: &SetKey, ttl: u32, texts: &[String]) -> Result<RecordSet, Fault> {
    let mut data = BTreeSet::new();
    for text in texts {
        let item = parse_one(key, text).map_err(|cause| {
            Fault::new(codes::PLAN, FaultKind::Invalid, format!("read data of `{key}`"), cause)
                .hint("write the data as in a zone file, names with a trailing dot, text quoted")
        })?;
        if !data.insert(item) {
            return Err(Fault::new(
                codes::PLAN,
                FaultKind::Invalid,
                format!("read data of `{key}`"),
                format!("`{text}` stands there twice"),
            )
            .hint("write each record once"));
        }
    }
    let ttl = if data.is_empty() { 0 } else { ttl };
    Ok(RecordSet { key: key.clone(), ttl, data })
}

/// Parses record data as a provider's API writes it, of any type; a name may lack its last dot.
///
/// # Errors
/// Says which data could be read in two ways or not at all.
pub(crate) fn parse_provider(
    key: &SetKey,
    ttl: u32,
    texts: &[String],
) -> Result<RecordSet, String> {
    let mut set = RecordSet::absent(key.clone());
    for text in texts {
        unambiguous(text)?;
        let data = crate::zonefile::data(key.rtype, text);
        set.data.insert(data.map_err(|cause| format!("read `{text}` of `{key}`: {cause}"))?);
    }
    set.ttl = if set.exists() { ttl } else { 0 };
    Ok(set)
}

fn parse_one(key: &SetKey, text: &str) -> Result<Data, String> {
    unambiguous(text)?;
    let line = format!("{} 0 IN {} {text}\n", key.name.fmt_with_dot(), key.rtype);
    let mut file = Zonefile::from(line.as_str());
    file.set_default_class(Class::IN);
    let first = file.next_entry().map_err(|e| format!("`{text}`: {e}"))?;
    let Some(Entry::Record(record)) = first else {
        return Err(format!("`{text}` is not record data"));
    };
    if !matches!(file.next_entry(), Ok(None)) {
        return Err(format!("`{text}` is more than one record"));
    }
    Ok(Data::compose(record.data()))
}

/// Refuses what a zone file reader could take for something else than data.
fn unambiguous(text: &str) -> Result<(), String> {
    let (mut quoted, mut escaped) = (false, false);
    let mut word = String::new();
    for c in text.chars().chain([' ']) {
        if c.is_control() && c != '\t' {
            return Err(format!("{text:?} contains a control character"));
        }
        match c {
            _ if escaped => {
                escaped = false;
                word.push(c);
                continue;
            }
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ';' | '(' | ')' if !quoted => {
                return Err(format!("`{text}` contains `{c}` outside quotes"));
            }
            ' ' | '\t' if !quoted => {
                if word == "@" {
                    return Err(format!("`{text}` contains `@`; write the name in full"));
                }
                word.clear();
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if quoted || escaped {
        return Err(format!("`{text}` ends inside a quoted or escaped part"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(rtype: &str) -> SetKey {
        let rtype = Rtype::from_str(rtype).unwrap();
        SetKey { name: owner("Shop.example.test").unwrap(), rtype }
    }

    fn parsed(rtype: &str, text: &str) -> Result<RecordSet, Fault> {
        parse(&key(rtype), 60, &[text.to_owned()])
    }

    #[test]
    fn refuses_data_that_could_be_read_in_two_ways() {
        for (rtype, text) in [
            ("CNAME", "@"),
            ("MX", "10 @"),
            ("CNAME", "relative"),
            ("MX", "10 mail.example.com"),
            ("TXT", "v=DMARC1; p=none"),
            ("TXT", "\"open"),
            ("A", "127.0.0.1\nother A 127.0.0.2"),
            ("A", "(127.0.0.1"),
            ("A", "127.0.0.1 127.0.0.2"),
            ("A", ""),
            ("A", "::1"),
        ] {
            let fault = parsed(rtype, text).unwrap_err();
            assert_eq!(fault.code, "SG0301", "{rtype} {text}");
        }
        let twice = ["127.0.0.1".to_owned(), "127.0.0.1".to_owned()];
        assert!(parse(&key("A"), 60, &twice).is_err());
    }

    #[test]
    fn takes_quoted_text_and_absolute_names() {
        let quoted = parsed("TXT", "\"v=DMARC1; p=none (@)\" \"@\"").unwrap();
        assert_eq!(quoted.texts(), ["\"v=DMARC1; p=none (@)\" \"@\""]);
        assert_eq!(parsed("MX", "10 mail.example.com.").unwrap().texts(), ["10 mail.example.com."]);
    }

    #[test]
    fn compares_names_in_data_without_case_and_text_with_case() {
        assert_eq!(parsed("CNAME", "A.test.").unwrap(), parsed("CNAME", "a.TEST.").unwrap());
        assert_ne!(parsed("TXT", "\"A\"").unwrap(), parsed("TXT", "\"a\"").unwrap());
        let set = parsed("A", "127.0.0.1").unwrap();
        assert_ne!(set, set.with_ttl(61));
    }

    #[test]
    fn writes_what_it_reads_names_with_their_dot() {
        for (rtype, text) in [
            ("A", "192.0.2.1"),
            ("AAAA", "2001:db8::1"),
            ("CNAME", "a.test."),
            ("MX", "10 a.test."),
            ("SRV", "1 2 5060 a.test."),
            ("PTR", "a.test."),
            ("NS", "a.test."),
            ("CAA", "0 issue \"ca.test; account=7\""),
            ("TXT", "\"a b\" \"c\""),
            ("TLSA", "3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
            ("HTTPS", "1 a.test. alpn=h2"),
            ("NAPTR", "100 50 \"s\" \"z\" \"\" a.test."),
            ("DNAME", "a.test."),
            ("SSHFP", "1 1 0123456789abcdef0123456789abcdef01234567"),
        ] {
            let set = parse_provider(&key(rtype), 60, &[text.to_owned()]).unwrap();
            let written = set.texts();
            let again = parse_provider(&key(rtype), 60, &written).unwrap();
            assert_eq!(again, set, "{rtype}: {written:?}");
            if text.ends_with('.') {
                assert!(written[0].ends_with('.'), "{rtype}: {written:?}");
            }
        }
    }

    #[test]
    fn comes_back_from_the_journal_octet_by_octet() {
        for (rtype, text) in [
            ("TXT", "\"a\\\"b\\\\c\\200\" \"\""),
            ("MX", "10 MAIL.test."),
            ("TYPE65400", "\\# 2 abcd"),
        ] {
            let set = parsed(rtype, text).unwrap();
            let written = serde_json::to_string(&set).unwrap();
            let read: RecordSet = serde_json::from_str(&written).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), written);
            assert_eq!(read, set);
        }
        let absent = RecordSet::absent(key("A"));
        let written = serde_json::to_string(&absent).unwrap();
        assert_eq!(serde_json::from_str::<RecordSet>(&written).unwrap(), absent);
    }
}
