//! The first full comparison, while both sides are live: an effect that changes nothing.

use crate::families::Families;
use crate::together::{Part, Together};
use async_trait::async_trait;
use segue_database::MariaReplica;
use segue_files::TreeReplica;
use segue_port::{Call, Effect, Observed, Outcome, ProgressSink};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Returns a comparison of every replica. Its output has `differences` for each part.
pub(crate) fn effect(families: &Families) -> Arc<dyn Effect> {
    let part = |(name, check)| Part { name, effect: Arc::new(check) as Arc<dyn Effect> };
    Together::new(checks(families).map(part).collect())
}

/// Compares every replica in full while both sides are in use, one after the other.
///
/// # Errors
/// The first one of a replica.
pub async fn compare_live(
    families: &Families,
    progress: Arc<dyn ProgressSink>,
) -> Outcome<Map<String, Value>> {
    let mut found = Map::new();
    for (name, check) in checks(families) {
        found.insert(name, check.compare(&progress).await?);
    }
    Ok(found)
}

fn checks(families: &Families) -> impl Iterator<Item = (String, Check)> {
    let databases =
        families.named_databases().map(|(name, d)| (name, Check::Database(Arc::clone(d))));
    let trees = families.trees.iter().zip(&families.plan.unit.trees);
    let trees =
        trees.map(|(tree, plan)| (format!("files:{}", plan.name), Check::Tree(Arc::clone(tree))));
    databases.chain(trees)
}

enum Check {
    Database(Arc<MariaReplica>),
    Tree(Arc<TreeReplica>),
}

impl Check {
    async fn compare(&self, progress: &Arc<dyn ProgressSink>) -> Outcome<Value> {
        Ok(match self {
            Self::Database(database) => database.compare_live().await?.output(),
            Self::Tree(tree) => tree.compare_live(Arc::clone(progress)).await?.output(),
        })
    }
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
        self.compare(&call.progress).await
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
