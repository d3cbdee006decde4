//! The first full comparison, while both sides are live: an effect that changes nothing.

use crate::families::Families;
use crate::together::{Part, Together};
use async_trait::async_trait;
use segue_database::MariaReplica;
use segue_files::TreeReplica;
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;

/// Returns a comparison of every replica. Its output has `differences` for each part.
pub(crate) fn effect(families: &Families) -> Arc<dyn Effect> {
    let mut parts = Vec::new();
    if let Some(database) = &families.database {
        parts.push(Part {
            name: "database".into(),
            effect: Arc::new(Check::Database(Arc::clone(database))) as Arc<dyn Effect>,
        });
    }
    for (tree, plan) in families.trees.iter().zip(&families.plan.unit.trees) {
        parts.push(Part {
            name: format!("files:{}", plan.name),
            effect: Arc::new(Check::Tree(Arc::clone(tree))),
        });
    }
    Together::new(parts)
}

enum Check {
    Database(Arc<MariaReplica>),
    Tree(Arc<TreeReplica>),
}

#[async_trait]
impl Effect for Check {
    fn what(&self) -> String {
        "compares both sides in full while they are live; changes nothing".into()
    }

    fn by_hand(&self) -> String {
        "nothing to undo".into()
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let found = match self {
            Self::Database(database) => serde_json::to_value(database.compare_live().await?),
            Self::Tree(tree) => {
                serde_json::to_value(tree.compare_live(Arc::clone(&call.progress)).await?)
            }
        };
        Ok(found.unwrap_or_else(|e| json!({ "unknown": e.to_string() })))
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
