//! Servers started as children of this process: they run until they are ended.

use crate::process::find_program;
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use segue_model::{EffectLeft, Fault, FaultKind};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a server may take to end when it is asked to.
const ENDING: Duration = Duration::from_secs(30);

/// A running server. Dropping it kills it, and so does the kernel when this process dies.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Daemon {
    /// Starts `program`; both outputs are appended to `log`, and `stdin` is what it reads: the
    /// way for secrets. It keeps this process's environment.
    ///
    /// # Errors
    /// `SG0852` if the log cannot be opened or the program not started.
    pub async fn start(
        name: &str,
        program: &Path,
        args: &[OsString],
        log: &Path,
        stdin: Option<&[u8]>,
    ) -> Result<Self, Fault> {
        let op = format!("start `{name}`");
        let fail = |e: std::io::Error| Fault::new("SG0852", FaultKind::Invalid, op.clone(), e);
        let out = OpenOptions::new().create(true).append(true).open(log).map_err(fail)?;
        let mut words: Vec<OsString> = Vec::new();
        // The kernel watches the thread that starts a child: the runtime's last as long as it.
        if let Some(setpriv) = find_program("setpriv") {
            words.extend([setpriv.into(), "--pdeathsig".into(), "KILL".into(), "--".into()]);
        }
        words.push(program.into());
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(args)
            .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(out.try_clone().map_err(fail)?)
            .stderr(out)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(fail)?;
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), stdin) {
            pipe.write_all(bytes).await.map_err(fail)?;
            pipe.shutdown().await.map_err(fail)?;
        }
        Ok(Self { name: name.to_owned(), log: log.to_owned(), child })
    }

    /// Makes sure that it runs.
    ///
    /// # Errors
    /// `SG0852` with its last words if it has ended.
    pub fn still_runs(&mut self) -> Result<(), Fault> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            ended => {
                let text = std::fs::read(&self.log).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
                let last = lines[lines.len().saturating_sub(4)..].join("; ");
                let status = ended.ok().flatten().map_or_else(String::new, |s| s.to_string());
                let op = format!("keep `{}` running", self.name);
                Err(Fault::new("SG0852", FaultKind::Invalid, op, format!("{status}: {last}"))
                    .leaving(EffectLeft::None)
                    .hint(format!("its log is `{}`", self.log.display())))
            }
        }
    }

    /// Sends a signal; one that has ended already takes none.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may just have ended; that is what the next look says.
            let _ = kill_process(pid, signal);
        }
    }

    /// Asks it to end, and kills it if it does not.
    pub async fn end(mut self) {
        self.signal(Signal::CONT);
        self.signal(Signal::TERM);
        if timeout(ENDING, self.child.wait()).await.is_err() {
            // Nothing is left to do about a child that cannot be killed.
            let _ = self.child.kill().await;
        }
    }
}
