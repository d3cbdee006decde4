//! Units come to a front, change their routes, and leave it; the last one takes it along.

use super::rules::{self, conflict};
use super::{Books, Desk, Unit};
use crate::clock;
use crate::control::{HoldPolicy, MirrorRoute, Reply, Servers, SiteRoute, SplitRoute};
use crate::front::Front;
use crate::gate::Gate;
use crate::mirror::Mirror;
use crate::policy::Policy;
use crate::routes::{Site, Unread, canonical};
use crate::split::Split;
use crate::stats::Counts;
use crate::store::{Change, Haste, SavedUnit};
use crate::upstream::{Group, Tls};
use arc_swap::ArcSwapOption;
use segue_model::{EffectLeft, Fault, FaultKind, Side, Sides, UnitName};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::MutexGuard;

/// Builds a unit with the counters and connections it had, as far as it had any.
pub(super) fn unit(
    front: &Front,
    saved: &SavedUnit,
    gate: Arc<Gate>,
    known: Option<&Unit>,
) -> Unit {
    let counts = known.map_or_else(|| Arc::new(Counts::new()), |unit| unit.counts.clone());
    let split = known.map_or_else(|| Arc::new(ArcSwapOption::empty()), |unit| unit.split.clone());
    let policy = known.map_or_else(|| Arc::new(ArcSwapOption::empty()), |unit| unit.policy.clone());
    let mirror = known.map_or_else(|| Arc::new(ArcSwapOption::empty()), |unit| unit.mirror.clone());
    let groups = || known.into_iter().flat_map(|unit| &unit.sites).map(|site| &site.backends);
    let site = |route: &SiteRoute| {
        let reach = route.reach.as_deref();
        let backends = Sides::from_fn(|side| {
            let address = *route.backends.get(side);
            let servers = reach.map(|reach| reach.servers.get(side).clone()).unwrap_or_default();
            let mut same = groups().map(|groups| groups.get(side));
            match same.find(|g| g.address() == address && *g.servers() == servers) {
                Some(group) => group.clone(),
                None => group(front, address, servers, &route.hosts),
            }
        });
        let answer = reach.and_then(|reach| reach.answer_ms).map(Duration::from_millis);
        let unread = |side| {
            let servers = reach?.servers.get(side);
            Some(Unread { address: servers.passthrough?, introduces: servers.proxy_out })
        };
        let passthrough = unread(Side::Source).zip(unread(Side::Target));
        let passthrough = passthrough.map(|(source, target)| Sides { source, target });
        let authority = Sides::from_fn(|side| {
            let servers = reach?.servers.get(side);
            let first = || servers.tls.as_ref().map(|_| *route.backends.get(side));
            let address = servers.acme_tls.or(servers.passthrough).or_else(first)?;
            Some(Unread { address, introduces: servers.proxy_out })
        });
        let (gate, counts) = (gate.clone(), counts.clone());
        let (split, policy, mirror) = (split.clone(), policy.clone(), mirror.clone());
        Arc::new(Site {
            gate,
            counts,
            backends,
            answer,
            passthrough,
            authority,
            split,
            mirror,
            policy,
        })
    };
    let sites = saved.sites.iter().map(site).collect();
    let (split, policy, mirror) = (split.clone(), policy.clone(), mirror.clone());
    let unit = Unit { gate, counts, split, policy, mirror, sites };
    if known.is_none() {
        unit.put_split(saved.split.clone());
        unit.put_mirror(saved.mirror.clone());
        if saved.policy != HoldPolicy::default() {
            let policy = Policy::read(&saved.policy).unwrap_or_else(|why| {
                tracing::warn!(%why, "visitors who wait in vain get a line of text");
                Policy::without_page(&saved.policy)
            });
            unit.put_policy(&saved.policy, policy);
        }
    }
    unit
}

