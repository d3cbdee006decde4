//! The repository's text in memory.

use super::mask::{self, Masked};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Folders beneath the root that hold no source.
const SKIPPED: [&str; 4] = ["target", ".git", "segue-run", "segue-report"];

/// One text file.
pub(super) struct File {
    /// Path beneath the root, with `/`.
    pub(super) path: String,
    /// Its text.
    pub(super) text: String,
    /// The same without comments and texts, for Rust files.
    pub(super) rust: Option<Masked>,
}

impl File {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let rust = path.ends_with(".rs").then(|| mask::mask(text));
        Self { path: path.to_owned(), text: text.to_owned(), rust }
    }

    /// Returns the crate the file belongs to: `crates/front/src/lib.rs` -> `front`.
    pub(super) fn krate(&self) -> Option<&str> {
        match self.path.split_once('/')? {
            ("crates", rest) => Some(rest.split_once('/')?.0),
            ("xtask", _) => Some("xtask"),
            _ => None,
        }
    }

    /// Returns whether the whole file is test code.
    pub(super) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "testing"))
    }
}

/// Every text file of the repository, by path.
pub(super) struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// Reads the tree beneath `root`.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
            for entry in entries {
                let entry = entry?;
                let path = entry.path();
                let kind = entry.file_type()?;
                if kind.is_dir() && !SKIPPED.iter().any(|skip| entry.file_name() == *skip) {
                    folders.push(path);
                } else if kind.is_file()
                    && let Ok(text) = fs::read_to_string(&path)
                {
                    let beneath = path.strip_prefix(root)?.to_string_lossy();
                    files.push(File::new(&beneath, &text));
                }
            }
        }
        Ok(Self::of(files))
    }

    /// Builds a tree from files.
    pub(super) fn of(mut files: Vec<File>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    /// Builds a tree from paths and texts.
    #[cfg(test)]
    pub(super) fn planted(files: &[(&str, &str)]) -> Self {
        Self::of(files.iter().map(|(path, text)| File::new(path, text)).collect())
    }

    /// Returns every file.
    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    /// Returns the text at a path.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        let at = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        Some(&self.files[at].text)
    }

    /// Returns the Rust files with their masked text.
    pub(super) fn rust(&self) -> impl Iterator<Item = (&File, &Masked)> {
        self.files.iter().filter_map(|file| Some((file, file.rust.as_ref()?)))
    }
}
