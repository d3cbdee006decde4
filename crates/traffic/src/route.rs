//! Route: every front sends the unit to the other side and releases.

use crate::fronts::Fronts;
use async_trait::async_trait;
use segue_front::control::HoldStatus;
use segue_model::EffectLeft;
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;

impl Fronts {
    /// Returns the effect that routes and releases: the pause ends with it.
    pub fn route(self: &Arc<Self>) -> Arc<dyn Effect> {
        Arc::new(Route { fronts: Arc::clone(self) })
    }
}

struct Route {
    fronts: Arc<Fronts>,
}

#[async_trait]
impl Effect for Route {
    fn what(&self) -> String {
        "sends every request to the promoted side and releases what waits".into()
    }

    fn by_hand(&self) -> String {
        "no undo: the way back is a failback (`segue rollback`)".into()
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let to = call.authority.way().to();
        // A front that missed it stays in its sealed hold, which is safe: the fence stands.
        let fronts = self
            .fronts
            .release(&call.authority, to)
            .await
            .map_err(|f| f.leaving(EffectLeft::Maybe))?;
        self.fronts.stop_renewing();
        Ok(json!({ "to": to, "fronts": fronts }))
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        let to = call.authority.way().to();
        let unit = &self.fronts.settings.unit.name;
        for (link, hello) in self.fronts.hellos().await {
            let hello = match hello {
                Ok(hello) => hello,
                Err(fault) => {
                    return Ok(Observed::Unknown(format!("front `{}`: {fault}", link.plan.name)));
                }
            };
            let routed = hello.unit(unit).is_some_and(|u| {
                u.write_side == to && matches!(u.hold, HoldStatus::Open | HoldStatus::Releasing)
            });
            if !routed {
                return Ok(Observed::NotApplied);
            }
        }
        Ok(Observed::Applied(json!({ "to": to })))
    }

    async fn undo(&self, _call: &Call) -> Outcome<()> {
        // Never reached: promote stands before it, and from promote's intent on nothing is undone.
        Ok(())
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        self.fronts.take_epoch(self.fronts.epoch()).await
    }
}
