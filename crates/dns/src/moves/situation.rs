//! What a look and its notes mean: what is to be done, what stands in the way, what is wrong. Pure.

use super::chain;
use super::facts::{Fact, Seen};
use super::keys::{self, at};
use super::look::{Belief, Look, MadeUp, ServerLook};
use super::merge::Merge;
use super::notes::Notes;
use super::parent::Delegation;
use super::tasks;
use crate::zone::Zone;
use domain::base::Rtype;
use segue_model::Sides;
use segue_model::plan::{SigningWish, ZoneMove};
use segue_port::Outcome;
use std::collections::BTreeSet;
use std::sync::Arc;

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

    /// Says why a zone that is validated cannot go where it shall: the provider does not sign it, or
    /// one of them cannot show the other's keys.
    pub(super) fn unkeyed(&self) -> Vec<String> {
        let seen = &self.seen;
        let to = &seen.plan.providers.get(seen.to).name;
        let mut why = Vec::new();
        let algorithms = |side| -> BTreeSet<u8> {
            let keys = seen.signing(side, Rtype::DNSKEY);
            keys.iter().filter_map(keys::tag).map(|(_, algorithm)| algorithm).collect()
        };
        let (theirs, ours) = (algorithms(seen.to.other()), algorithms(seen.to));
        if !theirs.is_empty() && !ours.is_empty() && theirs != ours {
            why.push(format!(
                "`{to}` signs with algorithm {ours:?}, the other with {theirs:?}: a DS of each would \
                 want signatures of both (RFC 8901 section 5); let both sign with the same"
            ));
        }
        if !seen.holds(Fact::Signed) {
            why.push(format!("the zone is validated, and `{to}` does not sign it:"));
            why.extend(tasks::signing(self, seen.to, true));
            why.push(
                "or write `dnssec = \"unsign\"`: then it is not validated any more".to_owned(),
            );
        }
        for side in super::sides(seen.to) {
            let provider = seen.plan.providers.get(side);
            if !seen.takes_keys(side) {
                why.push(format!(
                    "`{}` ({}) takes no keys of another signer: write `dnssec = \"unsign\"`, and sign \
                     anew after the move",
                    provider.name,
                    provider.authority.kind()
                ));
            }
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
