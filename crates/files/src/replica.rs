//! One tree on both sides: who watches, who carries, in which direction.

use crate::batch::Scene;
use crate::claim::Claim;
use crate::compare::{Comparison, Pair};
use crate::dirty::Load;
use crate::exclude::Excludes;
use crate::feed::{Feed, Mode};
use crate::links::Links;
use crate::mover::{Moved, Mover, Pass};
use crate::rsync::Rsync;
use crate::seen::Seen;
use crate::switch::Quiet;
use crate::{blocking, effects, lock, preflight, samplers};
use segue_model::plan::TreePlan;
use segue_model::{Fault, FaultKind, Finding, RunId, Side, Sides, UnitName};
use segue_port::{NoProgress, Outcome, ProgressSink, ReplicaEffects, Sampler};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinHandle;

/// Time between two batches while following.
const EVERY: Duration = Duration::from_millis(150);
/// Longest time between two batches, on a machine where each takes long.
const EVERY_MAX: Duration = Duration::from_millis(600);
/// Time before a batch that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Time a batch may take while following.
const BATCH_LIMIT: Duration = Duration::from_secs(600);
/// Time a whole pass may take while following.
const WHOLE_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// What a [`TreeReplica`] is made from.
#[derive(Debug, Clone)]
pub struct TreeSettings {
    /// The tree.
    pub plan: TreePlan,
    /// The run.
    pub run: RunId,
    /// The unit.
    pub unit: UnitName,
    /// A folder of the run directory for what must outlive the controller.
    pub state_dir: PathBuf,
}

/// A tree that is copied, followed, switched and compared.
pub struct TreeReplica {
    pub(crate) settings: TreeSettings,
    pub(crate) claim: Claim,
    pub(crate) mover: Arc<dyn Mover>,
    pub(crate) pair: Arc<Pair>,
    pub(crate) feeds: Sides<Arc<Feed>>,
    pub(crate) seen: Arc<Mutex<Seen>>,
    links: Arc<Mutex<Links>>,
    /// Held while anything is carried: never two passes over the same tree.
    carrying: AsyncMutex<()>,
    /// Set from drain on: nothing is carried but by a step.
    pub(crate) paused: AtomicBool,
    flow: Mutex<Option<JoinHandle<()>>>,
    pub(crate) quiet: Mutex<Option<Quiet>>,
    pub(crate) compared: Mutex<Option<Comparison>>,
    /// Held while a full comparison runs.
    pub(crate) comparing: AsyncMutex<()>,
    me: Weak<Self>,
}

/// What one flush carried.
#[derive(Debug)]
pub(crate) enum Flushed {
    Nothing,
    Paths(Vec<PathBuf>),
    Tree(Moved),
}

impl TreeReplica {
    /// Builds the replica with rsync as its mover. Touches nothing.
    pub fn new(settings: TreeSettings) -> Arc<Self> {
        let TreeSettings { plan, run, unit, .. } = &settings;
        let mark = format!("{run}/{unit}/files:{}/", plan.name);
        let mover = Arc::new(Rsync::new(plan.clone(), mark));
        Self::with_mover(settings, mover)
    }

    /// Builds the replica with another mover.
    pub fn with_mover(settings: TreeSettings, mover: Arc<dyn Mover>) -> Arc<Self> {
        let plan = &settings.plan;
        let excludes = Arc::new(Excludes::new(&plan.exclude));
        let root = |side| plan.roots.get(side).clone();
        let feeds = Sides::from_fn(|s| Arc::new(Feed::new(s, root(s), excludes.clone())));
        let seen = settings.state_dir.join(format!("files.{}.seen", plan.name));
        let claim = Claim {
            run: settings.run.clone(),
            unit: settings.unit.clone(),
            tree: plan.name.clone(),
        };
        let pair = Arc::new(Pair { roots: plan.roots.clone(), excludes });
        Arc::new_cyclic(|me| Self {
            claim,
            mover,
            pair,
            feeds,
            seen: Arc::new(Mutex::new(Seen::open(seen))),
            links: Arc::default(),
            carrying: AsyncMutex::default(),
            paused: AtomicBool::new(false),
            flow: Mutex::default(),
            quiet: Mutex::default(),
            compared: Mutex::default(),
            comparing: AsyncMutex::default(),
            me: me.clone(),
            settings,
        })
    }

