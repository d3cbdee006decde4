//! The XML of Route 53: what is sent and what comes back.

use crate::sets::{self, RecordSet, SetKey};
use domain::base::Rtype;
use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;

const NAMESPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

/// A record set as it is listed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    name: String,
    rtype: String,
    ttl: Option<u32>,
    values: Vec<String>,
    /// An alias, or one of several sets of one name that rules choose from.
    ruled: bool,
}

/// One page of sets.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) sets: Vec<Listed>,
    /// Name and type at which the next page begins.
    pub(super) next: Option<(String, String)>,
}

impl Listed {
    /// Returns name and type.
    pub(super) fn key(&self) -> Result<SetKey, String> {
        let name = sets::owner(&unescaped(&self.name))?;
        let rtype = Rtype::from_str(&self.rtype).map_err(|_| format!("type `{}`", self.rtype))?;
        Ok(SetKey { name, rtype })
    }

    /// Returns the set if it is a plain one.
    pub(super) fn plain(&self) -> Result<Option<RecordSet>, String> {
        let (false, Some(ttl)) = (self.ruled, self.ttl) else { return Ok(None) };
        let values: Vec<String> = self.values.iter().map(|value| decimal(value)).collect();
        sets::parse_provider(&self.key()?, ttl, &values).map(Some)
    }

    /// Returns the values as they are listed.
    pub(super) fn values(&self) -> &[String] {
        &self.values
    }
}

/// Exchanges every `\DDD` of a text.
fn escapes(text: &str, exchange: impl Fn(&str) -> Option<String>) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(place) = rest.find('\\') {
        let (before, behind) = rest.split_at(place);
        out.push_str(before);
        let digits = behind.get(1..4).filter(|three| three.bytes().all(|d| d.is_ascii_digit()));
        let taken = match digits.and_then(|digits| Some((exchange(digits)?, 4))) {
            Some((other, taken)) => {
                out.push_str(&other);
                taken
            }
            None => {
                // A backslash and what it escapes.
                let taken = 1 + behind[1..].chars().next().map_or(0, char::len_utf8);
                out.push_str(&behind[..taken]);
                taken
            }
        };
        rest = &behind[taken..];
    }
    out + rest
}

/// Octets are written in octal there ("Supported DNS record types", TXT), in decimal here.
fn decimal(text: &str) -> String {
    escapes(text, |digits| Some(format!("\\{:03}", u8::from_str_radix(digits, 8).ok()?)))
}

fn octal(text: &str) -> String {
    escapes(text, |digits| Some(format!("\\{:03o}", digits.parse::<u8>().ok()?)))
}

