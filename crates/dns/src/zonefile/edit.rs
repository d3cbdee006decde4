//! A zone file with some record sets changed and everything else as it was.
//!
//! **Invariant.** The edited text is read again, and is given out only if it says exactly what
//! was wanted: the changed sets, every other record as before, the serial one further. Where
//! lines cannot be exchanged so that this holds (a set made by `$GENERATE`, a TTL that a removed
//! line gave to the next), the whole zone is written anew, one plain line a record.

use super::problem::Remark;
use super::reader::Reader;
use crate::change::Change;
use crate::message::Soa;
use crate::sets::{self, Owner, RecordSet};
use crate::zone::Contents;
use domain::base::Rtype;
use std::fmt::Write as _;

/// Loads an included file by the name that the zone file gives it.
type Load<'l> = dyn FnMut(&str) -> Result<Vec<u8>, String> + 'l;

/// A zone file that says what was wanted.
#[derive(Debug)]
pub(crate) struct Edited {
    /// The text.
    pub(crate) text: Vec<u8>,
    /// Its serial.
    pub(crate) serial: u32,
    /// Whether lines were exchanged and all others left; else the zone was written anew.
    pub(crate) in_place: bool,
}

/// Changes sets in the text of a zone file.
///
/// # Errors
/// If the text cannot be read, or the result would not say what was wanted.
pub(crate) fn edit(
    apex: &str,
    file: &str,
    text: &[u8],
    load: &mut Load<'_>,
    change: &Change,
) -> Result<Edited, Vec<Remark>> {
    let whole = |what: String| vec![Remark { file: file.to_owned(), line: 1, what }];
    let before = super::read(apex, file, text, load)?.contents;
    let wanted = after(&before, change).ok_or_else(|| whole("its SOA cannot be read".into()))?;
    let owner = sets::owner(apex).map_err(whole)?;
    let right = |text: &[u8], load: &mut Load<'_>| {
        super::read(apex, file, text, load).is_ok_and(|read| same(&read.contents, &wanted))
    };
    let serial = wanted.soa.serial;
    if let Some(text) = exchanged(&owner, file, text, load, &wanted, change)
        && right(&text, load)
    {
        return Ok(Edited { text, serial, in_place: true });
    }
    let text = written(&owner, &wanted).into_bytes();
    if right(&text, load) {
        return Ok(Edited { text, serial, in_place: false });
    }
    Err(whole("the changed zone would not say what is wanted; this is a fault of Segue".into()))
}

/// Returns the zone as it shall be.
fn after(before: &Contents, change: &Change) -> Option<Contents> {
    let mut sets = before.sets.clone();
    for set in &change.wanted {
        if set.exists() {
            sets.insert(set.key.clone(), set.clone());
        } else {
            sets.remove(&set.key);
        }
    }
    let start = before.soa.next(change.minimum_from(before.soa.minimum));
    Some(Contents { soa: Soa::of(before.soa.ttl, &start)?, sets })
}

fn same(one: &Contents, other: &Contents) -> bool {
    one.soa == other.soa && one.sets == other.sets
}

/// Takes the lines of the changed sets out, adds their new ones at the end, and moves the serial.
fn exchanged(
    apex: &Owner,
    file: &str,
    text: &[u8],
    load: &mut Load<'_>,
    wanted: &Contents,
    change: &Change,
) -> Option<Vec<u8>> {
    let mut reader = Reader::new(apex, load).with_lines();
    reader.read(file, text);
    // Of the SOA, only its serial and its minimum change; they stand in this order.
    let start = [
        (reader.serial_at.clone()?, wanted.soa.serial),
        (reader.minimum_at.clone()?, wanted.soa.minimum),
    ];
    let lowers = change.minimum.is_some();
    let lines = reader.lines.unwrap_or_default();
    // One behind the other, or nothing is taken out of the text.
    if lines.windows(2).any(|pair| pair[1].span.start < pair[0].span.end) {
        return None;
    }
    let pairs = change.former.iter().zip(&change.wanted);
    let changed: Vec<_> = pairs.filter(|(a, b)| a != b).map(|(former, _)| &former.key).collect();
    let (mut edited, mut at) = (Vec::with_capacity(text.len() + 256), 0);
    let mut copy = |edited: &mut Vec<u8>, to: usize| {
        // They stand in lines that are kept.
        for (place, value) in start.iter().take(if lowers { 2 } else { 1 }) {
            if (at..to).contains(&place.start) {
                edited.extend_from_slice(&text[at..place.start]);
                edited.extend_from_slice(value.to_string().as_bytes());
                at = place.end;
            }
        }
        edited.extend_from_slice(&text[at..to]);
        at = to;
    };
    let mut orphaned = false;
    for line in &lines {
        let gone = line.key.as_ref().is_some_and(|key| changed.contains(&key));
        copy(&mut edited, line.span.start);
        if gone {
            at_skip(&mut copy, &mut edited, line.span.end);
            orphaned = true;
            continue;
        }
        if orphaned && line.blank {
            // The line above gave it its owner.
            edited.extend_from_slice(format!("{}.", line.owner).as_bytes());
        }
        orphaned &= line.key.is_none();
        copy(&mut edited, line.span.end);
    }
    copy(&mut edited, text.len());
    if edited.last().is_some_and(|octet| *octet != b'\n') {
        edited.push(b'\n');
    }
    let added = change.wanted.iter().filter(|set| changed.contains(&&set.key));
    let mut lines = String::new();
    added.for_each(|set| records(&mut lines, set));
    edited.extend_from_slice(lines.as_bytes());
    Some(edited)
}

