//! Records that lead to addresses which will be left.

use super::records::{target, text, value};
use super::spf::{Mechanism, mechanisms};
use crate::sets::{Owner, RecordSet};
use crate::zone::Contents;
use domain::base::Rtype;
use domain::rdata::AllRecordData;
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A record that leads to a source address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pointer {
    /// Owner name.
    pub name: String,
    /// Record type.
    pub rtype: String,
    /// Its data.
    pub data: String,
    /// How it leads there.
    pub how: String,
}

/// Finds every record that names a source address, or a name that leads to one.
pub(super) fn find(contents: &Contents, sources: &[IpAddr]) -> Vec<Pointer> {
    if sources.is_empty() {
        return Vec::new();
    }
    let leading = leading(contents, sources);
    let mut found = Vec::new();
    for set in contents.sets() {
        for data in &set.data {
            let rtype = set.key.rtype;
            let how = address(set, data)
                .filter(|address| sources.contains(address))
                .map(|_| "its address is the source's".to_owned())
                .or_else(|| {
                    let target = target(rtype, data)?;
                    leading.contains(&target).then(|| format!("`{target}` leads there"))
                })
                .or_else(|| hint(rtype, data, sources))
                .or_else(|| in_text(set, data, sources, &leading));
            if let Some(how) = how {
                found.push(Pointer {
                    name: set.key.name.to_string(),
                    rtype: rtype.to_string(),
                    data: data.text(rtype),
                    how,
                });
            }
        }
    }
    found
}

/// Returns the names that have a source address, by themselves or by aliases in the zone.
fn leading(contents: &Contents, sources: &[IpAddr]) -> BTreeSet<Owner> {
    let direct = contents.sets().filter(|set| {
        set.data.iter().filter_map(|data| address(set, data)).any(|a| sources.contains(&a))
    });
    let mut names: BTreeSet<Owner> = direct.map(|set| set.key.name.clone()).collect();
    loop {
        let aliases = contents.sets().filter(|set| set.key.rtype == Rtype::CNAME);
        let more = aliases.filter(|set| {
            let to = set.data.iter().find_map(|data| target(Rtype::CNAME, data));
            !names.contains(&set.key.name) && to.is_some_and(|to| names.contains(&to))
        });
        let more: Vec<Owner> = more.map(|set| set.key.name.clone()).collect();
        if more.is_empty() {
            return names;
        }
        names.extend(more);
    }
}

fn address(set: &RecordSet, data: &crate::sets::Data) -> Option<IpAddr> {
    match value(set.key.rtype, data)? {
        AllRecordData::A(data) => Some(data.addr().into()),
        AllRecordData::Aaaa(data) => Some(data.addr().into()),
        _ => None,
    }
}

/// Addresses that HTTPS and SVCB records give along (RFC 9460 section 7.3).
fn hint(rtype: Rtype, data: &crate::sets::Data, sources: &[IpAddr]) -> Option<String> {
    if !matches!(rtype, Rtype::HTTPS | Rtype::SVCB) {
        return None;
    }
    let text = data.text(rtype);
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '=' | ',' | '"'));
    let named = words.filter_map(|word| word.parse::<IpAddr>().ok());
    let named = named.into_iter().find(|address| sources.contains(address))?;
    Some(format!("its hint is {named}"))
}

/// A text that names the address: as SPF, else in any word.
fn in_text(
    set: &RecordSet,
    data: &crate::sets::Data,
    sources: &[IpAddr],
    leading: &BTreeSet<Owner>,
) -> Option<String> {
    if set.key.rtype != Rtype::TXT {
        return None;
    }
    let text = text(data)?;
    if let Some(mechanisms) = mechanisms(&text) {
        return mechanisms.into_iter().find_map(|mechanism| match mechanism {
            Mechanism::Network { text, network } => sources
                .iter()
                .find(|source| network.holds(**source))
                .map(|source| format!("SPF lets {source} send by `{text}`")),
            Mechanism::Named { kind, name } if kind == "a" || kind == "mx" => {
                let name = match name {
                    Some(name) => crate::sets::owner(&name).ok()?,
                    None => set.key.name.clone(),
                };
                (kind == "a" && leading.contains(&name))
                    .then(|| format!("SPF lets `{name}` send, which leads there"))
            }
            Mechanism::Named { .. } => None,
        });
    }
    let words = text.split(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':'));
    let named = words.filter_map(|word| word.parse::<IpAddr>().ok());
    let named = named.into_iter().find(|address| sources.contains(address))?;
    Some(format!("its text names {named}"))
}
