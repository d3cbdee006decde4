//! What both providers have in common, and what each has changed since: a three-way merge by set.
//!
//! **Invariant.** A set that only one side changed goes to the other; one that both changed
//! differently is nobody's to decide but a person's.

use super::look::MadeUp;
use crate::sets::{Owner, RecordSet, SetKey};
use crate::zone::Contents;
use domain::base::Rtype;
use segue_model::{Side, Sides};
use std::collections::{BTreeMap, BTreeSet};

/// A digest of each set at either side when both were alike, by name and type.
pub(super) type Base = BTreeMap<String, Sides<String>>;

/// Sets that go from one side to the other: what stands there now, and what shall.
pub(super) type Pairs = Vec<(RecordSet, RecordSet)>;

/// What has to be done for both sides to be alike.
#[derive(Debug, Default)]
pub(super) struct Merge {
    /// Changes by the side at which they are made.
    pub(super) changes: Sides<Pairs>,
    /// What a person has to decide: sets that both changed differently, or a side that was emptied.
    pub(super) conflicts: Vec<String>,
    /// Sets that the side to which the zone goes had of its own, before anything was copied.
    pub(super) extra: Vec<String>,
}

impl Merge {
    /// Says whether nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        let Sides { source, target } = &self.changes;
        source.is_empty() && target.is_empty() && self.conflicts.is_empty() && self.extra.is_empty()
    }
}

/// What a merge starts from.
pub(super) struct Merging<'a> {
    /// The zone's name.
    pub(super) apex: &'a Owner,
    /// What each side has.
    pub(super) contents: Sides<&'a Contents>,
    /// The lowest TTL that each takes, seconds.
    pub(super) ttl_min_s: Sides<u32>,
    /// What both had alike when it was last looked; none before the first copy.
    pub(super) base: Option<&'a Base>,
    /// The side to which the zone goes.
    pub(super) to: Side,
    /// Name servers of both: their addresses within the zone come from either side.
    pub(super) name_servers: &'a BTreeSet<Owner>,
    /// What a provider makes up when it is asked: each side keeps what it has there.
    pub(super) apart: Vec<&'a MadeUp>,
    /// Whether what the side has of its own may be replaced by the first copy.
    pub(super) replace: bool,
}

/// Types that each provider makes for itself.
fn made_by_provider(rtype: Rtype) -> bool {
    // BIND's own mark of what it has signed so far.
    const BIND_SIGNING: u16 = 65_534;
    matches!(
        rtype,
        Rtype::SOA
            | Rtype::RRSIG
            | Rtype::NSEC
            | Rtype::NSEC3
            | Rtype::NSEC3PARAM
            | Rtype::DNSKEY
            | Rtype::CDS
            | Rtype::CDNSKEY
            | Rtype::ZONEMD
    ) || rtype.to_int() == BIND_SIGNING
}

/// Says whether a set is the zone's and not its provider's.
pub(super) fn is_common(apex: &Owner, key: &SetKey) -> bool {
    !(made_by_provider(key.rtype) || key.rtype == Rtype::NS && key.name == *apex)
}

