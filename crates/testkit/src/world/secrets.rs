//! Secrets of a world: random, in files that only their owner reads.

use anyhow::{Context, Result};
use rand::RngCore;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Makes a random password and keeps it in file `name` of folder `dir`.
pub(crate) fn password(dir: &Path, name: &str) -> Result<(String, PathBuf)> {
    let mut bytes = [0_u8; 18];
    rand::rng().fill_bytes(&mut bytes);
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = dir.join(name);
    private_file(&path, &secret)?;
    Ok((secret, path))
}

/// Makes a random 256 bit key in base64 and keeps it in file `name` of folder `dir`.
pub(crate) fn key(dir: &Path, name: &str) -> Result<(String, PathBuf)> {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    let secret = domain::utils::base64::encode_string(&bytes);
    let path = dir.join(name);
    private_file(&path, &secret)?;
    Ok((secret, path))
}

/// Writes `text` to a new file with mode 0600.
pub(crate) fn private_file(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("write secret `{}`", path.display()))?;
    writeln!(file, "{text}").with_context(|| format!("write secret `{}`", path.display()))
}
