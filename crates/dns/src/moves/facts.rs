//! What is so or not, as everybody who was asked says. Pure.
//!
//! **Invariant.** Silence is no fact: who does not answer neither confirms nor denies.

use super::keys::{self, at};
use super::look::{Look, ServerLook};
use super::merge::Merging;
use super::notes::{Notes, Signers};
use super::parent::{Delegation, names};
use crate::driver::{capabilities_of, driver};
use crate::sets::{Data, Owner, owner};
use crate::zone::Zone;
use domain::base::Rtype;
use segue_model::plan::ZoneMove;
use segue_model::{Side, Sides};
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
