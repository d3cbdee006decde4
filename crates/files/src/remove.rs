//! Removes listed paths beneath a root, and nothing else.
//!
//! rsync could do it (`--delete-missing-args`), but Debian's 3.2.7-1+deb12u5 refuses the
//! entries that its own sender makes for missing paths below a folder ("invalid file mode
//! 00"). Every folder on the way is opened beneath the root without following links, so that
//! a folder that becomes a link meanwhile leads nowhere (openat2(2), `RESOLVE_BENEATH`).

use crate::exclude::Excludes;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes those of `paths` that do not stand at `from` from `to`, folders with all below
/// them but what is excluded. Returns how many entries went.
///
/// # Errors
/// The first entry that could not be removed, with its path; earlier ones are gone.
pub(crate) fn missing(
    from: &Path,
    to: &Path,
    paths: &[PathBuf],
    excludes: &Excludes,
) -> Result<u64, (PathBuf, Errno)> {
    let root = rustix::fs::open(to, FOLDER, Mode::empty()).map_err(|e| (to.to_owned(), e))?;
    let mut removed = 0;
    for path in paths {
        // Asked as late as possible: what came back meanwhile stays.
        let gone = from.join(path).symlink_metadata().is_err_and(|e| crate::walk::gone(&e));
        if gone {
            removed += one(root.as_fd(), path, excludes).map_err(|e| (path.clone(), e))?;
        }
    }
    Ok(removed)
}

fn one(root: BorrowedFd<'_>, path: &Path, excludes: &Excludes) -> rustix::io::Result<u64> {
    let Some(name) = path.file_name() else { return Ok(0) };
    let parent = match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        None => None,
        Some(parent) => match beneath(root, parent) {
            Ok(folder) => Some(folder),
            // Nothing stands there, or a link does: then it is not what was listed.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(0),
            Err(error) => return Err(error),
        },
    };
    entry(parent.as_ref().map_or(root, |folder| folder.as_fd()), name, path, excludes)
}

fn beneath(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, FOLDER, Mode::empty(), resolve)
}

/// Removes `name` in `folder`; `path` is where that is beneath the root.
fn entry(
    folder: BorrowedFd<'_>,
    name: &OsStr,
    path: &Path,
    excludes: &Excludes,
) -> rustix::io::Result<u64> {
    let about = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(about) => about,
        Err(Errno::NOENT) => return Ok(0),
        Err(error) => return Err(error),
    };
    let is_folder = FileType::from_raw_mode(about.st_mode) == FileType::Directory;
    if excludes.excludes(path, is_folder) {
        return Ok(0);
    }
    if !is_folder {
        return gone_anyway(rustix::fs::unlinkat(folder, name, AtFlags::empty()));
    }
    let own = rustix::fs::openat(folder, name, FOLDER, Mode::empty())?;
    let mut removed = 0;
    for item in Dir::read_from(&own)? {
        let item = item?;
        let item = OsStr::from_bytes(item.file_name().to_bytes());
        if item != "." && item != ".." {
            removed += entry(own.as_fd(), item, &path.join(item), excludes)?;
        }
    }
    match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
        // It holds something excluded.
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(removed),
        other => gone_anyway(other).map(|own| removed + own),
    }
}

fn gone_anyway(removed: rustix::io::Result<()>) -> rustix::io::Result<u64> {
    match removed {
        Ok(()) => Ok(1),
        Err(Errno::NOENT) => Ok(0),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::missing;
    use crate::exclude::Excludes;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    #[test]
    fn only_what_is_listed_and_missing_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("deep/from"), dir.path().join("to"));
        for path in ["deep/from/a", "to/a", "to/d/e", "to/kept", "outside"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        for path in [
            "deep/from/a/here",
            "to/a/here",
            "to/a/gone",
            "to/d/e/f",
            "to/d/cache.tmp",
            "to/kept/x",
            "outside/x",
        ] {
            fs::write(dir.path().join(path), path).unwrap();
        }
        symlink(dir.path().join("outside"), to.join("link")).unwrap();
        symlink("nowhere", to.join("dangling")).unwrap();
        let listed: Vec<PathBuf> =
            ["a/here", "a/gone", "d", "link/x", "dangling", "never", "never/x", "../outside/x"]
                .map(PathBuf::from)
                .into();
        let excludes = Excludes::new(&["*.tmp".to_owned()]);
        let outcome = missing(&from, &to, &listed[..7], &excludes).unwrap();
        assert_eq!(outcome, 4, "a/gone, d/e/f, d/e and the dangling link");
        assert!(to.join("a/here").exists() && !to.join("a/gone").exists());
        assert!(to.join("d/cache.tmp").exists() && !to.join("d/e").exists());
        assert!(to.join("kept/x").exists() && dir.path().join("outside/x").exists());
        assert!(missing(&from, &to, &listed[7..], &excludes).is_err(), "it leads out of the root");
        assert!(dir.path().join("outside/x").exists());
    }
}
