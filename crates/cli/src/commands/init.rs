//! `segue init`: a commented plan file to fill in.

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::Path;

/// Writes the template; never over an existing file.
///
/// # Errors
/// If the file exists or cannot be written.
pub(crate) fn run(file: &Path) -> Result<u8> {
    if file.exists() {
        bail!("`{}` exists and is left as it is; name another file", file.display());
    }
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .with_context(|| format!("create plan file `{}`", file.display()))?;
    out.write_all(segue_plan::template().as_bytes())
        .with_context(|| format!("write plan file `{}`", file.display()))?;
    println!("wrote {}; fill it in, then run `segue doctor {0}`", file.display());
    Ok(0)
}
