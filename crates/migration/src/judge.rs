//! The end of a split: what was seen of both sides, for the journal.

use crate::families::Families;
use async_trait::async_trait;
use segue_model::Side;
use segue_port::{Call, Effect, Observed, Outcome};
use segue_traffic::{Fronts, Met};
use serde_json::{Value, json};
use std::sync::Arc;

/// Returns the effect: it reads, and changes nothing.
pub(crate) fn effect(families: &Families) -> Arc<dyn Effect> {
    Arc::new(Judge { fronts: Arc::clone(&families.fronts) })
}

struct Judge {
    fronts: Arc<Fronts>,
}

#[async_trait]
impl Effect for Judge {
    fn what(&self) -> String {
        "reads what visitors met at both sides".into()
    }

    fn by_hand(&self) -> String {
        "nothing to undo".into()
    }

    async fn run(&self, _call: &Call) -> Outcome<Value> {
        let trials = self.fronts.trials().await?;
        let met = |met: &Met| json!({ "visitors": met.cells, "failing": met.failing });
        Ok(json!({
            "share": trials.share,
            "saved": trials.saved,
            "source": met(trials.sides.get(Side::Source)),
            "target": met(trials.sides.get(Side::Target)),
        }))
    }

    async fn observe(&self, _call: &Call) -> Outcome<Observed> {
        Ok(Observed::NotApplied)
    }

    async fn undo(&self, _call: &Call) -> Outcome<()> {
        Ok(())
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        Ok(())
    }
}
