//! Units come to a proxy, change their routes, leave it, and are brought back after it started anew.

use super::super::driver::{Driver, wall_ms};
use super::super::record::{Kept, Locked, Record};
use super::Foreign;
use super::words::{check_hosts, conflict, done, hosts, known};
use segue_front::control::{Mark, Reply, SiteRoute};
use segue_model::{EffectLeft, Epoch, Fault, UnitName};

impl<D: Driver> Foreign<D> {
    pub(super) async fn unclaim(
        &self,
        locked: &mut Locked,
        mark: &Mark,
        op: &str,
    ) -> Result<Reply, Fault> {
        for (name, kept) in &locked.record.units {
            if self.driver.look(kept.unit(name)).await?.is_held() {
                return Err(conflict(op, "a unit is held", "release it first"));
            }
        }
        if locked.record.claim.as_ref() == Some(&mark.run) {
            locked.record.claim = None;
            locked.record.epoch = Epoch(0);
        }
        Ok(done(&locked.record))
    }

    pub(super) async fn set_route(
        &self,
        locked: &mut Locked,
        name: &UnitName,
        kept: Kept,
        op: &str,
    ) -> Result<Reply, Fault> {
        let record = &mut locked.record;
        check_hosts(&record.units, name, &kept.sites, op)?;
        if let Some(former) = record.units.get(name) {
            let sight = self.driver.look(former.unit(name)).await?;
            if sight.is_held() {
                return Err(conflict(
                    op,
                    "the unit is held",
                    "release it: that sets the route too",
                ));
            }
            let now = sight.side.unwrap_or(former.side);
            let backends = |sites: &[SiteRoute]| {
                sites.iter().map(|site| site.backends.clone()).collect::<Vec<_>>()
            };
            if backends(&former.sites) == backends(&kept.sites) && now != kept.side {
                let cause = format!("its requests go to {now}, where its writes are");
                return Err(conflict(op, &cause, "move it under a hold: a release sets the side"));
            }
        }
        let former = record.units.insert(name.clone(), kept.clone());
        locked.write()?;
        let left = |fault: Fault| fault.leaving(EffectLeft::Maybe);
        if let Some(former) = former.filter(|former| hosts(&former.sites) != hosts(&kept.sites)) {
            self.driver.take_out(former.unit(name)).await.map_err(left)?;
        }
        self.driver.put(kept.unit(name), kept.side, None).await.map_err(left)?;
        Ok(done(&locked.record))
    }

    pub(super) async fn leave(
        &self,
        locked: &mut Locked,
        unit: &UnitName,
        op: &str,
    ) -> Result<Reply, Fault> {
        let kept = known(&locked.record, unit, op)?.clone();
        let sight = self.driver.look(kept.unit(unit)).await?;
        if sight.held.as_ref().is_some_and(|held| held.until_ms.is_none()) {
            let cause = "its hold is sealed: what lies behind the front refuses writes";
            return Err(conflict(op, cause, "release the hold first"));
        }
        self.driver.take_out(kept.unit(unit)).await?;
        locked.record.units.remove(unit);
        Ok(done(&locked.record))
    }

    /// Takes over what a controller did and could not write down any more: a release is in force
    /// before it is on disk. A record that stayed behind would hold the unit anew, at the side
    /// that it left, when the proxy is started the next time.
    pub(super) async fn catch_up(&self, record: &mut Record) -> Result<(), Fault> {
        let now = wall_ms();
        for (name, kept) in &mut record.units {
            let sight = self.driver.look(kept.unit(name)).await?;
            let held = sight.held.filter(|held| held.holds_at(now));
            if let (Some(side), None, Some(former)) = (sight.side, held, &kept.held)
                && former.until_ms.is_none()
            {
                tracing::warn!(unit = %name, %side, "released, and not yet written down");
                (kept.side, kept.held) = (side, None);
            }
        }
        Ok(())
    }

    /// Brings back what the units should be like, if the proxy started anew since.
    pub(super) async fn mend(&self, locked: &mut Locked) -> Result<(), Fault> {
        let about = self.driver.about().await?;
        if locked.record.start == about.start {
            return Ok(());
        }
        let now = wall_ms();
        for (name, kept) in &mut locked.record.units {
            // A lease ends with the process that kept it.
            let held = kept.held.clone().filter(|held| held.until_ms.is_none());
            let sight = self.driver.look(kept.unit(name)).await?;
            let same = sight.held.clone().filter(|held| held.holds_at(now)) == held;
            if sight.side != Some(kept.side) || !same {
                tracing::warn!(front = self.plan.name, unit = %name, "started anew: routed again");
                self.driver.put(kept.unit(name), kept.side, held.as_ref()).await?;
            }
        }
        locked.record.start = about.start;
        locked.write()
    }
}
