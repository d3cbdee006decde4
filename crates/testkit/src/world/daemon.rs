//! One child process of a world.

use super::programs::Programs;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How a daemon is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At once; its data goes with the world.
    Kill,
    /// It is asked first: its own children or its last line would be left else.
    Ask,
}

/// How a daemon is started.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) log: PathBuf,
    pub(crate) ending: Ending,
}

impl Recipe {
    /// Starts it.
    ///
    /// Tied to this *thread*: the kernel signals the child when the thread that started
    /// it ends, so that nothing is left when this process is killed. Detached: in a
    /// session of its own, to go on without us.
    pub(crate) fn start(&self, programs: &Programs, detached: bool) -> Result<Daemon> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("open log `{}`", self.log.display()))?;
        let mut command = if detached {
            Command::new(&programs.setsid)
        } else {
            let mut command = Command::new(&programs.setpriv);
            let signal = if self.ending == Ending::Ask { "TERM" } else { "KILL" };
            // A group of its own: Ctrl-C at the terminal must not end it before its world does.
            command.args(["--pdeathsig", signal, "--"]).process_group(0);
            command
        };
        let child = command
            .arg(&self.program)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start `{}` ({})", self.name, self.program.display()))?;
        Ok(Daemon { recipe: self.clone(), child })
    }
}

/// A running child.
#[derive(Debug)]
pub(crate) struct Daemon {
    recipe: Recipe,
    child: Child,
}

impl Daemon {
    /// Returns its name.
    pub(crate) fn name(&self) -> &str {
        &self.recipe.name
    }

    /// Returns how it was started.
    pub(crate) fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Fails if it has ended, with the end of its log.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "`{}` ended ({status}); the end of `{}`:\n{}",
                self.recipe.name,
                self.recipe.log.display(),
                tail(&self.recipe.log)
            );
        }
        Ok(())
    }

    /// Sends the first signal of its ending; [`Daemon::finish`] sees it through.
    pub(crate) fn begin_end(&mut self) {
        match self.recipe.ending {
            Ending::Ask => signal(self.pid(), Signal::TERM),
            Ending::Kill => signal_group(self.pid(), Signal::KILL),
        }
    }

    /// Waits for its end, with SIGKILL for it and its children after `patience`.
    pub(crate) fn finish(mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        signal_group(self.pid(), Signal::KILL);
        // A killed child is certain to end; without the wait it would stay as a zombie.
        let _ = self.child.wait();
    }

    /// Kills it with SIGKILL and waits for it.
    pub(crate) fn kill(mut self) -> Recipe {
        signal_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
        self.recipe
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait_end(mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                let name = self.recipe.name.clone();
                self.kill();
                bail!("wait for the end of `{name}`: still running after {patience:?}, killed");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may just have ended; that is what is wanted.
        let _ = kill_process(pid, signal);
    }
}

fn signal_group(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process_group(pid, signal);
    }
}

/// Returns the last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// Waits until `ready` answers true, with a deadline; `what` names the condition.
pub(crate) fn wait_until(
    what: &str,
    patience: Duration,
    mut ready: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !ready()? {
        if Instant::now() > deadline {
            bail!("wait until {what}: not within {patience:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
