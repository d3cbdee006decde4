//! Child processes: argument vectors only, ended with the controller.
//!
//! A child runs in a process group of its own. It is killed with its group when its
//! time is over or its future is dropped, and by the kernel when the controller dies
//! (`setpriv --pdeathsig`, where util-linux has it). Grandchildren are not covered by
//! that last rule, so a child may carry a *run mark* in its environment, by which
//! [`end_marked`] finds what a former epoch left behind.
//!
//! Arguments are never logged and never stand in a fault: only the program's name does.
//! The controller's own environment is not handed on, because it may hold secrets.

mod marks;
mod spawn;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use marks::{MARK_VARIABLE, Marked, end_marked};
pub use spawn::find_program;

use segue_model::{EffectLeft, Fault, FaultKind};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Child;
use tokio::time::timeout;

/// Bytes kept of each output stream unless [`Invocation::keep`] says otherwise.
const KEEP: usize = 64 * 1024;
/// Longest line handed to a line callback; the rest of a longer line is dropped.
const LINE_MAX: usize = 8 * 1024;
/// How long output is still read after the child ended: a daemon it left may hold the pipe open.
const AFTER_EXIT: Duration = Duration::from_millis(200);
/// How long a killed child may take to be reaped.
const REAP: Duration = Duration::from_secs(2);

/// A program with its arguments and limits, not yet started.
#[derive(Clone)]
pub struct Invocation {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    stdin: Vec<u8>,
    time_limit: Duration,
    keep: usize,
    mark: Option<String>,
    nice: u8,
}

impl Invocation {
    /// Builds an invocation of `program` (a path, or a name looked up in `PATH`) that
    /// may run for `time_limit`.
    pub fn new(program: impl Into<OsString>, time_limit: Duration) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            folder: None,
            stdin: Vec::new(),
            time_limit,
            keep: KEEP,
            mark: None,
            nice: 0,
        }
    }

    /// Builds an invocation from an argument vector whose first element is the program.
    ///
    /// # Errors
    /// `SG0881` if the vector is empty.
    pub fn from_vector(vector: &[String], time_limit: Duration) -> Result<Self, Fault> {
        let Some((program, args)) = vector.split_first() else {
            return Err(Fault::new(
                "SG0881",
                FaultKind::Invalid,
                "start a command",
                "its argument vector is empty",
            )
            .hint("name the program in the plan"));
        };
        Ok(Self::new(program, time_limit).args(args))
    }

    /// Adds one argument. It is visible in the process list, so never a secret.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments. They are visible in the process list, so never a secret.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the child's environment. Never a secret.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets the folder in which the child starts.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Sets what the child reads from standard input; the default is nothing.
    #[must_use]
    pub fn stdin(mut self, bytes: Vec<u8>) -> Self {
        self.stdin = bytes;
        self
    }

    /// Sets how many bytes of each output stream are kept, counted from its end.
    #[must_use]
    pub fn keep(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        self
    }

    /// Leaves `mark` in the child's environment, for [`end_marked`].
    #[must_use]
    pub fn mark(mut self, mark: impl Into<String>) -> Self {
        self.mark = Some(mark.into());
        self
    }

    /// Lets the child yield to others: the niceness it is started with, 0 to 19.
    #[must_use]
    pub fn nice(mut self, nice: u8) -> Self {
        self.nice = nice.min(19);
        self
    }

    /// Runs the program to its end, whatever its exit status.
    ///
    /// # Errors
    /// `SG0881` if the program is missing, `SG0882` if it could not be started,
    /// `SG0883` if its time was over (its group is killed; the effect is *maybe*),
    /// `SG0884` if its end could not be read.
    pub async fn run(self) -> Result<Finished, Fault> {
        self.run_reporting(&mut |_| {}).await
    }

    /// Runs the program like [`Self::run`] and hands every line of standard output to
    /// `on_line` as it comes. Lines end with `\n` or `\r`, so progress lines count.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_reporting(
        mut self,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Finished, Fault> {
        let name = Path::new(&self.program).file_name().unwrap_or(&self.program);
        let op = format!("run `{}`", name.to_string_lossy());
        let (limit, keep, stdin) = (self.time_limit, self.keep, std::mem::take(&mut self.stdin));
        let started = Instant::now();
        let mut child = spawn::spawn(self, &op).await?;
        let mut group = Group::of(&child);
        let (mut out, mut err) = (Tail::new(keep), Tail::new(keep));
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut unheard = |_: &str| {};
        let ended = {
            let mut io = pin!(async {
                tokio::join!(
                    feed(pipes.0, stdin),
                    drink(pipes.1, &mut out, on_line),
                    drink(pipes.2, &mut err, &mut unheard),
                )
            });
            timeout(limit, async {
                let mut open = true;
                let status = loop {
                    tokio::select! {
                        status = child.wait() => break status,
                        _ = &mut io, if open => open = false,
                    }
                };
                if open {
                    let _ = timeout(AFTER_EXIT, &mut io).await;
                }
                status
            })
            .await
        };
        match ended {
            Ok(Ok(status)) => {
                group.reaped();
                Ok(Finished {
                    status,
                    stdout: out.bytes,
                    stderr: err.bytes,
                    took: started.elapsed(),
                })
            }
            Ok(Err(e)) => {
                Err(Fault::new("SG0884", FaultKind::Bug, op, e).leaving(EffectLeft::Maybe))
            }
            Err(_) => {
                group.kill();
                if timeout(REAP, child.wait()).await.is_ok() {
                    group.reaped();
                }
                let cause = format!("no end after {} ms; it was killed", limit.as_millis());
                Err(Fault::new("SG0883", FaultKind::Timeout, op, cause).leaving(EffectLeft::Maybe))
            }
        }
    }
}

