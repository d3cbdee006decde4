//! What Segue does itself in a move: one change with an exact inverse at a time.

use super::facts::Seen;
use super::look::Look;
use super::merge::{Pairs, parts};
use super::notes::Notes;
use super::{Move, READING, keys, look, sides};
use crate::change::{Change, REBASE_MAX};
use crate::codes;
use crate::driver::Tried;
use crate::sets::{Data, RecordSet, owner};
use crate::zone::Zone;
use domain::base::Rtype;
use segue_model::{EffectLeft, Fault, FaultKind, Side};
use segue_port::Outcome;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest time for one change at one provider.
const CHANGE_MAX: Duration = Duration::from_secs(120);
/// Pause between two looks at a server that is behind.
const POLL: Duration = Duration::from_millis(100);

/// The fault of a move that does not end.
pub(super) fn never_ends(zone: &str) -> Fault {
    Fault::new(
        codes::MOVING,
        FaultKind::Busy,
        format!("move zone `{zone}`"),
        "each change was made, and the next look asks for another",
    )
    .hint("find out what else changes the zone, then go on")
}

impl Move {
    /// Carries out a stage.
    pub(super) async fn act(
        &self,
        stage: &'static str,
        look: &Look,
        notes: &mut Notes,
    ) -> Outcome<()> {
        let apex = self.zones.source.declared()?.apex.clone();
        let signers = notes.signers().clone();
        let seen = Seen { plan: &self.plan, look, to: notes.to(), apex: &apex, signers: &signers };
        match stage {
            "copy" => self.copy(&seen, notes).await,
            "lower" => {
                for side in sides(seen.to) {
                    let low = |set: &RecordSet| set.with_ttl(set.ttl.min(self.plan.lowered_ttl_s));
                    self.own_ns(stage, &seen, side, notes, low).await?;
                }
                Ok(())
            }
            "names" => {
                let names = self.plan.providers.get(seen.to).name_servers.iter();
                let texts: Vec<String> = names.map(|name| format!("{name}.")).collect();
                let key = keys::at(&apex, Rtype::NS);
                let wanted = crate::sets::parse(&key, self.plan.lowered_ttl_s, &texts)?;
                // Not every server changes TTL and data of it at once; see `message::update`.
                let named = |former: &RecordSet| match former.exists() {
                    true => wanted.with_ttl(former.ttl),
                    false => wanted.clone(),
                };
                // Those who are led there first find what will be said everywhere.
                for side in [seen.to, seen.to.other()] {
                    self.own_ns(stage, &seen, side, notes, named).await?;
                }
                Ok(())
            }
            "restore" => {
                let ttl = notes.former_ns_ttl().unwrap_or(self.plan.lowered_ttl_s);
                self.own_ns(stage, &seen, seen.to, notes, |set| set.with_ttl(ttl)).await
            }
            "keys" => {
                for side in [seen.to, seen.to.other()] {
                    let foreign = seen.signing(side.other(), Rtype::SOA);
                    self.keys(stage, &seen, side, notes, |shown| shown | &foreign).await?;
                }
                Ok(())
            }
            "former_keys" => {
                for side in [seen.to.other(), seen.to] {
                    let foreign = seen.foreign(side);
                    self.keys(stage, &seen, side, notes, |shown| shown - &foreign).await?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Tells every server that is behind that there is something new: whoever made the change may
    /// have died before it did.
    pub(super) async fn tell(&self, look: &Look) {
        for side in [Side::Source, Side::Target] {
            for server in look.sides.get(side).servers.iter().filter(|server| server.behind) {
                self.zones.get(side).notify_once(server.address).await;
            }
        }
    }

    async fn copy(&self, seen: &Seen<'_>, notes: &mut Notes) -> Outcome<()> {
        let names = seen.all_names();
        let merge = seen.merging(&self.zones, notes, &names).merge();
        for (side, pairs) in
            [(Side::Target, merge.changes.target), (Side::Source, merge.changes.source)]
        {
            let zone = self.zones.get(side);
            let op = format!("bring record sets to zone `{}`", zone.name());
            let mut last: Option<Vec<RecordSet>> = None;
            for part in parts(pairs) {
                let change = change_of(part);
                notes.intend("copy", side, &change)?;
                let until = Instant::now() + CHANGE_MAX;
                zone.apply(&change, &op, until).await?;
                last = Some(change.wanted);
            }
            if let Some(wanted) = last {
                zone.read_back(&wanted, &op, Instant::now() + CHANGE_MAX).await?;
            }
        }
        Ok(())
    }

    /// Changes the zone's own NS set at a provider, where it lets us.
    async fn own_ns(
        &self,
        stage: &'static str,
        seen: &Seen<'_>,
        side: Side,
        notes: &Notes,
        wanted: impl Fn(&RecordSet) -> RecordSet,
    ) -> Outcome<()> {
        if !seen.own_ns(side) {
            return Ok(());
        }
        let zone = self.zones.get(side);
        let op = format!("change the NS set of zone `{}`", zone.name());
        let until = Instant::now() + CHANGE_MAX;
        let key = keys::at(seen.apex, Rtype::NS);
        let mut session = zone.driver.open(&op, until).await?;
        let former = session.state(std::slice::from_ref(&key), &op, until).await?.sets;
        drop(session);
        let wanted: Vec<RecordSet> = former.iter().map(wanted).collect();
        // The TTL of a single record cannot be changed everywhere; see `message::update`.
        let single = former.iter().all(|set| set.data.len() == 1);
        let same = former.iter().zip(&wanted).all(|(a, b)| a.data == b.data);
        if single && same {
            return Ok(());
        }
        let change = Change { former, wanted, minimum: None };
        if change.former != change.wanted {
            notes.intend(stage, side, &change)?;
            zone.apply(&change, &op, until).await?;
        }
        // Whoever made it before may have died before all servers were told.
        zone.read_back(&change.wanted, &op, until).await?;
        Ok(())
    }

    /// Changes which keys a provider shows. Providers do not all keep their own among the records
    /// that can be changed, so what counts is what the servers show in the end.
    async fn keys(
        &self,
        stage: &'static str,
        seen: &Seen<'_>,
        side: Side,
        notes: &Notes,
        wanted: impl Fn(&BTreeSet<Data>) -> BTreeSet<Data>,
    ) -> Outcome<()> {
        let zone = self.zones.get(side);
        let op = format!("change the keys that zone `{}` shows", zone.name());
        let until = Instant::now() + CHANGE_MAX;
        let key = keys::at(seen.apex, Rtype::DNSKEY);
        let shown_ttl = seen.servers(side).iter().map(|server| server.own.keys.ttl).max();
        let mut session = zone.driver.open(&op, until).await?;
        let mut done = false;
        for _ in 0..REBASE_MAX {
            let former = session.state(std::slice::from_ref(&key), &op, until).await?.sets;
            let Some(stored) = former.first() else { break };
            let data = wanted(&stored.data);
            if data == stored.data {
                done = true;
                break;
            }
            let ttl = if stored.exists() { stored.ttl } else { shown_ttl.unwrap_or(0) };
            let ttl = if data.is_empty() { 0 } else { ttl };
            let change = Change {
                wanted: vec![RecordSet { key: key.clone(), ttl, data }],
                former,
                minimum: None,
            };
            notes.intend(stage, side, &change)?;
            if session.change(&change, &op, until).await? == Tried::Acknowledged {
                done = true;
                break;
            }
        }
        if !done {
            return Err(Fault::new(codes::BUSY, FaultKind::Busy, &op, "the zone kept changing")
                .hint("find out what changes the zone so often, then try again"));
        }
        let shown: BTreeSet<Data> =
            seen.servers(side).iter().flat_map(|server| server.own.keys.data.clone()).collect();
        self.shown(zone, &wanted(&shown), &op, until).await
    }

    /// Waits until every server shows exactly these keys, with a signature that holds.
    async fn shown(
        &self,
        zone: &Zone,
        wanted: &BTreeSet<Data>,
        op: &str,
        until: Instant,
    ) -> Outcome<()> {
        let apex = owner(&self.plan.zone).map_err(|cause| {
            Fault::new(codes::PLAN, FaultKind::Invalid, op, cause).hint("correct the file")
        })?;
        let until = until.min(Instant::now() + READING);
        for server in &zone.plan.servers {
            loop {
                let why = match look::own(*server, &apex, until).await {
                    Ok(own) if own.keys.data != *wanted => format!("it shows `{}`", own.keys),
                    Ok(own) => {
                        let now_s = crate::change::now_ms().0 / 1000;
                        let signatures = &own.key_signatures;
                        match crate::signed::verified(
                            &apex, &own.keys, signatures, &own.keys, now_s,
                        ) {
                            Ok(()) => break,
                            Err(why) => why,
                        }
                    }
                    Err(cause) => cause,
                };
                if Instant::now() >= until {
                    return Err(Fault::new(
                        codes::BEHIND,
                        FaultKind::Timeout,
                        format!("{op} at {server}"),
                        format!("acknowledged, but not in force: {why}"),
                    )
                    .leaving(EffectLeft::Done)
                    .hint(
                        "let the server keep keys of others: BIND `inline-signing no`, Knot \
                         `dnskey-management: incremental`, PowerDNS `direct-dnskey=yes`",
                    ));
                }
                zone.notify_once(*server).await;
                sleep(POLL).await;
            }
        }
        Ok(())
    }
}

fn change_of(pairs: Pairs) -> Change {
    let (former, wanted) = pairs.into_iter().unzip();
    Change { former, wanted, minimum: None }
}
