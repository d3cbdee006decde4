//! Finding and ending what a former epoch left running.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use segue_model::{EffectLeft, Fault, FaultKind};
use std::time::{Duration, Instant};

/// The environment variable that carries a run mark.
pub const MARK_VARIABLE: &str = "SEGUE_MARK";

/// A running process that carries a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// Its process id.
    pub pid: i32,
    /// The mark, whole.
    pub mark: String,
    /// Whether it is the command that Segue started itself: the leader of its process
    /// group, and not of a session. A daemon left by a start command inherits the mark
    /// but is not that.
    pub command: bool,
}

/// Kills every process whose mark begins with `prefix` and for which `chosen` says yes,
/// and waits until they are gone. Returns how many there were.
///
/// Marks are `run/unit/step/epoch`, so end the prefix with `/`. Processes of other users
/// are seen only by root; what cannot be read cannot have been started by this user.
///
/// # Errors
/// `SG0885` if one may not be killed or is still there after `within`.
pub async fn end_marked(
    prefix: &str,
    chosen: impl Fn(&Marked) -> bool + Send + 'static,
    within: Duration,
) -> Result<usize, Fault> {
    let prefix = prefix.to_owned();
    let op = format!("end processes marked `{prefix}`");
    let ended = tokio::task::spawn_blocking(move || end(&prefix, &chosen, within)).await;
    ended.map_err(|e| e.to_string()).and_then(|r| r).map_err(|cause| {
        Fault::new("SG0885", FaultKind::Denied, op, cause)
            .leaving(EffectLeft::Maybe)
            .hint("end them by hand, then let the run go on")
    })
}

fn end(prefix: &str, chosen: &dyn Fn(&Marked) -> bool, within: Duration) -> Result<usize, String> {
    let until = Instant::now() + within;
    let mut ended = 0;
    // Scanned again until nothing is found: one of them may fork between two looks.
    loop {
        let found: Vec<Marked> = scan(prefix)?.into_iter().filter(|m| chosen(m)).collect();
        if found.is_empty() {
            return Ok(ended);
        }
        if Instant::now() >= until {
            let pids: Vec<String> = found.iter().map(|m| m.pid.to_string()).collect();
            return Err(format!("still running: {}", pids.join(", ")));
        }
        let mut handles = Vec::new();
        for marked in &found {
            if let Some(handle) = kill(marked)? {
                handles.push(handle);
                ended += 1;
            }
        }
        for handle in &handles {
            wait(handle, until);
        }
    }
}

/// Sends SIGKILL over a pidfd, so that a reused process id is never hit.
fn kill(marked: &Marked) -> Result<Option<OwnedFd>, String> {
    let Some(pid) = Pid::from_raw(marked.pid) else { return Ok(None) };
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(Errno::SRCH) => return Ok(None),
        Err(e) => return Err(format!("process {}: {e}", marked.pid)),
    };
    // The handle now names one process for good; the mark proves that it is the right one.
    if mark_of(marked.pid).as_deref() != Some(&marked.mark) {
        return Ok(None);
    }
    match pidfd_send_signal(&handle, Signal::KILL) {
        Ok(()) => Ok(Some(handle)),
        Err(Errno::SRCH) => Ok(None),
        Err(e) => Err(format!("process {}: {e}", marked.pid)),
    }
}

fn wait(handle: &OwnedFd, until: Instant) {
    let left = until.saturating_duration_since(Instant::now());
    let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
    let limit = Timespec { tv_sec: seconds, tv_nsec: i64::from(left.subsec_nanos()) };
    // Whatever it returns, the next scan tells whether the process is gone.
    let _ = poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&limit));
}

/// Returns every running process whose mark begins with `prefix`, this one excepted.
fn scan(prefix: &str) -> Result<Vec<Marked>, String> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else {
            continue;
        };
        if u32::try_from(pid) == Ok(own) {
            continue;
        }
        if let Some(mark) = mark_of(pid).filter(|m| m.starts_with(prefix)) {
            found.push(Marked { pid, mark, command: is_command(pid) });
        }
    }
    Ok(found)
}

/// Returns the mark in a process' environment; `None` for a zombie, whose environment is gone.
fn mark_of(pid: i32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|&b| b == 0).find_map(|entry| {
        let value = entry.strip_prefix(MARK_VARIABLE.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    })
}

fn is_command(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| leads_group(pid, &stat))
}

/// Whether `/proc/<pid>/stat` names a process that leads its group, and not its session.
///
/// Group and session are fields 5 and 6, proc(5); the name before them may hold anything.
/// They are read there because rustix' `getpgid` and `getsid` panic on the 0 that the
/// kernel gives for a leader outside this PID namespace, the rule in a container.
pub(super) fn leads_group(pid: i32, stat: &str) -> bool {
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let mut leaders = fields.split_whitespace().skip(2).map(str::parse::<i32>);
    let (group, session) = (leaders.next(), leaders.next());
    group == Some(Ok(pid)) && matches!(session, Some(Ok(leader)) if leader != pid)
}
