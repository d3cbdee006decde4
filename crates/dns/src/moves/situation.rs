//! What a look means: which facts hold, and what stands in the way. Pure.

use super::chain;
use super::keys::{self, at};
use super::look::{Belief, Look, ServerLook};
use super::merge::{Merge, Merging};
use super::notes::Notes;
use super::parent::names;
use crate::driver::{capabilities_of, driver};
use crate::sets::{Owner, owner};
use crate::zone::Zone;
use domain::base::Rtype;
use segue_model::plan::{SigningWish, ZoneMove};
use segue_model::{Side, Sides};
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Something that is so or not, everywhere it can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fact {
    /// The zone's own NS set has its low TTL at both providers.
    Lowered,
    /// Each provider shows the keys with which the other signs.
    Crossed,
    /// The parent names a key of the provider to which the zone goes.
    Vouched,
    /// Both providers name the name servers to which the zone goes.
    Named,
    /// The parent names them.
    Delegated,
    /// The parent names no key of the provider that is left.
    FormerDsGone,
    /// The parent names no key at all.
    NoDs,
    /// The provider to which the zone goes signs it.
    Signed,
}

impl Fact {
    /// Every fact.
    pub(super) const ALL: [Self; 8] = [
        Self::Lowered,
        Self::Crossed,
        Self::Vouched,
        Self::Named,
        Self::Delegated,
        Self::FormerDsGone,
        Self::NoDs,
        Self::Signed,
    ];

    /// Returns the fact on the other way whose being reached means that resolvers may still know
    /// the contrary of this one; none if the way makes no difference.
    pub(super) fn opposite(self) -> Option<Self> {
        match self {
            Self::Named => Some(Self::Named),
            Self::Delegated => Some(Self::Delegated),
            Self::Vouched => Some(Self::FormerDsGone),
            Self::FormerDsGone => Some(Self::Vouched),
            Self::Lowered | Self::Crossed | Self::NoDs | Self::Signed => None,
        }
    }
}

/// Returns the facts that hold.
pub(super) fn facts(plan: &ZoneMove, look: &Look, to: Side) -> Vec<Fact> {
    let Ok(apex) = owner(&plan.zone) else { return Vec::new() };
    let seen = Seen { plan, look, to, apex: &apex };
    Fact::ALL.into_iter().filter(|fact| seen.holds(*fact)).collect()
}

/// A look with what is needed to read it.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) plan: &'a ZoneMove,
    pub(super) look: &'a Look,
    pub(super) to: Side,
    pub(super) apex: &'a Owner,
}

