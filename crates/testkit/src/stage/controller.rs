//! The controller's process: found by its lock file, proved by its command line.

use super::Segue;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A controller that runs or sleeps.
pub struct Controller {
    pid: Pid,
    dir: PathBuf,
}

impl Controller {
    /// Finds the one of a run directory; `None` if none lives.
    pub fn of(segue: &Segue) -> Option<Self> {
        let text = std::fs::read_to_string(segue.dir().join("controller.lock")).ok()?;
        let holder: Value = serde_json::from_str(&text).ok()?;
        let pid = Pid::from_raw(i32::try_from(holder["pid"].as_u64()?).ok()?)?;
        let found = Self { pid, dir: segue.dir().to_owned() };
        found.lives().then_some(found)
    }

    /// Whether the process is there and is a controller of this directory.
    pub fn lives(&self) -> bool {
        let path = format!("/proc/{}/cmdline", self.pid.as_raw_nonzero());
        let line = std::fs::read(path).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(&*self.dir.display().to_string()) && line.contains(" controller")
    }

    /// Returns its process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it sleeps, proc(5).
    pub fn sleeps(&self) -> bool {
        let path = format!("/proc/{}/stat", self.pid.as_raw_nonzero());
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    }

    /// Wakes it.
    pub fn wake(&self) -> Result<()> {
        kill_process(self.pid, Signal::CONT).context("wake the controller")
    }

    /// Kills it, if it still lives.
    pub fn kill(&self) {
        if self.lives() {
            // It may just have ended.
            let _ = kill_process(self.pid, Signal::KILL);
        }
    }
}

/// Waits until the controller of the run directory sleeps; `None` if `ended` comes first.
pub fn wait_asleep(
    segue: &Segue,
    patience: Duration,
    mut ended: impl FnMut() -> Result<bool>,
) -> Result<Option<Controller>> {
    let began = Instant::now();
    loop {
        if let Some(controller) = Controller::of(segue).filter(Controller::sleeps) {
            return Ok(Some(controller));
        }
        if ended()? {
            return Ok(None);
        }
        if began.elapsed() > patience {
            bail!("the controller neither sleeps nor ends");
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// A request that waits in the socket of a controller that sleeps.
pub struct Waiting(BufReader<UnixStream>);

impl Waiting {
    /// Asks for a way back; the controller reads it when it wakes.
    pub fn rollback(dir: &Path, patience: Duration) -> Result<Self> {
        let command = json!({ "command": "rollback", "because": "at a named point" });
        Self::ask(dir, &command, patience)
    }

    /// Asks for the end of a split.
    pub fn split_back(dir: &Path, hash: &str, patience: Duration) -> Result<Self> {
        Self::ask(dir, &json!({ "command": "split", "hash": hash, "back": true }), patience)
    }

    /// Asks for the controller's end.
    pub fn stop(dir: &Path, patience: Duration) -> Result<Self> {
        Self::ask(dir, &json!({ "command": "stop" }), patience)
    }

    fn ask(dir: &Path, command: &Value, patience: Duration) -> Result<Self> {
        let mut stream = UnixStream::connect(dir.join("control.sock"))?;
        stream.set_read_timeout(Some(patience))?;
        writeln!(stream, "{}", json!({ "by": "crash", "command": command }))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Returns the answer's exit code.
    pub fn answer(self) -> Result<i64> {
        for line in self.0.lines() {
            let line: Value = serde_json::from_str(&line.context("read the answer")?)?;
            if line["line"] == "end" {
                return line["exit"].as_i64().context("an exit code");
            }
        }
        bail!("the controller closed the connection")
    }
}
