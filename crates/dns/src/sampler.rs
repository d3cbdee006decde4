//! What the servers of a zone serve now.

use crate::sets::RecordSet;
use crate::zone::Zone;
use async_trait::async_trait;
use futures_util::future::join_all;
use segue_model::{Sample, What};
use segue_port::{Outcome, Sampler};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Time between two samples.
const EVERY: Duration = Duration::from_secs(1);
/// Longest wait for the answers of one sample.
const ANSWERS_MAX: Duration = Duration::from_millis(900);

struct ZoneSampler {
    zone: Arc<Zone>,
}

impl Zone {
    /// Returns the sampler of how many records each server has, and that of the owned sets,
    /// every second: `ZoneServersEqual` (share of
    /// the plan's servers that answer exactly as the primary does) and `ZoneTtlMaxS`.
    ///
    /// A server that does not answer counts as not equal; a silent primary is a fault.
    pub fn samplers(self: &Arc<Self>) -> Vec<Arc<dyn Sampler>> {
        let mut samplers: Vec<Arc<dyn Sampler>> =
            vec![Arc::new(ZoneSampler { zone: self.clone() })];
        if self.driver.primary().is_some() {
            samplers.push(Arc::new(ZoneCounts { zone: self.clone() }));
        }
        samplers
    }
}

/// Time between two counts: each transfers the zone from every server.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// Longest time of one transfer.
const COUNT_MAX: Duration = Duration::from_secs(5);

/// How many records every server of the zone has more or less than the primary.
struct ZoneCounts {
    zone: Arc<Zone>,
}

#[async_trait]
impl Sampler for ZoneCounts {
    fn name(&self) -> String {
        format!("counts:zone:{}", self.zone.name())
    }

    fn every(&self) -> Duration {
        COUNT_EVERY
    }

    /// A server that refuses the transfer has no sample: nobody knows what it has.
    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let primary = self.zone.contents(COUNT_MAX).await?.records();
        let first = self.zone.driver.primary();
        let others = self.zone.plan.servers.iter().filter(|server| Some(**server) != first);
        let counts = others.map(|server| async move {
            (*server, self.zone.contents_of(*server, COUNT_MAX).await)
        });
        let mut samples = Vec::new();
        for (server, contents) in join_all(counts).await {
            let contents = match contents {
                Ok(contents) => contents,
                Err(fault) => {
                    tracing::debug!(%server, %fault, "its records are not counted");
                    continue;
                }
            };
            samples.push(Sample {
                what: What::CountDifference,
                value: contents.records().abs_diff(primary) as f64,
                count: primary,
                taken_at_ms: now_boot_ms,
                from: format!("{}:{server}", self.name()),
            });
        }
        Ok(samples)
    }
}

impl ZoneSampler {
    /// Reads what the others are compared with: what the primary has. An API is not asked every
    /// second, so without a primary it is what the first server serves.
    async fn reference(&self, op: &str, until: Instant) -> Outcome<Vec<RecordSet>> {
        match (self.zone.driver.primary(), self.zone.plan.servers.first()) {
            (None, Some(first)) => self.zone.served(*first, until).await,
            _ => Ok(self.zone.state(op, until).await?.sets),
        }
    }
}

#[async_trait]
impl Sampler for ZoneSampler {
    fn name(&self) -> String {
        format!("zone:{}", self.zone.name())
    }

    fn every(&self) -> Duration {
        EVERY
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let until = Instant::now() + ANSWERS_MAX;
        let plan = &self.zone.plan;
        let op = format!("sample zone `{}`", plan.label());
        let primary = self.reference(&op, until);
        let others = join_all(plan.servers.iter().map(|s| self.zone.served(*s, until)));
        let (primary, others): (Outcome<Vec<RecordSet>>, _) = tokio::join!(primary, others);
        let primary = primary?;
        let answers: Vec<_> = others.into_iter().flatten().collect();
        let equal = answers.iter().filter(|sets| **sets == primary).count();
        let ttl = answers.iter().chain([&primary]).flatten().map(|set| set.ttl).max();
        let sample = |what, value, count| Sample {
            what,
            value,
            count,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        };
        let asked = plan.servers.len();
        // No server to ask is no equality either: the share stays 0.
        let share = equal as f64 / asked.max(1) as f64;
        Ok(vec![
            sample(What::ZoneServersEqual, share, asked as u64),
            sample(What::ZoneTtlMaxS, f64::from(ttl.unwrap_or(0)), answers.len() as u64 + 1),
        ])
    }
}
