//! One controller a run directory: an exclusive lock and the epoch.
//!
//! The lock ends with its process, so a lock that is held means a controller that lives.
//! Taking over kills it first, through a pidfd whose process was proved to be the one that
//! wrote the lock file: a paused controller must not wake up and act.

use crate::crashpoint;
use crate::journal::Journal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use segue_model::event::Event;
use segue_model::{Epoch, Fault, FaultKind};
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const NAME: &str = "controller.lock";
/// How long a killed controller may take to disappear.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// The right to act in a run directory; held as long as this value lives.
#[derive(Debug)]
pub struct Lease {
    /// Keeps the lock.
    _file: File,
}

/// Which process holds a lease, so that no other one with its id is taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// The machine's boot.
    pub boot_id: String,
    /// Start of the process, clock ticks after boot.
    pub start_ticks: u64,
}

impl Lease {
    /// Takes the lease of `dir`.
    ///
    /// # Errors
    /// `SG0610` if another controller holds it, `SG0611` if the lock file cannot be used.
    pub fn take(dir: &Path) -> Outcome<Self> {
        let (path, file) = open(dir)?;
        if lock(&path, &file)? {
            return Self::write(&path, file);
        }
        let who = match read_holder(&file) {
            Some(holder) => format!("process {} holds it", holder.pid),
            None => "another process holds it".to_owned(),
        };
        Err(Fault::new("SG0610", FaultKind::Conflict, format!("lock `{}`", path.display()), who)
            .hint("ask the running controller, or take over from it"))
    }

    /// Takes the lease of `dir`; a controller that holds it is killed first.
    ///
    /// Blocks for up to some seconds.
    ///
    /// # Errors
    /// `SG0610` if the holder is not known for certain or does not end, `SG0611` as
    /// [`Self::take`].
    pub fn take_over(dir: &Path) -> Outcome<Self> {
        let (path, file) = open(dir)?;
        if lock(&path, &file)? {
            return Self::write(&path, file);
        }
        let refuse = |cause: String| {
            let op = format!("take over `{}`", path.display());
            Fault::new("SG0610", FaultKind::Conflict, op, cause)
                .hint("find out which process holds the lock file and end it by hand")
        };
        let Some(holder) = read_holder(&file) else {
            return Err(refuse("the lock file does not say who holds it".into()));
        };
        kill(&holder).map_err(refuse)?;
        if lock(&path, &file)? {
            return Self::write(&path, file);
        }
        Err(refuse(format!("process {} is gone, yet the lock is held", holder.pid)))
    }

    /// Raises the epoch: every later effect of this controller carries it, and whatever can
    /// refuse an older one does.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub async fn take_epoch(&self, journal: &Journal) -> Outcome<Epoch> {
        let epoch = Epoch(journal.epoch().0 + 1);
        journal.append(Event::EpochTaken { epoch, pid: std::process::id() }).await?;
        crashpoint::hit("lease.taken", "epoch");
        Ok(epoch)
    }

    /// Returns who holds, or last held, the lease of `dir`.
    pub fn holder(dir: &Path) -> Option<Holder> {
        File::open(dir.join(NAME)).ok().as_ref().and_then(read_holder)
    }

    /// Says whether the process that last held the lease of `dir` still runs.
    pub fn holder_runs(dir: &Path) -> bool {
        Self::holder(dir).is_some_and(|holder| holder.is_alive() && !is_dead(holder.pid))
    }

    fn write(path: &Path, file: File) -> Outcome<Self> {
        let me = Holder::me().map_err(|error| unusable(path, &error))?;
        let text = serde_json::to_vec(&me).map_err(|error| unusable(path, &error))?;
        // Written before it is cut: in place this needs no space, and a full disk must not
        // keep a controller from coming back.
        file.write_all_at(&text, 0)
            .and_then(|()| file.set_len(text.len() as u64))
            .map_err(|error| unusable(path, &error))?;
        Ok(Self { _file: file })
    }
}

impl Holder {
    fn me() -> std::io::Result<Self> {
        let pid = std::process::id();
        Ok(Self { pid, boot_id: boot_id()?, start_ticks: start_ticks(pid)? })
    }

    /// Says whether the process with this id is still the one that wrote the lock file.
    fn is_alive(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot_id)
            && start_ticks(self.pid).is_ok_and(|start| start == self.start_ticks)
    }
}

fn open(dir: &Path) -> Outcome<(PathBuf, File)> {
    let path = dir.join(NAME);
    std::fs::create_dir_all(dir).map_err(|error| unusable(&path, &error))?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| unusable(&path, &error))?;
    Ok((path, file))
}

fn lock(path: &Path, file: &File) -> Outcome<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn read_holder(file: &File) -> Option<Holder> {
    let mut text = vec![0; 512];
    let len = file.read_at(&mut text, 0).ok()?;
    serde_json::from_slice(&text[..len]).ok()
}

fn boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Says whether the process has ended and only waits for its parent, proc(5).
fn is_dead(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

/// Field 22 of `/proc/<pid>/stat`, proc(5); the name before it may hold anything.
fn start_ticks(pid: u32) -> std::io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().nth(19).and_then(|text| text.parse().ok());
    ticks.ok_or_else(|| std::io::Error::other("no start time in its stat file"))
}

/// Kills the holder and waits until it is gone.
fn kill(holder: &Holder) -> Result<(), String> {
    let name = format!("process {}", holder.pid);
    let pid = i32::try_from(holder.pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| format!("{name} is no process id"))?;
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(format!("{name} cannot be watched: {error}")),
    };
    // Only now that the descriptor stands for one process does its identity say something.
    if !holder.is_alive() {
        return Err(format!("{name} is not the one that wrote the lock file"));
    }
    pidfd_send_signal(&pidfd, Signal::KILL).map_err(|error| format!("{name}: {error}"))?;
    let wait = Timespec { tv_sec: KILL_WAIT.as_secs() as i64, tv_nsec: 0 };
    match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&wait)) {
        Ok(1..) => Ok(()),
        Ok(_) => Err(format!("{name} did not end after SIGKILL")),
        Err(error) => Err(format!("{name} cannot be waited for: {error}")),
    }
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Fault {
    let op = format!("use lock file `{}`", path.display());
    Fault::new("SG0611", FaultKind::Denied, op, error)
        .hint("check owner and rights of the run directory")
}
