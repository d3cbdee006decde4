//! One keeper a front: whoever has the lock on the file beside the state.

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use segue_model::{Fault, FaultKind};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The lock; it ends with the process in whatever way.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the front with this state file.
    ///
    /// # Errors
    /// `SG0125` if another process has it, or the file cannot be made.
    pub(super) fn take(state: &Path) -> Result<Self, Fault> {
        let path = path(state);
        let fault = |kind, cause: &dyn std::fmt::Display, hint: &str| {
            let op = format!("keep the front with state `{}`", state.display());
            Fault::new("SG0125", kind, op, cause).hint(hint)
        };
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let file = file.map_err(|e| {
            fault(FaultKind::Invalid, &e, "make room and rights in the folder of the state file")
        })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(fault(
                FaultKind::Conflict,
                &"another process keeps it",
                "use that one, or end it with SIGTERM",
            )),
            Err(e) => Err(fault(FaultKind::Invalid, &e, "use a disk whose files can be locked")),
        }
    }
}

/// Says whether a process keeps the front with this state file, so that it comes back by itself
/// if it does not answer just now.
pub fn is_kept(state: &Path) -> bool {
    let Ok(file) = File::open(path(state)) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

fn path(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".keeper");
    PathBuf::from(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn two_do_not_keep_one_front() {
        let folder = tempfile::TempDir::new().unwrap();
        let state = folder.path().join("state.json");
        assert!(!is_kept(&state));
        let lock = Lock::take(&state).unwrap();
        assert!(is_kept(&state));
        assert_eq!(Lock::take(&state).unwrap_err().code, "SG0125");
        drop(lock);
        assert!(!is_kept(&state));
        Lock::take(&state).unwrap();
    }
}
