//! Reading a whole tree without following symbolic links.

use crate::exclude::Excludes;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

/// Calls `visit` with every entry below `root` (path relative to it) that is not excluded.
///
/// What vanishes meanwhile is passed over.
///
/// # Errors
/// The first folder or entry that cannot be read, with its path in the message.
pub(crate) fn each(
    root: &Path,
    excludes: &Excludes,
    visit: &mut dyn FnMut(&Path, &Metadata),
) -> io::Result<()> {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for (path, about) in list(root, &folder, excludes)? {
            visit(&path, &about);
            if about.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(())
}

/// Returns the entries of one folder that are not excluded, unsorted.
///
/// # Errors
/// As [`each`]; a folder that is gone counts as empty.
pub(crate) fn list(
    root: &Path,
    folder: &Path,
    excludes: &Excludes,
) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let full = root.join(folder);
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", full.display()));
    let entries = match std::fs::read_dir(&full) {
        Ok(entries) => entries,
        Err(e) if gone(&e) && !folder.as_os_str().is_empty() => return Ok(Vec::new()),
        Err(e) => return Err(named(e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(named)?;
        let about = match entry.metadata() {
            Ok(about) => about,
            Err(e) if gone(&e) => continue,
            Err(e) => return Err(named(e)),
        };
        let path = folder.join(entry.file_name());
        if !excludes.excludes(&path, about.is_dir()) {
            found.push((path, about));
        }
    }
    Ok(found)
}

/// Returns whether the error says that the object, or a folder above it, is not there.
pub(crate) fn gone(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