impl Seen<'_> {
    pub(super) fn servers(&self, side: Side) -> &[ServerLook] {
        &self.look.sides.get(side).servers
    }

    /// Says whether a provider lets the zone's own NS set be changed.
    pub(super) fn own_ns(&self, side: Side) -> bool {
        capabilities_of(&self.plan.providers.get(side).authority).own_ns
    }

    /// Says whether a provider shows keys of another signer.
    pub(super) fn takes_keys(&self, side: Side) -> bool {
        let plan = &self.plan.providers.get(side);
        driver(&self.plan.zone, &plan.authority, &plan.servers).takes_keys()
    }

    /// Every server of the providers that let the zone's own NS set be changed.
    fn changing(&self) -> impl Iterator<Item = &ServerLook> {
        let sides = super::sides(self.to).into_iter().filter(|side| self.own_ns(*side));
        sides.flat_map(|side| self.servers(side))
    }

    /// Returns the names of a provider's name servers.
    pub(super) fn name_servers(&self, side: Side) -> BTreeSet<Owner> {
        let names = self.plan.providers.get(side).name_servers.iter();
        names.filter_map(|name| owner(name).ok()).collect()
    }

    /// Returns the keys that sign sets of a type at a provider.
    pub(super) fn signing(&self, side: Side, covered: Rtype) -> BTreeSet<crate::sets::Data> {
        let of = |server: &ServerLook| {
            let own = &server.own;
            let signatures =
                if covered == Rtype::DNSKEY { &own.key_signatures } else { &own.soa_signatures };
            keys::keys_of(&own.keys, &keys::signers(signatures, covered))
        };
        self.servers(side).iter().flat_map(of).collect()
    }

    /// Says whether every server of a provider shows these keys.
    pub(super) fn shows(&self, side: Side, keys: &BTreeSet<crate::sets::Data>) -> bool {
        self.servers(side).iter().all(|server| keys.is_subset(&server.own.keys.data))
    }

    /// Says whether a DS names a key by which a provider signs its keys.
    pub(super) fn vouches(&self, ds: &crate::sets::Data, side: Side) -> bool {
        let entry = self.signing(side, Rtype::DNSKEY);
        entry.iter().any(|key| keys::names_key(self.apex, ds, key))
    }

    /// Whether every server signs what it serves.
    pub(super) fn signed(&self, side: Side) -> bool {
        let signs = |server: &ServerLook| {
            let own = &server.own;
            own.keys.exists() && own.soa_signatures.exists() && own.key_signatures.exists()
        };
        self.servers(side).iter().all(signs)
    }

    fn parents(&self, wanted: impl Fn(&super::parent::Delegation) -> bool) -> bool {
        !self.look.parents.is_empty() && self.look.parents.iter().all(wanted)
    }

    pub(super) fn holds(&self, fact: Fact) -> bool {
        let (from, to) = (self.to.other(), self.to);
        match fact {
            Fact::Lowered => {
                // The TTL of a single record cannot be changed everywhere; see `message::update`.
                let low = |server: &ServerLook| {
                    server.own.ns.ttl <= self.plan.lowered_ttl_s || server.own.ns.data.len() == 1
                };
                self.changing().all(low)
            }
            Fact::Crossed => super::sides(to).into_iter().all(|side| {
                let foreign = self.signing(side.other(), Rtype::SOA);
                !foreign.is_empty() && self.shows(side, &foreign)
            }),
            Fact::Vouched => {
                self.parents(|parent| parent.ds.data.iter().any(|ds| self.vouches(ds, to)))
            }
            Fact::Named => {
                let wanted = self.name_servers(to);
                let named = |server: &ServerLook| names(&server.own.ns) == wanted;
                self.changing().chain(self.servers(to)).all(named)
            }
            Fact::Delegated => {
                let wanted = self.name_servers(to);
                let glue: BTreeSet<_> = wanted
                    .iter()
                    .filter(|name| name.ends_with(self.apex))
                    .flat_map(|name| {
                        self.own_addresses(name).into_iter().map(|a| (name.clone(), a))
                    })
                    .collect();
                self.parents(|parent| parent.names() == wanted && parent.glue == glue)
            }
            Fact::FormerDsGone => {
                self.parents(|parent| !parent.ds.data.iter().any(|ds| self.vouches(ds, from)))
            }
            Fact::NoDs => self.parents(|parent| !parent.ds.exists()),
            Fact::Signed => self.signed(to),
        }
    }

    /// Addresses of a name within the zone, as the provider keeps them to which the zone goes.
    pub(super) fn own_addresses(&self, name: &Owner) -> BTreeSet<std::net::IpAddr> {
        let contents = &self.look.sides.get(self.to).contents;
        let sets = [Rtype::A, Rtype::AAAA].into_iter();
        let texts = sets.flat_map(|rtype| contents.set(&at(name, rtype)).texts());
        texts.filter_map(|text| text.parse().ok()).collect()
    }

    /// Whether a provider shows a key with which only the other signs.
    pub(super) fn shows_foreign(&self, side: Side) -> bool {
        let own = self.signing(side, Rtype::SOA);
        let foreign = self.signing(side.other(), Rtype::SOA);
        let foreign: BTreeSet<_> = foreign.difference(&own).cloned().collect();
        self.servers(side).iter().any(|server| !foreign.is_disjoint(&server.own.keys.data))
    }
}

/// A look, its notes, and what follows from both.
pub(super) struct Situation<'a> {
    pub(super) seen: Seen<'a>,
    pub(super) notes: &'a Notes,
    /// What has to be copied.
    pub(super) merge: Merge,
}

impl<'a> Situation<'a> {
    /// Works it out.
    ///
    /// # Errors
    /// `SG0301` if the zone's name is none.
    pub(super) fn of(
        plan: &'a ZoneMove,
        zones: &'a Sides<Arc<Zone>>,
        look: &'a Look,
        notes: &'a Notes,
    ) -> Outcome<Self> {
        let apex = &zones.source.declared()?.apex;
        let seen = Seen { plan, look, to: notes.to(), apex };
        let servers = seen.all_names();
        let merge = seen.merging(zones, notes, &servers).merge();
        Ok(Self { seen, notes, merge })
    }

    pub(super) fn holds(&self, fact: Fact) -> bool {
        self.seen.holds(fact)
    }

    /// Whether the zone is validated all the way: the parent vouches for it, and goes on to.
    pub(super) fn keyed(&self) -> bool {
        self.notes.vouched() && self.seen.plan.dnssec != SigningWish::Unsign
    }

    /// Says why nobody may be sent to the servers to which the zone goes; empty if somebody may.
    pub(super) fn not_ready(&self) -> Vec<String> {
        let servers = self.seen.servers(self.seen.to).iter();
        let mut why: Vec<String> = servers.filter(|server| server.behind).flat_map(wrong).collect();
        why.extend(self.not_right());
        why
    }

    /// The same without servers that are a moment behind.
    fn not_right(&self) -> Vec<String> {
        let seen = &self.seen;
        let mut why = Vec::new();
        for server in seen.servers(seen.to).iter().filter(|server| !server.behind) {
            why.extend(wrong(server));
        }
        let listed = &seen.plan.providers.get(seen.to).servers;
        for name in seen.name_servers(seen.to) {
            // Whoever asks for a name within the zone gets the address from the zone, or as glue.
            let within = name.ends_with(seen.apex);
            let found = match within {
                true => seen.own_addresses(&name),
                false => seen.look.addresses.get(&name).cloned().unwrap_or_default(),
            };
            if found.is_empty() {
                why.push(format!("no address of name server `{name}` is found"));
            }
            let other = found.iter().find(|a| !listed.iter().any(|server| server.ip() == **a));
            if let Some(address) = other {
                why.push(format!(
                    "name server `{name}` has the address {address}, which is none of `servers`"
                ));
            }
        }
        if self.keyed() {
            why.extend(chain::broken(seen, seen.to, self.holds(Fact::Crossed)));
        }
        why
    }

