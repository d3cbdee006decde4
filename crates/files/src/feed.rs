//! The changes of one side: its watch, what waits to be carried, and the task that reads.

use crate::dirty::{Age, Dirty, Load};
use crate::exclude::Excludes;
use crate::watch::TreeWatch;
use crate::{blocking, boot_ms, lock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use segue_model::{Fault, FaultKind, Side};
use segue_port::Outcome;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// Events are read in handfuls: this long after the first.
const GATHER: Duration = Duration::from_millis(20);
/// How often the reading thread looks whether it shall end.
const LOOK_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
/// A carried path is compared when it has been at rest for so long, milliseconds.
const REST_MS: u64 = 500;
/// A path that differed is compared again after this, milliseconds.
const AGAIN_MS: u64 = 30_000;
/// Carried paths remembered until they are compared.
const CARRIED_MAX: usize = 100_000;

/// What the changes of a side are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The other side is the write side: what changes here is what Segue carried here.
    /// Folders stay watched, changes are dropped.
    Standby,
    /// This is the write side.
    Active,
}

/// One side of a tree, watched or not.
pub(crate) struct Feed {
    side: Side,
    root: PathBuf,
    excludes: Arc<Excludes>,
    /// Held while the queue is read; the lock of `state` is taken inside it, never around it.
    watch: Mutex<Option<TreeWatch>>,
    state: Mutex<State>,
    /// Ends the thread that reads events.
    collector: Mutex<Option<Arc<AtomicBool>>>,
    /// Rings when something waits to be carried.
    pub(crate) news: Notify,
}

#[derive(Default)]
struct State {
    mode: Option<Mode>,
    dirty: Dirty,
    /// Why the watch ended by itself.
    fault: Option<Fault>,
    /// When the queue was last read empty.
    read_at: u64,
    /// Paths carried and not compared since.
    carried: HashMap<PathBuf, Carried>,
    /// A full comparison runs and must be able to tell what was carried meanwhile.
    comparing: bool,
    /// When something was last carried that is not in `carried`.
    more_carried: Option<u64>,
}

/// When a path was carried, and when it may be compared.
#[derive(Debug, Clone, Copy)]
struct Carried {
    at: u64,
    compare_from: u64,
}

/// What a flush took; put back unless it arrived.
pub(crate) struct Taken {
    feed: Arc<Feed>,
    pub(crate) load: Load,
}

