//! inotify on every folder of a tree.
//!
//! A watch stands on a folder's inode, not on its path, so the table of paths follows
//! every rename. Order makes it complete: a folder is watched first and listed afterwards,
//! so what is created in between is found by the one or the other.

use crate::exclude::Excludes;
use crate::walk;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes read at once: some thousand events.
const BUFFER: usize = 64 * 1024;

/// What a read of the queue found.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Changed paths relative to the root, repeats included.
    pub(crate) paths: Vec<PathBuf>,
    /// Events were lost.
    pub(crate) overflowed: bool,
}

/// The watches on one tree.
pub(crate) struct TreeWatch {
    queue: OwnedFd,
    root: PathBuf,
    excludes: Arc<Excludes>,
    by_watch: HashMap<i32, PathBuf>,
    by_path: BTreeMap<PathBuf, i32>,
}

struct Raw {
    watch: i32,
    flags: ReadFlags,
    name: Option<OsString>,
}

impl TreeWatch {
    /// Watches every folder below `root` that is not excluded. Blocks for the length of a walk.
    ///
    /// # Errors
    /// `SG0405` if the limit of watches is reached, `SG0406` if a folder cannot be watched.
    pub(crate) fn open(root: &Path, excludes: Arc<Excludes>) -> Outcome<Self> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|e| cannot_watch(root, e))?;
        let (by_watch, by_path) = (HashMap::new(), BTreeMap::new());
        let mut watch = Self { queue, root: root.to_owned(), excludes, by_watch, by_path };
        watch.add_below(Path::new(""), None)?;
        if watch.by_path.is_empty() {
            return Err(root_gone(root));
        }
        Ok(watch)
    }

    /// Returns a handle that becomes readable when events wait.
    pub(crate) fn handle(&self) -> Outcome<OwnedFd> {
        self.queue.try_clone().map_err(|e| {
            Fault::new("SG0406", FaultKind::Busy, format!("watch `{}`", self.root.display()), e)
        })
    }

    /// Returns the number of folders watched.
    pub(crate) fn folders(&self) -> usize {
        self.by_path.len()
    }

    /// Reads every event that waits, until there is none. New folders are watched at once
    /// and their content counts as changed. Never waits.
    ///
    /// # Errors
    /// `SG0407` if the root is gone, else as [`Self::open`].
    pub(crate) fn read(&mut self) -> Outcome<Changes> {
        let mut changes = Changes::default();
        loop {
            let raw = self.read_raw()?;
            if raw.is_empty() {
                return Ok(changes);
            }
            for event in raw {
                self.apply(event, &mut changes)?;
            }
        }
    }

    fn read_raw(&self) -> Outcome<Vec<Raw>> {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(&self.queue, &mut buffer);
        let mut found = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => found.push(Raw {
                    watch: event.wd(),
                    flags: event.events(),
                    name: event
                        .file_name()
                        .map(|n| std::ffi::OsStr::from_bytes(n.to_bytes()).to_owned()),
                }),
                Err(Errno::AGAIN) => return Ok(found),
                Err(Errno::INTR) => {}
                Err(e) => return Err(cannot_watch(&self.root, e)),
            }
        }
    }

    fn apply(&mut self, event: Raw, changes: &mut Changes) -> Outcome<()> {
        let flags = event.flags;
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            changes.overflowed = true;
            // Folders may have come or moved unseen; those known are only confirmed.
            return self.add_below(Path::new(""), None);
        }
        let Some(folder) = self.by_watch.get(&event.watch).cloned() else { return Ok(()) };
        if flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT)
            && folder.as_os_str().is_empty()
        {
            return Err(root_gone(&self.root));
        }
        if flags.contains(ReadFlags::IGNORED) {
            self.forget(event.watch);
            return Ok(());
        }
        let Some(name) = event.name else {
            // The folder itself: its mode or owner. Its parent's watch says so too, except for the root.
            if flags.contains(ReadFlags::ATTRIB) && folder.as_os_str().is_empty() {
                changes.paths.push(PathBuf::from("."));
            }
            return Ok(());
        };
        let path = folder.join(name);
        let is_folder = flags.contains(ReadFlags::ISDIR);
        if self.excludes.excludes(&path, is_folder) {
            return Ok(());
        }
        if is_folder && flags.intersects(ReadFlags::MOVED_FROM | ReadFlags::DELETE) {
            self.remove_below(&path);
        }
        if is_folder && flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            self.add_below(&path, Some(&mut changes.paths))?;
        }
        changes.paths.push(path);
        Ok(())
    }

    /// Watches `top` and every folder below it, and notes all content in `found`.
    fn add_below(&mut self, top: &Path, mut found: Option<&mut Vec<PathBuf>>) -> Outcome<()> {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        let mut folders = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
            let full = self.root.join(&folder);
            match inotify::add_watch(&self.queue, &full, flags) {
                Ok(watch) => self.remember(watch, folder.clone()),
                // Gone or replaced since; the event that says so waits in the queue.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(e) => return Err(cannot_watch(&full, e)),
            }
            let entries = walk::list(&self.root, &folder, &self.excludes)
                .map_err(|e| cannot_watch(&full, e))?;
            for (path, about) in entries {
                if let Some(found) = found.as_deref_mut() {
                    found.push(path.clone());
                }
                if about.is_dir() {
                    folders.push(path);
                }
            }
        }
        Ok(())
    }

    /// Ends the watches of a folder that is not at this path any more, and of all below it.
    fn remove_below(&mut self, top: &Path) {
        let below = self.by_path.range(top.to_owned()..).take_while(|(p, _)| p.starts_with(top));
        for watch in below.map(|(_, &watch)| watch).collect::<Vec<_>>() {
            // A deleted folder's watch is gone already.
            let _ = inotify::remove_watch(&self.queue, watch);
            self.forget(watch);
        }
    }

    fn remember(&mut self, watch: i32, path: PathBuf) {
        // The same inode keeps its watch when it moves, the same path gets another for a new inode.
        if let Some(former) = self.by_watch.insert(watch, path.clone())
            && former != path
            && self.by_path.get(&former) == Some(&watch)
        {
            self.by_path.remove(&former);
        }
        if let Some(former) = self.by_path.insert(path, watch)
            && former != watch
        {
            self.by_watch.remove(&former);
        }
    }

    fn forget(&mut self, watch: i32) {
        if let Some(path) = self.by_watch.remove(&watch)
            && self.by_path.get(&path) == Some(&watch)
        {
            self.by_path.remove(&path);
        }
    }
}

fn root_gone(root: &Path) -> Fault {
    Fault::new(
        "SG0407",
        FaultKind::NotFound,
        format!("follow tree `{}`", root.display()),
        "its root was moved, deleted or unmounted",
    )
    .hint("put the folder back, then let the run go on")
}

fn cannot_watch(path: &Path, e: impl Into<std::io::Error>) -> Fault {
    let e = e.into();
    let op = format!("watch folder `{}`", path.display());
    if e.kind() == std::io::ErrorKind::StorageFull {
        return Fault::new(
            "SG0405",
            FaultKind::Busy,
            op,
            "the limit of inotify watches is reached",
        )
        .hint("raise fs.inotify.max_user_watches above the number of folders on both sides");
    }
    let limit = "raise fs.inotify.max_user_instances, or let the controller read every folder";
    Fault::new("SG0406", FaultKind::Denied, op, e).hint(limit)
}