/// How a child ended, and the tail of what it said.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// The last bytes of standard output.
    pub stdout: Vec<u8>,
    /// The last bytes of standard error.
    pub stderr: Vec<u8>,
    /// Time from start to end.
    pub took: Duration,
}

impl Finished {
    /// Returns the exit code, or `None` if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Returns how it ended with the last lines of standard error, on one line, for faults.
    pub fn last_words(&self) -> String {
        let said = String::from_utf8_lossy(&self.stderr);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(3)..].join("; ");
        if tail.is_empty() { self.status.to_string() } else { format!("{}: {tail}", self.status) }
    }
}

/// Kills the child's group unless the child was reaped: the id may then be another's.
struct Group(Option<rustix::process::Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(rustix::process::Pid::from_raw))
    }

    fn kill(&self) {
        if let Some(group) = self.0 {
            // The group may be gone already; nothing else can be done about a failure here.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }

    fn reaped(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of a stream, bounded.
struct Tail {
    bytes: Vec<u8>,
    keep: usize,
}

impl Tail {
    fn new(keep: usize) -> Self {
        Self { bytes: Vec::new(), keep }
    }

    fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        if self.bytes.len() > self.keep {
            self.bytes.drain(..self.bytes.len() - self.keep);
        }
    }
}

/// Writes all of `bytes` and closes the pipe. A child that does not read is its own matter.
async fn feed(pipe: Option<impl AsyncWrite + Unpin>, bytes: Vec<u8>) {
    if let Some(mut pipe) = pipe {
        let _ = pipe.write_all(&bytes).await;
        let _ = pipe.shutdown().await;
    }
}

/// Reads to the end of the stream, keeping its tail and reporting its lines.
async fn drink(
    pipe: Option<impl AsyncRead + Unpin>,
    tail: &mut Tail,
    on_line: &mut (dyn FnMut(&str) + Send),
) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 16 * 1024];
    let mut line = Vec::new();
    while let Ok(n @ 1..) = pipe.read(&mut buffer).await {
        tail.push(&buffer[..n]);
        for &byte in &buffer[..n] {
            if byte == b'\n' || byte == b'\r' {
                if !line.is_empty() {
                    on_line(&String::from_utf8_lossy(&line));
                }
                line.clear();
            } else if line.len() < LINE_MAX {
                line.push(byte);
            }
        }
    }
    if !line.is_empty() {
        on_line(&String::from_utf8_lossy(&line));
    }
}
