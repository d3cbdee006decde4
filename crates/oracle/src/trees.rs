//! What the file tree of a side holds of the ledger's writes.

use crate::judge::{Ack, Kind};
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;

/// Returns the BLAKE3 hashes of acknowledged uploads by key, for those that are there.
///
/// # Errors
/// If a file is there and cannot be read.
pub(crate) fn uploads(root: &Path, acks: &[Ack]) -> Result<HashMap<String, String>> {
    let mut hashes = HashMap::new();
    for key in keys(acks, Kind::Upload) {
        let folder = key.get(..2).with_context(|| format!("upload key `{key}` is too short"))?;
        if let Some(bytes) = read(&root.join("uploads").join(folder).join(key))? {
            hashes.insert(key.to_owned(), blake3::hash(&bytes).to_hex().to_string());
        }
    }
    Ok(hashes)
}

/// Returns the visits in the session files of logins by token, for those that are there;
/// nothing for a file that is damaged.
///
/// # Errors
/// If a file is there and cannot be read.
pub(crate) fn sessions(root: &Path, acks: &[Ack]) -> Result<HashMap<String, Option<u64>>> {
    let mut sessions = HashMap::new();
    for token in keys(acks, Kind::Login) {
        if let Some(bytes) = read(&root.join("sessions").join(format!("sess_{token}")))? {
            sessions.insert(token.to_owned(), visits(&String::from_utf8_lossy(&bytes)));
        }
    }
    Ok(sessions)
}

fn keys(acks: &[Ack], kind: Kind) -> impl Iterator<Item = &str> {
    acks.iter().filter(move |ack| ack.kind == kind).filter_map(|ack| ack.key.as_deref())
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Reads `...;visits|i:NUMBER;`, the form in which the shop keeps sessions.
fn visits(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(";visits|i:")?;
    rest.strip_suffix(';')?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ack(kind: Kind, key: &str) -> Ack {
        let client = "c1".to_owned();
        Ack { kind, client, seq: None, key: Some(key.into()), hash: None, at_ms: 1 }
    }

    #[test]
    fn finds_what_is_there_and_sees_a_damaged_session() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("uploads/ab")).unwrap();
        std::fs::create_dir_all(dir.path().join("sessions")).unwrap();
        std::fs::write(dir.path().join("uploads/ab/abc"), "bytes").unwrap();
        let session = |token: &str, text: &str| {
            std::fs::write(dir.path().join(format!("sessions/sess_{token}")), text).unwrap();
        };
        session("t1", "client|s:c1;visits|i:0000000012;");
        session("t2", "client|s:c1;visi");
        let acks = [
            ack(Kind::Upload, "abc"),
            ack(Kind::Upload, "abd"),
            ack(Kind::Login, "t1"),
            ack(Kind::Login, "t2"),
            ack(Kind::Login, "t3"),
        ];
        let uploads = uploads(dir.path(), &acks).unwrap();
        assert_eq!(uploads.len(), 1);
        assert_eq!(uploads["abc"], blake3::hash(b"bytes").to_hex().to_string());
        let sessions = sessions(dir.path(), &acks).unwrap();
        assert_eq!((sessions["t1"], sessions["t2"]), (Some(12), None));
        assert!(!sessions.contains_key("t3"));
    }
}
