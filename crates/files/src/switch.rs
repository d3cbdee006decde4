//! The steps inside the pause, and what prepares them.

use crate::feed::Mode;
use crate::mover::Pass;
use crate::replica::{Flushed, TreeReplica};
use crate::{blocking, boot_ms, lock};
use segue_model::event::Attempt;
use segue_model::{EffectLeft, Fault, FaultKind, Side};
use segue_port::{Call, NoProgress, Outcome};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Time in the pause for comparing what was carried before the drain; usually nothing is left,
/// because the follower compares behind itself.
const VERIFY_EARLIER: Duration = Duration::from_millis(150);
/// Paths named in a fault or an output.
const NAMED: usize = 5;

/// The write side was drained, and from then on nothing may change there.
#[derive(Debug, Clone)]
pub(crate) struct Quiet {
    pub(crate) attempt: Attempt,
    pub(crate) output: Value,
    drained: Vec<PathBuf>,
    pub(crate) verified: Option<Value>,
    pub(crate) sealed: bool,
}

impl TreeReplica {
    /// Carries everything that waits, and only that; from then on nothing is carried.
    pub(crate) async fn drain(&self, call: &Call) -> Outcome<Value> {
        let from = call.authority.way().from();
        if self.write_side() != Some(from) {
            return Err(self.not_following(from));
        }
        let began = Instant::now();
        self.paused.store(true, Ordering::SeqCst);
        let worked = tokio::time::timeout(call.time_allowed, self.drain_all(from, call)).await;
        let worked = worked.unwrap_or_else(|_| {
            let cause = format!("not within {} ms", call.time_allowed.as_millis());
            Err(self.not_drained(FaultKind::Timeout, cause))
        });
        let drained = match worked {
            Ok(drained) => drained,
            Err(fault) => {
                // The executor may take this for nothing done and never undo it.
                self.end_quiet();
                return Err(fault);
            }
        };
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let output = json!({
            "paths": drained.len(),
            "took_ms": took_ms,
            "drained_boot_ms": boot_ms(),
        });
        *lock(&self.quiet) = Some(Quiet {
            attempt: call.authority.attempt,
            output: output.clone(),
            drained: drained.into_iter().collect(),
            verified: None,
            sealed: false,
        });
        Ok(output)
    }

    async fn drain_all(&self, from: Side, call: &Call) -> Outcome<BTreeSet<PathBuf>> {
        let limits = [call.time_allowed; 2];
        // What the follower is carrying at this moment is part of the drain, too.
        let mut drained = BTreeSet::from_iter(self.feed(from).dirty_paths());
        loop {
            self.feed(from).collect().await?;
            if self.feed(from).wants_whole() {
                let cause = "changes were missed, and the whole tree is still to be read";
                return Err(self.not_drained(FaultKind::Busy, cause.into()));
            }
            match self.flush(from, "drain", limits, call.progress.as_ref()).await? {
                Flushed::Nothing => return Ok(drained),
                Flushed::Paths(paths) => drained.extend(paths),
                Flushed::Tree(_) => {}
            }
        }
    }

    fn not_drained(&self, kind: FaultKind, cause: String) -> Fault {
        Fault::new("SG0411", kind, self.op("drain"), cause)
            .leaving(EffectLeft::None)
            .hint("wait until the lag of the files is small, then try again")
    }

    /// Lets the follower carry again.
    pub(crate) fn end_quiet(&self) {
        *lock(&self.quiet) = None;
        self.paused.store(false, Ordering::SeqCst);
    }

    /// Returns the quiet of this attempt; a restart since the drain ended it.
    fn quiet_of(&self, call: &Call, verb: &str) -> Outcome<Quiet> {
        let quiet = lock(&self.quiet).clone().filter(|q| q.attempt == call.authority.attempt);
        quiet.ok_or_else(|| {
            let cause = "nobody has watched it without a break since it was drained";
            Fault::new("SG0412", FaultKind::Conflict, self.op(verb), cause)
                .hint("withdraw and begin the cutover again")
        })
    }

