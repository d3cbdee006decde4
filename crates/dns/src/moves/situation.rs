//! What a look means: which facts hold, and what stands in the way. Pure.

use super::chain;
use super::keys::{self, at};
use super::look::{Belief, Look, MadeUp, ServerLook};
use super::merge::{Merge, Merging};
use super::notes::{Notes, Signers};
use super::parent::{Delegation, names};
use crate::driver::{capabilities_of, driver};
use crate::sets::{Data, Owner, owner};
use crate::zone::Zone;
use domain::base::Rtype;
use segue_model::plan::{SigningWish, ZoneMove};
use segue_model::{Side, Sides};
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;
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
}

/// A look with what is needed to read it.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) plan: &'a ZoneMove,
    pub(super) look: &'a Look,
    pub(super) to: Side,
    pub(super) apex: &'a Owner,
    /// Every key with which each provider was ever seen to sign.
    pub(super) signers: &'a Sides<Signers>,
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

    /// Whether every NS set that can be changed has its low TTL.
    pub(super) fn lowered_all(&self) -> bool {
        self.changing().all(|server| server.own.ns.ttl <= self.plan.lowered_ttl_s)
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

    /// Returns the keys that sign sets of a type at a provider now.
    pub(super) fn signing(&self, side: Side, covered: Rtype) -> BTreeSet<Data> {
        keys::signing(self.servers(side), covered)
    }

    /// Says whether a DS names a key by which a provider signs its keys.
    pub(super) fn vouches(&self, ds: &Data, side: Side) -> bool {
        let entry = self.signing(side, Rtype::DNSKEY);
        entry.iter().any(|key| keys::names_key(self.apex, ds, key))
    }

    /// Says whether a DS may name a key with which only the provider that is left ever signed, also
    /// if the DS is of a kind that cannot be computed.
    pub(super) fn names_former(&self, ds: &Data) -> bool {
        let entry = |side: Side| -> BTreeSet<_> {
            let keys = self.signers.get(side).of(Rtype::DNSKEY);
            keys.iter().filter_map(keys::tag).collect()
        };
        let (former, own) = (entry(self.to.other()), entry(self.to));
        keys::named(ds).is_some_and(|tag| former.contains(&tag) && !own.contains(&tag))
    }

    /// All servers of these that answered are so, and none was silent; none if one was.
    fn everywhere<'s>(
        servers: impl Iterator<Item = &'s ServerLook>,
        so: impl Fn(&ServerLook) -> bool,
    ) -> Option<bool> {
        let mut silent = false;
        for server in servers {
            match server.own.soa.exists() {
                true if !so(server) => return Some(false),
                true => {}
                false => silent = true,
            }
        }
        (!silent).then_some(true)
    }

    fn parents(&self, so: impl Fn(&Delegation) -> bool) -> Option<bool> {
        if !self.look.parents.iter().all(so) {
            return Some(false);
        }
        (!self.look.parents.is_empty() && !self.look.parent_silent).then_some(true)
    }

    /// Says whether a fact is so, everywhere it can be asked.
    pub(super) fn holds(&self, fact: Fact) -> bool {
        self.asked(fact) == Some(true)
    }

    /// The same; none if somebody did not answer, and nobody denies it.
    pub(super) fn asked(&self, fact: Fact) -> Option<bool> {
        let to = self.to;
        match fact {
            // The TTL of a single record cannot be changed everywhere; see `message::update`.
            Fact::Lowered => Self::everywhere(self.changing(), |server| {
                server.own.ns.ttl <= self.plan.lowered_ttl_s || server.own.ns.data.len() == 1
            }),
            Fact::Crossed => {
                let both = super::sides(to).into_iter().map(|side| {
                    let foreign = self.signing(side.other(), Rtype::SOA);
                    let shows = |server: &ServerLook| foreign.is_subset(&server.own.keys.data);
                    match foreign.is_empty() {
                        true => Some(false),
                        false => Self::everywhere(self.servers(side).iter(), shows),
                    }
                });
                both.reduce(|one, other| match (one, other) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (one, other) => one.and(other),
                })?
            }
            Fact::Vouched => {
                self.parents(|parent| parent.ds.data.iter().any(|ds| self.vouches(ds, to)))
            }
            Fact::Named => {
                let wanted = self.name_servers(to);
                let named = |server: &ServerLook| names(&server.own.ns) == wanted;
                Self::everywhere(self.changing().chain(self.servers(to)), named)
            }
            Fact::Delegated => {
                let wanted = self.name_servers(to);
                let glue = self.glue(&wanted);
                self.parents(|parent| parent.names() == wanted && parent.glue == glue)
            }
            Fact::FormerDsGone => {
                self.parents(|parent| !parent.ds.data.iter().any(|ds| self.names_former(ds)))
            }
            Fact::NoDs => self.parents(|parent| !parent.ds.exists()),
            Fact::Signed => Self::everywhere(self.servers(to).iter(), |server| {
                let own = &server.own;
                own.keys.exists() && own.soa_signatures.exists() && own.key_signatures.exists()
            }),
        }
    }

    /// Returns the glue that the parent has to have for these name servers.
    fn glue(&self, names: &BTreeSet<Owner>) -> BTreeSet<(Owner, IpAddr)> {
        let within = names.iter().filter(|name| name.ends_with(self.apex));
        within
            .flat_map(|name| self.own_addresses(name).into_iter().map(|a| (name.clone(), a)))
            .collect()
    }

    /// Returns the keys of the other provider that are not one's own, as ever seen.
    pub(super) fn foreign(&self, side: Side) -> BTreeSet<Data> {
        &self.signers.get(side.other()).of(Rtype::SOA) - &self.signers.get(side).of(Rtype::SOA)
    }

    /// Addresses of a name within the zone, as the provider keeps them to which the zone goes.
    pub(super) fn own_addresses(&self, name: &Owner) -> BTreeSet<IpAddr> {
        let contents = &self.look.sides.get(self.to).contents;
        let sets = [Rtype::A, Rtype::AAAA].into_iter();
        let texts = sets.flat_map(|rtype| contents.set(&at(name, rtype)).texts());
        texts.filter_map(|text| text.parse().ok()).collect()
    }

    /// Whether a provider shows a key with which only the other signs.
    pub(super) fn shows_foreign(&self, side: Side) -> bool {
        let foreign = self.foreign(side);
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
        let seen = Seen { plan, look, to: notes.to(), apex, signers: notes.signers() };
        let servers = seen.all_names();
        let merge = seen.merging(zones, notes, &servers).merge();
        Ok(Self { seen, notes, merge })
    }

    pub(super) fn holds(&self, fact: Fact) -> bool {
        self.seen.holds(fact)
    }

    /// Whether the zone is validated all the way: the parent vouches for it, and goes on to.
    pub(super) fn keyed(&self) -> bool {
        self.notes.vouched() == Some(true) && self.seen.plan.dnssec != SigningWish::Unsign
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
        let has = |lost: &MadeUp| {
            there.contents.sets.keys().any(|key| lost.covers(key))
                || there.unshown.iter().any(|other| other.name == lost.name)
        };
        let lost = self.seen.look.sides.get(from).unshown.iter().filter(|lost| !has(lost));
        let to = &self.seen.plan.providers.get(to).name;
        let text = |lost: &MadeUp| {
            format!("{}: no record to copy; give its name such records at `{to}`", lost.text)
        };
        lost.map(text).collect()
    }

    /// Says where the file does not tell of the provider that is left what the parent tells.
    pub(super) fn not_as_written(&self) -> Vec<String> {
        let seen = &self.seen;
        let (from, mut why) = (seen.to.other(), Vec::new());
        let provider = seen.plan.providers.get(from);
        if self.sent() || !seen.plan.moves() {
            return why;
        }
        let wanted = seen.name_servers(from);
        for parent in seen.look.parents.iter().filter(|parent| parent.names() != wanted) {
            let names: Vec<String> = parent.names().iter().map(ToString::to_string).collect();
            why.push(format!(
                "the parent ({}) names {}: write these as `name_servers` of `{}`",
                parent.server,
                names.join(", "),
                provider.name
            ));
        }
        for name in &wanted {
            let found = seen.look.addresses.get(name).into_iter().flatten();
            let other = found.filter(|a| !provider.servers.iter().any(|s| s.ip() == **a));
            why.extend(other.map(|address| {
                format!(
                    "`{name}` has the address {address}: write it among the `servers` of `{}`",
                    provider.name
                )
            }));
        }
        why
    }

    /// Whether a server of the parent sends users where the zone goes.
    pub(super) fn sent(&self) -> bool {
        let wanted = self.seen.name_servers(self.seen.to);
        let named = |parent: &Delegation| parent.names().iter().any(|name| wanted.contains(name));
        self.seen.look.parents.iter().any(named)
    }

    /// Says what is wrong now, for those who use the zone or for the move.
    pub(super) fn alarms(&self) -> Vec<String> {
        let seen = &self.seen;
        let from = seen.to.other();
        let mut alarms = Vec::new();
        for conflict in &self.merge.conflicts {
            alarms.push(conflict.clone());
        }
        if self.sent() && seen.plan.moves() {
            for why in self.not_right() {
                alarms.push(format!(
                    "the parent sends users to servers that are not ready: {why}; mend that, or \
                     let the registrar name the former ones and their DS again"
                ));
            }
        }
        let vouched = seen.look.parents.iter().any(|parent| parent.ds.exists());
        let left = self.holds(Fact::Delegated) && self.holds(Fact::FormerDsGone);
        if vouched && !left {
            for why in chain::broken(seen, from, false) {
                alarms.push(format!(
                    "who validates does not believe the zone: {why}; let the registrar name a DS \
                     of a key that it shows, or take all away"
                ));
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
            apart: look.sides.source.unshown.iter().chain(&look.sides.target.unshown).collect(),
            replace: self.plan.replace,
        }
    }
}
