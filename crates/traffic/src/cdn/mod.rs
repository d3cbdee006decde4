//! CDNs before the sites: their origin is switched when the record sets are published.
//!
//! A CDN's origin is a setting at its vendor, changed by an API. It is part of the step `publish`,
//! so it comes after the route: until a CDN's last edge has heard of it, edges ask the former
//! origin, where the source's front stands and sends them on. So nothing depends on when that is,
//! and a failure is retried and never a reason to go back.
//!
//! Vendors compare nothing when a setting is written, so the value is read right before, and what is
//! neither side's origin is somebody else's edit: it stays as it is.

mod bunny;
mod cloudflare;
mod fastly;
mod vendor;

use async_trait::async_trait;
use segue_model::plan::{CdnPlan, CdnVendor};
use segue_model::{EffectLeft, Fault, FaultKind, Finding, Side};
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use vendor::Vendor;

/// How long a request whose answer was lost may still change something.
const LATE: Duration = Duration::from_secs(3);

/// How long a reading before the run may take.
const PREFLIGHT: Duration = Duration::from_secs(20);

/// A CDN before the unit's sites.
#[derive(Debug)]
pub struct Cdn {
    plan: CdnPlan,
}

impl Cdn {
    /// Builds it; touches nothing.
    pub fn new(plan: CdnPlan) -> Arc<Self> {
        Arc::new(Self { plan })
    }

    /// Returns its name in the plan.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Returns the effect that gives it the origin of the side that `Way::to` names.
    pub fn publish(self: &Arc<Self>) -> Arc<dyn Effect> {
        Arc::new(Publish { cdn: self.clone() })
    }

    /// Looks whether its origin is that of the source, with the token of the plan; changes nothing.
    pub async fn preflight(&self) -> Vec<Finding> {
        let read = async { self.vendor()?.origin(Instant::now() + PREFLIGHT).await };
        let (name, origins) = (&self.plan.name, &self.plan.origins);
        match read.await {
            Err(fault) => vec![Finding::refuse(
                "SG0173",
                format!("the origin of CDN `{name}` cannot be read: {fault}"),
                "correct token, ids and address, so that the origin can be read",
            )],
            Ok(origin) if origin == origins.source || origin == origins.target => Vec::new(),
            Ok(origin) => vec![Finding::refuse(
                "SG0174",
                format!("CDN `{name}` has the origin `{origin}`, which is neither side's"),
                "write both origins as the vendor shows them",
            )],
        }
    }

    fn vendor(&self) -> Outcome<Box<dyn Vendor>> {
        let CdnPlan { vendor, token, .. } = &self.plan;
        let token = segue_doors::secrets::read(token)?;
        Ok(match vendor {
            CdnVendor::Fastly { url, service, backend } => {
                Box::new(fastly::Fastly::new(url, service, backend, &token)?)
            }
            CdnVendor::Bunny { url, pull_zone } => {
                Box::new(bunny::Bunny::new(url, *pull_zone, &token)?)
            }
            CdnVendor::Cloudflare { url, zone_id, record, rtype } => {
                Box::new(cloudflare::Cloudflare::new(
                    url,
                    zone_id,
                    (record.as_str(), rtype.as_str()),
                    &token,
                )?)
            }
        })
    }

    /// Returns what it has now and the side whose origin that is.
    async fn present(&self, until: Instant) -> Outcome<(String, Option<Side>)> {
        let origin = self.vendor()?.origin(until).await?;
        let sides = [Side::Source, Side::Target];
        let side = sides.into_iter().find(|side| *self.plan.origins.get(*side) == origin);
        Ok((origin, side))
    }

