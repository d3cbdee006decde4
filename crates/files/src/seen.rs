//! The paths this run has seen at the target: only these may be deleted at the source.
//!
//! Kept as 16 byte keys, so that a million paths fit in memory, and appended to a file
//! of the same keys, so that a restarted controller knows them.

use crate::exclude::Excludes;
use crate::walk;
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::Outcome;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const KEY: usize = 16;

/// A set of paths that only grows, until the run ends.
#[derive(Debug)]
pub(crate) struct Seen {
    file: PathBuf,
    keys: HashSet<[u8; KEY]>,
    log: Option<File>,
}

impl Seen {
    /// Reads the set of a former controller of this run; an absent file is an empty set.
    pub(crate) fn open(file: PathBuf) -> Self {
        let mut keys = HashSet::new();
        let bytes = std::fs::read(&file).unwrap_or_default();
        for key in bytes.chunks_exact(KEY) {
            let mut own = [0; KEY];
            own.copy_from_slice(key);
            keys.insert(own);
        }
        Self { file, keys, log: None }
    }

    /// Returns whether the path was seen at the target.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        self.keys.contains(&key(path))
    }

    /// Adds paths.
    ///
    /// # Errors
    /// `SG0415` if they could not be written down.
    pub(crate) fn add<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) -> Outcome<()> {
        let mut fresh = Vec::new();
        for path in paths {
            let key = key(path);
            if self.keys.insert(key) {
                fresh.extend_from_slice(&key);
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        self.append(&fresh).map_err(|e| {
            let op = format!("note seen paths in `{}`", self.file.display());
            Fault::new("SG0415", FaultKind::Denied, op, e)
                .leaving(EffectLeft::Done)
                .hint("make room in the run directory")
        })
    }

    /// Adds everything that stands in the tree now.
    ///
    /// # Errors
    /// As [`Self::add`], or `SG0416` if the tree cannot be read.
    pub(crate) fn add_tree(&mut self, root: &Path, excludes: &Excludes) -> Outcome<usize> {
        let mut paths = Vec::new();
        walk::each(root, excludes, &mut |path, _| paths.push(path.to_owned())).map_err(|e| {
            Fault::new("SG0416", FaultKind::Denied, format!("read tree `{}`", root.display()), e)
                .hint("let the controller read every folder of the tree")
        })?;
        self.add(paths.iter().map(PathBuf::as_path))?;
        Ok(paths.len())
    }

    /// Forgets everything, the file included.
    pub(crate) fn end(&mut self) {
        self.log = None;
        self.keys.clear();
        // An absent file is what is wanted.
        let _ = std::fs::remove_file(&self.file);
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.log.is_none() {
            if let Some(folder) = self.file.parent() {
                std::fs::create_dir_all(folder)?;
            }
            self.log = Some(File::options().append(true).create(true).open(&self.file)?);
        }
        // One write, so that a killed controller leaves whole keys or a tail that is ignored.
        self.log.as_mut().map_or(Ok(()), |log| log.write_all(bytes))
    }
}

fn key(path: &Path) -> [u8; KEY] {
    let mut key = [0; KEY];
    key.copy_from_slice(&blake3::hash(path.as_os_str().as_bytes()).as_bytes()[..KEY]);
    key
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Seen;
    use std::path::Path;

    #[test]
    fn a_restarted_controller_knows_what_was_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/seen");
        let mut seen = Seen::open(file.clone());
        seen.add([Path::new("a"), Path::new("b/c")].into_iter()).unwrap();
        let mut again = Seen::open(file.clone());
        assert!(again.contains(Path::new("b/c")) && !again.contains(Path::new("b")));
        again.end();
        assert!(!file.exists());
    }
}