/// Names come with octal escapes: `\052.example.test.` is a wildcard.
fn unescaped(name: &str) -> String {
    let mut octets = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        let octal = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, octal) {
            (b'\\', Some(octet)) => {
                let plain = octet.is_ascii_graphic() && !b".\\\"();@$".contains(&octet);
                if plain {
                    octets.push(octet);
                } else {
                    octets.extend_from_slice(format!("\\{octet:03}").as_bytes());
                }
                rest = &behind[3..];
            }
            _ => {
                octets.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// Calls `visit` with the path of open elements and the text of each that has one.
fn texts(body: &[u8], mut visit: impl FnMut(&[String], &str)) -> Result<(), String> {
    let broken = |e: &dyn std::fmt::Display| format!("its XML cannot be read: {e}");
    let body = std::str::from_utf8(body).map_err(|e| broken(&e))?;
    let mut reader = Reader::from_str(body);
    let (mut path, mut text) = (Vec::<String>::new(), String::new());
    loop {
        match reader.read_event().map_err(|e| broken(&e))? {
            Event::Start(tag) => {
                path.push(tag.local_name().as_ref().to_owned());
                text.clear();
                visit(&path, "");
            }
            Event::Text(part) => text.push_str(&part),
            Event::GeneralRef(part) => match part.resolve_char_ref().map_err(|e| broken(&e))? {
                Some(char) => text.push(char),
                None => {
                    let known = quick_xml::escape::resolve_predefined_entity(&part);
                    text.push_str(known.ok_or_else(|| broken(&format!("&{};", &*part)))?);
                }
            },
            Event::CData(part) => text.push_str(&part),
            Event::End(_) => {
                // Between elements stand only blanks.
                if !text.trim().is_empty() {
                    visit(&path, text.trim());
                }
                text.clear();
                path.pop();
            }
            Event::Empty(tag) => {
                path.push(tag.local_name().as_ref().to_owned());
                visit(&path, "");
                path.pop();
            }
            Event::Eof if path.is_empty() => return Ok(()),
            Event::Eof => return Err(broken(&"it ends early")),
            _ => {}
        }
    }
}

/// Reads a page of ListResourceRecordSets.
pub(super) fn page(body: &[u8]) -> Result<Page, String> {
    let mut page = Page::default();
    let (mut name, mut rtype, mut wrong, mut known) = (None, None, None, false);
    texts(body, |path, text| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let set = ["ListResourceRecordSetsResponse", "ResourceRecordSets", "ResourceRecordSet"];
        known |= path.first() == Some(&set[0]);
        match path.strip_prefix(&set[..1]) {
            // It is sent back as it came.
            Some(["NextRecordName"]) if !text.is_empty() => name = Some(text.to_owned()),
            Some(["NextRecordType"]) if !text.is_empty() => rtype = Some(text.to_owned()),
            _ => {}
        }
        let Some(inside) = path.strip_prefix(&set) else { return };
        if inside.is_empty() {
            if text.is_empty() {
                page.sets.push(Listed::default());
            }
            return;
        }
        let Some(last) = page.sets.last_mut() else { return };
        match (inside, text.is_empty()) {
            (["AliasTarget" | "SetIdentifier", ..], _) => last.ruled = true,
            (["Name"], false) => text.clone_into(&mut last.name),
            (["Type"], false) => text.clone_into(&mut last.rtype),
            (["TTL"], false) => match text.parse() {
                Ok(ttl) => last.ttl = Some(ttl),
                Err(_) => wrong = Some(format!("TTL `{text}`")),
            },
            (["ResourceRecords", "ResourceRecord", "Value"], false) => {
                last.values.push(text.to_owned());
            }
            _ => {}
        }
    })?;
    match wrong {
        Some(wrong) => Err(wrong),
        None if !known => Err("it is no list of record sets".into()),
        None => {
            page.next = name.zip(rtype);
            Ok(page)
        }
    }
}

fn single(body: &[u8], wanted: &[&str]) -> Option<String> {
    let mut found = None;
    texts(body, |path, text| {
        if !text.is_empty() && path.iter().map(String::as_str).eq(wanted.iter().copied()) {
            found = Some(text.to_owned());
        }
    })
    .ok()?;
    found
}

/// Returns the id of a change that was accepted.
pub(super) fn change_id(body: &[u8]) -> Option<String> {
    single(body, &["ChangeResourceRecordSetsResponse", "ChangeInfo", "Id"])
}

/// Returns `PENDING` or `INSYNC`.
pub(super) fn status(body: &[u8]) -> Option<String> {
    single(body, &["GetChangeResponse", "ChangeInfo", "Status"])
}

/// Returns code and message of an error.
pub(super) fn error(body: &[u8]) -> Option<(String, String)> {
    let (mut code, mut messages) = (None, Vec::new());
    texts(body, |path, text| match path.last().map(String::as_str) {
        Some("Code") if !text.is_empty() => code = Some(text.to_owned()),
        // The newer form of this one error has no code.
        Some("InvalidChangeBatch") => code = Some("InvalidChangeBatch".to_owned()),
        Some("Message") if !text.is_empty() => messages.push(text.to_owned()),
        _ => {}
    })
    .ok()?;
    code.map(|code| (code, messages.join("; ")))
}

/// Writes the batch that takes each first set to its second. Deletions come first; `listed` knows
/// how the values of a set are written there, for a deletion must name them so.
///
/// The zone's own NS set cannot be deleted there, so it is written over (UPSERT): of that one set
/// alone nothing is compared.
pub(super) fn batch(
    apex: &sets::Owner,
    pairs: &[(&RecordSet, &RecordSet)],
    listed: &BTreeMap<SetKey, Vec<String>>,
) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <ChangeResourceRecordSetsRequest xmlns=\"{NAMESPACE}\"><ChangeBatch><Changes>"
    );
    let own_ns = |set: &RecordSet| set.key.rtype == Rtype::NS && set.key.name == *apex;
    let former = pairs.iter().map(|(former, _)| ("DELETE", *former));
    let wanted = pairs.iter().map(|(_, wanted)| match own_ns(wanted) {
        true => ("UPSERT", *wanted),
        false => ("CREATE", *wanted),
    });
    let former = former.filter(|(_, set)| !own_ns(set));
    for (action, set) in former.chain(wanted).filter(|(_, set)| set.exists()) {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "<Change><Action>{action}</Action><ResourceRecordSet><Name>{}</Name><Type>{}</Type>\
             <TTL>{}</TTL><ResourceRecords>",
            escape(set.key.name.fmt_with_dot().to_string()),
            set.key.rtype,
            set.ttl,
        );
        let known = listed.get(&set.key).filter(|_| action == "DELETE");
        let written = || set.texts().iter().map(|text| octal(text)).collect();
        for value in known.cloned().unwrap_or_else(written) {
            let value = escape(&value);
            let _ = write!(text, "<ResourceRecord><Value>{value}</Value></ResourceRecord>");
        }
        text.push_str("</ResourceRecords></ResourceRecordSet></Change>");
    }
    text.push_str("</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>");
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LIST: &str = r#"<?xml version="1.0"?>
<ListResourceRecordSetsResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/">
 <ResourceRecordSets>
  <ResourceRecordSet><Name>\052.example.test.</Name><Type>TXT</Type><TTL>300</TTL>
   <ResourceRecords><ResourceRecord><Value>"a &amp; b" "c"</Value></ResourceRecord></ResourceRecords>
  </ResourceRecordSet>
  <ResourceRecordSet><Name>www.example.test.</Name><Type>A</Type>
   <AliasTarget><HostedZoneId>Z2</HostedZoneId><DNSName>x.test.</DNSName>
    <EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget>
  </ResourceRecordSet>
 </ResourceRecordSets>
 <IsTruncated>true</IsTruncated><MaxItems>2</MaxItems>
 <NextRecordName>zz.example.test.</NextRecordName><NextRecordType>A</NextRecordType>
