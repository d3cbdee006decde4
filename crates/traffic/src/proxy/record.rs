//! What Segue knows of a proxy that keeps no such thing itself: whose it is, which lease and
//! which change came last, what its units should be like.
//!
//! The file is locked for every change, so that two controllers on one machine cannot act at
//! once, and the one with the lower epoch is refused.

use super::driver::Held;
use rustix::fs::{FlockOperation, flock};
use segue_front::control::{HoldRecord, Mark, SiteRoute};
use segue_model::{Epoch, Fault, FaultKind, RunId, Side, Sides, UnitName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long another controller's change may take.
const LOCK_LIMIT: Duration = Duration::from_millis(1_500);

/// Most holds that are remembered.
const HOLDS_MAX: usize = 1_000;

/// The whole record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The run that has the proxy.
    pub(super) claim: Option<RunId>,
    /// Highest epoch seen since the claim.
    pub(super) epoch: Epoch,
    /// Highest generation.
    pub(super) generation: u64,
    /// The start of the proxy that was last put in order.
    #[serde(default)]
    pub(super) start: String,
    /// What its units should be like.
    pub(super) units: BTreeMap<UnitName, Kept>,
    /// Past and present holds, oldest first.
    #[serde(default)]
    pub(super) holds: Vec<HoldRecord>,
}

/// A unit as it should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) generation: u64,
    pub(super) sites: Vec<SiteRoute>,
    pub(super) side: Side,
    pub(super) concurrency: Sides<usize>,
    pub(super) held: Option<Held>,
    /// Lease of its hold, milliseconds.
    #[serde(default)]
    pub(super) lease_ms: u64,
}

impl Record {
    /// Checks that a run may act under an epoch.
    ///
    /// # Errors
    /// `SG0110` if another run has the proxy or none, `SG0111` if a newer epoch acts.
    pub(super) fn may_act(&self, run: &RunId, epoch: Epoch, op: &str) -> Result<(), Fault> {
        match &self.claim {
            Some(claim) if claim == run => {}
            other => {
                let cause = match other {
                    Some(claim) => format!("run `{claim}` has this front"),
                    None => "no run has claimed it".to_owned(),
                };
                return Err(Fault::new("SG0110", FaultKind::Conflict, op, cause)
                    .hint("finish or withdraw the run that has it, or claim it first"));
            }
        }
        if epoch < self.epoch {
            let cause = format!("epoch {epoch} was superseded by {}", self.epoch);
            return Err(Fault::new("SG0111", FaultKind::LeaseLost, op, cause)
                .hint("another controller has taken over: leave the front to it"));
        }
        Ok(())
    }

    /// Checks a change's mark and takes it over.
    ///
    /// # Errors
    /// Those of [`Record::may_act`]; `SG0112` if the generation is not above the last one.
    pub(super) fn mark(
        &mut self,
        mark: &Mark,
        unit: Option<&UnitName>,
        op: &str,
    ) -> Result<(), Fault> {
        self.may_act(&mark.run, mark.epoch, op)?;
        let of_unit = unit.and_then(|unit| self.units.get(unit)).map(|kept| kept.generation);
        let last = match unit {
            Some(_) => of_unit.unwrap_or(0),
            None => self.generation,
        };
        if mark.generation <= last {
            let cause = format!("generation {} came after {last}", mark.generation);
            return Err(Fault::new("SG0112", FaultKind::Conflict, op, cause)
                .hint("ask the front for its generation and state, then decide again"));
        }
        self.epoch = mark.epoch;
        self.generation = self.generation.max(mark.generation);
        if let Some(kept) = unit.and_then(|unit| self.units.get_mut(unit)) {
            kept.generation = mark.generation;
        }
        Ok(())
    }

    /// Returns the record of a hold.
    pub(super) fn hold_mut(&mut self, id: &Held) -> Option<&mut HoldRecord> {
        self.holds.iter_mut().rev().find(|hold| hold.hold_id == id.id)
    }

