//! What nobody can see later: the former TTLs, since when something is so, what both providers
//! had in common, and every change with its exact inverse.
//!
//! **Invariant.** What stands here was on disk before the change it is about was sent.

mod place;

use super::facts::{Fact, Seen};
use super::look::{Look, ProviderLook};
use super::merge::Base;
use super::{Wish, keys};
use crate::change::{Change, now_ms};
use crate::sets::{Data, Owner, RecordSet, owner};
use domain::base::Rtype;
use place::Place;
use segue_model::plan::{SigningWish, ZoneMove};
use segue_model::{Side, Sides};
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The notes of one zone.
#[derive(Debug)]
pub struct Notes {
    /// Where they are kept; none while somebody only looks and there are none yet.
    place: Option<Place>,
    kept: Kept,
    /// What both sides had alike.
    base: Option<Base>,
}

/// What is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    zone: String,
    /// Between whom, as a digest: notes of another move are not these.
    between: Sides<String>,
    /// The side to which the zone goes now.
    to: Side,
    /// Wall clock when it began, milliseconds.
    began_ms: u64,
    /// Whether the parent vouched for the zone then; none before the first look.
    vouched: Option<bool>,
    /// The zone's own NS set as it was then.
    former_ns: Option<RecordSet>,
    /// The highest TTLs seen, seconds.
    ttls: Ttls,
    /// Since when a fact has been so, wall clock in milliseconds, for the way to either side.
    since: Sides<BTreeMap<Fact, u64>>,
    /// Every key with which each provider was ever seen to sign.
    signers: Sides<Signers>,
}

/// Keys with which a provider was seen to sign.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Signers {
    /// The zone's data.
    data: Option<RecordSet>,
    /// Its keys.
    entry: Option<RecordSet>,
}

impl Signers {
    /// Returns the keys that signed sets of a type.
    pub(super) fn of(&self, covered: Rtype) -> BTreeSet<Data> {
        let set = if covered == Rtype::DNSKEY { &self.entry } else { &self.data };
        set.as_ref().map(|set| set.data.clone()).unwrap_or_default()
    }

    fn learn(&mut self, apex: &Owner, provider: &ProviderLook) {
        for (covered, known) in [(Rtype::SOA, &mut self.data), (Rtype::DNSKEY, &mut self.entry)] {
            let now = keys::signing(&provider.servers, covered);
            if !now.is_empty() {
                let key = keys::at(apex, Rtype::DNSKEY);
                let set = known.get_or_insert_with(|| RecordSet::absent(key));
                set.data.extend(now);
            }
        }
    }
}

impl Kept {
    fn fresh(plan: &ZoneMove) -> Self {
        Self {
            zone: plan.zone.clone(),
            between: between(plan),
            to: Side::Target,
            began_ms: now_ms().0,
            vouched: None,
            former_ns: None,
            ttls: Ttls::default(),
            since: Sides::default(),
            signers: Sides::default(),
        }
    }

    /// Takes whether a fact is so on the way to a side. What could not be asked stays as it was
    /// noted: a lost answer begins no wait anew. What is so on the way back before anything was
    /// done has always been so.
    fn see(&mut self, side: Side, fact: Fact, so: Option<bool>, at_ms: u64, first: bool) {
        let since = self.since.get_mut(side);
        match so {
            Some(true) if first && side == Side::Source => drop(since.insert(fact, 0)),
            Some(true) => {
                let noted = since.entry(fact).or_insert(at_ms);
                // A clock that was set back makes a wait longer than it has to be.
                *noted = (*noted).min(at_ms);
            }
            Some(false) => drop(since.remove(&fact)),
            None => {}
        }
    }
}

/// Tells two moves of a zone from each other.
fn between(plan: &ZoneMove) -> Sides<String> {
    Sides::from_fn(|side| {
        let provider = plan.providers.get(side);
        let place = serde_json::to_string(&provider.authority).unwrap_or_default();
        let text = format!("{place}\n{}", provider.name_servers.join(" "));
        blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
    })
}

/// The highest TTLs seen since the move began, seconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Ttls {
    /// Of the zone's own NS set.
    pub(super) ns: u32,
    /// Of the zone's keys.
    pub(super) keys: u32,
    /// Of anything in the zone.
    pub(super) zone: u32,
    /// Of the parent's NS set.
    pub(super) parent_ns: u32,
    /// Of the parent's DS set, or of its absence.
    pub(super) ds: u32,
}

/// One change as it is written before it is made.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    at_ms: u64,
    stage: &'a str,
    side: Side,
    #[serde(flatten)]
    change: &'a Change,
}

/// How long a DS is taken for absent where the parent does not tell, seconds: the longest that
/// resolvers keep an absence (RFC 2308 section 5 advises one to three hours).
const ABSENT_DS_S: u32 = 10_800;

impl Notes {
    /// Opens the notes of a zone; a wish to go on makes them, and keeps others out.
    pub(super) fn open(folder: &Path, plan: &ZoneMove, wish: Wish) -> Outcome<Self> {
        let place = Place::new(folder, &plan.zone, wish)?;
        let noted: Option<Kept> = place.read("json")?;
        if let Some(noted) = noted.as_ref().filter(|noted| noted.between != between(plan)) {
            let cause = format!(
                "they are of a move of `{}` between other providers, begun {} ms after 1970",
                noted.zone, noted.began_ms
            );
            return Err(place.fault("use", cause).hint(format!(
                "nothing was changed; if that move is over, put {} away and begin anew",
                place.file("*").display()
            )));
        }
        if noted.is_none() && wish == Wish::Back {
            return Err(place.fault("find", "nothing was begun here").hint(
                "there is no way back from what was not begun; if it was, name its run directory \
                 with --dir",
            ));
        }
        let mut kept = noted.unwrap_or_else(|| Kept::fresh(plan));
        let base = place.read("base.json")?;
        match wish {
            Wish::Forward => kept.to = Side::Target,
            Wish::Back => kept.to = Side::Source,
            Wish::Look => {}
        }
        Ok(Self { place: Some(place), kept, base })
    }

