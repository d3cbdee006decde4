//! Zone files: the grammar of RFC 1035 section 5, as BIND reads it.
//!
//! **Invariant.** Never a silent corruption: what is read is what BIND reads from the same
//! text (a corpus and a fuzzer compare both), and what is not understood is refused with
//! file and line.

mod edit;
mod generate;
mod lexer;
mod location;
mod problem;
mod rdata;
mod reader;
mod scan;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests;
mod ttl;

use crate::audit::{Names, target};
use crate::message::Soa;
use crate::sets::{self, Data, Owner, RecordSet, SetKey};
use crate::zone::Contents;
use domain::base::{Name, Rtype};
pub(crate) use edit::{Edited, edit, written};
pub use problem::Remark;
use reader::Reader;
use std::collections::BTreeMap;

/// Types that may stand beside a CNAME (RFC 2181 section 10.1, RFC 4034 section 2.5).
const BESIDE_CNAME: [Rtype; 3] = [Rtype::RRSIG, Rtype::NSEC, Rtype::KEY];

/// What a zone file says.
#[derive(Debug, Clone)]
pub struct ZoneFile {
    /// The zone.
    pub contents: Contents,
    /// What is legal and surely not meant, such as a record outside the zone.
    pub notes: Vec<Remark>,
}

/// Reads zone `apex` from a zone file. `load` reads the files that it includes, by the names
/// that it gives them.
///
/// # Errors
/// Every place that cannot be read, or that makes this no zone; twenty at most.
pub fn read(
    apex: &str,
    file: &str,
    text: &[u8],
    load: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
) -> Result<ZoneFile, Vec<Remark>> {
    let whole = |what: String| vec![Remark { file: file.to_owned(), line: 1, what }];
    let apex = sets::owner(apex).map_err(|cause| whole(format!("the zone's name: {cause}")))?;
    let mut reader = Reader::new(&apex, load);
    reader.read(file, text);
    let Reader { start, sets, faults, notes, .. } = reader;
    if !faults.is_empty() {
        return Err(faults);
    }
    let soa = start.and_then(|(ttl, data)| Soa::of(ttl, &data));
    let soa = soa.ok_or_else(|| whole("no SOA: this is no zone".into()))?;
    let contents = Contents { soa, sets };
    let mut wrong = beside_cname(&contents.sets);
    wrong.extend(lost_servers(&apex, &contents));
    if !contents.sets.contains_key(&SetKey { name: apex.clone(), rtype: Rtype::NS }) {
        wrong.push("no NS at the zone's top".into());
    }
    if !wrong.is_empty() {
        return Err(wrong.into_iter().flat_map(whole).collect());
    }
    Ok(ZoneFile { contents, notes })
}

/// Reads the data of one record as in a zone file; names are absolute, with or without their
/// last dot.
///
/// # Errors
/// Says why it is no data of this type.
pub(crate) fn data(rtype: Rtype, text: &str) -> Result<Data, String> {
    let mut entry = lexer::Entry::default();
    let mut lexer = lexer::Lexer::new(text.as_bytes());
    if !lexer.next(&mut entry).map_err(|wrong| wrong.0)? {
        return Err("there is no data".to_owned());
    }
    let read = rdata::read(rtype, &entry.tokens, &Name::root_bytes()).map_err(|wrong| wrong.0)?;
    match lexer.next(&mut entry) {
        Ok(false) => Ok(read),
        _ => Err("it is more than one record".to_owned()),
    }
}

/// Finds the zone's own name servers that are in the zone and have no address: BIND loads no such
/// zone.
fn lost_servers(apex: &Owner, contents: &Contents) -> Vec<String> {
    let servers = contents.set(&SetKey { name: apex.clone(), rtype: Rtype::NS });
    let targets = servers.data.iter().filter_map(|data| target(Rtype::NS, data));
    let known = |name: &Owner| {
        let address = |rtype| contents.sets.contains_key(&SetKey { name: name.clone(), rtype });
        address(Rtype::A) || address(Rtype::AAAA)
    };
    let inside: Vec<Owner> = targets.filter(|name| name.ends_with(apex) && !known(name)).collect();
    if inside.is_empty() {
        return Vec::new();
    }
    let names = Names::of(apex, contents);
    let lost = |name: &Owner| names.lost(name).map(|why| format!("name server `{name}` {why}"));
    inside.iter().filter_map(lost).collect()
}

/// Finds aliases that are not alone, and names with two of them.
fn beside_cname(sets: &BTreeMap<SetKey, RecordSet>) -> Vec<String> {
    let mut wrong = Vec::new();
    let aliases = sets.values().filter(|set| [Rtype::CNAME, Rtype::DNAME].contains(&set.key.rtype));
    for set in aliases {
        let name = &set.key.name;
        if set.data.len() > 1 {
            wrong.push(format!("`{}` has {} data, one is possible", set.key, set.data.len()));
        }
        let first = SetKey { name: name.clone(), rtype: Rtype::from_int(0) };
        let others = sets.range(first..).map(|(key, _)| key).take_while(|key| key.name == *name);
        let beside = |key: &SetKey| key.rtype != Rtype::CNAME && !BESIDE_CNAME.contains(&key.rtype);
        if set.key.rtype == Rtype::CNAME
            && let Some(other) = others.into_iter().find(|key| beside(key))
        {
            wrong.push(format!("`{name}` has a CNAME and beside it {}", other.rtype));
        }
    }
    wrong
}