    /// Remembers a hold that begins.
    pub(super) fn begin(&mut self, hold: HoldRecord) {
        if let Some(same) = self.holds.iter_mut().find(|one| one.hold_id == hold.hold_id) {
            *same = hold;
            return;
        }
        self.holds.push(hold);
        let surplus = self.holds.len().saturating_sub(HOLDS_MAX);
        self.holds.drain(..surplus);
    }
}

/// The record's file, locked.
pub(super) struct Locked {
    path: PathBuf,
    /// Unlocked when it is closed.
    _lock: File,
    pub(super) record: Record,
}

impl Locked {
    /// Locks and reads the record; an empty one if there is none yet.
    ///
    /// # Errors
    /// `SG0163` if it cannot be read, `SG0164` if another process keeps it locked.
    pub(super) async fn open(path: &Path) -> Result<Self, Fault> {
        let fault = |e: &dyn std::fmt::Display| unreadable(path, e);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(beside(path, "lock"))
            .map_err(|e| fault(&e))?;
        let began = Instant::now();
        while let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(fault(&error));
            }
            if began.elapsed() > LOCK_LIMIT {
                let op = format!("lock record `{}`", path.display());
                return Err(Fault::new("SG0164", FaultKind::Busy, op, "another process has it")
                    .hint("look for a second controller of this proxy, and try again"));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(Self { path: path.to_owned(), _lock: lock, record: read(path)? })
    }

    /// Writes the record, durably: after a crash either the former or this one is there.
    ///
    /// # Errors
    /// `SG0163` if it cannot be written.
    pub(super) fn write(&self) -> Result<(), Fault> {
        let written = serde_json::to_vec(&self.record)
            .map_err(io::Error::from)
            .and_then(|text| replace(&self.path, &text, 0o600));
        written.map_err(|e| unreadable(&self.path, &e))
    }
}

/// Reads the record without a lock: it is replaced as a whole.
///
/// # Errors
/// `SG0163` if it cannot be read.
pub(super) fn read(path: &Path) -> Result<Record, Fault> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|e| unreadable(path, &e)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Record::default()),
        Err(e) => Err(unreadable(path, &e)),
    }
}

fn unreadable(path: &Path, cause: &dyn std::fmt::Display) -> Fault {
    let op = format!("keep record `{}` of a proxy", path.display());
    Fault::new("SG0163", FaultKind::Invalid, op, cause)
        .hint("make room and rights in its folder; it is written by Segue alone")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Replaces a file, durably.
pub(super) fn replace(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let next = beside(path, "next");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&next)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&next, path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mark(epoch: u64, generation: u64) -> Mark {
        Mark { run: "run-1".into(), epoch: Epoch(epoch), generation }
    }

    #[test]
    fn refuses_strangers_former_controllers_and_changes_that_come_late() {
        let mut record = Record { claim: Some("run-1".into()), ..Record::default() };
        record.mark(&mark(2, 5), None, "test").unwrap();
        assert_eq!((record.epoch, record.generation), (Epoch(2), 5));
        let code = |record: &mut Record, mark: &Mark| {
            record.mark(mark, None, "test").unwrap_err().code.clone()
        };
        assert_eq!(code(&mut record, &mark(1, 6)), "SG0111");
        assert_eq!(code(&mut record, &mark(2, 5)), "SG0112");
        assert_eq!(code(&mut record, &Mark { run: "run-2".into(), ..mark(9, 9) }), "SG0110");
    }

    #[tokio::test]
    async fn is_locked_for_one_and_survives() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("proxy.json");
        let mut locked = Locked::open(&path).await.unwrap();
        locked.record.claim = Some("run-1".into());
        locked.write().unwrap();
        let other = Locked::open(&path).await;
        assert_eq!(other.err().unwrap().code, "SG0164");
        drop(locked);
        assert_eq!(Locked::open(&path).await.unwrap().record.claim, Some("run-1".into()));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Locked::open(&path).await.err().unwrap().code, "SG0163");
    }
}
