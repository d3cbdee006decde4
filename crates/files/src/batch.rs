//! From changed paths to the list a mover may be given.
//!
//! Three things are settled here, whatever moves the bytes: nothing is read or written
//! through a folder that has become a symbolic link, all names of a hard-linked file go
//! together, and a deletion takes along only what it may.

use crate::exclude::Excludes;
use crate::links::Links;
use crate::seen::Seen;
use crate::walk;
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use std::collections::{BTreeSet, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The two roots, and what is known of the paths below them.
pub(crate) struct Scene<'a> {
    /// Root at the write side.
    pub(crate) from: &'a Path,
    /// Root at the other side.
    pub(crate) to: &'a Path,
    /// What does not move.
    pub(crate) excludes: &'a Excludes,
    /// What may be deleted at `to`; `None` if everything there is this run's own copy.
    pub(crate) deletable: Option<&'a Seen>,
}

impl Scene<'_> {
    /// Returns the paths to be carried for these changes, sorted.
    ///
    /// # Errors
    /// `SG0416` if a tree cannot be read.
    pub(crate) fn list(&self, changed: Vec<PathBuf>, links: &mut Links) -> Outcome<Vec<PathBuf>> {
        let mut folders = HashSet::new();
        let anchored: BTreeSet<PathBuf> =
            changed.into_iter().map(|path| self.anchor(path, &mut folders)).collect();
        let mut list = BTreeSet::new();
        for path in anchored {
            match self.from.join(&path).symlink_metadata() {
                Ok(about) => {
                    if about.is_file() && about.nlink() > 1 {
                        let names = links.names(self.from, self.excludes, &path, &about);
                        list.extend(names.map_err(|e| unreadable(self.from, e))?);
                    }
                    if about.is_dir() || self.gives_way(&path, &mut list)? {
                        list.insert(path);
                    } else {
                        tracing::warn!(
                            ?path,
                            "not carried: in its place stands a folder with unknown content"
                        );
                    }
                }
                Err(e) if walk::gone(&e) => {
                    if self.gives_way(&path, &mut list)? {
                        list.insert(path);
                    }
                }
                Err(e) => return Err(unreadable(&self.from.join(&path), e)),
            }
        }
        Ok(list.into_iter().collect())
    }

    /// Returns what stands at `to` and not at `from` and may be deleted.
    ///
    /// # Errors
    /// `SG0416` if a tree cannot be read.
    pub(crate) fn surplus(&self) -> Outcome<Vec<PathBuf>> {
        let mut missing = Vec::new();
        walk::each(self.to, self.excludes, &mut |path, _| {
            // Below a missing folder everything is missing; the folder stands for it.
            let under = path.parent().is_some_and(|p| {
                !p.as_os_str().is_empty() && self.from.join(p).symlink_metadata().is_err()
            });
            let here = self.from.join(path).symlink_metadata();
            if !under && here.is_err_and(|e| walk::gone(&e)) {
                missing.push(path.to_owned());
            }
        })
        .map_err(|e| unreadable(self.to, e))?;
        let mut list = BTreeSet::new();
        for path in missing {
            if self.gives_way(&path, &mut list)? {
                list.insert(path);
            }
        }
        Ok(list.into_iter().collect())
    }

    /// Returns the path, or the first folder above it that is no folder (any more): carrying
    /// that one says everything, and nothing is reached through a symbolic link.
    fn anchor(&self, path: PathBuf, folders: &mut HashSet<PathBuf>) -> PathBuf {
        let mut above = PathBuf::new();
        for name in path.parent().into_iter().flat_map(Path::components) {
            above.push(name);
            if folders.contains(&above) {
                continue;
            }
            if !self.from.join(&above).symlink_metadata().is_ok_and(|about| about.is_dir()) {
                return above;
            }
            folders.insert(above.clone());
        }
        path
    }

    /// Returns whether what stands at `to` under this path may go as a whole. If not, adds
    /// the parts of it that may.
    fn gives_way(&self, path: &Path, parts: &mut BTreeSet<PathBuf>) -> Outcome<bool> {
        let Some(seen) = self.deletable else { return Ok(true) };
        let full = self.to.join(path);
        let is_folder = full.symlink_metadata().is_ok_and(|about| about.is_dir());
        if !is_folder {
            // A present file is replaced, not lost: the write side wins. A missing one must be known.
            let present = self.from.join(path).symlink_metadata().is_ok();
            return Ok(present || seen.contains(path) || full.symlink_metadata().is_err());
        }
        let mut whole = seen.contains(path);
        let mut own = BTreeSet::new();
        let entries = walk::list(self.to, path, self.excludes);
        for (entry, _) in entries.map_err(|e| unreadable(&full, e))? {
            if self.gives_way(&entry, &mut own)? {
                own.insert(entry);
            } else {
                whole = false;
            }
        }
        if !whole {
            parts.append(&mut own);
        }
        Ok(whole)
    }
}

fn unreadable(path: &Path, e: impl std::fmt::Display) -> Fault {
    Fault::new("SG0416", FaultKind::Denied, format!("read tree `{}`", path.display()), e)
        .hint("let the controller read every folder of the tree")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Scene;
    use crate::exclude::Excludes;
    use crate::links::Links;
    use crate::seen::Seen;
    use std::fs;
    use std::path::{Path, PathBuf};

    struct Trees(tempfile::TempDir);

    impl Trees {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("from")).unwrap();
            fs::create_dir(dir.path().join("to")).unwrap();
            Self(dir)
        }

        fn file(&self, path: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }

        fn list(&self, seen: Option<&Seen>, changed: &[&str]) -> Vec<PathBuf> {
            let (from, to) = (self.0.path().join("from"), self.0.path().join("to"));
            let excludes = Excludes::default();
            let scene = Scene { from: &from, to: &to, excludes: &excludes, deletable: seen };
            let changed = changed.iter().map(PathBuf::from).collect();
            scene.list(changed, &mut Links::default()).unwrap()
        }
    }

    #[test]
    fn names_a_link_instead_of_what_lies_behind_it() {
        let trees = Trees::new();
        std::os::unix::fs::symlink("/etc", trees.0.path().join("from/d")).unwrap();
        assert_eq!(trees.list(None, &["d/passwd", "d/x/y"]), [Path::new("d")]);
    }

    #[test]
    fn takes_all_names_of_a_hard_linked_file() {
        let trees = Trees::new();
        trees.file("from/a");
        fs::create_dir(trees.0.path().join("from/sub")).unwrap();
        fs::hard_link(trees.0.path().join("from/a"), trees.0.path().join("from/sub/b")).unwrap();
        assert_eq!(trees.list(None, &["sub/b"]), [Path::new("a"), Path::new("sub/b")]);
    }

    #[test]
    fn deletes_only_what_was_seen_when_a_folder_is_gone() {
        let trees = Trees::new();
        for path in ["to/d/seen", "to/d/unseen", "to/d/sub/seen", "to/e/seen"] {
            trees.file(path);
        }
        let mut seen = Seen::open(trees.0.path().join("seen"));
        let known = ["d", "d/seen", "d/sub", "d/sub/seen", "e", "e/seen"];
        seen.add(known.iter().map(|p| Path::new(*p))).unwrap();
        let list = trees.list(Some(&seen), &["d", "e"]);
        assert_eq!(list, ["d/seen", "d/sub", "e"].map(PathBuf::from));
        assert_eq!(trees.list(None, &["d", "e"]), [Path::new("d"), Path::new("e")]);
    }
}
