//! The owned record sets are as `lower_ttls` left them: nobody edited them since.
//!
//! Asked before anything is held, because afterwards it would be too late to stop: a publish
//! that finds other data waits for a person, while the unit is at the target already.

use async_trait::async_trait;
use segue_dns::{CONFLICT, Departure, Zone};
use segue_engine::{Gate, GateContext};
use segue_model::Side;
use segue_model::gate::{Answer, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Returns the gate of one zone.
pub(super) fn untouched(zone: &Arc<Zone>) -> Arc<dyn Gate> {
    Arc::new(Untouched { zone: Arc::clone(zone), kept_until_ms: AtomicU64::new(0) })
}

struct Untouched {
    zone: Arc<Zone>,
    /// Until then a resolver may hold an answer with a TTL that somebody raised; boot clock.
    kept_until_ms: AtomicU64,
}

impl Untouched {
    fn judge(&self, found: &Departure, now_ms: u64) -> (Verdict, String) {
        if !found.data.is_empty() {
            let because = format!(
                "{CONFLICT}: somebody changed the owned record sets since their TTLs were lowered: \
                 {}; put them right by hand, or make a plan with the present data",
                found.data.join("; ")
            );
            return (Verdict::Fail, because);
        }
        if let Some(ttl_s) = found.ttl_s {
            self.kept_until_ms.fetch_max(now_ms + u64::from(ttl_s) * 1_000, Ordering::Relaxed);
            let because = format!("{CONFLICT}: somebody raised a TTL to {ttl_s} s: lower it again");
            return (Verdict::Wait, because);
        }
        let until_ms = self.kept_until_ms.load(Ordering::Relaxed);
        if now_ms < until_ms {
            let left_s = (until_ms - now_ms).div_ceil(1_000);
            let because = format!("a TTL was raised: {left_s} s until no resolver holds it");
            return (Verdict::Wait, because);
        }
        (Verdict::Pass, "data and TTLs are as this run left them".to_owned())
    }
}

#[async_trait]
impl Gate for Untouched {
    fn name(&self) -> String {
        format!("zone_untouched:{}", self.zone.name())
    }

    fn asks(&self) -> String {
        format!("{}: nobody edited the owned record sets", self.name())
    }

    async fn ask(&self, context: &GateContext) -> Answer {
        let (verdict, because) = match self.zone.departure(Side::Source).await {
            Ok(found) => self.judge(&found, context.clock.boot_ms()),
            Err(fault) => (Verdict::Unknown, fault.to_string()),
        };
        Answer { gate: self.name(), verdict, because }
    }
}
