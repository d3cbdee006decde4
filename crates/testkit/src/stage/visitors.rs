//! The visitors: `segue-load` as a process of its own, and what it says each second.

use crate::world::Description;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Running visitors. Dropping them ends the process.
pub struct Visitors {
    child: Child,
    last: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    second: Value,
    sent: u64,
    failed: u64,
}

impl Visitors {
    /// Starts them.
    pub fn start(bin: &Path, description: &Description, rate: u32) -> Result<Self> {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(bin.join("segue-load"))
            .arg("--world")
            .arg(description.path())
            .args(["--rate", &rate.to_string(), "--orders", &(rate / 4).to_string()])
            .arg("--ledger")
            .arg(&description.ledger_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the visitors (`segue-load`)")?;
        let output = child.stdout.take().context("the visitors' output")?;
        let last = Arc::new(Mutex::new(Seen::default()));
        let seen = Arc::clone(&last);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let (Ok(second), Ok(mut seen)) =
                    (serde_json::from_str::<Value>(&line), seen.lock())
                {
                    seen.sent += second["sent"].as_u64().unwrap_or(0);
                    seen.failed += second["failed"].as_u64().unwrap_or(0);
                    seen.second = second;
                }
            }
        });
        Ok(Self { child, last })
    }

    /// Waits until a second with answers has passed.
    pub fn wait_until_busy(&self, patience: Duration) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < patience {
            if self.last.lock().is_ok_and(|seen| seen.second["ok"].as_u64().unwrap_or(0) > 0) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("no visitor got an answer within {} s", patience.as_secs())
    }

    /// Says what they saw in the last second, and in all.
    pub fn words(&self) -> String {
        let Ok(seen) = self.last.lock() else { return "unknown".into() };
        let number =
            |key: &str| seen.second[key].as_f64().map_or("?".into(), |v| format!("{v:.0}"));
        format!(
            "{}/s, p50 {} ms, p99 {} ms, at source {}, at target {}; {} sent so far, {} failed",
            number("ok"),
            number("p50_ms"),
            number("p99_ms"),
            number("at_source"),
            number("at_target"),
            seen.sent,
            seen.failed
        )
    }

    /// Returns how many requests were sent, and how many of them failed.
    pub fn counted(&self) -> (u64, u64) {
        self.last.lock().map_or((0, u64::MAX), |seen| (seen.sent, seen.failed))
    }

    /// Ends them: they wait for their last answers and close the ledger.
    pub fn leave(mut self) -> Result<()> {
        self.signal(Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("the visitors' process ended with {status}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the visitors did not leave within 20 s")
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
