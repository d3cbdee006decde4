//! What a verification has done so far, kept in a small file: it goes on there after whatever
//! interrupted it.

use crate::difference::{DifferentRange, TableDigest};
use crate::keys::KeyValue;
use crate::pieces::Sum;
use segue_model::plan::DatabasePlan;
use segue_model::{Fault, FaultKind, UnitName};
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time between two writings: what is done in it is done again after a crash.
const EVERY: Duration = Duration::from_millis(100);

/// Everything that is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Digest of the plan it was for.
    pub(super) bound: String,
    /// The moments that were looked at.
    pub(super) moments: Vec<Moment>,
    /// Tables that were begun.
    pub(super) tables: BTreeMap<String, TableKept>,
}

/// A moment that both sides were looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment {
    /// When, by the source's clock, milliseconds since 1970.
    pub(super) at_ms: u64,
    /// Where it is in the write side's binary log; empty if it was not one moment.
    pub(super) place: String,
}

/// One table as far as it was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableKept {
    /// Digest of its definitions at both sides.
    pub(super) shape: String,
    /// Whether it was compared to its end.
    pub(super) done: bool,
    /// What was compared at which moment, in the order of the key.
    pub(super) parts: Vec<PartKept>,
    /// The source's rows so far.
    pub(super) source: TableDigest,
    /// The target's.
    pub(super) target: TableDigest,
    /// Whether something differs.
    pub(super) differs: bool,
    /// Names of the key's columns, if ranges are named.
    pub(super) key: Vec<String>,
    /// Where rows differ.
    pub(super) ranges: Vec<DifferentRange>,
    /// Whether there are more.
    pub(super) more: bool,
    /// Rows, or ranges, that were other ones at every look.
    pub(super) undecided: u64,
}

/// A part of a table that was compared at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartKept {
    /// Number of the moment.
    pub(super) moment: usize,
    /// Its last key; none at the table's end.
    pub(super) to: Option<KeyValue>,
    /// The same for people.
    pub(super) shown: String,
}

impl TableKept {
    /// Begins a table.
    pub(super) fn begin(shape: String) -> Self {
        let (source, target) = (Sum::default().digest(), Sum::default().digest());
        Self { shape, source, target, ..Self::default() }
    }

    /// Adds a piece that was compared.
    pub(super) fn add(
        &mut self,
        part: PartKept,
        (source, target): (&TableDigest, &TableDigest),
    ) -> Outcome<()> {
        for (total, more) in [(&mut self.source, source), (&mut self.target, target)] {
            let mut sum = Sum::default();
            sum.add(total)?;
            sum.add(more)?;
            *total = sum.digest();
        }
        self.done = part.to.is_none();
        match self.parts.last_mut() {
            Some(last) if last.moment == part.moment => *last = part,
            _ => self.parts.push(part),
        }
        Ok(())
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct Notes {
    path: PathBuf,
    written: Option<Instant>,
    /// Held as long as a verification works with the file.
    _lock: File,
}

/// Returns the file below a run directory for a unit's database.
pub fn file(dir: &Path, unit: &UnitName, plan: &DatabasePlan) -> PathBuf {
    let exact = format!("{}\n{}", unit.as_str(), plan.schema);
    let plain: String = exact
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .take(60)
        .collect();
    let digest = blake3::hash(exact.as_bytes()).to_hex();
    dir.join("verify").join(format!("{plain}-{}.json", &digest[..8]))
}

impl Notes {
    /// Opens the file, for this process alone.
    ///
    /// # Errors
    /// `SG0292` if another one works with it, or it cannot be made.
    pub(super) fn open(path: &Path) -> Outcome<Self> {
        let fail = |e: std::io::Error| fault("open", path, e);
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
        }
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o600);
        let lock = options.open(path.with_extension("lock")).map_err(fail)?;
        lock.try_lock().map_err(|_| {
            let op = format!("verify with the notes `{}`", path.display());
            Fault::new("SG0292", FaultKind::Busy, op, "another process verifies with them")
                .hint("wait until it has ended, or end it: what it did is kept")
        })?;
        Ok(Self { path: path.to_owned(), written: None, _lock: lock })
    }

    /// Reads what is kept; nothing if there is none. What cannot be read is of no use, and said.
    pub(super) fn read(&self, said: &mut Vec<String>) -> Option<Kept> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                said.push(format!("begun anew: the notes cannot be read: {error}"));
                return None;
            }
        };
        serde_json::from_slice(&text)
            .map_err(|error| said.push(format!("begun anew: the notes make no sense: {error}")))
            .ok()
    }

    /// Writes what is kept, unless that was done a moment ago.
    pub(super) fn keep(&mut self, kept: &Kept) -> Outcome<()> {
        if self.written.is_some_and(|written| written.elapsed() < EVERY) {
            return Ok(());
        }
        self.write(kept)
    }

    /// Writes what is kept, whole, in place of what was.
    pub(super) fn write(&mut self, kept: &Kept) -> Outcome<()> {
        let fail = |e: std::io::Error| fault("write", &self.path, e);
        let text = serde_json::to_vec(kept).map_err(|e| fault("write", &self.path, e.into()))?;
        let fresh = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        let mut file = options.open(&fresh).map_err(fail)?;
        file.write_all(&text).and_then(|()| file.sync_data()).map_err(fail)?;
        fs::rename(&fresh, &self.path).map_err(fail)?;
        self.written = Some(Instant::now());
        Ok(())
    }

    /// Forgets everything: the verification came to its end.
    pub(super) fn remove(&self) -> Outcome<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(fault("remove", &self.path, error))
            }
            _ => Ok(()),
        }
    }
}

fn fault(what: &str, path: &Path, cause: std::io::Error) -> Fault {
    let op = format!("{what} the notes `{}`", path.display());
    Fault::new("SG0292", FaultKind::Invalid, op, cause)
        .hint("see to it that the folder can be written, or take another with --dir")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn part(moment: usize, to: &str) -> PartKept {
        PartKept { moment, to: Some(vec![to.into()]), shown: to.into() }
    }

    fn digest(rows: u64) -> TableDigest {
        TableDigest { rows, sum: "3".into() }
    }

    #[test]
    fn what_was_compared_at_one_moment_is_one_part() {
        let mut table = TableKept::begin("s".into());
        for part in [part(0, "5"), part(0, "9"), part(1, "12")] {
            table.add(part, (&digest(4), &digest(5))).unwrap();
        }
        assert_eq!(table.parts, [part(0, "9"), part(1, "12")]);
        assert_eq!((table.source.rows, table.target.rows, table.done), (12, 15, false));
        assert_eq!(table.source.sum, "9");
        table.add(PartKept { to: None, ..part(1, "") }, (&digest(0), &digest(0))).unwrap();
        assert!(table.done);
    }

    #[test]
    fn notes_are_of_one_process_and_outlive_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("verify/a.json");
        let kept = Kept { bound: "plan".into(), ..Kept::default() };
        let mut said = Vec::new();
        let mut notes = Notes::open(&path).unwrap();
        assert_eq!(notes.read(&mut said), None);
        notes.write(&kept).unwrap();
        assert_eq!(Notes::open(&path).unwrap_err().code, "SG0292");
        drop(notes);
        let notes = Notes::open(&path).unwrap();
        assert_eq!(notes.read(&mut said), Some(kept));
        assert!(said.is_empty(), "{said:?}");
        fs::write(&path, "{").unwrap();
        assert_eq!(notes.read(&mut said), None);
        assert!(said[0].starts_with("begun anew"), "{said:?}");
        notes.remove().unwrap();
        assert!(!path.exists());
    }
}