    /// Says what the provider that is left answers for without a record, and the other not at all.
    pub(super) fn not_copied(&self) -> Vec<String> {
        let (from, to) = (self.seen.to.other(), self.seen.to);
        let there = &self.seen.look.sides.get(to);
        let has = |name: &Owner| {
            there.contents.sets.keys().any(|key| key.name == *name)
                || there.unshown.iter().any(|(other, _)| other == name)
        };
        let unshown = self.seen.look.sides.get(from).unshown.iter();
        let lost = unshown.filter(|(name, _)| !has(name));
        let to = &self.seen.plan.providers.get(to).name;
        lost.map(|(_, text)| format!("{text}: no record to copy; give its name records at `{to}`"))
            .collect()
    }

    /// Says what is wrong now, for those who use the zone or for the move.
    pub(super) fn alarms(&self) -> Vec<String> {
        let seen = &self.seen;
        let (from, to) = (seen.to.other(), seen.to);
        let mut alarms = Vec::new();
        for conflict in &self.merge.conflicts {
            alarms.push(format!("both providers changed the same set: {conflict}; put one right"));
        }
        let wanted = seen.name_servers(to);
        let sent = seen
            .look
            .parents
            .iter()
            .any(|parent| parent.names().iter().any(|name| wanted.contains(name)));
        if sent && seen.plan.moves() {
            for why in self.not_right() {
                alarms.push(format!("the parent sends users to servers that are not ready: {why}"));
            }
        }
        let vouched = seen.look.parents.iter().any(|parent| parent.ds.exists());
        let left = self.holds(Fact::Delegated) && self.holds(Fact::FormerDsGone);
        if vouched && !left {
            for why in chain::broken(seen, from, false) {
                alarms.push(format!("who validates does not believe the zone: {why}"));
            }
        }
        for (resolver, belief) in &seen.look.resolvers {
            if let Belief::Fails(why) = belief {
                alarms.push(format!("resolver {resolver} gives an error for the zone: {why}"));
            }
        }
        alarms
    }

    /// Says what is worth knowing.
    pub(super) fn remarks(&self, finished: bool) -> Vec<String> {
        let seen = &self.seen;
        let mut remarks = Vec::new();
        let proves = seen.look.resolvers.iter().any(|(_, belief)| *belief == Belief::Proved);
        if self.keyed() && !proves && !seen.look.resolvers.is_empty() {
            remarks.push(
                "no resolver of the file proves answers of the zone: that it is believed rests on \
                 Segue's own reading of its signatures; name one that validates"
                    .to_owned(),
            );
        }
        for side in super::sides(seen.to) {
            let contents = &seen.look.sides.get(side).contents;
            let tells = [Rtype::CDS, Rtype::CDNSKEY]
                .iter()
                .any(|rtype| contents.set(&at(seen.apex, *rtype)).exists());
            if tells && self.keyed() && !finished {
                remarks.push(format!(
                    "the zone at `{}` has CDS or CDNSKEY records: a parent that reads them (RFC \
                     7344) would name its keys alone; see to it that it does not meanwhile",
                    seen.plan.providers.get(side).name
                ));
            }
        }
        let ttls = self.notes.ttls();
        if seen.plan.moves() && !finished && ttls.parent_ns > 0 {
            remarks.push(format!(
                "the parent's NS records are kept for {} s: not the zone's to lower",
                ttls.parent_ns
            ));
        }
        remarks
    }
}

/// What is wrong with what a server serves.
fn wrong(server: &ServerLook) -> impl Iterator<Item = String> {
    server.wrong.iter().map(|wrong| format!("{}: {wrong}", server.address))
}

impl<'a> Seen<'a> {
    /// The name servers of both providers.
    pub(super) fn all_names(&self) -> BTreeSet<Owner> {
        let mut names = self.name_servers(Side::Source);
        names.extend(self.name_servers(Side::Target));
        names
    }

    pub(super) fn merging<'m>(
        &self,
        zones: &Sides<Arc<Zone>>,
        notes: &'m Notes,
        name_servers: &'m BTreeSet<Owner>,
    ) -> Merging<'m>
    where
        'a: 'm,
    {
        let look = self.look;
        Merging {
            apex: self.apex,
            contents: Sides {
                source: &look.sides.source.contents,
                target: &look.sides.target.contents,
            },
            ttl_min_s: Sides::from_fn(|side| zones.get(side).capabilities().ttl_min_s),
            base: notes.base(),
            to: self.to,
            name_servers,
            apart: [&look.sides.source, &look.sides.target]
                .into_iter()
                .flat_map(|provider| provider.unshown.iter().map(|(name, _)| name))
                .collect(),
            replace: self.plan.replace,
        }
    }
}
