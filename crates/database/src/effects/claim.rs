//! Claim: this run, and no other, may move the unit.

use super::BOTH;
use crate::replica::MariaReplica;
use crate::{epoch, own};
use async_trait::async_trait;
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;

/// Claims the unit at both servers.
pub(crate) struct Claim(pub(crate) Arc<MariaReplica>);

#[async_trait]
impl Effect for Claim {
    fn what(&self) -> String {
        format!(
            "create schema `segue` and claim unit `{}` at both database servers",
            self.0.link.names.unit
        )
    }

    fn by_hand(&self) -> String {
        format!(
            "at both servers: DELETE FROM segue.claim WHERE unit = {}; DROP SCHEMA segue if no other unit is in it",
            self.0.link.names.unit_literal()
        )
    }

    async fn run(&self, _call: &Call) -> Outcome<Value> {
        for side in BOTH {
            let mut wire = self.0.link.open(side).await?;
            own::claim(&self.0.link, &mut wire).await?;
            wire.close().await;
        }
        Ok(output())
    }

    async fn observe(&self, _call: &Call) -> Outcome<Observed> {
        let link = &self.0.link;
        for side in BOTH {
            let mut wire = link.open(side).await?;
            let holder = own::claimed(link, &mut wire).await?;
            wire.close().await;
            if holder.as_deref() != Some(link.settings.run.as_str()) {
                return Ok(Observed::NotApplied);
            }
        }
        Ok(Observed::Applied(output()))
    }

    async fn undo(&self, _call: &Call) -> Outcome<()> {
        for side in BOTH {
            let mut wire = self.0.link.open(side).await?;
            own::release(&self.0.link, &mut wire).await?;
            wire.close().await;
        }
        Ok(())
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        epoch::quench(&self.0.link, &BOTH).await
    }
}

fn output() -> Value {
    json!({ "effect": "database.claim" })
}
