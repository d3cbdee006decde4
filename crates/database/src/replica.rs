//! The replica: what its effects share, and how it begins and ends.

use crate::difference::Comparison;
use crate::digest::Snapshots;
use crate::effects;
use crate::effects::fence::Fence;
use crate::fault::Deadline;
use crate::link::{Link, Wire};
use crate::pieces::Pace;
use crate::stops::Stops;
use crate::{epoch, logins, measures, moment, preflight, sampler, way_back};
use segue_model::plan::labelled;
use segue_model::{Epoch, Finding, Side};
use segue_port::{Effect, Outcome, ReplicaEffects, Sampler};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, OwnedRwLockReadGuard};

/// How long a comparison may try until both sides were brought to one moment.
const ALIGN: Duration = Duration::from_secs(20);

/// How long one try may pause the stream.
const STALL: Duration = Duration::from_secs(2);

/// One schema with its logins at two MariaDB servers.
#[derive(Debug)]
pub struct MariaReplica {
    pub(crate) link: Link,
    /// The fence that stands, if one does.
    pub(crate) fence: Mutex<Option<Fence>>,
    /// What `verify` opened for `compare`.
    pub(crate) snapshots: Mutex<Option<Snapshots>>,
    /// The session that `promote` uses, proven alive when it was prepared.
    pub(crate) promoting: Mutex<Option<Wire>>,
    /// From arm to promote: no other unit makes the stream stand.
    pub(crate) armed: Mutex<Option<OwnedRwLockReadGuard<()>>>,
    /// Differences that the last full comparison of this process found.
    found: std::sync::Mutex<Option<u64>>,
    /// Whether rows are being loaded into the target's empty tables.
    loading: AtomicBool,
    /// Where a test makes it wait.
    pub(crate) stops: Stops,
}