    /// Compares what was carried in the drain, and of what was carried before it and not
    /// compared since as much as [`VERIFY_EARLIER`] allows.
    pub(crate) async fn verify(&self, call: &Call) -> Outcome<Value> {
        let quiet = self.quiet_of(call, "verify")?;
        let (earlier, more) = self.feed(call.authority.way().from()).carried();
        let must: BTreeSet<PathBuf> = quiet.drained.into_iter().collect();
        let earlier: Vec<PathBuf> = earlier.into_iter().filter(|p| !must.contains(p)).collect();
        let until = Instant::now() + VERIFY_EARLIER.min(call.time_allowed / 2);
        let pair = self.pair.clone();
        let (checked, unchecked, bytes, differing) = blocking(move || {
            let (mut checked, mut bytes, mut differing) = (0_u64, 0_u64, Vec::new());
            let mut paths =
                must.iter().map(|p| (p, true)).chain(earlier.iter().map(|p| (p, false)));
            for (path, required) in paths.by_ref() {
                if !required && Instant::now() >= until {
                    break;
                }
                checked += 1;
                if let Some(kind) = pair.one(path, &mut |n| bytes += n) {
                    differing.push(crate::Difference { path: path.clone(), kind });
                }
            }
            let unchecked = (must.len() + earlier.len()) as u64 - checked;
            Ok((checked, unchecked, bytes, differing))
        })
        .await?;
        if !differing.is_empty() {
            let some: Vec<String> = differing.iter().take(NAMED).map(ToString::to_string).collect();
            let cause = format!("{} paths differ: {}", differing.len(), some.join("; "));
            return Err(Fault::new("SG0413", FaultKind::Conflict, self.op("verify"), cause)
                .hint("see who writes at the other side, compare the whole tree, then try again"));
        }
        let mut output = json!({ "checked": checked, "unchecked": unchecked, "bytes": bytes });
        if more {
            output["not_provable"] =
                json!(["the whole tree was read again since the last full comparison"]);
        }
        if let Some(quiet) = lock(&self.quiet).as_mut() {
            quiet.verified = Some(output.clone());
        }
        Ok(output)
    }

    /// Makes sure that nothing was written since the drain.
    pub(crate) async fn seal(&self, call: &Call) -> Outcome<Value> {
        self.quiet_of(call, "seal")?;
        let feed = self.feed(call.authority.way().from());
        feed.collect().await?;
        let late = feed.dirty_paths();
        if !late.is_empty() || feed.wants_whole() {
            let some: Vec<String> =
                late.iter().take(NAMED).map(|p| format!("`{}`", p.display())).collect();
            let cause = format!(
                "{} paths changed after the drain, so somebody writes around the fronts: {}",
                late.len(),
                some.join(", ")
            );
            return Err(Fault::new("SG0414", FaultKind::Conflict, self.op("seal"), cause)
                .hint("find that writer, add it to the plan's workers, then try again"));
        }
        if let Some(quiet) = lock(&self.quiet).as_mut() {
            quiet.sealed = true;
        }
        Ok(json!({ "changed_since_drain": 0 }))
    }

    /// Gets the way back ready: watches the side that will be the write side, writes down what
    /// stands at the target, and reads in the other direction all that a real pass would read.
    pub(crate) async fn arm(&self, call: &Call, prove: bool) -> Outcome<Value> {
        let to = call.authority.way().to();
        if self.feed(to).mode() == Some(Mode::Active) {
            // The switch is done already; this is a repetition after a crash.
            return Ok(json!({ "already": true }));
        }
        let folders = self.feed(to).start(Mode::Standby).await?;
        if !prove {
            return Ok(json!({ "folders": folders }));
        }
        self.writable(to.other())?;
        let known = self.note_target().await?;
        let pass = Pass {
            from: to,
            delete: false,
            rehearse: true,
            step: "arm",
            limit: call.time_allowed,
            progress: &NoProgress,
        };
        self.mover.whole(pass).await?;
        // What was copied so far must be on disk before anybody relies on it.
        let root = self.root(to).to_owned();
        blocking(move || {
            sync_disk(&root);
            Ok(())
        })
        .await?;
        Ok(
            json!({ "folders": folders, "known_paths": known, "way_back": "read in full and writable" }),
        )
    }

    fn writable(&self, side: Side) -> Outcome<()> {
        let root = self.root(side);
        rustix::fs::access(root, rustix::fs::Access::WRITE_OK).map_err(|e| {
            let op = format!("prove the way back into `{}`", root.display());
            Fault::new("SG0417", FaultKind::Denied, op, e)
                .hint("make it writable for the controller; without it nothing can come back")
        })
    }