fn digest(set: &RecordSet) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&set.ttl.to_be_bytes());
    for data in &set.data {
        hasher.update(&(data.canonical().len() as u64).to_be_bytes());
        hasher.update(data.canonical());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

impl Merging<'_> {
    fn keys(&self) -> BTreeSet<&SetKey> {
        let all = self.contents.source.sets.keys().chain(self.contents.target.sets.keys());
        let common = |key: &&SetKey| {
            is_common(self.apex, key) && !self.apart.iter().any(|made_up| made_up.covers(key))
        };
        all.filter(common).collect()
    }

    /// Returns the set as a side would keep it.
    fn kept(&self, side: Side, set: &RecordSet) -> RecordSet {
        set.with_ttl(set.ttl.max(*self.ttl_min_s.get(side)))
    }

    fn alike(&self, source: &RecordSet, target: &RecordSet) -> bool {
        self.kept(Side::Target, source) == *target || self.kept(Side::Source, target) == *source
    }

    /// Says whether a side has lost so much of what both had that it is no edit: a zone that was
    /// emptied or made anew must not empty the other.
    fn lost(&self) -> Option<String> {
        /// Share of a zone that may go in one edit, percent, in a zone of so many sets or more.
        const SHARE_MAX: usize = 30;
        const SETS_MIN: usize = 10;
        let base = self.base.filter(|_| !self.replace)?;
        for side in [Side::Source, Side::Target] {
            let there: BTreeSet<String> =
                self.contents.get(side).sets.keys().map(ToString::to_string).collect();
            let lost = base.keys().filter(|key| !there.contains(*key)).count();
            let many = base.len() >= SETS_MIN && lost * 100 > base.len() * SHARE_MAX;
            if many || (lost > 1 && lost == base.len()) {
                return Some(format!(
                    "the {side} has lost {lost} of the {} record sets that both had: bring them \
                     back there, or, if they shall go at both, write `replace = true`",
                    base.len()
                ));
            }
        }
        None
    }

    /// Works out what has to be done.
    pub(super) fn merge(&self) -> Merge {
        let mut merge = Merge::default();
        if let Some(lost) = self.lost() {
            merge.conflicts.push(lost);
            return merge;
        }
        for key in self.keys() {
            let sets = Sides::from_fn(|side| self.contents.get(side).set(key));
            if self.alike(&sets.source, &sets.target) {
                continue;
            }
            match self.changed_at(key, &sets) {
                Some(side) => {
                    let other = side.other();
                    let wanted = self.kept(other, sets.get(side));
                    let former = sets.get(other).clone();
                    if self.base.is_none() && former.exists() && side != self.to && !self.replace {
                        merge.extra.push(extra(&former, sets.get(side)));
                    } else {
                        merge.changes.get_mut(other).push((former, wanted));
                    }
                }
                None => merge.conflicts.push(format!(
                    "both providers changed the same set, to `{}` at the source and `{}` at the \
                     target: put one right",
                    sets.source, sets.target
                )),
            }
        }
        merge
    }

    /// Returns the side whose value holds for a set that differs; none if both changed it.
    fn changed_at(&self, key: &SetKey, sets: &Sides<RecordSet>) -> Option<Side> {
        let to = self.to;
        let Some(base) = self.base else {
            // Glue of the name servers to come may be known at their provider only.
            let glue = matches!(key.rtype, Rtype::A | Rtype::AAAA)
                && self.name_servers.contains(&key.name)
                && !sets.get(to.other()).exists();
            return Some(if glue { to } else { to.other() });
        };
        let absent = digest(&RecordSet::absent(key.clone()));
        let base = base.get(&key.to_string());
        let changed = |side: Side| {
            let base = base.map_or(&absent, |base| base.get(side));
            digest(sets.get(side)) != *base
        };
        match (changed(Side::Source), changed(Side::Target)) {
            (true, false) => Some(Side::Source),
            (false, true) => Some(Side::Target),
            _ => None,
        }
    }

    /// Returns what both sides have, once they are alike.
    pub(super) fn base(&self) -> Base {
        let value = |key: &SetKey| Sides::from_fn(|side| digest(&self.contents.get(side).set(key)));
        self.keys().into_iter().map(|key| (key.to_string(), value(key))).collect()
    }
}

fn extra(former: &RecordSet, wanted: &RecordSet) -> String {
    match wanted.exists() {
        true => format!("it has `{former}`, the other `{wanted}`"),
        false => format!("only it has `{former}`"),
    }
}

/// Cuts changes into parts that fit into one change anywhere; sets of one name stay together, so
/// that an alias can take the place of addresses.
pub(super) fn parts(pairs: Pairs) -> Vec<Pairs> {
    /// Most records of a part, and most octets of their data.
    const RECORDS_MAX: usize = 90;
    const OCTETS_MAX: usize = 12_000;
    let mut names: BTreeMap<Owner, Pairs> = BTreeMap::new();
    for pair in pairs {
        names.entry(pair.0.key.name.clone()).or_default().push(pair);
    }
    let mut parts: Vec<Pairs> = Vec::new();
    let (mut records, mut octets) = (RECORDS_MAX, OCTETS_MAX);
    for (_, pairs) in names {
        let all =
            || pairs.iter().flat_map(|(former, wanted)| former.data.iter().chain(&wanted.data));
        let (more, longer) = (all().count(), all().map(|data| data.wire.len()).sum::<usize>());
        match parts.last_mut() {
            Some(last) if records + more <= RECORDS_MAX && octets + longer <= OCTETS_MAX => {
                last.extend(pairs);
                records += more;
                octets += longer;
            }
            _ => {
                parts.push(pairs);
                (records, octets) = (more, longer);
            }
        }
    }
    parts
}
