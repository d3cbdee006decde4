//! Comparing two trees: every entry's kind, content by BLAKE3, mode, owner, time of change
//! and link target.
//!
//! Times of folders are not compared: they change with every excluded or temporary entry.
//! Access lists and extended attributes are carried but not compared.

use crate::exclude::Excludes;
use crate::{lock, walk};
use segue_model::{Side, Sides};
use segue_port::{Progress, ProgressSink};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Threads that read; each reads both sides.
const THREADS: usize = 2;
/// Differences kept; more are only counted.
const KEEP: usize = 10_000;
/// Progress is reported once in so many entries.
const REPORT_EVERY: u64 = 500;

/// In what two entries differ; the first that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It stands at this side only.
    OnlyAt(Side),
    /// File here, folder or link there.
    Kind,
    /// Link target.
    LinkTarget,
    /// Length in bytes.
    Size,
    /// Content, at the same length.
    Content,
    /// Mode bits.
    Mode,
    /// User or group.
    Owner,
    /// Time of change of a file.
    ModifiedTime,
    /// It could not be read, so nothing is known.
    Unreadable(String),
}

/// One path that is not equal on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The path below the root.
    pub path: PathBuf,
    /// In what.
    pub kind: Kind,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: ", self.path.display())?;
        match &self.kind {
            Kind::OnlyAt(side) => write!(f, "only at the {side}"),
            Kind::Kind => f.write_str("of another kind"),
            Kind::LinkTarget => f.write_str("another link target"),
            Kind::Size => f.write_str("another size"),
            Kind::Content => f.write_str("another content"),
            Kind::Mode => f.write_str("another mode"),
            Kind::Owner => f.write_str("another owner"),
            Kind::ModifiedTime => f.write_str("another time of change"),
            Kind::Unreadable(why) => write!(f, "unreadable: {why}"),
        }
    }
}

/// Result of a full comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Regular files compared.
    pub files: u64,
    /// Folders compared.
    pub folders: u64,
    /// Links and other entries compared.
    pub others: u64,
    /// Bytes hashed, counted once for both sides.
    pub bytes: u64,
    /// Number of differences.
    pub differing: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    /// Paths that were being changed at every look, so nothing can be said of them.
    pub in_motion: u64,
    /// Time it took, milliseconds.
    pub took_ms: u64,
    /// When it ended, by the boot clock, milliseconds.
    pub ended_boot_ms: u64,
}

impl Comparison {
    /// Returns it as the output of a step: `differences` is their number, `found` names
    /// the first of them.
    pub fn output(&self) -> Value {
        const NAMED: usize = 20;
        let found: Vec<_> = self.differences.iter().take(NAMED).map(ToString::to_string).collect();
        json!({
            "files": self.files, "folders": self.folders, "others": self.others,
            "bytes": self.bytes, "in_motion": self.in_motion, "took_ms": self.took_ms,
            "differences": self.differing, "found": found,
        })
    }
}

/// Both roots and what does not move.
pub(crate) struct Pair {
    pub(crate) roots: Sides<PathBuf>,
    pub(crate) excludes: std::sync::Arc<Excludes>,
}

/// Counters and findings shared by the reading threads.
#[derive(Default)]
struct Tally {
    files: AtomicU64,
    folders: AtomicU64,
    others: AtomicU64,
    bytes: AtomicU64,
    differing: AtomicU64,
    differences: Mutex<Vec<Difference>>,
    /// Folders to read, and the number of threads at work: none and none is the end.
    queue: Mutex<(Vec<PathBuf>, usize)>,
}

impl Pair {
    /// Compares everything. Blocks.
    pub(crate) fn compare(&self, expected: u64, progress: &dyn ProgressSink) -> Comparison {
        let tally = Tally::default();
        lock(&tally.queue).0.push(PathBuf::new());
        std::thread::scope(|threads| {
            for _ in 0..THREADS {
                threads.spawn(|| {
                    // On Linux this is the thread's niceness; live requests go first.
                    let _ = rustix::process::setpriority_process(None, 10);
                    self.work(&tally, expected, progress);
                });
            }
        });
        let mut differences = std::mem::take(&mut *lock(&tally.differences));
        differences.sort_by(|a, b| a.path.cmp(&b.path));
        Comparison {
            files: tally.files.into_inner(),
            folders: tally.folders.into_inner(),
            others: tally.others.into_inner(),
            bytes: tally.bytes.into_inner(),
            differing: tally.differing.into_inner(),
            differences,
            ..Comparison::default()
        }
    }

    fn work(&self, tally: &Tally, expected: u64, progress: &dyn ProgressSink) {
        loop {
            let next = {
                let mut queue = lock(&tally.queue);
                let next = queue.0.pop();
                if next.is_some() {
                    queue.1 += 1;
                } else if queue.1 == 0 {
                    return;
                }
                next
            };
            let Some(folder) = next else {
                // The other thread may still find folders.
                std::thread::sleep(std::time::Duration::from_millis(2));
                continue;
            };
            let found = self.folder(&folder, tally, expected, progress);
            let mut queue = lock(&tally.queue);
            queue.0.extend(found);
            queue.1 -= 1;
        }
    }