    /// Notes that are kept nowhere.
    #[cfg(test)]
    pub(super) fn nowhere(plan: &ZoneMove) -> Self {
        Self { place: None, kept: Kept::fresh(plan), base: None }
    }

    #[cfg(test)]
    pub(super) fn see(
        &mut self,
        side: Side,
        fact: Fact,
        so: Option<bool>,
        at_ms: u64,
        first: bool,
    ) {
        self.kept.see(side, fact, so, at_ms, first);
    }

    #[cfg(test)]
    pub(super) fn written(self) -> Self {
        self.write().unwrap();
        self
    }

    #[cfg(test)]
    pub(super) fn turn(&mut self, to: Side) {
        self.kept.to = to;
    }

    /// The side to which the zone goes.
    pub(super) fn to(&self) -> Side {
        self.kept.to
    }

    /// Whether the parent vouched for the zone when the move began, or at a later time; none while
    /// it could not be asked.
    pub(super) fn vouched(&self) -> Option<bool> {
        self.kept.vouched
    }

    /// The keys with which each provider was ever seen to sign.
    pub(super) fn signers(&self) -> &Sides<Signers> {
        &self.kept.signers
    }

    /// What both sides had alike.
    pub(super) fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// The highest TTLs.
    pub(super) fn ttls(&self) -> Ttls {
        self.kept.ttls
    }

    /// The TTL of the zone's own NS set before the move.
    pub(super) fn former_ns_ttl(&self) -> Option<u32> {
        self.kept.former_ns.as_ref().map(|set| set.ttl)
    }

    /// Since when a fact has been so; none if it is not, or was not noted.
    pub(super) fn since(&self, fact: Fact) -> Option<u64> {
        self.kept.since.get(self.kept.to).get(&fact).copied()
    }

    /// Takes what a look shows, and writes it down if the notes are kept.
    ///
    /// # Errors
    /// `SG0331` if they cannot be written.
    pub(super) fn take(&mut self, plan: &ZoneMove, look: &Look) -> Outcome<()> {
        let Ok(apex) = owner(&plan.zone) else { return Ok(()) };
        let kept = &mut self.kept;
        let first = kept.vouched.is_none();
        if !look.parents.is_empty() {
            let vouched = look.parents.iter().any(|parent| parent.ds.exists());
            // A DS that came later counts as well, unless it is what was wished for.
            if vouched && plan.dnssec != SigningWish::Sign {
                kept.vouched = Some(true);
            }
            kept.vouched.get_or_insert(vouched);
        }
        if kept.former_ns.is_none() {
            let source = look.sides.source.servers.iter().map(|server| &server.own.ns);
            kept.former_ns = source.filter(|set| set.exists()).max_by_key(|set| set.ttl).cloned();
        }
        kept.ttls.raise(look, &apex);
        for side in [Side::Source, Side::Target] {
            kept.signers.get_mut(side).learn(&apex, look.sides.get(side));
        }
        for side in [Side::Source, Side::Target] {
            let signers = kept.signers.clone();
            let seen = Seen { plan, look, to: side, apex: &apex, signers: &signers };
            for fact in Fact::ALL {
                kept.see(side, fact, seen.asked(fact), look.at_ms, first);
            }
        }
        self.write()
    }

    /// Takes what both sides have alike.
    pub(super) fn keep_base(&mut self, base: Base) -> Outcome<()> {
        if self.base.as_ref() == Some(&base) {
            return Ok(());
        }
        if let Some(place) = &self.place {
            place.write("base.json", &base)?;
        }
        self.base = Some(base);
        Ok(())
    }

    /// Writes a change down that is about to be made.
    pub(super) fn intend(&self, stage: &str, side: Side, change: &Change) -> Outcome<()> {
        let Some(place) = &self.place else { return Ok(()) };
        place.append(&Entry { at_ms: now_ms().0, stage, side, change })
    }

    fn write(&self) -> Outcome<()> {
        match &self.place {
            Some(place) => place.write("json", &self.kept),
            None => Ok(()),
        }
    }
}

impl Ttls {
    fn raise(&mut self, look: &Look, apex: &crate::sets::Owner) {
        for provider in [&look.sides.source, &look.sides.target] {
            let zone = provider.contents.sets().map(|set| set.ttl).max().unwrap_or(0);
            self.zone = self.zone.max(zone).max(provider.contents.soa.negative_ttl);
            let stored = provider.contents.set(&keys::at(apex, Rtype::NS)).ttl;
            self.ns = self.ns.max(stored);
            for server in &provider.servers {
                self.ns = self.ns.max(server.own.ns.ttl);
                self.keys = self.keys.max(server.own.keys.ttl);
            }
        }
        for parent in &look.parents {
            self.parent_ns = self.parent_ns.max(parent.ns.ttl);
            let absent = parent.ds_absent_s.unwrap_or(ABSENT_DS_S);
            self.ds = self.ds.max(if parent.ds.exists() { parent.ds.ttl } else { absent });
        }
    }
}
