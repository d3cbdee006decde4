//! The families' drivers for one plan, and the parts they play in a step.

use crate::together::{Part, Together};
use segue_database::MariaReplica;
use segue_dns::Zone;
use segue_files::TreeReplica;
use segue_model::RunId;
use segue_model::plan::{Plan, labelled};
use segue_port::{Effect, ReplicaEffects};
use segue_traffic::{Cdn, Fronts};
use std::sync::Arc;

/// Everything that acts for a unit.
pub struct Families {
    /// The plan.
    pub plan: Plan,
    /// The run.
    pub run: RunId,
    /// Its fronts.
    pub fronts: Arc<Fronts>,
    /// Its databases, in the order of the plan.
    pub databases: Vec<Arc<MariaReplica>>,
    /// Its directory trees.
    pub trees: Vec<Arc<TreeReplica>>,
    /// Its zones.
    pub zones: Vec<Arc<Zone>>,
    /// CDNs before its sites.
    pub cdns: Vec<Arc<Cdn>>,
}

/// What a replica does at one step.
pub(crate) type Pick = fn(&ReplicaEffects) -> Option<Arc<dyn Effect>>;

impl Families {
    /// Returns the databases with the names of their parts: `database` for the only one,
    /// `database:SCHEMA` if there are several.
    pub fn named_databases(&self) -> impl Iterator<Item = (String, &Arc<MariaReplica>)> {
        let labels = self.plan.unit.database_labels().into_iter();
        let name = |label: Option<String>| labelled("database", label.as_deref());
        labels.map(name).zip(&self.databases)
    }

    /// Returns the replicas with the names of their parts, the databases first.
    fn replicas(&self) -> Vec<(String, ReplicaEffects)> {
        let mut all: Vec<_> =
            self.named_databases().map(|(name, database)| (name, database.effects())).collect();
        for (tree, plan) in self.trees.iter().zip(&self.plan.unit.trees) {
            all.push((format!("files:{}", plan.name), tree.effects()));
        }
        all
    }

    /// Returns what every replica does at a step, as parts.
    pub(crate) fn parts(&self, pick: Pick) -> Vec<Part> {
        self.replicas()
            .into_iter()
            .filter_map(|(name, effects)| pick(&effects).map(|effect| Part { name, effect }))
            .collect()
    }

    /// Returns what every replica does at a step, as one effect.
    pub(crate) fn replicas_at(&self, pick: Pick) -> Arc<dyn Effect> {
        Together::new(self.parts(pick))
    }

    /// Returns one part for every zone.
    pub(crate) fn zones_at(
        &self,
        make: impl Fn(usize, &Arc<Zone>) -> Arc<dyn Effect>,
    ) -> Arc<dyn Effect> {
        Together::new(self.zone_parts(make))
    }

    fn zone_parts(&self, make: impl Fn(usize, &Arc<Zone>) -> Arc<dyn Effect>) -> Vec<Part> {
        self.zones
            .iter()
            .zip(&self.plan.unit.zones)
            .enumerate()
            .map(|(place, (zone, plan))| Part {
                name: zone_part(&plan.label()),
                effect: make(place, zone),
            })
            .collect()
    }

    /// Returns what makes the other side public: the record sets of every zone, and the origins
    /// of CDNs.
    pub(crate) fn publish(&self) -> Arc<dyn Effect> {
        let mut parts = self.zone_parts(|_, zone| zone.publish());
        parts.extend(
            self.cdns
                .iter()
                .map(|cdn| Part { name: format!("cdn:{}", cdn.name()), effect: cdn.publish() }),
        );
        Together::new(parts)
    }

    /// Returns one effect as a step with a single part.
    pub(crate) fn alone(name: &str, effect: Arc<dyn Effect>) -> Arc<dyn Effect> {
        Together::new(vec![Part { name: name.to_owned(), effect }])
    }
}

/// Returns the part name of a zone, as it is labelled in the plan.
pub fn zone_part(zone: &str) -> String {
    format!("zone:{zone}")
}
