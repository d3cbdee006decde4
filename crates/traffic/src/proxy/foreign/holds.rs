//! Holds: begun in a quiet moment, renewed, sealed, released, and over if nobody renewed them.

use super::super::driver::{Driver, Held, wall_ms};
use super::super::record::{Kept, Locked};
use super::words::{began, busy, conflict, done, ended, known, no_such_hold};
use super::{Foreign, boot_ms};
use segue_front::control::{HoldId, Reply, Request};
use segue_model::{EffectLeft, Epoch, Fault, RunId, Side, UnitName};

impl<D: Driver> Foreign<D> {
    pub(super) async fn hold(
        &self,
        locked: &mut Locked,
        request: &Request,
        op: &str,
    ) -> Result<Reply, Fault> {
        let Request::Hold { unit, hold_id, lease_ms, quiet_age_ms, age_max_ms, count_max, .. } =
            request
        else {
            return Err(self.cannot(op));
        };
        let kept = known(&locked.record, unit, op)?.clone();
        if locked.record.holds.iter().any(|hold| &hold.hold_id == hold_id && hold.lapsed) {
            let cause = format!("hold `{hold_id}` lapsed before");
            return Err(conflict(op, &cause, "give the next hold a name of its own"));
        }
        let sight = self.driver.look(kept.unit(unit)).await?;
        if let Some(other) = sight.held.as_ref().filter(|held| held.holds_at(wall_ms())) {
            let cause = format!("hold `{}` is in force", other.id);
            return Err(conflict(op, &cause, "release it first"));
        }
        let mut loud = self.driver.running(kept.unit(unit)).await?;
        loud.retain(|running| running.age_ms > *quiet_age_ms);
        if !loud.is_empty() {
            return Ok(busy(loud));
        }
        let lease_ms = self.driver.lease_ms(*lease_ms);
        let held = Held {
            id: hold_id.clone(),
            until_ms: Some(wall_ms() + lease_ms),
            age_max_ms: *age_max_ms,
            count_max: *count_max,
        };
        locked.record.begin(began(unit, &held));
        if let Some(kept) = locked.record.units.get_mut(unit) {
            (kept.held, kept.lease_ms) = (Some(held.clone()), lease_ms);
        }
        locked.write()?;
        let held = Held { until_ms: Some(wall_ms() + lease_ms), ..held };
        let left = |fault: Fault| fault.leaving(EffectLeft::Maybe);
        self.driver.hold(kept.unit(unit), kept.side, Some(&held)).await.map_err(left)?;
        let closed = self.driver.end_streams(kept.unit(unit)).await.map_err(left)?;
        if let Some(hold) = locked.record.hold_mut(&held) {
            hold.closed_streams += closed;
        }
        Ok(done(&locked.record))
    }

    pub(super) async fn renew(
        &self,
        run: &RunId,
        epoch: Epoch,
        unit: &UnitName,
        hold_id: &HoldId,
        op: &str,
    ) -> Result<Reply, Fault> {
        let mut locked = Locked::open(&self.plan.state).await?;
        locked.record.may_act(run, epoch, op)?;
        let kept = known(&locked.record, unit, op)?.clone();
        let held = match self.in_force(&mut locked, unit, &kept, hold_id, op).await? {
            Ok(held) => held,
            Err(lapsed) => return Ok(lapsed),
        };
        let Some(until) = held.until_ms.filter(|_| self.driver.renews()) else {
            return Ok(done(&locked.record));
        };
        let next = Held { until_ms: Some(wall_ms() + kept.lease_ms), ..held };
        self.driver.hold(kept.unit(unit), kept.side, Some(&next)).await?;
        // It may have lapsed before this took force.
        if wall_ms() >= until {
            return self.lapse(&mut locked, unit, &kept, hold_id).await;
        }
        Ok(done(&locked.record))
    }

    pub(super) async fn seal(
        &self,
        locked: &mut Locked,
        unit: &UnitName,
        hold_id: &HoldId,
        op: &str,
    ) -> Result<Reply, Fault> {
        let kept = known(&locked.record, unit, op)?.clone();
        let held = match self.in_force(locked, unit, &kept, hold_id, op).await? {
            Ok(held) => held,
            Err(lapsed) => return Ok(lapsed),
        };
        let sealed = Held { until_ms: None, ..held.clone() };
        self.driver.hold(kept.unit(unit), kept.side, Some(&sealed)).await?;
        // Sealed after it lapsed is no seal: requests may have passed.
        if held.until_ms.is_some_and(|until| wall_ms() >= until) {
            return self.lapse(locked, unit, &kept, hold_id).await;
        }
        if let Some(kept) = locked.record.units.get_mut(unit) {
            kept.held = Some(sealed);
        }
        Ok(done(&locked.record))
    }

