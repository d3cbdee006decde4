//! What the board asks of a tree.

use crate::dirty::Age;
use crate::replica::TreeReplica;
use crate::{boot_ms, lock};
use async_trait::async_trait;
use segue_model::{Fault, FaultKind, Sample, Side, What};
use segue_port::{Outcome, Sampler};
use std::sync::Arc;
use std::time::Duration;

/// Returns all samplers of a tree.
pub(crate) fn all(replica: Arc<TreeReplica>) -> Vec<Arc<dyn Sampler>> {
    vec![Arc::new(Lag(replica.clone())), Arc::new(Disk(replica))]
}

/// Lag of the write side and the result of the last full comparison.
struct Lag(Arc<TreeReplica>);

#[async_trait]
impl Sampler for Lag {
    fn name(&self) -> String {
        format!("files:{}", self.0.name())
    }

    fn every(&self) -> Duration {
        Duration::from_millis(250)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let sample = |what, value, count, taken_at_ms| Sample {
            what,
            value,
            count,
            taken_at_ms,
            from: self.name(),
        };
        let mut samples = Vec::new();
        if let Some(side) = self.0.write_side() {
            let lag = match self.0.feed(side).age()? {
                Age::None => Some(0),
                Age::Since(since) => Some(boot_ms().saturating_sub(since)),
                // No number is right, so none is given.
                Age::Unknown => None,
            };
            if let Some(lag) = lag {
                samples.push(sample(What::FilesLagMs(side), lag as f64, 1, now_boot_ms));
            }
        }
        if let Some(last) = lock(&self.0.compared).as_ref() {
            let count = last.files + last.folders + last.others;
            let value = last.differing as f64;
            samples.push(sample(What::FilesDifferences, value, count, last.ended_boot_ms));
        }
        Ok(samples)
    }
}

/// Free space under the target's root.
struct Disk(Arc<TreeReplica>);

#[async_trait]
impl Sampler for Disk {
    fn name(&self) -> String {
        format!("disk:{}", self.0.name())
    }

    fn every(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let root = self.0.root(Side::Target);
        let disk = rustix::fs::statvfs(root).map_err(|e| {
            let op = format!("read free space under `{}`", root.display());
            Fault::new("SG0419", FaultKind::NotFound, op, e).hint("put the folder back")
        })?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        Ok(vec![Sample {
            what: What::TargetDiskFreeBytes,
            value: free as f64,
            count: 1,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        }])
    }
}
