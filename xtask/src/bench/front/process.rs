//! Children of the benchmark, and the processor time that they take.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Open files that the benchmark itself may need: its clients that wait.
const FILES: &str = "12000";

/// Moves this process to the CPU of the load, and lets it open enough connections.
pub(super) fn settle() -> Result<()> {
    let own = std::process::id().to_string();
    let quiet = |program: &str, arguments: &[&str]| -> Result<()> {
        let output = Command::new(program).args(arguments).output()?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{program} {}: {told}", arguments.join(" "));
        Ok(())
    };
    quiet("taskset", &["-acp", "1", &own])?;
    quiet("prlimit", &["--pid", &own, &format!("--nofile={FILES}:")])
}

/// A child that ends with the benchmark.
pub(super) struct Process(Child);

/// Processor time of each thread so far, nanoseconds.
pub(super) type Threads = BTreeMap<String, u64>;

impl Process {
    /// Starts a program on a CPU; what it says goes to `log`.
    pub(super) fn start(program: &Path, cpu: &str, arguments: &[&str], log: &Path) -> Result<Self> {
        let log = fs::File::create(log)?;
        let child = Command::new("taskset")
            .args(["-c", cpu])
            .arg(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start `{}`", program.display()))?;
        Ok(Self(child))
    }

    /// Returns the threads of the process and of the workers it started.
    pub(super) fn threads(&self) -> Result<Threads> {
        let own = self.0.id();
        let workers = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let all = workers.split_ascii_whitespace().map(str::to_owned).chain([own.to_string()]);
        let mut threads = Threads::new();
        for process in all {
            for thread in fs::read_dir(format!("/proc/{process}/task"))? {
                let path = thread?.path();
                // A thread may end between being listed and being read.
                let Ok(text) = fs::read_to_string(path.join("schedstat")) else { continue };
                let spent = text.split(' ').next().context("schedstat is empty")?.parse()?;
                threads.insert(path.display().to_string(), spent);
            }
        }
        Ok(threads)
    }

    /// Returns resident memory, KiB.
    pub(super) fn resident_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_ascii_whitespace().next());
        Ok(number.context("no VmRSS in the status of the process")?.parse()?)
    }
}

/// Returns what was spent between two looks, nanoseconds. A thread that ended meanwhile
/// took its count along.
pub(super) fn cpu_ns(before: &Threads, after: &Threads) -> u64 {
    let since = |(name, ns): (&String, &u64)| ns.saturating_sub(*before.get(name).unwrap_or(&0));
    after.iter().map(since).sum()
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked politely, it takes its workers along. Gone already if it failed at its start.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns where a daemon is.
pub(super) fn find(program: &str) -> PathBuf {
    let own = PathBuf::from("/usr/sbin").join(program);
    if own.exists() { own } else { PathBuf::from(program) }
}

/// Returns an address that is free now.
pub(super) fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Waits until somebody listens.
pub(super) fn wait_for(address: SocketAddr, what: &str, log: &Path) -> Result<()> {
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        if began.elapsed() > Duration::from_secs(10) {
            bail!("{what} does not listen: {}", fs::read_to_string(log).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_threads_that_began_and_survives_those_that_ended() {
        let threads =
            |all: &[(&str, u64)]| all.iter().map(|(n, t)| ((*n).to_owned(), *t)).collect();
        let before: Threads = threads(&[("a", 5), ("gone", 100)]);
        assert_eq!(cpu_ns(&before, &threads(&[("a", 8), ("new", 4)])), 7);
    }
}
