//! What the users' resolvers answer: which of them fail, and which name the target already.

use crate::exchange::ask;
use crate::message;
use crate::sets::{self, Owner};
use async_trait::async_trait;
use domain::base::Rtype;
use futures_util::future::join_all;
use segue_model::plan::{ResolversPlan, UnitPlan, labelled};
use segue_model::{Sample, What};
use segue_port::{Outcome, Sampler};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for the answers of one sample.
const ANSWERS_MAX: Duration = Duration::from_millis(900);

/// Asks every resolver of the plan for one owned name, at the plan's rate.
pub struct ResolverSampler {
    plan: ResolversPlan,
    /// The record sets of that name: what is asked for, and the target's addresses.
    wanted: Vec<(Rtype, BTreeSet<IpAddr>)>,
    /// What tells it from others of its unit.
    label: Option<String>,
}

impl ResolverSampler {
    /// Builds a sampler of `ResolversFailing` and `ResolversAtTargetPercent` for every name
    /// that the plan has resolvers asked for.
    pub fn of(unit: &UnitPlan) -> Vec<Arc<Self>> {
        let all = &unit.measures.resolvers;
        let label = |plan: &ResolversPlan| (all.len() > 1).then(|| plan.name.clone());
        all.iter().map(|plan| Self::one(unit, plan.clone(), label(plan))).collect()
    }

    fn one(unit: &UnitPlan, plan: ResolversPlan, label: Option<String>) -> Arc<Self> {
        let owned = unit.zones.iter().flat_map(|zone| &zone.records);
        let wanted = owned
            .filter(|set| set.name == plan.name)
            .filter_map(|set| {
                let rtype = match set.rtype.as_str() {
                    "A" => Rtype::A,
                    "AAAA" => Rtype::AAAA,
                    _ => return None,
                };
                let target = set.data.target.iter().filter_map(|text| text.parse().ok());
                Some((rtype, target.collect()))
            })
            .collect();
        Arc::new(Self { plan, wanted, label })
    }

    /// Returns whether a resolver names the target; none if it fails.
    async fn names_target(&self, resolver: SocketAddr, name: &Owner) -> Option<bool> {
        let until = Instant::now() + ANSWERS_MAX;
        let questions = self.wanted.iter().map(|(rtype, _)| {
            let mut draft = message::query(name, *rtype).ok()?;
            // It shall find the answer, not know it.
            draft.header_mut().set_rd(true);
            Some(draft)
        });
        let answers = ask(resolver, questions.collect::<Option<Vec<_>>>()?, until).await.ok()?;
        let mut all = true;
        for (answer, (_, target)) in answers.iter().zip(&self.wanted) {
            let addresses = message::read_addresses(answer)?;
            all &= addresses == *target;
        }
        Some(all)
    }
}

#[async_trait]
impl Sampler for ResolverSampler {
    fn name(&self) -> String {
        labelled("resolvers", self.label.as_deref())
    }

    fn every(&self) -> Duration {
        Duration::from_secs(self.plan.every_s)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let name = sets::owner(&self.plan.name).map_err(|e| {
            let op = format!("read the name `{}`", self.plan.name);
            segue_model::Fault::new(crate::codes::PLAN, segue_model::FaultKind::Invalid, op, e)
                .hint("correct the plan file")
        })?;
        let asked = self.plan.addresses.iter().map(|address| self.names_target(*address, &name));
        let answers = join_all(asked).await;
        let answered = answers.iter().flatten().count();
        let there = answers.iter().flatten().filter(|there| **there).count();
        let sample = |what, value: f64, count: usize| Sample {
            what,
            value,
            count: count as u64,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        };
        let failing = answers.len() - answered;
        let mut samples = vec![sample(What::ResolversFailing, failing as f64, answers.len())];
        // Of no answers there is no share.
        if answered > 0 {
            let percent = there as f64 * 100.0 / answered as f64;
            samples.push(sample(What::ResolversAtTargetPercent, percent, answered));
        }
        Ok(samples)
    }
}