    /// Returns the tree's name in the plan.
    pub fn name(&self) -> &str {
        &self.settings.plan.name
    }

    /// Returns the effects of every step.
    pub fn effects(&self) -> ReplicaEffects {
        self.me.upgrade().map(effects::all).unwrap_or_default()
    }

    /// Counts the bytes that the tree takes on the disk of `side`; 0 where it is not there.
    pub(crate) fn taken_bytes(&self, side: Side) -> std::io::Result<u64> {
        let root = self.root(side);
        if !root.is_dir() {
            return Ok(0);
        }
        let mut bytes = 0_u64;
        crate::walk::each(root, &Excludes::new(&self.settings.plan.exclude), &mut |_, about| {
            bytes = bytes.saturating_add(about.blocks() * 512);
        })?;
        Ok(bytes)
    }

    /// Returns the samplers: `FilesLagMs` of the write side, `FilesDifferences` of the last
    /// full comparison, `TargetDiskFreeBytes`.
    pub fn samplers(&self) -> Vec<Arc<dyn Sampler>> {
        self.me.upgrade().map(samplers::all).unwrap_or_default()
    }

    /// Checks everything that can be known before anything is touched.
    pub async fn preflight(&self) -> Vec<Finding> {
        preflight::check(self).await
    }

    /// Rebuilds watches and direction after a restart, whatever the former controller did:
    /// watches both sides, then carries in the background from `write_side`, beginning with
    /// a whole pass, because changes may have been missed. Until that pass is done there is
    /// no lag sample.
    ///
    /// # Errors
    /// `SG0401` if this run does not hold the tree, `SG0405`-`SG0407` if it cannot be watched.
    pub async fn resume_following(&self, write_side: Side) -> Outcome<()> {
        for side in [Side::Source, Side::Target] {
            self.claim.require(self.root(side))?;
        }
        self.stop_flow().await;
        self.mover.quench("flow").await?;
        self.feed(write_side).start(Mode::Active).await?;
        self.feed(write_side.other()).start(Mode::Standby).await?;
        self.feed(write_side).want_whole();
        self.let_flow(write_side);
        Ok(())
    }

    /// Returns the side that is followed as the write side, if any.
    pub fn write_side(&self) -> Option<Side> {
        [Side::Source, Side::Target]
            .into_iter()
            .find(|&s| self.feed(s).mode() == Some(Mode::Active))
    }

    /// Ends both watches and everything that carries. The trees stay as they are.
    pub async fn stop(&self) {
        self.stop_flow().await;
        self.feeds.source.stop();
        self.feeds.target.stop();
    }

    pub(crate) fn root(&self, side: Side) -> &Path {
        self.settings.plan.roots.get(side)
    }

    pub(crate) fn feed(&self, side: Side) -> &Arc<Feed> {
        self.feeds.get(side)
    }

    /// Names the tree in faults.
    pub(crate) fn op(&self, verb: &str) -> String {
        format!("{verb} tree `{}`", self.name())
    }

    /// Carries in the background from this side from now on.
    pub(crate) fn let_flow(&self, from: Side) {
        self.paused.store(false, Ordering::SeqCst);
        let task = tokio::spawn(flow(self.me.clone(), self.feed(from).clone(), from));
        if let Some(former) = lock(&self.flow).replace(task) {
            former.abort();
        }
    }

    /// Ends the background task and whatever it had begun.
    pub(crate) async fn stop_flow(&self) {
        let task = lock(&self.flow).take();
        if let Some(task) = task {
            task.abort();
            // An aborted task is what was asked for.
            let _ = task.await;
        }
    }

