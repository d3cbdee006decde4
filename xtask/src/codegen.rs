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
pub(crate) fn all(root: &Path) -> Result<Vec<Generated>> {
    let schema = serde_json::to_string_pretty(&segue_plan::schema())? + "\n";
    let moves = serde_json::to_string_pretty(&segue_plan::moves_schema())? + "\n";
    Ok(vec![
        Generated { path: "docs/plan.schema.json", text: schema },
        Generated { path: "docs/zones.schema.json", text: moves },
        Generated { path: "docs/errors/README.md", text: index(&root.join("docs/errors"))? },
    ])
}

/// Returns the index of error codes: the heading of every page, block by block.
fn index(folder: &Path) -> Result<String> {
    let mut headings = Vec::new();
    for entry in fs::read_dir(folder).context("read docs/errors")? {
        let path = entry?.path();
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let heading = text.lines().next().and_then(|line| line.strip_prefix("# SG"));
        headings.extend(heading.and_then(|line| line.split_once(": ")).map(owned));
    }
    headings.sort();
    let mut text = String::from(
        "# Error codes\n\nWritten by `cargo xtask codegen`. `segue explain CODE` prints a page.\n",
    );
    for (block, title) in BLOCKS {
        let of_block: Vec<_> =
            headings.iter().filter(|(digits, _)| digits.starts_with(block)).collect();
        if !of_block.is_empty() {
            text += &format!("\n## SG{block}: {title}\n\n");
        }
        for (digits, heading) in of_block {
            text += &format!("* [SG{digits}](SG{digits}.md): {heading}\n");
        }
    }
    Ok(text)
}

/// First digits of the codes of each part.
const BLOCKS: [(&str, &str); 8] = [
    ("01", "fronts and traffic"),
    ("02", "database"),
    ("03", "DNS"),
    ("04", "files"),
    ("05", "workers and probes"),
    ("06", "engine"),
    ("07", "plan"),
    ("08", "controller, programs and secrets"),
];

fn owned((digits, heading): (&str, &str)) -> (String, String) {
    (digits.to_owned(), heading.to_owned())
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
