//! What was written at the target since the way back was closed.

use super::{Conductor, failed};
use crate::active::Active;
use crate::api::{Line, Pick};
use crate::progress::Rates;
use crate::unit::{Unit, refuse};
use segue_model::state::Stage;
use segue_model::{Fault, RunId};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

/// Lines of one kind that are shown as text; the JSON has more.
const SHOWN: usize = 20;

impl Conductor {
    /// Compares both sides of settled units; the source stands as it was when the unit was
    /// settled, so what differs was written since.
    pub(super) async fn export_delta(&self, pick: &Pick) -> Line {
        match self.deltas(pick).await {
            Ok((text, result)) => Line::End { exit: 0, text, result },
            Err(fault) => failed(&fault, Value::Null),
        }
    }

    async fn deltas(&self, pick: &Pick) -> Result<(String, Value), Fault> {
        let mut units = self.pick(pick)?;
        if units.len() > 1 {
            units.retain(|unit| unit.state().stage == Stage::Settled);
        }
        let mut text = String::new();
        let mut all = Map::new();
        for unit in units {
            let (told, delta) = self.delta_of(&unit).await?;
            let _ = writeln!(text, "unit {}:\n{told}", unit.name());
            all.insert(unit.name().to_string(), delta);
        }
        if all.is_empty() {
            return Err(refuse("export the delta", "no unit is settled").hint(
                "before settle nothing needs to be exported: the reverse stream brings it home",
            ));
        }
        Ok((text, Value::Object(all)))
    }

    async fn delta_of(&self, unit: &Arc<Unit>) -> Result<(String, Value), Fault> {
        let op = format!("export the delta of unit `{}`", unit.name());
        if unit.state().stage != Stage::Settled {
            return Err(refuse(&op, "the unit is not settled")
                .hint("the reverse stream still brings everything home: nothing to export"));
        }
        // Drivers of their own: those of the run have given their claims back.
        let families = Active::families(&unit.plan, &RunId::from("delta"), &self.dir)?;
        let mut text = String::new();
        let mut files = Map::new();
        let mut databases = Map::new();
        for (part, replica) in families.named_databases() {
            let delta = replica.delta().await;
            replica.close().await;
            let delta = delta?;
            if delta.tables.is_empty() && delta.definitions.is_empty() {
                let _ = writeln!(text, "  schema {}: nothing", delta.schema);
            }
            for table in &delta.tables {
                let _ = writeln!(
                    text,
                    "  table {}.{}: {} rows added, {} changed, {} removed",
                    delta.schema, table.table, table.added, table.changed, table.removed
                );
            }
            for line in delta.definitions.iter().take(SHOWN) {
                let _ = writeln!(text, "  {line}");
            }
            databases.insert(part, json!(delta));
        }
        for (tree, plan) in families.trees.iter().zip(&unit.plan.unit.trees) {
            let rates = Rates::new(self.lines.clone(), Arc::clone(&self.clock));
            let delta = tree.delta(Arc::new(rates)).await?;
            let _ = writeln!(text, "  tree {}: {} files differ", plan.name, delta.differing);
            for difference in delta.differences.iter().take(SHOWN) {
                let _ = writeln!(text, "    {difference}");
            }
            files.insert(plan.name.clone(), json!(delta));
        }
        // Said, because a reader would look for it.
        let _ = write!(text, "  mailboxes: not part of this unit");
        // The only database stands by itself, as it does in steps.
        let database = match databases.remove("database") {
            Some(only) => only,
            None if databases.is_empty() => Value::Null,
            None => Value::Object(databases),
        };
        Ok((text, json!({ "database": database, "files": files, "mailboxes": null })))
    }
}