/// Rows are being loaded while it lives.
pub(crate) struct Loading<'r>(&'r AtomicBool);

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl MariaReplica {
    /// Builds the replica; opens nothing.
    pub fn new(settings: crate::Settings) -> Arc<Self> {
        Arc::new(Self {
            link: Link::new(settings),
            fence: Mutex::new(None),
            snapshots: Mutex::new(None),
            promoting: Mutex::new(None),
            armed: Mutex::new(None),
            found: std::sync::Mutex::new(None),
            loading: AtomicBool::new(false),
            stops: Stops::default(),
        })
    }

    /// Says that rows are being loaded, until the value is dropped.
    pub(crate) fn load(&self) -> Loading<'_> {
        self.loading.store(true, Ordering::SeqCst);
        Loading(&self.loading)
    }

    /// Whether rows are being loaded into the target's empty tables. Nobody should read them
    /// then: a server was seen to hang for good where a table's first row was read while it was
    /// loaded in bulk (MariaDB 10.11; LOAD DATA and the reader waited for one page for ever).
    pub(crate) fn is_loading(&self) -> bool {
        self.loading.load(Ordering::SeqCst)
    }

    /// Returns everything about both servers that stands against the plan, or is worth
    /// knowing. Changes nothing; uses the plan's administrator.
    pub async fn preflight(&self) -> Vec<Finding> {
        preflight::run(&self.link).await
    }

    /// Makes this process the one that acts at both servers: ends the sessions and logins
    /// of lower epochs and creates this one's.
    ///
    /// # Errors
    /// `SG0206` if a higher epoch acts there; else what connecting and creating give.
    pub async fn take_epoch(&self, epoch: Epoch) -> Outcome<()> {
        epoch::take(&self.link, epoch).await
    }

    /// Returns the effects by the step that uses them. `follow` and `reverse` name their
    /// streams themselves; all others ask the call for its way.
    pub fn effects(self: &Arc<Self>) -> ReplicaEffects {
        let shared = || Arc::clone(self);
        let some = |effect: Arc<dyn Effect>| Some(effect);
        ReplicaEffects {
            claim: some(Arc::new(effects::claim::Claim(shared()))),
            seed: some(Arc::new(effects::seed::Seed(shared()))),
            follow: some(Arc::new(effects::follow::Follow::forward(shared()))),
            reverse: some(Arc::new(effects::follow::Follow::back(shared()))),
            arm: some(Arc::new(effects::arm::Arm(shared()))),
            fence: some(Arc::new(effects::fence::Raise(shared()))),
            drain: some(Arc::new(effects::drain::Drain(shared()))),
            verify: some(Arc::new(effects::verify::Verify(shared()))),
            seal: some(Arc::new(effects::seal::Seal(shared()))),
            promote: some(Arc::new(effects::promote::Promote(shared()))),
            compare: some(Arc::new(effects::verify::Compare(shared()))),
            end: some(Arc::new(effects::end::End(shared()))),
        }
    }

    /// Returns the origin of samples of a kind.
    pub(crate) fn origin(&self, kind: &str) -> String {
        labelled(kind, self.link.names.label())
    }

    /// Remembers what a full comparison found.
    pub(crate) fn note(&self, compared: &Comparison) {
        let found = compared.differences.len() as u64;
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }

    /// Returns what the last full comparison of this process found.
    pub(crate) fn found(&self) -> Option<u64> {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the samplers: the lag of each direction, the readability and the clock of each
    /// side, what both have, and what the last comparison found.
    pub fn samplers(self: &Arc<Self>) -> Vec<Arc<dyn Sampler>> {
        let mut all: Vec<Arc<dyn Sampler>> = Vec::new();
        for side in [Side::Source, Side::Target] {
            all.push(Arc::new(sampler::Lag::new(Arc::clone(self), side)));
            all.push(Arc::new(sampler::Readable::new(Arc::clone(self), side)));
        }
        for side in [Side::Source, Side::Target] {
            all.push(Arc::new(measures::ClockOffset::new(Arc::clone(self), side)));
        }
        all.push(Arc::new(measures::Counts::new(Arc::clone(self))));
        all.push(Arc::new(measures::Differences { replica: Arc::clone(self) }));
        all
    }

    /// Returns whether a way back would lose nothing, and how far it has come.
    ///
    /// # Errors
    /// Only if the source cannot be asked; an unreadable target is part of the answer.
    pub async fn way_back(&self) -> Outcome<crate::WayBack> {
        way_back::look(&self.link).await
    }

    /// Returns what differs between both sides as they stand now: after the way back was
    /// closed, what was written at the target since. Uses the plan's administrator, for the
    /// run has no login there any more.
    ///
    /// # Errors
    /// If a server cannot be read.
    pub async fn delta(&self) -> Outcome<crate::DatabaseDelta> {
        crate::delta::delta(&self.link).await
    }

    /// Compares both sides while they are in use.
    ///
    /// No writer waits: the stream to the other side pauses at the moment of the write
    /// side's snapshots, and everything else happens in snapshots.
    ///
    /// # Errors
    /// `SG0216` if the other side does not come to the write side's moment in time.
    pub async fn compare_live(&self) -> Outcome<Comparison> {
        let deadline = Deadline::after(ALIGN);
        let write_side = self.write_side().await?;
        self.link.warm().await?;
        loop {
            match moment::aligned(&self.link, write_side, Deadline::after(STALL)).await {
                Ok(snapshots) => {
                    self.link.cool().await;
                    let compared = snapshots.compare(&self.link, Pace::Gentle).await?;
                    self.note(&compared);
                    return Ok(compared);
                }
                Err(fault)
                    if matches!(fault.code.as_str(), "SG0216" | "SG0226") && !deadline.over() =>
                {
                    // Lag grew for a moment, or another unit was in its cutover.
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Returns the side whose logins are open: the one that is written to.
    async fn write_side(&self) -> Outcome<Side> {
        let mut target = self.link.take(Side::Target).await?;
        let open =
            logins::planned(&self.link, &mut target).await?.iter().any(|(_, locked)| !locked);
        target.close().await;
        Ok(if open { Side::Target } else { Side::Source })
    }

    /// Ends the sessions that were kept ready for a pause: a unit at rest keeps none, or a
    /// fleet would use up a server's connections.
    pub async fn rest(&self) {
        self.link.cool().await;
    }

    /// Ends this process's own sessions: a fence that stands is released, snapshots are
    /// given up. Logins, claims and streams stay.
    pub async fn close(&self) {
        if let Some(fence) = self.fence.lock().await.take() {
            fence.release().await;
        }
        if let Some(snapshots) = self.snapshots.lock().await.take() {
            snapshots.close().await;
        }
        if let Some(wire) = self.promoting.lock().await.take() {
            wire.close().await;
        }
        self.armed.lock().await.take();
        self.link.cool().await;
    }
}
