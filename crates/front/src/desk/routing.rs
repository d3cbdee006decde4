//! Units come to a front, change their routes, and leave it; the last one takes it along.

use super::rules::{self, conflict, refused};
use super::{Books, Desk, Unit};
use crate::control::{Reply, Request, SiteRoute};
use crate::front::Front;
use crate::gate::Gate;
use crate::routes::{Site, canonical};
use crate::stats::Counts;
use crate::store::{Saved, SavedUnit};
use segue_model::{EffectLeft, Fault, Sides, UnitName};
use std::sync::Arc;
use tokio::sync::MutexGuard;

/// Builds a unit with the counters and connections it had, as far as it had any.
pub(super) fn unit(
    front: &Front,
    saved: &SavedUnit,
    gate: Arc<Gate>,
    known: Option<&Unit>,
) -> Unit {
    let counts = known.map_or_else(|| Arc::new(Counts::new()), |unit| unit.counts.clone());
    let pools = || known.into_iter().flat_map(|unit| &unit.sites).map(|site| &site.backends);
    let site = |route: &SiteRoute| {
        let backends = Sides::from_fn(|side| {
            let address = *route.backends.get(side);
            let mut same = pools().map(|pools| pools.get(side));
            match same.find(|pool| pool.address() == address) {
                Some(pool) => pool.clone(),
                None => front.pool(address),
            }
        });
        Arc::new(Site { gate: gate.clone(), counts: counts.clone(), backends })
    };
    let sites = saved.sites.iter().map(site).collect();
    Unit { gate, counts, sites }
}

impl Desk {
    pub(super) async fn set_route(
        &self,
        books: &mut Books,
        mut next: Saved,
        request: &Request,
    ) -> Result<Reply, Fault> {
        let op = request.what();
        let Request::SetRoute { mark, unit: name, sites, write_side, concurrency } = request else {
            return Err(refused(&op, "not a route"));
        };
        let canonical = |site: &SiteRoute| SiteRoute {
            hosts: site.hosts.iter().map(|host| canonical(host)).collect(),
            backends: site.backends.clone(),
        };
        let route = SavedUnit {
            generation: mark.generation,
            sites: sites.iter().map(canonical).collect(),
            write_side: *write_side,
            concurrency: concurrency.clone(),
            hold: books.saved.units.get(name).and_then(|unit| unit.hold.clone()),
        };
        rules::check_route(&next, name, &route, &op)?;
        let known = books.units.get(name).cloned();
        if known.as_ref().is_some_and(|unit| unit.gate.is_held()) {
            return Err(conflict(&op, "the unit is held", "release it: that sets the route too"));
        }
        let now = known.as_ref().map(|unit| unit.gate.side());
        let addresses = |unit: &SavedUnit| {
            unit.sites.iter().map(|site| site.backends.clone()).collect::<Vec<_>>()
        };
        let former = next.units.get(name).map(addresses);
        let same_backends = former.is_some_and(|former| former == addresses(&route));
        if let Some(side) = now.filter(|side| same_backends && *side != route.write_side) {
            let cause = format!("its requests go to {side}, where its writes are");
            return Err(conflict(&op, &cause, "move it under a hold: a release sets the side"));
        }
        next.left.remove(name);
        next.units.insert(name.clone(), route.clone());
        let done = self.keep(books, next, EffectLeft::None).await?;
        let gate = known.as_ref().map_or_else(
            || Gate::new(name.clone(), route.write_side, route.concurrency.clone()),
            |unit| unit.gate.clone(),
        );
        gate.set_route(route.write_side, route.concurrency.clone());
        books.units.insert(name.clone(), unit(&self.front, &route, gate, known.as_ref()));
        books.publish(&self.front);
        Ok(done)
    }

    /// Takes a unit out. Whether it is the last one and the front goes with it is decided
    /// here, where no other unit can come in between.
    pub(super) async fn leave(
        &self,
        mut books: MutexGuard<'_, Books>,
        mut next: Saved,
        name: &UnitName,
    ) -> Result<Reply, Fault> {
        let op = format!("take unit `{name}` out of front");
        if books.gate(name, &op).is_ok_and(|gate| gate.is_sealed()) {
            let cause = "its hold is sealed: what lies behind the front refuses writes";
            return Err(conflict(&op, cause, "release the hold first"));
        }
        if let Some(unit) = next.units.remove(name) {
            next.left.insert(name.clone(), unit.generation);
        }
        if next.units.is_empty() {
            // In memory its route stays to the end: open connections still need it.
            return self.bypass(books, next, &op).await;
        }
        let done = self.keep(&mut books, next, EffectLeft::None).await?;
        books.units.remove(name);
        books.publish(&self.front);
        Ok(done)
    }

    pub(super) async fn bypass(
        &self,
        mut books: MutexGuard<'_, Books>,
        next: Saved,
        op: &str,
    ) -> Result<Reply, Fault> {
        if books.units.values().any(|unit| unit.gate.is_sealed()) {
            let cause = "a hold is sealed: what lies behind the front refuses writes";
            return Err(conflict(op, cause, "release the hold first"));
        }
        let done = self.keep(&mut books, next, EffectLeft::None).await?;
        drop(books);
        self.door.leave().await;
        Ok(done)
    }
}
