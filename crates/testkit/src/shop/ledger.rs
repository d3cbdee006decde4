//! Ledgers: what was acknowledged, on disk before anyone relies on it.

use anyhow::{Context, Result};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// An append-only file of JSON lines.
pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
}

impl Ledger {
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("create ledger folder `{}`", folder.display()))?;
        let path = folder.join(name);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("open ledger `{}`", path.display()))?;
        Ok(Self { path, file })
    }

    /// Appends one line and returns once it is on disk.
    pub(crate) fn append(&mut self, line: &Value) -> Result<()> {
        let mut text = line.to_string();
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .with_context(|| format!("append to ledger `{}`", self.path.display()))
    }
}