    /// Sets the origin to that of a side, if it has that of the other one.
    async fn set(&self, side: Side, call: &Call) -> Outcome<bool> {
        let (run, until) = (&call.authority.run, until(call));
        let wanted = self.plan.origins.get(side);
        match self.present(until).await? {
            (_, Some(now)) if now == side => return Ok(false),
            (_, Some(_)) => {}
            (origin, None) => return Err(self.others(&origin)),
        }
        let vendor = self.vendor()?;
        if let Err(fault) = vendor.set_origin(wanted, run, until).await {
            if fault.effect == EffectLeft::None {
                return Err(fault);
            }
            // The answer was lost; the change may still come.
            let patience = (Instant::now() + LATE).min(until);
            while vendor.origin(until).await? != *wanted {
                if Instant::now() >= patience {
                    return Err(fault);
                }
                sleep(LATE / 10).await;
            }
            return Ok(true);
        }
        let read = vendor.origin(until).await?;
        if read == *wanted {
            return Ok(true);
        }
        let cause = format!("`{wanted}` was set and `{read}` is read back");
        Err(Fault::new("SG0175", FaultKind::Conflict, self.op(), cause)
            .leaving(EffectLeft::Maybe)
            .hint("look in the vendor's console who else changes the setting; then resume"))
    }

    fn op(&self) -> String {
        format!("switch the origin of CDN `{}`", self.plan.name)
    }

    fn others(&self, origin: &str) -> Fault {
        let cause = format!("its origin is `{origin}`, which is neither side's");
        Fault::new("SG0174", FaultKind::Conflict, self.op(), cause)
            .leaving(EffectLeft::None)
            .hint("set it back in the vendor's console to what the plan says; then resume")
    }
}

struct Publish {
    cdn: Arc<Cdn>,
}

fn until(call: &Call) -> Instant {
    Instant::now() + call.time_allowed
}

#[async_trait]
impl Effect for Publish {
    fn what(&self) -> String {
        let CdnPlan { name, vendor, origins, .. } = &self.cdn.plan;
        format!(
            "set the origin of CDN `{name}` ({}) to `{}`; it is `{}`",
            vendor.as_str(),
            origins.target,
            origins.source
        )
    }

    fn by_hand(&self) -> String {
        let CdnPlan { vendor, origins, .. } = &self.cdn.plan;
        let place = match vendor {
            CdnVendor::Fastly { service, backend, .. } => {
                format!("service {service}: clone the active version, backend `{backend}`, address")
            }
            CdnVendor::Bunny { pull_zone, .. } => format!("pull zone {pull_zone}: origin URL"),
            CdnVendor::Cloudflare { zone_id, record, rtype, .. } => {
                format!("zone {zone_id}: content of the proxied record {record} {rtype}")
            }
        };
        format!("in the console of {}, {place}: `{}`", vendor.as_str(), origins.source)
    }

    async fn prepare(&self, call: &Call) -> Outcome<Value> {
        match self.cdn.present(until(call)).await? {
            (origin, Some(_)) => Ok(json!({ "former": origin })),
            (origin, None) => Err(self.cdn.others(&origin)),
        }
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let to = call.authority.way().to();
        let changed = self.cdn.set(to, call).await?;
        Ok(json!({ "origin": self.cdn.plan.origins.get(to), "changed": changed }))
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        let to = call.authority.way().to();
        Ok(match self.cdn.present(until(call)).await? {
            (origin, Some(side)) if side == to => Observed::Applied(json!({ "origin": origin })),
            (_, Some(_)) => Observed::NotApplied,
            (origin, None) => {
                Observed::Unknown(format!("the origin is `{origin}`, neither side's"))
            }
        })
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        // What stood there before, by value; nothing was changed if nothing was prepared.
        let former = call.prepared.get("former").and_then(Value::as_str);
        let origins = &self.cdn.plan.origins;
        let sides = [Side::Source, Side::Target];
        let side = sides.into_iter().find(|side| Some(origins.get(*side).as_str()) == former);
        match side {
            Some(side) => self.cdn.set(side, call).await.map(drop),
            None => Ok(()),
        }
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        // A request of a former attempt that is still on its way is carried out by then.
        sleep(LATE).await;
        Ok(())
    }
}
