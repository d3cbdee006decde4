//! Processes that outlive this one: the fronts.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Starts `program` in a session of its own, detached from this process and its
/// terminal; both outputs are appended to `log`.
///
/// `setsid --fork` (util-linux) makes the process a child of init, so that neither a
/// signal to this process group nor its end reaches it.
///
/// # Errors
/// If the log cannot be opened or `setsid` cannot be started.
pub fn spawn(program: &Path, args: &[String], log: &Path) -> io::Result<()> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let status = Command::new("setsid")
        .arg("--fork")
        .arg(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("setsid ended with {status}")))
    }
}
