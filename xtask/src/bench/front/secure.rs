//! The certificate that every proxy shows.

use super::HOST;
use anyhow::{Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A certificate for the host, signed with its own key, in the forms that proxies want.
pub(super) struct Pair {
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
    /// Both in one file.
    pub(super) both: PathBuf,
}

/// Makes one of the kind that most sites have: ECDSA with P-256.
pub(super) fn pair(folder: &Path) -> Result<Pair> {
    let folder = folder.join("tls");
    fs::create_dir_all(&folder)?;
    let (chain, key) = (folder.join("fullchain.pem"), folder.join("privkey.pem"));
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "30", "-subj", &format!("/CN={HOST}")])
        .args(["-addext", &format!("subjectAltName=DNS:{HOST}")])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&chain)
        .output()?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    let both = folder.join("both.pem");
    fs::write(&both, fs::read_to_string(&chain)? + &fs::read_to_string(&key)?)?;
    Ok(Pair { chain, key, both })
}