/// Leaves a part of the text out.
fn at_skip(copy: &mut impl FnMut(&mut Vec<u8>, usize), edited: &mut Vec<u8>, to: usize) {
    let kept = edited.len();
    copy(edited, to);
    edited.truncate(kept);
}

/// Writes a zone anew: the SOA, then one line a record.
pub(crate) fn written(apex: &Owner, contents: &Contents) -> String {
    let soa = &contents.soa;
    let mut text = format!("{apex}. {} IN SOA {}\n", soa.ttl, soa.data.text(Rtype::SOA));
    contents.sets().for_each(|set| records(&mut text, set));
    text
}

fn records(text: &mut String, set: &RecordSet) {
    for data in &set.data {
        let (name, rtype) = (&set.key.name, set.key.rtype);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}. {} IN {rtype} {}", set.ttl, data.text(rtype));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sets::SetKey;
    use std::str::FromStr;

    const ZONE: &str = "\
$TTL 1h ; an hour
@\tIN SOA ns1 keeper (
\t\t2026113001 ; serial: 2026113001
\t\t3600 600 86400 60 )
\tNS ns1
; The shop.
shop\t300\tA\t127.0.0.11
\tA\t127.0.0.13 ; second
\tTXT\t\"stays; as it is\"
$ORIGIN sub.example.test.
www\tCNAME\tshop.example.test.
$ORIGIN example.test.
$GENERATE 1-3 host$ A 192.0.2.$
ns1 A 127.0.0.1";

    fn set(name: &str, rtype: &str, ttl: u32, texts: &[&str]) -> RecordSet {
        let key =
            SetKey { name: sets::owner(name).unwrap(), rtype: Rtype::from_str(rtype).unwrap() };
        let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
        sets::parse(&key, ttl, &texts).unwrap()
    }

    fn edited(text: &str, change: &Change) -> Edited {
        let mut none = |name: &str| Err(format!("{name} is not there"));
        edit("example.test", "zone", text.as_bytes(), &mut none, change).unwrap()
    }

    #[test]
    fn exchanges_lines_and_leaves_all_others() {
        let change = Change {
            former: vec![set("shop.example.test", "A", 300, &["127.0.0.11", "127.0.0.13"])],
            wanted: vec![set("shop.example.test", "A", 60, &["127.0.0.12"])],
            minimum: Some((60, 20)),
        };
        let result = edited(ZONE, &change);
        assert!(result.in_place);
        assert_eq!(result.serial, 2_026_113_002);
        let text = String::from_utf8(result.text).unwrap();
        let expected = ZONE
            .replace("\t\t2026113001 ;", "\t\t2026113002 ;")
            .replace("86400 60 )", "86400 20 )")
            .replace(
                "shop\t300\tA\t127.0.0.11\n\tA\t127.0.0.13 ; second\n\tTXT",
                "shop.example.test.\tTXT",
            );
        assert_eq!(text, format!("{expected}\nshop.example.test. 60 IN A 127.0.0.12\n"));
        // And back: the serial goes on.
        let back = edited(&text, &change.inverse());
        assert_eq!(back.serial, 2_026_113_003);
        assert!(String::from_utf8(back.text).unwrap().contains("86400 60 )"));
    }

    #[test]
    fn writes_the_zone_anew_where_lines_cannot_be_exchanged() {
        let change = Change {
            former: vec![set("host2.example.test", "A", 3600, &["192.0.2.2"])],
            wanted: vec![set("host2.example.test", "A", 3600, &["192.0.2.99"])],
            minimum: None,
        };
        let result = edited(ZONE, &change);
        assert!(!result.in_place);
        let text = String::from_utf8(result.text).unwrap();
        assert!(text.contains("host1.example.test. 3600 IN A 192.0.2.1\n"), "{text}");
        assert!(text.contains("host2.example.test. 3600 IN A 192.0.2.99\n"), "{text}");
    }

    #[test]
    fn a_ttl_that_a_removed_line_gave_to_the_next_is_not_lost() {
        let text = "@ 600 IN SOA ns1 keeper 1 3600 600 86400 60\n@ NS ns1\nns1 A 127.0.0.1\n\
                    a 5 A 192.0.2.1\nb A 192.0.2.2\n";
        let change = Change {
            former: vec![set("a.example.test", "A", 5, &["192.0.2.1"])],
            wanted: vec![set("a.example.test", "A", 0, &[])],
            minimum: None,
        };
        let result = edited(text, &change);
        let text = String::from_utf8(result.text).unwrap();
        assert!(text.contains("b.example.test. 5 IN A 192.0.2.2"), "{text}");
    }
}