    pub(super) async fn unseal(
        &self,
        locked: &mut Locked,
        unit: &UnitName,
        hold_id: &HoldId,
        lease_ms: u64,
        op: &str,
    ) -> Result<Reply, Fault> {
        let kept = known(&locked.record, unit, op)?.clone();
        let held = match self.in_force(locked, unit, &kept, hold_id, op).await? {
            Ok(held) => held,
            Err(lapsed) => return Ok(lapsed),
        };
        let lease_ms = self.driver.lease_ms(lease_ms);
        let leased = Held { until_ms: Some(wall_ms() + lease_ms), ..held };
        self.driver.hold(kept.unit(unit), kept.side, Some(&leased)).await?;
        if let Some(kept) = locked.record.units.get_mut(unit) {
            (kept.held, kept.lease_ms) = (Some(leased), lease_ms);
        }
        Ok(done(&locked.record))
    }

    pub(super) async fn release(
        &self,
        locked: &mut Locked,
        unit: &UnitName,
        hold_id: &HoldId,
        to: Side,
        op: &str,
    ) -> Result<Reply, Fault> {
        let kept = known(&locked.record, unit, op)?.clone();
        let sight = self.driver.look(kept.unit(unit)).await?;
        let held = sight.held.as_ref().filter(|held| held.holds_at(wall_ms()));
        match held {
            Some(held) if &held.id == hold_id => {}
            Some(_) => return Err(no_such_hold(hold_id, op)),
            None if sight.side == Some(to) => return Ok(done(&locked.record)),
            None => {
                return match self.in_force(locked, unit, &kept, hold_id, op).await? {
                    Err(lapsed) => Ok(lapsed),
                    Ok(_) => Err(no_such_hold(hold_id, op)),
                };
            }
        }
        self.driver.release(kept.unit(unit), to).await?;
        let waited = self.driver.waited(kept.unit(unit)).await.unwrap_or_default();
        ended(&mut locked.record, hold_id, Some(to), waited);
        if let Some(kept) = locked.record.units.get_mut(unit) {
            (kept.side, kept.held) = (to, None);
        }
        Ok(done(&locked.record))
    }

    /// Returns the hold of this name as the proxy has it, or the answer that it lapsed.
    pub(super) async fn in_force(
        &self,
        locked: &mut Locked,
        unit: &UnitName,
        kept: &Kept,
        hold_id: &HoldId,
        op: &str,
    ) -> Result<Result<Held, Reply>, Fault> {
        let sight = self.driver.look(kept.unit(unit)).await?;
        match sight.held {
            Some(held) if &held.id == hold_id && held.holds_at(wall_ms()) => Ok(Ok(held)),
            Some(held) if &held.id == hold_id => {
                self.lapse(locked, unit, kept, hold_id).await.map(Err)
            }
            _ => {
                let record = locked.record.holds.iter().find(|hold| &hold.hold_id == hold_id);
                let lost = kept.held.as_ref().is_some_and(|held| &held.id == hold_id);
                match record {
                    Some(hold) if hold.lapsed => {
                        let at_ms = hold.released_ms.unwrap_or(0);
                        Ok(Err(Reply::Lapsed { hold_id: hold_id.clone(), at_ms }))
                    }
                    // It began, and the proxy does not have it any more.
                    Some(_) if lost => self.lapse(locked, unit, kept, hold_id).await.map(Err),
                    _ => Err(no_such_hold(hold_id, op)),
                }
            }
        }
    }

    /// Writes down that a hold ended by itself, and takes its rest away.
    pub(super) async fn lapse(
        &self,
        locked: &mut Locked,
        unit: &UnitName,
        kept: &Kept,
        hold_id: &HoldId,
    ) -> Result<Reply, Fault> {
        let waited = self.driver.waited(kept.unit(unit)).await.unwrap_or_default();
        self.driver.hold(kept.unit(unit), kept.side, None).await?;
        ended(&mut locked.record, hold_id, None, waited);
        if let Some(kept) = locked.record.units.get_mut(unit) {
            kept.held = None;
        }
        locked.write()?;
        Ok(Reply::Lapsed { hold_id: hold_id.clone(), at_ms: boot_ms() })
    }
}