fn group(front: &Front, first: SocketAddr, servers: Servers, hosts: &[String]) -> Arc<Group> {
    let host = hosts.first().map_or("", String::as_str);
    let tls = servers.tls.as_ref().map(|plan| {
        Tls::new(plan, host).unwrap_or_else(|fault| {
            // It could when the route was set, and may again: nothing goes out in clear meanwhile.
            tracing::error!(%fault, "no server of this route is reached");
            Tls::none()
        })
    });
    let pool = |address: &SocketAddr| front.pool(*address, tls.clone(), servers.proxy_out);
    let others: Vec<_> = servers.beside.iter().map(pool).collect();
    Group::new(pool(&first), servers, &others, host)
}

impl Unit {
    /// Puts what requests meet during a hold in force.
    pub(super) fn put_policy(&self, said: &HoldPolicy, policy: Policy) {
        self.gate.set_bytes_max(said.bytes_max);
        self.policy.store(Some(Arc::new(policy)));
    }

    /// Puts copies of requests in force, in place of those before.
    pub(super) fn put_mirror(&self, route: Option<MirrorRoute>) {
        if let Some(former) = self.mirror.swap(route.map(Mirror::new)) {
            former.end();
        }
    }

    /// Puts a split in force, in place of the one before.
    pub(super) fn put_split(&self, route: Option<SplitRoute>) {
        let former = self.split.load_full();
        let split = route.map(|route| Split::new(route, clock::now_us(), former.as_deref()));
        self.split.store(split.map(Arc::new));
    }
}

/// Ends a unit's split on paper; the split that is over still takes visitors' cookies back.
pub(super) fn end_split(saved: &mut SavedUnit) -> Option<SplitRoute> {
    let split = saved.split.as_mut()?;
    (split.percent, split.testers) = (0, Vec::new());
    Some(split.clone())
}

/// Returns a route as it is kept; what else was said of the unit stays with it.
pub(super) fn saved(
    name: &UnitName,
    (sites, write_side, concurrency): (&[SiteRoute], Side, &Sides<usize>),
    generation: u64,
    books: &Books,
) -> SavedUnit {
    let canonical = |site: &SiteRoute| SiteRoute {
        hosts: site.hosts.iter().map(|host| canonical(host)).collect(),
        backends: site.backends.clone(),
        reach: site.reach.clone(),
    };
    let known = books.saved.units.get(name);
    SavedUnit {
        generation,
        sites: sites.iter().map(canonical).collect(),
        write_side,
        concurrency: concurrency.clone(),
        hold: known.and_then(|unit| unit.hold.clone()),
        split: known.and_then(|unit| unit.split.clone()),
        mirror: known.and_then(|unit| unit.mirror.clone()),
        policy: known.map(|unit| unit.policy.clone()).unwrap_or_default(),
    }
}

impl Books {
    /// Checks that a route may be set: not while the unit is held, and not to move the unit.
    fn may_be_set(&self, name: &UnitName, route: &SavedUnit, op: &str) -> Result<(), Fault> {
        let Some(gate) = self.units.get(name).map(|unit| &unit.gate) else { return Ok(()) };
        if gate.is_held() {
            return Err(conflict(op, "the unit is held", "release it: that sets the route too"));
        }
        let addresses = |unit: &SavedUnit| {
            let of = |site: &SiteRoute| {
                let reach = site.reach.as_deref().map(|reach| reach.servers.clone());
                (site.backends.clone(), reach.unwrap_or_default())
            };
            unit.sites.iter().map(of).collect::<Vec<_>>()
        };
        let former = self.saved.units.get(name).map(addresses);
        let same_backends = former.is_some_and(|former| former == addresses(route));
        let now = gate.side();
        if same_backends && now != route.write_side {
            let cause = format!("its requests go to {now}, where its writes are");
            return Err(conflict(op, &cause, "move it under a hold: a release sets the side"));
        }
        Ok(())
    }
}

