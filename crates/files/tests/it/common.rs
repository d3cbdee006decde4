//! A pair of trees, calls as the executor would make them, and a writer that never rests.

use segue_files::{TreeReplica, TreeSettings};
use segue_model::event::{Attempt, Phase};
use segue_model::plan::TreePlan;
use segue_model::{Epoch, Fault, Side, Sides, What};
use segue_port::{Authority, Call, Effect, Facts, NoProgress, Observed};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) replica: Arc<TreeReplica>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(exclude: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for side in ["source", "target"] {
            fs::create_dir_all(dir.path().join(side).join("site")).unwrap();
        }
        let replica = TreeReplica::new(settings(dir.path(), exclude));
        Self { dir, replica }
    }

    pub(crate) fn source(&self, path: &str) -> PathBuf {
        self.dir.path().join("source/site").join(path)
    }

    pub(crate) fn target(&self, path: &str) -> PathBuf {
        self.dir.path().join("target/site").join(path)
    }

    /// Claims, seeds and follows, as the sync table does.
    pub(crate) async fn follow(&self) {
        let effects = self.replica.effects();
        for (step, effect) in [
            ("claim", effects.claim),
            ("seed", effects.seed),
            ("follow", effects.follow),
            ("reverse", effects.reverse),
        ] {
            run(&effect.unwrap(), &call(Phase::Sync, step)).await.unwrap();
        }
    }

    /// Runs the steps inside the pause up to promote.
    pub(crate) async fn cut_over(&self, phase: Phase) -> Result<(), Fault> {
        let effects = self.replica.effects();
        for (step, effect) in [
            ("arm", effects.arm),
            ("fence", effects.fence),
            ("drain", effects.drain),
            ("verify", effects.verify),
            ("seal", effects.seal),
            ("promote", effects.promote),
        ] {
            run(&effect.unwrap(), &call(phase, step)).await?;
        }
        Ok(())
    }

    /// Waits until the lag of `side` is known, as the gate before a cutover does: after a
    /// restart or a switch taken back a whole pass comes first.
    pub(crate) async fn lag_is_known(&self, side: Side) {
        let deadline = Instant::now() + Duration::from_secs(15);
        let lag = self.replica.samplers()[0].clone();
        loop {
            let samples = lag.sample(1).await.unwrap();
            if samples.iter().any(|sample| sample.what == What::FilesLagMs(side)) {
                return;
            }
            assert!(Instant::now() < deadline, "no lag of the {side} within 15 s");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until both trees are equal as another program sees them.
    pub(crate) async fn equal(&self) {
        let (source, target) = (self.source(""), self.target(""));
        until("the trees are equal", || differences(&source, &target).is_empty()).await;
    }
}

pub(crate) fn settings(dir: &Path, exclude: &[&str]) -> TreeSettings {
    TreeSettings {
        plan: TreePlan {
            name: "site".into(),
            roots: Sides { source: dir.join("source/site"), target: dir.join("target/site") },
            exclude: exclude.iter().map(|p| (*p).to_owned()).collect(),
        },
        run: format!("run-{}", dir.file_name().unwrap().to_string_lossy()).as_str().into(),
        unit: "shop".into(),
        state_dir: dir.join("state"),
    }
}

pub(crate) fn call(phase: Phase, step: &str) -> Call {
    Call {
        progress: Arc::new(NoProgress),
        authority: Authority {
            run: "run".into(),
            unit: "shop".into(),
            step: step.into(),
            attempt: Attempt { phase, number: 1 },
            epoch: Epoch(1),
        },
        prepared: Value::Null,
        facts: Arc::new(Facts::new()),
        time_allowed: Duration::from_secs(10),
    }
}

/// Runs an effect as the executor does: prepare, run, and observe must agree.
pub(crate) async fn run(effect: &Arc<dyn Effect>, call: &Call) -> Result<Value, Fault> {
    let prepared = effect.prepare(call).await?;
    let call = Call { prepared, ..call.clone() };
    let output = effect.run(&call).await?;
    let observed = effect.observe(&call).await?;
    assert!(!matches!(observed, Observed::Unknown(_)), "{observed:?}");
    Ok(output)
}

/// Everything that differs, found without any code of the product.
pub(crate) fn differences(a: &Path, b: &Path) -> Vec<String> {
    let (left, right) = (listing(a), listing(b));
    let mut found: Vec<String> = left.iter().filter(|l| !right.contains(l)).cloned().collect();
    found.extend(right.into_iter().filter(|r| !left.contains(r)));
    found
}

fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(about) = path.symlink_metadata() else { continue };
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let content = if about.is_dir() {
                folders.push(path);
                "folder".to_owned()
            } else if about.is_symlink() {
                format!("link to {:?}", fs::read_link(&path).ok())
            } else {
                let (s, ns, links) = (about.mtime(), about.mtime_nsec(), about.nlink());
                format!("{:?} {s}.{ns} x{links}", fs::read(&path).unwrap_or_default())
            };
            lines.push(format!(
                "{name}: {:o} {}:{} {content}",
                about.mode(),
                about.uid(),
                about.gid()
            ));
        }
    }
    lines.sort();
    lines
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 15 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn write(path: impl AsRef<Path>, content: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Creates, rewrites, renames and deletes without rest until stopped, as a site does.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Writer {
    pub(crate) fn start(root: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut n = 0;
            while !told.load(Ordering::SeqCst) {
                n += 1;
                disturb(&root, n);
                std::thread::sleep(Duration::from_millis(3));
            }
            n
        });
        Self { stop, thread: Some(thread) }
    }

    pub(crate) fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

fn disturb(root: &Path, n: u64) {
    let folder = root.join(format!("live/{}/{}", n % 5, n % 3));
    match n % 10 {
        // A session rewritten in place, always with the same length.
        0..4 => write(root.join(format!("live/session{}", n % 4)), &format!("{n:08}")),
        // An upload: written aside, then renamed.
        4..7 => {
            write(folder.join("upload.tmp"), &format!("upload {n}"));
            fs::rename(folder.join("upload.tmp"), folder.join(format!("upload{n}"))).unwrap();
        }
        // A folder with content, moved, and one deleted.
        7 => {
            write(root.join(format!("live/new{n}/a/b/file")), "deep");
            fs::rename(root.join(format!("live/new{n}")), root.join(format!("live/moved{n}")))
                .unwrap();
        }
        8 => {
            let _ = fs::remove_dir_all(root.join(format!("live/moved{}", n.saturating_sub(11))));
        }
        _ => {
            let link = root.join(format!("live/link{}", n % 4));
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(format!("session{}", n % 3), link).unwrap();
        }
    }
}
