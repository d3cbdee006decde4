//! `segue fragments`: what has to stand in the configuration of the servers around the fronts.

use super::doctor;
use anyhow::{Context, Result};
use segue_server::outline::Fragment;
use std::path::Path;

/// Prints the pieces; with `write` it writes the files that they name as well.
///
/// # Errors
/// If the plan file cannot be read, or a file not be written.
pub(crate) fn run(file: &Path, write: bool, json: bool) -> Result<u8> {
    let plan = doctor::read_plan(file)?;
    let fragments = segue_server::outline::fragments(&plan);
    for fragment in &fragments {
        if write {
            write_files(fragment)?;
        }
        if json {
            println!("{}", serde_json::json!({ "title": fragment.title, "text": fragment.text }));
        } else {
            println!("### {}\n\n{}", fragment.title, fragment.text);
        }
    }
    let files = || fragments.iter().flat_map(|one| one.files.iter().chain(&one.once));
    if !write && !json {
        for (path, _) in files() {
            println!("needs `{}`: `segue fragments --write` writes it", path.display());
        }
    }
    Ok(0)
}

/// Files that Segue changes itself are written only where there are none.
fn write_files(fragment: &Fragment) -> Result<()> {
    let all = fragment.files.iter().map(|file| (file, true));
    for ((path, text), again) in all.chain(fragment.once.iter().map(|file| (file, false))) {
        if path.exists() && !again {
            continue;
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("make folder `{}`", folder.display()))?;
        }
        std::fs::write(path, text).with_context(|| format!("write `{}`", path.display()))?;
        eprintln!("wrote `{}`", path.display());
    }
    Ok(())
}