impl Desk {
    /// Sets a unit's route: all of its sites, written at once, or none.
    pub(super) async fn set_route(
        &self,
        books: &mut Books,
        mut next: Change,
        name: &UnitName,
        route: SavedUnit,
    ) -> Result<Reply, Fault> {
        let op = format!("set route of unit `{name}`");
        let mut tcp = self.front.options().ports.iter().filter_map(|port| port.tcp.as_ref());
        let tcp = tcp.any(|tcp| !tcp.by_name);
        if tcp && books.units.keys().any(|other| other != name) {
            let cause =
                "it has a port for TCP without names, whose connections belong to its only unit";
            return Err(conflict(&op, cause, "give the other unit a front of its own"));
        }
        rules::check_route(self.front.routes(), name, &route, tcp, &op)?;
        books.may_be_set(name, &route, &op)?;
        let stays: HashSet<&String> = route.hosts().collect();
        let gone = books.saved.units.get(name).into_iter().flat_map(SavedUnit::hosts);
        let gone: Vec<String> = gone.filter(|host| !stays.contains(host)).cloned().collect();
        next.units.insert(name.clone(), route);
        let done = self.keep(books, next, EffectLeft::None, Haste::None).await?;
        if let Some(route) = books.saved.units.get(name) {
            let known = books.units.get(name);
            let (side, concurrency) = (route.write_side, route.concurrency.clone());
            let gate = match known {
                Some(unit) => unit.gate.clone(),
                None => Gate::new(name.clone(), side, concurrency.clone()),
            };
            gate.set_route(side, concurrency);
            let unit = unit(&self.front, route, gate, known);
            books.units.insert(name.clone(), unit);
        }
        self.front.routes().change(gone.iter().map(String::as_str), books.sites([name]));
        self.front.routes().set_only(books.only());
        Ok(done)
    }

    /// Gives the target a share of the requests that read, or takes it back.
    pub(super) async fn set_split(
        &self,
        books: &mut Books,
        mut next: Change,
        name: &UnitName,
        split: &SplitRoute,
    ) -> Result<Reply, Fault> {
        let op = format!("give the target {} % of unit `{name}`", split.percent);
        let gate = books.gate(name, &op)?;
        let over = split.percent == 0 && split.testers.is_empty();
        rules::check_split(split, &op)?;
        if gate.side() != Side::Source && !over {
            let cause = "the unit is at the target: every request goes there";
            return Err(conflict(&op, cause, "a split is for the time before a cutover"));
        }
        if let Some(saved) = next.units.get_mut(name) {
            saved.split = Some(split.clone());
        }
        // Taking a share back does not wait for the disk: visitors may be meeting errors.
        let unit = books.units.get(name).cloned();
        let former = books.saved.units.get(name).and_then(|saved| saved.split.clone());
        let lowers = former.as_ref().is_some_and(|former| split.percent < former.percent);
        if let Some(unit) = unit.as_ref().filter(|_| lowers) {
            unit.put_split(Some(split.clone()));
            return self.keep(books, next, EffectLeft::Done, Haste::Pause).await;
        }
        let done = self.keep(books, next, EffectLeft::None, Haste::None).await?;
        if let Some(unit) = unit.filter(|_| former.as_ref() != Some(split)) {
            unit.put_split(Some(split.clone()));
        }
        Ok(done)
    }

    /// Says what requests of a unit meet during a hold.
    pub(super) async fn set_hold_policy(
        &self,
        books: &mut Books,
        mut next: Change,
        name: &UnitName,
        said: &HoldPolicy,
    ) -> Result<Reply, Fault> {
        let op = format!("set policy of holds of unit `{name}`");
        books.gate(name, &op)?;
        if said.harmless_paths.iter().any(|path| !path.starts_with('/')) {
            let hint = "write what the plan's `harmless_paths` say";
            return Err(rules::invalid(&op, "a path does not begin with `/`", hint));
        }
        let asked = said.clone();
        let read = tokio::task::spawn_blocking(move || Policy::read(&asked)).await;
        let policy = read.unwrap_or_else(|e| Err(e.to_string())).map_err(|why| {
            Fault::new("SG0129", FaultKind::Invalid, &*op, why)
                .hint("name a file of at most 64 KiB that ends with .html, .htm, .txt or .json")
        })?;
        if let Some(saved) = next.units.get_mut(name) {
            saved.policy = said.clone();
        }
        let done = self.keep(books, next, EffectLeft::None, Haste::None).await?;
        if let Some(unit) = books.units.get(name) {
            unit.put_policy(said, policy);
        }
        Ok(done)
    }