    /// Exchanges the sides: what changes at `to` from now on is carried to the other side.
    pub(crate) async fn promote(&self, call: &Call) -> Outcome<Value> {
        let way = call.authority.way();
        let (from, to) = (way.from(), way.to());
        if self.write_side() == Some(to) {
            return Ok(json!({ "write_side": to, "already": true }));
        }
        self.stop_flow().await;
        let watched =
            self.feed(from).mode() == Some(Mode::Active) && !self.feed(from).wants_whole();
        if watched {
            self.feed(from).collect().await?;
        }
        let late = self.feed(from).dirty_paths();
        self.feed(to).start(Mode::Standby).await?;
        self.feed(to).activate().await?;
        self.feed(from).stand_by();
        *lock(&self.quiet) = None;
        self.let_flow(to);
        let root = self.root(to).to_owned();
        tokio::task::spawn_blocking(move || sync_disk(&root));
        let mut output = json!({ "write_side": to, "late_changes": late.len() });
        if !late.is_empty() {
            let some: Vec<String> =
                late.iter().take(NAMED).map(|p| p.display().to_string()).collect();
            tracing::warn!(tree = self.name(), ?some, "written at the {from} after the seal");
            output["late_paths"] = json!(some);
        }
        if !watched {
            output["not_provable"] =
                json!(["nobody watched the tree for a moment between drain and promote"]);
        }
        Ok(output)
    }

    /// Takes the promotion back, if nothing was written since.
    pub(crate) async fn demote(&self, call: &Call) -> Outcome<()> {
        let way = call.authority.way();
        let (from, to) = (way.from(), way.to());
        if self.write_side() != Some(to) {
            return Ok(());
        }
        self.feed(to).collect().await?;
        let written =
            !self.feed(to).dirty_paths().is_empty() || !self.feed(to).carried().0.is_empty();
        if written || self.feed(to).wants_whole() {
            let cause = format!("the {to} has been written since");
            return Err(Fault::new(
                "SG0418",
                FaultKind::Conflict,
                self.op("take back promotion of"),
                cause,
            )
            .leaving(EffectLeft::Done)
            .hint("fail back instead: it brings those writes home"));
        }
        self.stop_flow().await;
        self.feed(from).start(Mode::Standby).await?;
        self.feed(from).activate().await?;
        self.feed(to).stand_by();
        // Nobody knows what happened there meanwhile.
        self.feed(from).want_whole();
        self.let_flow(from);
        Ok(())
    }

    /// Watches `from` before the last whole pass over it, then follows it.
    pub(crate) async fn follow(&self, call: &Call) -> Outcome<Value> {
        let from = call.authority.way().from();
        self.claim.require(self.root(from.other()))?;
        if self.write_side() == Some(from.other()) {
            let cause = format!("the write side is the {}", from.other());
            return Err(Fault::new("SG0408", FaultKind::Conflict, self.op("follow"), cause));
        }
        self.stop_flow().await;
        let folders = self.feed(from).start(Mode::Active).await?;
        self.feed(from).want_whole();
        let limits = [call.time_allowed; 2];
        let until = Instant::now() + call.time_allowed;
        let mut moved = json!(null);
        while self.feed(from).wants_whole() && Instant::now() < until {
            if let Flushed::Tree(last) =
                self.flush(from, "follow", limits, call.progress.as_ref()).await?
            {
                moved = json!(last);
            }
        }
        self.let_flow(from);
        Ok(json!({ "folders": folders, "last_pass": moved }))
    }

    /// Copies the tree while it is live, until a pass finds little to do.
    pub(crate) async fn seed(&self, call: &Call) -> Outcome<Value> {
        const PASSES: u32 = 5;
        let from = call.authority.way().from();
        // Deleting is right only in a copy of this run's own.
        self.claim.require(self.root(from.other()))?;
        if self.write_side().is_some_and(|side| side != from) {
            let cause = format!("the write side is the {}", from.other());
            return Err(Fault::new("SG0408", FaultKind::Conflict, self.op("copy"), cause));
        }
        let began = Instant::now();
        let mut passes = Vec::new();
        for _ in 0..PASSES {
            let limit =
                call.time_allowed.saturating_sub(began.elapsed()).max(Duration::from_secs(1));
            let progress = call.progress.as_ref();
            let pass = Pass { from, delete: true, rehearse: false, step: "seed", limit, progress };
            let moved = self.copy(pass).await?;
            let little = moved.files + moved.deleted <= 100.max(moved.entries / 100);
            passes.push(moved);
            if little {
                break;
            }
        }
        Ok(json!({ "passes": passes }))
    }
}

/// Writes a file system's pages to disk. A failure is the disk's, which logs it itself.
fn sync_disk(root: &std::path::Path) {
    if let Err(e) = std::fs::File::open(root).and_then(|f| Ok(rustix::fs::syncfs(f)?)) {
        tracing::warn!(root = %root.display(), error = %e, "copied files may not be on disk yet");
    }
}
