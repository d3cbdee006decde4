//! Where the notes of a zone lie on disk.

use super::super::Wish;
use crate::codes;
use rustix::fs::{FlockOperation, flock};
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The files of one zone's notes.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    stem: String,
    /// Held while the notes are written.
    lock: Option<File>,
}

impl Place {
    pub(super) fn new(folder: &Path, zone: &str, wish: Wish) -> Outcome<Self> {
        let mut place = Self { folder: folder.to_owned(), stem: zone.to_owned(), lock: None };
        if wish == Wish::Look {
            return Ok(place);
        }
        fs::create_dir_all(folder).map_err(|e| place.fault("make the folder of", e))?;
        let open =
            OpenOptions::new().create(true).append(true).mode(0o600).open(place.file("lock"));
        let lock = open.map_err(|e| place.fault("open", e))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Fault::new(
                codes::NOTES,
                FaultKind::Busy,
                format!("move zone `{zone}`"),
                "another process works on it",
            )
            .hint("wait until it has ended")
        })?;
        place.lock = Some(lock);
        Ok(place)
    }

    pub(super) fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.stem))
    }

    pub(super) fn fault(&self, what: &str, cause: impl std::fmt::Display) -> Fault {
        let op = format!("{what} the notes {}", self.file("*").display());
        Fault::new(codes::NOTES, FaultKind::Invalid, op, cause).hint(
            "nothing more was changed; see to it that the folder can be written, or take another \
             with --dir",
        )
    }

    pub(super) fn read<T: for<'d> Deserialize<'d>>(&self, ending: &str) -> Outcome<Option<T>> {
        let text = match fs::read(self.file(ending)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.fault("read", error)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|e| self.fault("read", e))
    }

    /// Writes a whole file in place of the former one, durably; only who holds the lock does.
    pub(super) fn write(&self, ending: &str, value: &impl Serialize) -> Outcome<()> {
        if self.lock.is_none() {
            return Ok(());
        }
        let fault = |e: std::io::Error| self.fault("write", e);
        let text = serde_json::to_vec(value).map_err(|e| self.fault("write", e))?;
        let fresh = self.file(&format!("{ending}.new"));
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        let mut file = options.open(&fresh).map_err(fault)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(fault)?;
        fs::rename(&fresh, self.file(ending)).map_err(fault)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(fault)
    }

    /// Adds a line, durably. One that a power cut tore is left alone on a line of its own.
    pub(super) fn append(&self, value: &impl Serialize) -> Outcome<()> {
        let fault = |e: std::io::Error| self.fault("write", e);
        let mut text = serde_json::to_vec(value).map_err(|e| self.fault("write", e))?;
        text.push(b'\n');
        let file = self.file("changes.jsonl");
        let mut options = OpenOptions::new();
        options.create(true).read(true).append(true).mode(0o600);
        let mut file = options.open(file).map_err(fault)?;
        let length = file.metadata().map_err(fault)?.len();
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1).map_err(fault)?;
        }
        if last != [b'\n'] {
            text.insert(0, b'\n');
        }
        file.write_all(&text).and_then(|()| file.sync_data()).map_err(fault)?;
        if length == 0 {
            File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(fault)?;
        }
        Ok(())
    }
}