    /// Says which requests of a unit are copied for the target.
    pub(super) async fn set_mirror(
        &self,
        books: &mut Books,
        mut next: Change,
        name: &UnitName,
        mirror: Option<&MirrorRoute>,
    ) -> Result<Reply, Fault> {
        let op = format!("set copies of requests of unit `{name}`");
        let gate = books.gate(name, &op)?;
        if let Some(mirror) = mirror {
            rules::check_mirror(&mirror.plan, &op)?;
            if gate.side() != Side::Source {
                let cause = "the unit is at the target, which differs from the source by now";
                return Err(conflict(&op, cause, "copies are for the time before a cutover"));
            }
        }
        if let Some(saved) = next.units.get_mut(name) {
            saved.mirror = mirror.cloned();
        }
        let done = self.keep(books, next, EffectLeft::None, Haste::None).await?;
        if let Some(unit) = books.units.get(name) {
            unit.put_mirror(mirror.cloned());
        }
        Ok(done)
    }

    /// Takes a unit out. Whether it is the last one and the front goes with it is decided
    /// here, where no other unit can come in between.
    pub(super) async fn leave(
        &self,
        mut books: MutexGuard<'_, Books>,
        mut next: Change,
        name: &UnitName,
        unserved: Option<SocketAddr>,
    ) -> Result<Reply, Fault> {
        let op = format!("take unit `{name}` out of front");
        if books.gate(name, &op).is_ok_and(|gate| gate.is_sealed()) {
            let cause = "its hold is sealed: what lies behind the front refuses writes";
            return Err(conflict(&op, cause, "release the hold first"));
        }
        if let Some(unit) = next.units.remove(name) {
            next.left.insert(name.clone(), unit.generation);
        }
        if books.saved.units.keys().all(|other| other == name) {
            // In memory its route stays to the end: open connections still need it.
            return self.bypass(books, next, &op, unserved).await;
        }
        let left = books.saved.units.get(name).cloned();
        let done = self.keep(&mut books, next, EffectLeft::None, Haste::None).await?;
        books.units.remove(name);
        self.front.stragglers().forget(name);
        let hosts = left.iter().flat_map(SavedUnit::hosts).map(String::as_str);
        self.front.routes().change(hosts, []);
        self.front.routes().set_only(books.only());
        Ok(done)
    }

    /// Has the front leave. `unserved` is a port that was joined and has nobody else.
    pub(super) async fn bypass(
        &self,
        mut books: MutexGuard<'_, Books>,
        next: Change,
        op: &str,
        unserved: Option<SocketAddr>,
    ) -> Result<Reply, Fault> {
        if books.units.values().any(|unit| unit.gate.is_sealed()) {
            let cause = "a hold is sealed: what lies behind the front refuses writes";
            return Err(conflict(op, cause, "release the hold first"));
        }
        // Somebody would have to listen there once the front does not.
        if let Some(listen) = unserved {
            let cause = format!("no server listens at {listen} beside the front");
            return Err(Fault::new("SG0138", FaultKind::Conflict, op, cause).hint(
                "start the site's web server, with `reuseport` as before, and ask again; \
                 SIGTERM ends the front in any case",
            ));
        }
        let done = self.keep(&mut books, next, EffectLeft::None, Haste::None).await?;
        books.leaves = true;
        drop(books);
        self.door.leave().await;
        Ok(done)
    }
}