    /// Carries what waits at `from`, at most one batch or one whole pass.
    ///
    /// # Errors
    /// As [`Mover::paths`] and [`Feed::collect`]; what did not arrive waits again.
    pub(crate) async fn flush(
        &self,
        from: Side,
        step: &str,
        limits: [Duration; 2],
        progress: &dyn ProgressSink,
    ) -> Outcome<Flushed> {
        let _one = self.carrying.lock().await;
        let feed = self.feed(from);
        feed.collect().await?;
        let taken = feed.take();
        let pass = Pass { from, delete: false, rehearse: false, step, limit: limits[0], progress };
        let flushed = match &taken.load {
            Load::Nothing => Flushed::Nothing,
            Load::Tree(_) => {
                Flushed::Tree(self.carry_tree(Pass { limit: limits[1], ..pass }).await?)
            }
            Load::Paths(paths) => {
                let list = self.scene(from, Some(paths.clone())).await?;
                // Before they are carried: what is at the other side must be known here.
                lock(&self.seen).add(paths.iter().chain(&list).map(PathBuf::as_path))?;
                if !list.is_empty() {
                    self.mover.paths(pass, &list).await?;
                }
                Flushed::Paths(paths.clone())
            }
        };
        taken.arrived();
        Ok(flushed)
    }

    /// Makes the other side equal. Towards the source only deletes what this run has seen.
    async fn carry_tree(&self, pass: Pass<'_>) -> Outcome<Moved> {
        let delete = pass.from == Side::Source;
        if !delete {
            self.note_target().await?;
        }
        let moved = self.mover.whole(Pass { delete, ..pass }).await?;
        if !delete {
            let surplus = self.scene(pass.from, None).await?;
            if !surplus.is_empty() {
                self.mover.paths(pass, &surplus).await?;
            }
        }
        Ok(moved)
    }

    /// Writes down what stands at the target. Returns the number of its entries.
    pub(crate) async fn note_target(&self) -> Outcome<usize> {
        let (seen, pair) = (self.seen.clone(), self.pair.clone());
        blocking(move || lock(&seen).add_tree(&pair.roots.target, &pair.excludes)).await
    }

    /// Copies everything from `pass.from` without looking at what changed.
    pub(crate) async fn copy(&self, pass: Pass<'_>) -> Outcome<Moved> {
        let _one = self.carrying.lock().await;
        self.carry_tree(pass).await
    }

    /// Returns what a mover is to be given: for these changes, or, without any, to delete
    /// what is surplus.
    async fn scene(&self, from: Side, changed: Option<Vec<PathBuf>>) -> Outcome<Vec<PathBuf>> {
        let (pair, links, seen) = (self.pair.clone(), self.links.clone(), self.seen.clone());
        blocking(move || {
            let seen = lock(&seen);
            let scene = Scene {
                from: pair.roots.get(from),
                to: pair.roots.get(from.other()),
                excludes: &pair.excludes,
                deletable: (from == Side::Target).then_some(&*seen),
            };
            match changed {
                Some(changed) => scene.list(changed, &mut lock(&links)),
                None => scene.surplus(),
            }
        })
        .await
    }

    pub(crate) fn not_following(&self, side: Side) -> Fault {
        Fault::new(
            "SG0408",
            FaultKind::Invalid,
            self.op("drain"),
            format!("the {side} is not followed as the write side"),
        )
        .hint("let the controller resume following, then try again")
    }
}

impl Drop for TreeReplica {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.flow).take() {
            task.abort();
        }
    }
}

/// Carries what changes, batch after batch.
async fn flow(replica: Weak<TreeReplica>, feed: Arc<Feed>, from: Side) {
    let mut wait = EVERY;
    loop {
        // The time-out only makes a missed bell harmless.
        let _ = tokio::time::timeout(AGAIN, feed.news.notified()).await;
        tokio::time::sleep(wait).await;
        let Some(replica) = replica.upgrade() else { return };
        if replica.paused.load(Ordering::SeqCst) {
            continue;
        }
        let begun = Instant::now();
        match replica.flush(from, "flow", [BATCH_LIMIT, WHOLE_LIMIT], &NoProgress).await {
            Ok(Flushed::Nothing) => wait = EVERY,
            // Half the time at most is spent carrying; the machine serves requests too.
            Ok(_) => wait = begun.elapsed().clamp(EVERY, EVERY_MAX),
            Err(fault) => {
                tracing::warn!(%fault, tree = replica.name(), "changes could not be carried; trying again");
                wait = AGAIN;
                continue;
            }
        }
        if let Err(fault) = replica.check_behind(from).await {
            tracing::warn!(%fault, tree = replica.name(), "carried files could not be compared");
        }
    }
}
