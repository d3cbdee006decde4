//! The first process of a process namespace: it has no runtime, and inherits whatever loses its
//! parent.

use rustix::process::WaitOptions;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Command;

/// Runs a program to its end.
///
/// # Errors
/// If it cannot be started, or with its last words if it fails.
pub fn run(program: &str, args: &[&str]) -> io::Result<()> {
    let done = Command::new(program).args(args).output()?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(io::Error::other(format!("{program} {}: {}", args.join(" "), said.trim())))
}

/// Starts a program in `folder` and waits for its end, taking the end of every process that
/// lost its parent meanwhile. Returns its exit code.
///
/// # Errors
/// If it cannot be started.
pub fn run_and_reap<A: AsRef<OsStr>>(program: &Path, args: &[A], folder: &Path) -> io::Result<u8> {
    let child = Command::new(program).args(args).current_dir(folder).spawn()?;
    let wanted = i32::try_from(child.id()).ok();
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Some(pid.as_raw_nonzero().get()) == wanted => {
                let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
                return Ok(code.unwrap_or(1));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