impl Taken {
    /// Notes that everything arrived.
    pub(crate) fn arrived(mut self) {
        let mut state = lock(&self.feed.state);
        let now = boot_ms();
        match std::mem::replace(&mut self.load, Load::Nothing) {
            Load::Nothing => {}
            Load::Tree(whole) => {
                state.more_carried = Some(now);
                state.dirty.arrived(Some(whole));
            }
            Load::Paths(paths) => {
                state.dirty.arrived(None);
                for path in paths {
                    if state.carried.len() < CARRIED_MAX || state.carried.contains_key(&path) {
                        let compare_from = now + REST_MS;
                        state.carried.insert(path, Carried { at: now, compare_from });
                    } else {
                        state.more_carried = Some(now);
                    }
                }
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !matches!(self.load, Load::Nothing) {
            lock(&self.feed.state).dirty.give_back();
        }
    }
}

impl Feed {
    pub(crate) fn new(side: Side, root: PathBuf, excludes: Arc<Excludes>) -> Self {
        Self {
            side,
            root,
            excludes,
            watch: Mutex::default(),
            state: Mutex::default(),
            collector: Mutex::default(),
            news: Notify::new(),
        }
    }

    pub(crate) fn mode(&self) -> Option<Mode> {
        lock(&self.state).mode
    }

    /// Watches the side, or only sets the mode if it is watched already. Returns the
    /// number of folders.
    ///
    /// # Errors
    /// As [`TreeWatch::open`].
    pub(crate) async fn start(self: &Arc<Self>, mode: Mode) -> Outcome<usize> {
        if lock(&self.state).fault.is_some() {
            self.stop();
        }
        let feed = self.clone();
        let (folders, handle) = blocking(move || feed.open(mode)).await?;
        if let Some(handle) = handle {
            let (feed, stop) = (Arc::downgrade(self), Arc::new(AtomicBool::new(false)));
            if let Some(former) = lock(&self.collector).replace(stop.clone()) {
                former.store(true, Relaxed);
            }
            let thread = std::thread::Builder::new().name(format!("files-{}", self.side));
            thread.spawn(move || collect_always(&feed, &handle, &stop)).map_err(|e| {
                let op = format!("watch tree `{}`", self.root.display());
                Fault::new("SG0406", FaultKind::Busy, op, e)
            })?;
        }
        Ok(folders)
    }

    fn open(&self, mode: Mode) -> Outcome<(usize, Option<OwnedFd>)> {
        let mut watch = lock(&self.watch);
        if let Some(watch) = watch.as_ref() {
            lock(&self.state).mode = Some(mode);
            return Ok((watch.folders(), None));
        }
        let fresh = TreeWatch::open(&self.root, self.excludes.clone())?;
        let (folders, handle) = (fresh.folders(), fresh.handle()?);
        *watch = Some(fresh);
        let mut state = lock(&self.state);
        state.mode = Some(mode);
        state.dirty.clear();
        state.read_at = boot_ms();
        Ok((folders, Some(handle)))
    }

    /// Ends the watch and forgets what waits.
    pub(crate) fn stop(&self) {
        if let Some(collector) = lock(&self.collector).take() {
            collector.store(true, Relaxed);
        }
        *lock(&self.watch) = None;
        *lock(&self.state) = State::default();
    }

    /// Reads every event that waits.
    ///
    /// # Errors
    /// `SG0408` if the side is not watched, else as [`TreeWatch::read`].
    pub(crate) async fn collect(self: &Arc<Self>) -> Outcome<()> {
        let feed = self.clone();
        blocking(move || feed.read(&mut |_| {})).await
    }

    /// Makes this the write side: drops every change seen so far.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub(crate) async fn activate(self: &Arc<Self>) -> Outcome<()> {
        let feed = self.clone();
        blocking(move || {
            feed.read(&mut |state| {
                state.dirty.clear();
                state.carried.clear();
                state.more_carried = None;
                state.mode = Some(Mode::Active);
            })
        })
        .await
    }

    /// Stops taking this for the write side; the watch stays.
    pub(crate) fn stand_by(&self) {
        let _reading = lock(&self.watch);
        let mut state = lock(&self.state);
        if state.mode.is_some() {
            state.mode = Some(Mode::Standby);
        }
        state.dirty.clear();
    }

    fn read(&self, then: &mut dyn FnMut(&mut State)) -> Outcome<()> {
        let mut watch = lock(&self.watch);
        let Some(open) = watch.as_mut() else {
            let known = lock(&self.state).fault.clone();
            return Err(known.unwrap_or_else(|| self.not_watched()));
        };
        let now = boot_ms();
        let changes = match open.read() {
            Ok(changes) => changes,
            Err(fault) => {
                // Without a watch nothing is known any more; the samples must say so.
                lock(&self.state).fault = Some(fault.clone());
                *watch = None;
                return Err(fault);
            }
        };
        let mut state = lock(&self.state);
        if state.mode == Some(Mode::Active) {
            let news = changes.overflowed || !changes.paths.is_empty();
            for path in changes.paths {
                state.dirty.mark(path, now);
            }
            if changes.overflowed {
                let since = state.read_at;
                tracing::warn!(side = %self.side, "change events were lost; the whole tree is read again");
                state.dirty.mark_whole(Some(since));
            }
            if news {
                self.news.notify_one();
            }
        }
        state.read_at = now;
        then(&mut state);
        Ok(())
    }

    fn not_watched(&self) -> Fault {
        let op = format!("read changes of tree `{}`", self.root.display());
        Fault::new("SG0408", FaultKind::Invalid, op, "it is not being followed")
            .hint("let the controller resume following, then try again")
    }

    /// Demands a whole pass, because changes may have been missed since ever.
    pub(crate) fn want_whole(&self) {
        lock(&self.state).dirty.mark_whole(None);
        self.news.notify_one();
    }

    /// Takes what is to be carried next; at most one `Taken` exists at a time.
    pub(crate) fn take(self: &Arc<Self>) -> Taken {
        let load = lock(&self.state).dirty.take();
        Taken { feed: self.clone(), load }
    }

    /// Returns the age of the oldest change that is not carried.
    ///
    /// # Errors
    /// The fault that ended the watch.
    pub(crate) fn age(&self) -> Outcome<Age> {
        let state = lock(&self.state);
        state.fault.clone().map_or_else(|| Ok(state.dirty.age()), Err)
    }

    /// Returns whether the whole tree waits to be read.
    pub(crate) fn wants_whole(&self) -> bool {
        lock(&self.state).dirty.is_whole()
    }

    /// Returns whether the path, or a folder above it, changed and is not carried.
    pub(crate) fn is_dirty(&self, path: &Path) -> bool {
        let state = lock(&self.state);
        state.dirty.is_whole() || state.dirty.contains(path)
    }

    /// Returns the paths that changed and are not carried.
    pub(crate) fn dirty_paths(&self) -> Vec<PathBuf> {
        lock(&self.state).dirty.paths()
    }

    /// Returns whether the path, or a folder above it, changed or was carried at this time or later.
    pub(crate) fn touched_since(&self, path: &Path, time: u64) -> bool {
        let state = lock(&self.state);
        state.dirty.is_whole()
            || state.dirty.contains(path)
            || state.more_carried.is_some_and(|at| at >= time)
            || path.ancestors().any(|p| state.carried.get(p).is_some_and(|c| c.at >= time))
    }

    /// Returns the paths carried and not compared since, latest first, and whether there were
    /// more than these.
    pub(crate) fn carried(&self) -> (Vec<PathBuf>, bool) {
        let state = lock(&self.state);
        let mut paths: Vec<(u64, &PathBuf)> =
            state.carried.iter().map(|(p, c)| (c.at, p)).collect();
        paths.sort_by(|a, b| b.cmp(a));
        (paths.into_iter().map(|(_, p)| p.clone()).collect(), state.more_carried.is_some())
    }

    /// Returns carried paths that have come to rest and may be compared, at most `most`.
    pub(crate) fn at_rest(&self, most: usize) -> Vec<PathBuf> {
        let (state, now) = (lock(&self.state), boot_ms());
        let rested = |p: &Path, c: &Carried| c.compare_from <= now && !state.dirty.contains(p);
        state
            .carried
            .iter()
            .filter(|(p, c)| rested(p, c))
            .map(|(p, _)| p.clone())
            .take(most)
            .collect()
    }

    /// Notes how the comparison of a path ended that began at `began`; says whether it was at
    /// rest meanwhile, so that the result counts.
    pub(crate) fn checked(&self, path: &Path, equal: bool, began: u64) -> bool {
        let mut state = lock(&self.state);
        let rested = !state.dirty.contains(path);
        let comparing = state.comparing;
        let Some(carried) = state.carried.get_mut(path).filter(|c| rested && c.at < began) else {
            return false;
        };
        if !equal {
            carried.compare_from = boot_ms() + AGAIN_MS;
        } else if !comparing {
            state.carried.remove(path);
        }
        true
    }

    /// Keeps the list of carried paths whole while a full comparison runs.
    pub(crate) fn comparing(&self, on: bool) {
        lock(&self.state).comparing = on;
    }

    /// Notes that a full comparison began at this time and found everything before it equal.
    pub(crate) fn compared(&self, began: u64) {
        let mut state = lock(&self.state);
        state.carried.retain(|_, carried| carried.at >= began);
        state.more_carried = state.more_carried.filter(|&at| at >= began);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Reads events as they come, until it is told to stop, the feed is gone or its watch fails.
///
/// A thread and not a task: waiting for a foreign descriptor is safe code only this way.
fn collect_always(feed: &Weak<Feed>, queue: &OwnedFd, stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        match poll(&mut [PollFd::new(queue, PollFlags::IN)], Some(&LOOK_UP)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(e) => {
                tracing::error!(error = %e, "the queue of changes cannot be waited for");
                return;
            }
        }
        std::thread::sleep(GATHER);
        let Some(feed) = feed.upgrade() else { return };
        if stop.load(Relaxed) {
            return;
        }
        if let Err(fault) = feed.read(&mut |_| {}) {
            tracing::error!(%fault, "following ended");
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
