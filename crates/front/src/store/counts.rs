//! What was counted, on disk: a worker goes on counting where the one before it stood.
//!
//! Beside the state, and of less weight: it is written once a second at most, in place of what it
//! held and without a sync, so that a crash loses the last second of counting and a machine that
//! fails perhaps more. One that cannot be read is none, and counting begins at zero.

use super::SavedHolds;
use crate::control::TcpTotals;
use crate::stats::{BOUNDS_US, CLASSES};
use segue_model::{RunId, Sides, UnitName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Everything that was counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedFigures {
    /// The run whose figures they are: those of a run before it are nobody's.
    pub(crate) run: Option<RunId>,
    /// Over all units.
    pub(crate) all: SavedCounts,
    /// Of hosts that belong to no unit.
    pub(crate) other: SavedLane,
    /// Of each unit that has any.
    pub(crate) units: BTreeMap<UnitName, SavedCounts>,
    /// Each unit's holds.
    pub(crate) holds: SavedHolds,
    /// Client connections taken and refused, requests unclear, handshakes without an end.
    pub(crate) doors: [u64; 4],
    /// Requests that were clear and refused before they had a goal.
    #[serde(default)]
    pub(crate) refused: u64,
}

/// What a front, or one of its units, counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedCounts {
    pub(crate) sides: Sides<SavedLane>,
    pub(crate) relayed: SavedLane,
    pub(crate) probes: SavedLane,
    pub(crate) tcp: Sides<TcpTotals>,
}

/// What a lane counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedLane {
    pub(crate) classes: [u64; CLASSES],
    pub(crate) failed: u64,
    pub(crate) longest_us: u64,
    pub(crate) buckets: [u64; BOUNDS_US.len() + 1],
    pub(crate) sum_us: u64,
}

impl SavedFigures {
    /// Returns what was counted since an earlier moment; longest times stay what they are.
    pub(crate) fn since(mut self, before: &Self) -> Self {
        self.all.less(&before.all);
        self.other.less(&before.other);
        for (name, counts) in &mut self.units {
            if let Some(before) = before.units.get(name) {
                counts.less(before);
            }
        }
        for (now, before) in self.doors.iter_mut().zip(before.doors) {
            *now = now.saturating_sub(before);
        }
        self.refused = self.refused.saturating_sub(before.refused);
        // Holds are told by whoever had them; one that hands on has none open.
        self.holds.clear();
        self
    }
}

impl SavedCounts {
    fn less(&mut self, before: &Self) {
        self.relayed.less(&before.relayed);
        self.probes.less(&before.probes);
        let Sides { source, target } = &mut self.sides;
        source.less(&before.sides.source);
        target.less(&before.sides.target);
        let tcp = [
            (&mut self.tcp.source, &before.tcp.source),
            (&mut self.tcp.target, &before.tcp.target),
        ];
        for (now, before) in tcp {
            now.connections = now.connections.saturating_sub(before.connections);
            now.failed = now.failed.saturating_sub(before.failed);
            now.received = now.received.saturating_sub(before.received);
            now.sent = now.sent.saturating_sub(before.sent);
        }
    }
}

impl SavedLane {
    fn less(&mut self, before: &Self) {
        let pairs = self.classes.iter_mut().zip(before.classes);
        let pairs = pairs.chain(self.buckets.iter_mut().zip(before.buckets));
        let rest = [(&mut self.failed, before.failed), (&mut self.sum_us, before.sum_us)];
        for (now, before) in pairs.chain(rest) {
            *now = now.saturating_sub(before);
        }
    }
}

fn named(state: &Path, end: &str) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// The file of the worker that serves.
pub(crate) fn file(state: &Path) -> PathBuf {
    named(state, ".counts")
}

/// The file of one that finishes what runs: what it counted since it handed on.
pub(crate) fn rest_file(state: &Path, pid: u32) -> PathBuf {
    named(state, &format!(".counts.{pid}"))
}

/// Returns the files of all that finished.
pub(crate) fn rest_files(state: &Path) -> Vec<PathBuf> {
    let folder = state.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let begin = named(Path::new(state.file_name().unwrap_or_default()), ".counts.");
    let begin = begin.to_string_lossy().into_owned();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_rest = |name: &str| {
        name.strip_prefix(&begin).is_some_and(|pid| pid.bytes().all(|b| b.is_ascii_digit()))
    };
    entries.filter(|e| e.file_name().to_str().is_some_and(is_rest)).map(|e| e.path()).collect()
}

/// Reads figures; none if there are none, or none that this version understands.
pub(crate) fn read(path: &Path) -> Option<SavedFigures> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Whoever writes figures in this process: one file at a time, and what was read first is written
/// first.
#[derive(Debug, Default)]
pub(crate) struct Pen {
    turn: Arc<Mutex<()>>,
}

impl Pen {
    /// Writes what `figures` gives once it is its turn, if that is anything, in place of what the
    /// file held. One whose caller goes away meanwhile is still written before the next.
    ///
    /// # Errors
    /// If the file cannot be written; what it held stays.
    pub(crate) async fn write(
        &self,
        path: PathBuf,
        figures: impl Future<Output = Option<SavedFigures>>,
    ) -> io::Result<()> {
        let turn = self.turn.clone().lock_owned().await;
        let Some(figures) = figures.await else { return Ok(()) };
        let written = tokio::task::spawn_blocking(move || {
            let written = write(&path, &figures);
            drop(turn);
            written
        });
        written.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// Writes figures in place of what the file held. Blocks.
fn write(path: &Path, figures: &SavedFigures) -> io::Result<()> {
    let next = named(path, ".next");
    fs::write(&next, serde_json::to_vec(figures)?)?;
    fs::rename(next, path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    fn figures(units: usize) -> SavedFigures {
        let unit = |n: usize| (format!("acc{n}").as_str().into(), SavedCounts::default());
        SavedFigures { units: (0..units).map(unit).collect(), ..SavedFigures::default() }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_who_write_do_not_disturb_each_other() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = file(&folder.path().join("state.json"));
        let pen = Arc::new(Pen::default());
        let writers = [1, 40].map(|units| {
            let (pen, path) = (pen.clone(), path.clone());
            tokio::spawn(async move {
                for _ in 0..100 {
                    pen.write(path.clone(), async { Some(figures(units)) }).await.unwrap();
                }
            })
        });
        while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
            if path.exists() {
                assert!(matches!(read(&path).unwrap().units.len(), 1 | 40), "whole");
            }
            yield_now().await;
        }
        for writer in writers {
            writer.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_was_read_later_is_written_later() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = file(&folder.path().join("state.json"));
        let pen = Arc::new(Pen::default());
        let write = |figures: oneshot::Receiver<SavedFigures>| {
            let (pen, path) = (pen.clone(), path.clone());
            tokio::spawn(async move { pen.write(path, async { figures.await.ok() }).await })
        };
        let (first, of_first) = oneshot::channel();
        let (second, of_second) = oneshot::channel();
        let (first_done, second_done) = (write(of_first), write(of_second));
        second.send(figures(2)).unwrap();
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(!path.exists(), "the first one has its turn and nothing yet");
        first.send(figures(1)).unwrap();
        first_done.await.unwrap().unwrap();
        second_done.await.unwrap().unwrap();
        assert_eq!(read(&path).unwrap().units.len(), 2);
        // Whoever has nothing to write leaves what is there.
        let (none, of_none) = oneshot::channel::<SavedFigures>();
        drop(none);
        write(of_none).await.unwrap().unwrap();
        assert_eq!(read(&path).unwrap().units.len(), 2);
    }
}
