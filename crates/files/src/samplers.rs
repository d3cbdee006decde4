//! What the board asks of a tree.

use crate::dirty::Age;
use crate::replica::TreeReplica;
use crate::{boot_ms, lock};
use async_trait::async_trait;
use segue_model::{Fault, FaultKind, Sample, Side, Sides, What};
use segue_port::{Outcome, Sampler};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Returns all samplers of a tree.
pub(crate) fn all(replica: Arc<TreeReplica>) -> Vec<Arc<dyn Sampler>> {
    let room = Room { replica: replica.clone(), counted: Arc::default() };
    vec![Arc::new(Lag(replica.clone())), Arc::new(Disk(replica)), Arc::new(room)]
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
            // What the last comparison found holds until the next; its age is another measure.
            samples.push(sample(What::FilesDifferences, value, count, now_boot_ms));
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
        let free = free_bytes(root)?;
        Ok(vec![Sample {
            what: What::TargetDiskFreeBytes,
            value: free as f64,
            count: 1,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        }])
    }
}

fn free_bytes(folder: &Path) -> Outcome<u64> {
    let disk = rustix::fs::statvfs(folder).map_err(|e| {
        let op = format!("read free space under `{}`", folder.display());
        Fault::new("SG0419", FaultKind::NotFound, op, e).hint("put the folder back")
    })?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Returns the folder itself, or the nearest one above it that is there: before the first
/// copy the target's root may be missing.
fn there(folder: &Path) -> &Path {
    folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(folder)
}

/// How long the size of a tree is believed: counting reads every folder of it.
const COUNT_AGAIN: Duration = Duration::from_secs(600);

/// What both roots take, and whether they are being counted.
#[derive(Default)]
struct Counted {
    sizes: Option<(Sides<u64>, Instant)>,
    busy: bool,
}

/// Room for the tree at the target: what is free there and what its copy already takes,
/// against what it takes at the source.
struct Room {
    replica: Arc<TreeReplica>,
    counted: Arc<Mutex<Counted>>,
}

impl Room {
    /// Returns the last count, and begins another one where it is too old.
    fn sizes(&self) -> Option<Sides<u64>> {
        let mut counted = lock(&self.counted);
        let known = counted.sizes.clone();
        let fresh = known.as_ref().is_some_and(|(_, at)| at.elapsed() < COUNT_AGAIN);
        if !fresh && !std::mem::replace(&mut counted.busy, true) {
            let (replica, place) = (self.replica.clone(), self.counted.clone());
            // A sampler's turn is short, and a tree may be large.
            tokio::task::spawn_blocking(move || {
                let sizes = [Side::Source, Side::Target].map(|side| replica.taken_bytes(side));
                let mut counted = lock(&place);
                counted.busy = false;
                match sizes {
                    [Ok(source), Ok(target)] => {
                        counted.sizes = Some((Sides { source, target }, Instant::now()));
                    }
                    [Err(error), _] | [_, Err(error)] => {
                        tracing::warn!(tree = replica.name(), %error, "its size is unknown");
                    }
                }
            });
        }
        known.map(|(sizes, _)| sizes)
    }
}

#[async_trait]
impl Sampler for Room {
    fn name(&self) -> String {
        format!("room:{}", self.replica.name())
    }

    fn every(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Returns no sample until the trees were counted.
    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let Some(sizes) = self.sizes() else { return Ok(Vec::new()) };
        let free = free_bytes(there(self.replica.root(Side::Target)))?;
        let room = free.saturating_add(sizes.target) as f64;
        Ok(vec![Sample {
            what: What::TargetRoomRatio,
            value: room / sizes.source.max(1) as f64,
            count: 1,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        }])
    }
}
