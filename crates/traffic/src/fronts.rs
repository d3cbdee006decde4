//! All fronts of a unit.

use crate::link::Link;
use crate::loud::Loud;
use futures_util::future::join_all;
use segue_front::control::{Hello, HoldId, HoldStatus, Reply, Request, Running};
use segue_model::event::Attempt;
use segue_model::plan::{FrontPlan, Policy, UnitPlan};
use segue_model::{Epoch, Fault, FaultKind, RunId, Side};
use segue_port::Authority;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What the fronts of a unit need to know.
pub struct FrontSettings {
    /// The unit.
    pub unit: UnitPlan,
    /// What the operator allows.
    pub policy: Arc<Policy>,
    /// The run.
    pub run: RunId,
    /// The program that runs a front: `<program> front ...`.
    pub program: PathBuf,
}

/// The fronts of a unit and the hold they are under.
pub struct Fronts {
    pub(crate) settings: FrontSettings,
    pub(crate) links: Vec<Arc<Link>>,
    /// Renews the present hold; dropped when it is released or sealed.
    pub(crate) renewal: Mutex<Option<tokio::task::AbortHandle>>,
    /// Epoch of the lease, told by [`Fronts::take_epoch`].
    epoch: AtomicU64,
}

impl Fronts {
    /// Builds the fronts; touches nothing.
    pub fn new(settings: FrontSettings) -> Arc<Self> {
        let unit = &settings.unit;
        let link = |plan: &FrontPlan| Arc::new(Link::new(plan.clone(), unit.name.clone()));
        let links = unit.fronts.iter().map(link).collect();
        Arc::new(Self { settings, links, renewal: Mutex::new(None), epoch: AtomicU64::new(0) })
    }

    /// Tells the lease's number: every front that answers refuses older ones from now on.
    ///
    /// # Errors
    /// If a front belongs to another run or has seen a newer epoch. A front that does
    /// not run yet is claimed when it is inserted.
    pub async fn take_epoch(&self, epoch: Epoch) -> Result<(), Fault> {
        self.epoch.store(epoch.0, Ordering::Relaxed);
        let run = self.settings.run.clone();
        for link in &self.links {
            if link.hello().await.is_ok() {
                link.call(&Request::Claim { run: run.clone(), epoch }).await?;
            }
        }
        Ok(())
    }

    /// Returns the epoch last told.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }

    /// Returns the state of every front.
    pub(crate) async fn hellos(&self) -> Vec<(Arc<Link>, Result<Hello, Fault>)> {
        let all =
            self.links.iter().map(|link| async move { (Arc::clone(link), link.hello().await) });
        join_all(all).await
    }

    /// Names the requests of the unit that run now and count as slow.
    ///
    /// # Errors
    /// If a front does not answer: then it is unknown whether one runs.
    pub async fn slow_requests(&self, slow_paths: &[String]) -> Result<Vec<String>, Fault> {
        Ok(self.known_slow(slow_paths).await?.named())
    }

    /// Returns the requests of the unit that run now and count as slow.
    pub(crate) async fn known_slow(&self, slow_paths: &[String]) -> Result<Loud, Fault> {
        let ask = Request::WaitIdle { unit: self.settings.unit.name.clone(), timeout_ms: 0 };
        let known = |r: &Running| slow_paths.iter().any(|path| r.path.starts_with(path));
        let mut slow = Loud::default();
        for link in &self.links {
            if let Reply::Busy { running, .. } = link.call_aside(&ask).await? {
                let running: Vec<_> = running.into_iter().filter(known).collect();
                let count = running.len();
                if count > 0 {
                    slow.add(running, count);
                }
            }
        }
        Ok(slow)
    }

    /// Starts again every front that should run and does not: one that has a route of the
    /// unit. Its last routes stand on disk, so it comes up as it was, for other units too.
    pub async fn tend(&self) {
        for (link, hello) in self.hellos().await {
            let Err(fault) = hello else { continue };
            let unit = &self.settings.unit.name;
            if fault.kind != FaultKind::Unreachable
                || !link.is_ours()
                || !link.plan.state.exists()
                || !segue_front::has_route(&link.plan.state, unit)
            {
                continue;
            }
            tracing::warn!(front = link.plan.name, %fault, "front is gone: starting it again");
            if let Err(fault) = self.ensure(&link).await {
                tracing::error!(front = link.plan.name, %fault, "front does not start");
                continue;
            }
            let claim = Request::Claim { run: self.settings.run.clone(), epoch: self.epoch() };
            if let Err(fault) = link.call(&claim).await {
                tracing::error!(front = link.plan.name, %fault, "front refuses the claim");
            }
        }
    }

    /// Returns whether requests that `front` sends to `side` pass another front of the
    /// unit: one that took over the very port where the side's application is reached.
    pub(crate) fn relays(&self, front: &FrontPlan, side: Side) -> bool {
        self.settings.unit.relays(front, side)
    }

    /// Says whether the front of this name stands on the address of `side`.
    pub(crate) fn stands_at(&self, name: &str, side: Side) -> bool {
        self.settings.unit.fronts.iter().any(|front| front.name == name && front.side == side)
    }
}

/// Returns the name of an attempt's hold: `<run>-<phase>-<number>`.
pub(crate) fn hold_id(run: &RunId, attempt: Attempt) -> HoldId {
    HoldId(format!("{run}-{}-{}", attempt.phase.as_str(), attempt.number))
}

/// Returns the hold of the attempt an authority speaks for.
pub(crate) fn hold_of(authority: &Authority) -> HoldId {
    hold_id(&authority.run, authority.attempt)
}

/// Tells whether a status is this very hold, leased or sealed.
pub(crate) fn is_hold(status: &HoldStatus, wanted: &HoldId) -> bool {
    match status {
        HoldStatus::Leased { hold_id, .. } | HoldStatus::Sealed { hold_id } => hold_id == wanted,
        HoldStatus::Open | HoldStatus::Releasing => false,
    }
}
