//! SPF: who may send mail for the zone, and how many questions it takes (RFC 7208).

use super::records::text;
use crate::zone::Contents;
use domain::base::Rtype;
use serde::Serialize;
use std::net::IpAddr;

/// Most mechanisms that need a question (RFC 7208 section 4.6.4).
const LOOKUPS_MAX: usize = 10;

/// One SPF record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spf {
    /// Owner name.
    pub name: String,
    /// The record.
    pub text: String,
    /// Questions that a receiver asks, as far as they are known.
    pub lookups: usize,
    /// Included domains whose own questions are not counted.
    pub uncounted: Vec<String>,
    /// What a receiver would reject it for.
    pub wrong: Option<String>,
}

/// A network as SPF writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    fn read(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() { most } else { bits.parse().ok()? };
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether an address is in it.
    pub(super) fn holds(self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32 - u32::from(self.bits);
                u32::from(a).checked_shr(shift) == u32::from(b).checked_shr(shift)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128 - u32::from(self.bits);
                u128::from(a).checked_shr(shift) == u128::from(b).checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// A mechanism or modifier that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// `ip4` or `ip6`.
    Network { text: String, network: Network },
    /// One that needs a question; without a name it is about the record's own.
    Named { kind: String, name: Option<String> },
}

/// Reads a text as SPF; `None` if it is none.
pub(super) fn mechanisms(text: &str) -> Option<Vec<Mechanism>> {
    let rest = text.get(..6).filter(|start| start.eq_ignore_ascii_case("v=spf1"))?;
    let rest = &text[rest.len()..];
    if !(rest.is_empty() || rest.starts_with(' ')) {
        return None;
    }
    let mut found = Vec::new();
    for word in rest.split_whitespace() {
        let bare = word.trim_start_matches(['+', '-', '~', '?']);
        let place = bare.find([':', '=', '/']).unwrap_or(bare.len());
        let (kind, value) = bare.split_at(place);
        let kind = kind.to_ascii_lowercase();
        match kind.as_str() {
            "ip4" | "ip6" => {
                if let Some(network) = Network::read(value.trim_start_matches(':')) {
                    found.push(Mechanism::Network { text: bare.to_owned(), network });
                }
            }
            "a" | "mx" | "ptr" | "include" | "exists" | "redirect" => {
                let name = value.trim_start_matches([':', '=']).split('/').next().unwrap_or("");
                let name = (!name.is_empty()).then(|| name.trim_end_matches('.').to_owned());
                found.push(Mechanism::Named { kind, name });
            }
            _ => {}
        }
    }
    Some(found)
}

/// Finds every SPF record and counts its questions; of what it includes, those in this zone.
pub(crate) fn find(contents: &Contents) -> Vec<Spf> {
    let mut found = Vec::new();
    for set in contents.sets().filter(|set| set.key.rtype == Rtype::TXT) {
        let texts: Vec<String> = set.data.iter().filter_map(text).collect();
        let spf: Vec<&String> = texts.iter().filter(|text| mechanisms(text).is_some()).collect();
        for text in &spf {
            let mut count = Count { contents, lookups: 0, uncounted: Vec::new() };
            count.record(text, 0);
            let Count { lookups, uncounted, .. } = count;
            let wrong = if spf.len() > 1 {
                Some(format!("{} SPF records at one name: receivers take none", spf.len()))
            } else if lookups > LOOKUPS_MAX {
                Some(format!("{lookups} questions, {LOOKUPS_MAX} are allowed: receivers reject it"))
            } else {
                None
            };
            let name = set.key.name.to_string();
            found.push(Spf { name, text: (*text).clone(), lookups, uncounted, wrong });
        }
    }
    found
}

/// Counts questions.
struct Count<'c> {
    contents: &'c Contents,
    lookups: usize,
    uncounted: Vec<String>,
}

impl Count<'_> {
    fn record(&mut self, text: &str, depth: usize) {
        for mechanism in mechanisms(text).unwrap_or_default() {
            let Mechanism::Named { kind, name } = mechanism else { continue };
            self.lookups += 1;
            if !matches!(kind.as_str(), "include" | "redirect") {
                continue;
            }
            let Some(name) = name else { continue };
            match self.included(&name).filter(|_| depth < LOOKUPS_MAX) {
                Some(text) => self.record(&text, depth + 1),
                None => self.uncounted.push(name),
            }
        }
    }

    /// Returns the SPF record of an included name, if this zone holds it.
    fn included(&self, name: &str) -> Option<String> {
        let name = crate::sets::owner(name).ok()?;
        let set = self.contents.set(&crate::sets::SetKey { name, rtype: Rtype::TXT });
        set.data.iter().filter_map(text).find(|text| mechanisms(text).is_some())
    }
}