    /// Compares the entries of one folder; returns the folders below it that stand on both sides.
    fn folder(
        &self,
        folder: &Path,
        tally: &Tally,
        expected: u64,
        progress: &dyn ProgressSink,
    ) -> Vec<PathBuf> {
        let mut entries: BTreeMap<PathBuf, Sides<Option<Metadata>>> = BTreeMap::new();
        for side in [Side::Source, Side::Target] {
            match walk::list(self.roots.get(side), folder, &self.excludes) {
                Ok(list) => {
                    for (path, about) in list {
                        let both = entries.entry(path).or_insert_with(|| Sides::from_fn(|_| None));
                        *both.get_mut(side) = Some(about);
                    }
                }
                Err(e) => tally.differ(folder.to_owned(), Kind::Unreadable(e.to_string())),
            }
        }
        let mut below = Vec::new();
        for (path, about) in entries {
            let one = about.source.as_ref().or(about.target.as_ref());
            let count = match one {
                Some(about) if about.is_dir() => &tally.folders,
                Some(about) if about.is_file() => &tally.files,
                _ => &tally.others,
            };
            count.fetch_add(1, Relaxed);
            if count.load(Relaxed) % REPORT_EVERY == 0 && one.is_some_and(Metadata::is_file) {
                progress.report(Progress {
                    what: "compare files".into(),
                    done: count.load(Relaxed),
                    total: expected,
                    unit: "files",
                });
            }
            match self.judge(&path, &about, &mut |bytes| {
                tally.bytes.fetch_add(bytes, Relaxed);
            }) {
                Some(kind) => tally.differ(path, kind),
                None if one.is_some_and(Metadata::is_dir) => below.push(path),
                None => {}
            }
        }
        below
    }

    /// Compares one path as it is now; `None` if both sides are equal, or both have nothing.
    pub(crate) fn one(&self, path: &Path, bytes: &mut dyn FnMut(u64)) -> Option<Kind> {
        let mut about = Sides::from_fn(|_| None);
        for side in [Side::Source, Side::Target] {
            match self.roots.get(side).join(path).symlink_metadata() {
                Ok(found) => *about.get_mut(side) = Some(found),
                Err(e) if walk::gone(&e) => {}
                Err(e) => return Some(Kind::Unreadable(e.to_string())),
            }
        }
        self.judge(path, &about, bytes)
    }

    fn judge(
        &self,
        path: &Path,
        about: &Sides<Option<Metadata>>,
        bytes: &mut dyn FnMut(u64),
    ) -> Option<Kind> {
        let (source, target) = match (&about.source, &about.target) {
            (Some(source), Some(target)) => (source, target),
            (Some(_), None) => return Some(Kind::OnlyAt(Side::Source)),
            (None, Some(_)) => return Some(Kind::OnlyAt(Side::Target)),
            (None, None) => return None,
        };
        if kind(source) != kind(target) {
            return Some(Kind::Kind);
        }
        let full = Sides::from_fn(|side| self.roots.get(side).join(path));
        if source.is_symlink() {
            return match (full.source.read_link(), full.target.read_link()) {
                (Ok(a), Ok(b)) if a == b => owner(source, target),
                (Ok(_), Ok(_)) => Some(Kind::LinkTarget),
                (Err(e), _) | (_, Err(e)) => Some(Kind::Unreadable(e.to_string())),
            };
        }
        if source.is_file() {
            if source.len() != target.len() {
                return Some(Kind::Size);
            }
            bytes(source.len());
            match (digest(&full.source), digest(&full.target)) {
                (Ok(a), Ok(b)) if a == b => {}
                (Ok(_), Ok(_)) => return Some(Kind::Content),
                (Err(e), _) | (_, Err(e)) => return Some(Kind::Unreadable(e.to_string())),
            }
            if (source.mtime(), source.mtime_nsec()) != (target.mtime(), target.mtime_nsec()) {
                return Some(Kind::ModifiedTime);
            }
        }
        if source.mode() != target.mode() {
            return Some(Kind::Mode);
        }
        owner(source, target)
    }
}

impl Tally {
    fn differ(&self, path: PathBuf, kind: Kind) {
        self.differing.fetch_add(1, Relaxed);
        let mut differences = lock(&self.differences);
        if differences.len() < KEEP {
            differences.push(Difference { path, kind });
        }
    }
}

fn owner(a: &Metadata, b: &Metadata) -> Option<Kind> {
    ((a.uid(), a.gid()) != (b.uid(), b.gid())).then_some(Kind::Owner)
}

fn kind(about: &Metadata) -> (bool, bool, bool, bool, u64) {
    let kind = about.file_type();
    let device = kind.is_block_device() || kind.is_char_device();
    let number = if device { about.rdev() } else { 0 };
    (kind.is_dir(), kind.is_file(), kind.is_symlink(), kind.is_fifo(), number)
}

fn digest(path: &Path) -> io::Result<blake3::Hash> {
    // A file may have become a pipe or a link since it was looked at: wait for neither.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(hasher.finalize())
}
