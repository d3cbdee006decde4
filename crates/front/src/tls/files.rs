//! Where certificates and keys lie on a disk, in the forms that common servers use.

use segue_model::{Fault, FaultKind};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most entries of one folder that are looked at.
const ENTRIES_MAX: usize = 100_000;

/// Largest file, bytes. A chain of five certificates has 10 KB.
const FILE_MAX: u64 = 1 << 20;

/// A certificate's chain and its key; one file if they lie together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pair {
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
}

/// What tells one content of a pair's files from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp([(u64, u64, u64, i64, i64); 2]);

impl Pair {
    /// Returns what its files are now.
    pub(super) fn stamp(&self) -> io::Result<Stamp> {
        Ok(Stamp([one(&fs::metadata(&self.chain)?), one(&fs::metadata(&self.key)?)]))
    }

    /// Returns whether others than owner and group may read the key.
    pub(super) fn is_open(&self) -> io::Result<bool> {
        Ok(fs::metadata(&self.key)?.mode() & 0o004 != 0)
    }
}

fn one(file: &Metadata) -> (u64, u64, u64, i64, i64) {
    (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec())
}

/// Reads a file of a size that is to be expected.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(io::Error::other("it is larger than any certificate"));
    }
    Ok(bytes)
}

/// Finds the pairs at a path: a file, or a folder with any of these.
///
/// * `NAME/fullchain.pem` and `NAME/privkey.pem`, as certbot's `live` has them
/// * `NAME.crt` and `NAME.key`
/// * `NAME.pem` with chain and key, as HAProxy wants them, or with `NAME.pem.key` or
///   `NAME.key` beside it
///
/// # Errors
/// `SG0123` if the path cannot be read or a half of a pair is missing; the other pairs come
/// with it.
pub(super) fn find(path: &Path) -> (Vec<Pair>, Vec<Fault>) {
    let mut found = Found::default();
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => found.folder(path, true),
        Ok(_) => found.file(path),
        Err(error) => found.fault(path, &error),
    }
    found.pairs.sort();
    found.pairs.dedup();
    (found.pairs, found.faults)
}

#[derive(Default)]
struct Found {
    pairs: Vec<Pair>,
    faults: Vec<Fault>,
}

impl Found {
    fn fault(&mut self, path: &Path, cause: &dyn std::fmt::Display) {
        self.faults.push(
            Fault::new("SG0123", FaultKind::Invalid, format!("read certificate `{}`", path.display()), cause)
                .hint("put chain and key there in one of the forms of the documentation, readable for the front"),
        );
    }

    fn pair(&mut self, chain: PathBuf, key: PathBuf) {
        self.pairs.push(Pair { chain, key });
    }

    /// Looks into a folder, and into its folders if `deep`.
    fn folder(&mut self, path: &Path, deep: bool) {
        if self.certbot(path) || !deep {
            return;
        }
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return self.fault(path, &error),
        };
        for entry in entries.take(ENTRIES_MAX) {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => return self.fault(path, &error),
            };
            // A link whose end is gone is told of as what it is, a file that is not there.
            if path.is_dir() {
                self.folder(&path, false);
            } else if is(&path, "pem") || is(&path, "crt") {
                self.file(&path);
            }
        }
    }

    /// Takes the pair of a folder as certbot makes it; false if it is none.
    fn certbot(&mut self, folder: &Path) -> bool {
        let (chain, key) = (folder.join("fullchain.pem"), folder.join("privkey.pem"));
        match (chain.is_file(), key.is_file()) {
            (true, true) => self.pair(chain, key),
            (true, false) => self.fault(&chain, &"`privkey.pem` is not beside it"),
            (false, true) => self.fault(&key, &"`fullchain.pem` is not beside it"),
            (false, false) => return false,
        }
        true
    }

    fn file(&mut self, path: &Path) {
        if path.file_name() == Some(OsStr::new("fullchain.pem"))
            && path.parent().is_some_and(|folder| self.certbot(folder))
        {
            return;
        }
        let mut appended = path.as_os_str().to_owned();
        appended.push(".key");
        let beside = [PathBuf::from(appended), path.with_extension("key")];
        match beside.into_iter().find(|key| key.is_file()) {
            Some(key) => self.pair(path.to_owned(), key),
            None if is(path, "crt") => self.fault(path, &"its key is not beside it"),
            None => self.pair(path.to_owned(), path.to_owned()),
        }
    }
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension() == Some(OsStr::new(extension))
}