</ListResourceRecordSetsResponse>"#;

    #[test]
    fn reads_pages_with_escapes_and_rules() {
        let page = page(LIST.as_bytes()).unwrap();
        let set = page.sets[0].plain().unwrap().unwrap();
        assert_eq!(set.to_string(), "*.example.test TXT 300 [\"a & b\" \"c\"]");
        assert_eq!(page.sets[1].plain().unwrap(), None);
        assert_eq!(page.next, Some(("zz.example.test.".into(), "A".into())));
    }

    #[test]
    fn writes_octets_in_octal_and_reads_them_so() {
        assert_eq!(octal(r#""a\200\"\\b""#), r#""a\310\"\\b""#);
        assert_eq!(decimal(r#""a\310\"\\b""#), r#""a\200\"\\b""#);
        assert_eq!(decimal(r"\9"), r"\9");
    }

    #[test]
    fn refuses_what_is_no_page() {
        for body in ["", "<html/>", "{}", &LIST[..300]] {
            assert!(page(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn writes_a_batch_that_it_could_read() {
        let set = page(LIST.as_bytes()).unwrap().sets[0].plain().unwrap().unwrap();
        let gone = RecordSet::absent(set.key.clone());
        let text = batch(
            &sets::owner("example.test").unwrap(),
            &[(&set, &gone), (&gone, &set)],
            &BTreeMap::new(),
        );
        let both = ["<Action>DELETE</Action>", "<Action>CREATE</Action>"];
        assert!(both.iter().all(|action| text.matches(action).count() == 1), "{text}");
        assert!(text.contains("<Value>&quot;a &amp; b&quot; &quot;c&quot;</Value>"), "{text}");
    }

    #[test]
    fn reads_errors_of_both_forms() {
        let one = "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code>\
                   <Message>Rate exceeded</Message></Error></ErrorResponse>";
        assert_eq!(error(one.as_bytes()).unwrap(), ("Throttling".into(), "Rate exceeded".into()));
        let other = "<InvalidChangeBatch><Messages><Message>it was not found</Message></Messages>\
                     </InvalidChangeBatch>";
        let wanted = ("InvalidChangeBatch".to_owned(), "it was not found".to_owned());
        assert_eq!(error(other.as_bytes()).unwrap(), wanted);
    }
}
