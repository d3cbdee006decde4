//! Hard links: a write through one name changes all of them, but is reported for one.

use crate::exclude::Excludes;
use crate::walk;
use std::collections::{BTreeSet, HashMap};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Names by inode, for files that have more than one. Filled only when such a file changes.
#[derive(Debug, Default)]
pub(crate) struct Links {
    known: HashMap<(u64, u64), Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Link count when the names were looked for; other names may lie outside the tree.
    count: u64,
    names: BTreeSet<PathBuf>,
}

impl Links {
    /// Returns every name below `root` of the file at `path`, which has the metadata `about`.
    ///
    /// Reads the whole tree when the link count is another than at the last look.
    ///
    /// # Errors
    /// If the tree cannot be read.
    pub(crate) fn names(
        &mut self,
        root: &Path,
        excludes: &Excludes,
        path: &Path,
        about: &Metadata,
    ) -> io::Result<Vec<PathBuf>> {
        let inode = (about.dev(), about.ino());
        let complete = self
            .known
            .get(&inode)
            .is_some_and(|k| k.count == about.nlink() && k.names.contains(path));
        if !complete {
            self.read(root, excludes)?;
        }
        let known = self.known.entry(inode).or_default();
        known.count = about.nlink();
        known.names.insert(path.to_owned());
        Ok(known.names.iter().cloned().collect())
    }

    fn read(&mut self, root: &Path, excludes: &Excludes) -> io::Result<()> {
        self.known.clear();
        walk::each(root, excludes, &mut |path, about| {
            if about.is_file() && about.nlink() > 1 {
                let known = self.known.entry((about.dev(), about.ino())).or_default();
                known.count = about.nlink();
                known.names.insert(path.to_owned());
            }
        })
    }
}
