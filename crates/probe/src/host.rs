//! Processor and memory of a host: from `/proc` of this machine, or from what a command of
//! the plan writes, for example over ssh.

use crate::lock;
use async_trait::async_trait;
use segue_doors::process::Invocation;
use segue_model::plan::{HostFigures, HostPlan};
use segue_model::{Fault, FaultKind, Sample, What};
use segue_port::{Outcome, Sampler};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longest time the command may take.
const LIMIT: Duration = Duration::from_millis(1_800);

/// Processor time since the host started, in its own ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    all: u64,
}

/// What one look at a host shows.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Look {
    ticks: Ticks,
    ram_percent: f64,
}

/// Reads one host.
#[derive(Debug)]
pub struct HostSampler {
    plan: HostPlan,
    last: Mutex<Option<Ticks>>,
}

impl HostSampler {
    /// Builds the sampler of `CpuPercent` and `RamPercent` of the host's side.
    pub fn new(plan: HostPlan) -> Arc<Self> {
        Arc::new(Self { plan, last: Mutex::new(None) })
    }

    async fn text(&self, op: &str) -> Outcome<String> {
        match &self.plan.figures {
            HostFigures::Proc(folder) => {
                let read = |name: &str| {
                    let path = folder.join(name);
                    std::fs::read_to_string(&path).map_err(|e| unreadable(op, &path, &e))
                };
                Ok(read("stat")? + &read("meminfo")?)
            }
            HostFigures::Command(words) => {
                let finished = Invocation::from_vector(words, LIMIT)?.run().await?;
                if finished.code() != Some(0) {
                    return Err(refused(op, &finished.last_words()));
                }
                Ok(String::from_utf8_lossy(&finished.stdout).into_owned())
            }
        }
    }
}

fn unreadable(op: &str, path: &Path, error: &std::io::Error) -> Fault {
    refused(op, &format!("`{}`: {error}", path.display()))
}

fn refused(op: &str, cause: &str) -> Fault {
    Fault::new("SG0526", FaultKind::Denied, op, cause)
        .hint("it must show the lines of /proc/stat and /proc/meminfo")
}

/// Reads the lines of `stat` and `meminfo`, one after the other.
fn parse(text: &str) -> Option<Look> {
    let cpu = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = cpu.split_whitespace().map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time stands in user already.
    let all: u64 = fields.iter().take(8).sum();
    let idle = fields.get(3)? + fields.get(4)?;
    let kib = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let (total, free) = (kib("MemTotal:")?, kib("MemAvailable:")?);
    let used = total.saturating_sub(free) as f64;
    let ram_percent = (used * 100.0 / total.max(1) as f64).clamp(0.0, 100.0);
    Some(Look { ticks: Ticks { busy: all.saturating_sub(idle), all }, ram_percent })
}

/// Returns the share of the processor time between two looks; none if none passed.
fn cpu_percent(from: Ticks, to: Ticks) -> Option<f64> {
    let all = to.all.checked_sub(from.all).filter(|all| *all > 0)?;
    let busy = to.busy.saturating_sub(from.busy);
    Some((busy as f64 * 100.0 / all as f64).clamp(0.0, 100.0))
}

#[async_trait]
impl Sampler for HostSampler {
    fn name(&self) -> String {
        format!("host:{}", self.plan.side)
    }

    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let side = self.plan.side;
        let op = format!("read processor and memory of the host at the {side}");
        let look = parse(&self.text(&op).await?).ok_or_else(|| {
            refused(&op, "the line `cpu`, `MemTotal` or `MemAvailable` is missing")
        })?;
        let sample = |what, value| Sample {
            what,
            value,
            count: 1,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        };
        let last = lock(&self.last).replace(look.ticks);
        let cpu = last.and_then(|last| cpu_percent(last, look.ticks));
        let mut samples = vec![sample(What::RamPercent(side), look.ram_percent)];
        samples.extend(cpu.map(|percent| sample(What::CpuPercent(side), percent)));
        Ok(samples)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{cpu_percent, parse};

    fn text(user: u64, idle: u64) -> String {
        format!(
            "cpu  {user} 0 10 {idle} 5 0 0 0 3 0\ncpu0 1 2 3\nctxt 9\n\
             MemTotal:  1000 kB\nMemFree: 10 kB\nMemAvailable:   250 kB\n"
        )
    }

    #[test]
    fn reads_what_is_used_between_two_looks() {
        let (first, second) = (parse(&text(100, 900)).unwrap(), parse(&text(190, 910)).unwrap());
        assert_eq!(first.ram_percent, 75.0);
        assert_eq!(cpu_percent(first.ticks, second.ticks), Some(90.0));
        assert_eq!(cpu_percent(first.ticks, first.ticks), None, "no time passed");
        assert_eq!(cpu_percent(second.ticks, first.ticks), None, "the host started anew");
    }

    #[test]
    fn refuses_what_shows_neither() {
        for text in ["", "cpu  1 2 3", "cpu  1 2 3 4 5 6 7 8\nMemTotal: 5 kB\n"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
