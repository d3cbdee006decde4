//! A snapshot of the folded state, so that a start need not fold from the beginning.
//!
//! It stands in a file of its own and is worth nothing by itself: it is used only if the
//! journal holds the very record it was taken at, and dropped if it is torn, damaged or of
//! another program version. What it left out is checked by
//! [`Journal::read_all`](super::Journal::read_all), which never looks at it.

use super::head::Head;
use super::store::{NO_RECORD, Store};
use crate::crashpoint;
use segue_model::state::RunState;
use std::io::Write;
use std::path::Path;

const NAME: &str = "journal.snapshot";
const MAGIC: &[u8; 8] = b"segsnap1";
/// Magic, hash of the program version, number, checksum, hash of all that follows.
const HEAD_LEN: usize = 8 + 8 + 8 + 32 + 32;

fn version() -> [u8; 8] {
    let hash = blake3::hash(env!("CARGO_PKG_VERSION").as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    first
}

/// Writes the snapshot of `state`, which ends with the record that `head` names.
pub(super) fn store(dir: &Path, head: Head, state: &RunState) -> std::io::Result<()> {
    let body = serde_json::to_vec(state)?;
    let mut bytes = Vec::with_capacity(HEAD_LEN + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&version());
    bytes.extend_from_slice(&head.seq.to_le_bytes());
    bytes.extend_from_slice(&head.checksum);
    bytes.extend_from_slice(blake3::hash(&body).as_bytes());
    bytes.extend_from_slice(&body);
    let temporary = dir.join("journal.snapshot.new");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    crashpoint::hit("snapshot.before", "journal");
    std::fs::rename(&temporary, dir.join(NAME))?;
    crashpoint::hit("snapshot.written", "journal");
    Ok(())
}

/// Returns the record that the snapshot in `dir` was taken at, and the state; the head of an
/// empty journal and the first state if there is none that fits.
pub(super) fn load(dir: &Path) -> (Head, RunState) {
    match read(dir) {
        Some((head, state)) if state.last_seq == head.seq && Store::holds(dir, head) => {
            (head, state)
        }
        Some(_) => {
            tracing::warn!("the snapshot does not fit the journal: folding from the beginning");
            (NO_RECORD, RunState::default())
        }
        None => (NO_RECORD, RunState::default()),
    }
}

fn read(dir: &Path) -> Option<(Head, RunState)> {
    let bytes = std::fs::read(dir.join(NAME)).ok()?;
    let (head, body) = bytes.split_at_checked(HEAD_LEN)?;
    let fits = &head[..8] == MAGIC
        && head[8..16] == version()
        && head[56..] == *blake3::hash(body).as_bytes();
    if !fits {
        return None;
    }
    let seq = u64::from_le_bytes(head[16..24].try_into().ok()?);
    let checksum = head[24..56].try_into().ok()?;
    Some((Head { seq, checksum }, serde_json::from_slice(body).ok()?))
}
