//! Files in the tree that are written by the program itself.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// A generated file: its path beneath the root, and its text.
pub(crate) struct Generated {
    /// Path beneath the repository's root.
    pub(crate) path: &'static str,
    /// What it must hold.
    pub(crate) text: String,
}

/// Returns every generated file with its current text.
///
/// # Errors
/// If a page under `docs/errors` cannot be read.
pub(crate) fn all(_root: &Path) -> Result<Vec<Generated>> {
    let schema = serde_json::to_string_pretty(&segue_plan::schema())? + "\n";
    Ok(vec![Generated { path: "docs/plan.schema.json", text: schema }])
}

/// Writes every generated file that is not current.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write(root: &Path) -> Result<()> {
    for file in all(root)? {
        let path = root.join(file.path);
        if fs::read_to_string(&path).is_ok_and(|text| text == file.text) {
            continue;
        }
        fs::write(&path, &file.text).with_context(|| format!("write {}", file.path))?;
        println!("wrote {}", file.path);
    }
    Ok(())
}
