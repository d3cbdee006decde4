//! The head file: number and checksum of the newest record.
//!
//! SQLite drops a damaged end of its write-ahead log without a word, and a chain of
//! checksums cannot miss what is not there. The head is written after each commit and
//! needs no sync of its own: it may be one record behind, never ahead.

use super::store::Checksum;
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

const NAME: &str = "journal.head";
const LEN: usize = 8 + 32 + 8;

/// What the head file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) checksum: Checksum,
}

impl Head {
    fn encode(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&self.seq.to_le_bytes());
        bytes[8..40].copy_from_slice(&self.checksum);
        let seal = blake3::hash(&bytes[..40]);
        bytes[40..].copy_from_slice(&seal.as_bytes()[..8]);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.try_into().ok()?;
        let seq = u64::from_le_bytes(bytes[..8].try_into().ok()?);
        let head = Self { seq, checksum: bytes[8..40].try_into().ok()? };
        (head.encode() == *bytes).then_some(head)
    }

    /// Reads the head in `dir`; `None` if there is no file.
    pub(super) fn read(dir: &Path) -> Outcome<Option<Self>> {
        match std::fs::read(dir.join(NAME)) {
            Ok(bytes) => Self::decode(&bytes).map(Some).ok_or_else(|| {
                Fault::new(
                    "SG0602",
                    FaultKind::Invalid,
                    format!("read `{}`", dir.join(NAME).display()),
                    "its checksum does not match",
                )
                .hint("restore the run directory from a copy; the storage may be failing")
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file_fault("read", dir, &error)),
        }
    }
}

/// The open head file.
pub(super) struct HeadFile(File);

impl HeadFile {
    /// Opens the head in `dir` and writes `head` into it durably, folder entry included.
    pub(super) fn open(dir: &Path, head: Head) -> Outcome<Self> {
        let fault = |error| file_fault("write", dir, &error);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(NAME))
            .map_err(fault)?;
        file.write_all_at(&head.encode(), 0).map_err(fault)?;
        file.sync_all().map_err(fault)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(fault)?;
        Ok(Self(file))
    }

    pub(super) fn write(&self, head: Head) -> std::io::Result<()> {
        self.0.write_all_at(&head.encode(), 0)
    }
}

fn file_fault(verb: &str, dir: &Path, error: &std::io::Error) -> Fault {
    let op = format!("{verb} `{}`", dir.join(NAME).display());
    Fault::new("SG0601", FaultKind::Denied, op, error)
        .hint("check owner, rights and space of the run directory")
}
