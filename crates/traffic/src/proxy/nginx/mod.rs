//! nginx: a file and a reload. It has no queue, so a hold refuses with 503, and a reload loses a
//! request now and then that comes on a connection which a former worker closes ([`losses`]). The plan
//! says that the operator takes both.
//!
//! A reload is in force when the new workers say its number, and what ran before it is over when
//! the workers before it are gone.

mod at_least;
mod file;
mod losses;

use super::driver::{About, Counted, Driver, Held, Sight, Unit, Waited, start_of};
use super::record::replace;
use async_trait::async_trait;
use file::Said;
use rustix::process::{Pid, Signal, kill_process};
use segue_front::control::Running;
use segue_model::plan::{FrontPlan, NginxPlan};
use segue_model::{EffectLeft, Fault, FaultKind, Finding, Side};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The file in Segue's folder.
pub(super) const FILE: &str = "segue.conf";

/// Where the running nginx says which file it has.
pub(super) const GENERATION: &str = "/.well-known/segue-generation";

/// Returns the file of a front that has no unit yet.
pub(super) fn empty() -> String {
    // A value of strings and numbers is always written.
    Said::default().write().unwrap_or_default()
}

/// How long a reload may take.
const RELOAD_LIMIT: Duration = Duration::from_secs(5);

/// How long a hold lasts that nobody ends: a renewal would be a reload.
const LEASE_MS: u64 = 8_000;

/// nginx as a front.
pub(super) struct Nginx {
    plan: NginxPlan,
    /// Where it is asked; the front's first port in clear.
    address: Option<SocketAddr>,
    /// Workers of before the last reload.
    former: Mutex<BTreeSet<u32>>,
}

impl Nginx {
    pub(super) fn new(front: &FrontPlan, plan: NginxPlan) -> Self {
        let address = front.web().next().map(|port| port.listen);
        Self { plan, address, former: Mutex::default() }
    }

    fn fault(&self, kind: FaultKind, op: &str, cause: impl std::fmt::Display) -> Fault {
        let op = format!("{op} of nginx in `{}`", self.plan.folder.display());
        Fault::new("SG0171", kind, op, cause)
            .hint("look at nginx's error log, and whether it has what `segue fragments` prints")
    }

    fn read(&self) -> Result<Said, Fault> {
        let path = self.plan.folder.join(FILE);
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|e| self.fault(FaultKind::Invalid, "read the file", e))?;
        Said::read(&text).map_err(|e| self.fault(FaultKind::Conflict, "read the file", e))
    }

    /// Writes the file, has it loaded and sees to it that it is in force.
    async fn load(&self, said: &Said) -> Result<(), Fault> {
        let path = self.plan.folder.join(FILE);
        let text = said.write().map_err(|e| self.fault(FaultKind::Bug, "write the file", e))?;
        replace(&path, text.as_bytes(), 0o644)
            .map_err(|e| self.fault(FaultKind::Invalid, "write the file", e))?;
        let main = self.main()?;
        let workers = children(main);
        let left = |fault: Fault| fault.leaving(EffectLeft::Maybe);
        let pid = i32::try_from(main).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| self.fault(FaultKind::Invalid, "signal", "no process id"))?;
        kill_process(pid, Signal::HUP)
            .map_err(|e| left(self.fault(FaultKind::Invalid, "signal", e)))?;
        self.former.lock().unwrap_or_else(PoisonError::into_inner).extend(&workers);
        let began = Instant::now();
        loop {
            // A worker of before takes connections until it has heard that it shall end.
            let takes = |pid: &u32| exists(*pid) && !is_ending(*pid);
            match self.generation().await {
                Ok(now) if now == said.generation && !workers.iter().any(takes) => break,
                other => {
                    if began.elapsed() > RELOAD_LIMIT {
                        let cause = match other {
                            Ok(now) => format!("a worker has {now}, not {}", said.generation),
                            Err(fault) => fault.to_string(),
                        };
                        return Err(left(self.fault(FaultKind::Timeout, "reload", cause)));
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        Ok(())
    }

    /// Asks the running nginx which file it has.
    async fn generation(&self) -> Result<u64, Fault> {
        let failed =
            |cause: String| self.fault(FaultKind::Unreachable, "ask for the number", cause);
        let address =
            self.address.ok_or_else(|| failed("the front has no port in clear".into()))?;
        let exchange = async {
            let mut stream = TcpStream::connect(address).await?;
            let ask = format!(
                "GET {GENERATION} HTTP/1.1\r\nHost: segue.invalid\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(ask.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.take(16 << 10).read_to_end(&mut answer).await?;
            std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = tokio::time::timeout(Duration::from_secs(1), exchange).await;
        let answer =
            answer.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim());
        body.and_then(|body| body.parse().ok())
            .ok_or_else(|| failed(format!("no number in its answer {:?}", answer.lines().next())))
    }

    fn main(&self) -> Result<u32, Fault> {
        let text = std::fs::read_to_string(&self.plan.pid);
        let text = text.map_err(|e| {
            self.fault(FaultKind::Unreachable, &format!("read `{}`", self.plan.pid.display()), e)
        })?;
        let pid = text.trim().parse::<u32>();
        let pid = pid.map_err(|e| self.fault(FaultKind::Invalid, "read the process id", e))?;
        // The file may be of a process that is gone, and its id of something else.
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        match name.trim() {
            "nginx" => Ok(pid),
            other => {
                let cause = format!("process {pid} is `{other}`, not nginx");
                Err(self.fault(FaultKind::Unreachable, "find the main process", cause))
            }
        }
    }

    /// Returns the workers of before the last reload that still run.
    fn former(&self) -> Result<Vec<u32>, Fault> {
        let now: BTreeSet<u32> = children(self.main()?).into_iter().collect();
        let mut former = self.former.lock().unwrap_or_else(PoisonError::into_inner);
        former.retain(|pid| now.contains(pid));
        // Those that a former controller's reload ended say so themselves.
        let here = |pid: &u32| former.contains(pid) || is_ending(*pid);
        Ok(now.iter().copied().filter(here).collect())
    }

    async fn change(&self, change: impl FnOnce(&mut Said)) -> Result<(), Fault> {
        let mut said = self.read()?;
        change(&mut said);
        self.load(&said).await
    }
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Returns whether a worker takes no new connections any more; it says so in its title.
fn is_ending(pid: u32) -> bool {
    let title = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
    title.is_ok_and(|title| title.contains("shutting down"))
}

/// Returns the children of a process.
fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    text.unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[async_trait]
impl Driver for Nginx {
    async fn about(&self) -> Result<About, Fault> {
        let pid = self.main()?;
        // The file is what it starts with, so a restart changes nothing.
        Ok(About { pid, start: start_of(pid), version: "nginx".into() })
    }

    async fn put(&self, unit: Unit<'_>, side: Side, held: Option<&Held>) -> Result<(), Fault> {
        self.change(|said| said.put(unit, side, held)).await
    }

    async fn take_out(&self, unit: Unit<'_>) -> Result<(), Fault> {
        self.change(|said| {
            said.units.remove(unit.name.as_str());
            said.generation += 1;
        })
        .await
    }

    async fn hold(&self, unit: Unit<'_>, side: Side, held: Option<&Held>) -> Result<(), Fault> {
        self.change(|said| said.put(unit, side, held)).await
    }

    async fn release(&self, unit: Unit<'_>, to: Side) -> Result<(), Fault> {
        self.change(|said| said.put(unit, to, None)).await
    }

    async fn look(&self, unit: Unit<'_>) -> Result<Sight, Fault> {
        let said = self.read()?;
        let now = self.generation().await?;
        if now != said.generation {
            let cause = format!("it has file {now}, on disk is {}", said.generation);
            return Err(self.fault(FaultKind::Conflict, "look", cause));
        }
        let former = self.former()?.len();
        let Some(said) = said.units.get(unit.name.as_str()) else {
            return Ok(Sight { running: former, ..Sight::default() });
        };
        let same = said.sites.as_slice() == unit.sites;
        Ok(Sight {
            side: same.then_some(said.side),
            held: said.held.clone(),
            running: former,
            streams: 0,
            waiting: 0,
        })
    }

    /// nginx does not say what runs: its workers of before a reload end with their last request.
    async fn running(&self, _unit: Unit<'_>) -> Result<Vec<Running>, Fault> {
        let worker = |pid| Running { method: "worker".into(), path: format!("{pid}"), age_ms: 0 };
        Ok(self.former()?.into_iter().map(worker).collect())
    }

    async fn end_streams(&self, _unit: Unit<'_>) -> Result<u64, Fault> {
        Ok(0)
    }

    async fn waited(&self, _unit: Unit<'_>) -> Result<Waited, Fault> {
        Ok(Waited::default())
    }

    async fn counted(&self, _unit: Unit<'_>) -> Result<Counted, Fault> {
        Ok(Counted::default())
    }

    fn lease_ms(&self, asked_ms: u64) -> u64 {
        asked_ms.max(LEASE_MS)
    }

    fn renews(&self) -> bool {
        false
    }

    async fn preflight(&self) -> Vec<Finding> {
        let refuse = |text: String| {
            Finding::refuse(
                "SG0168",
                text,
                "put what `segue fragments PLAN` prints into nginx's configuration, and reload it",
            )
        };
        let mut findings = Vec::new();
        match (self.read(), self.generation().await) {
            (Err(fault), _) | (_, Err(fault)) => findings.push(refuse(fault.to_string())),
            (Ok(said), Ok(now)) if said.generation != now => {
                let text = format!("nginx has file {now}, on disk is {}", said.generation);
                findings.push(refuse(text));
            }
            _ => {}
        }
        match self.main() {
            Ok(_) => findings.push(self.losses().await),
            Err(fault) => findings.push(refuse(fault.to_string())),
        }
        findings
    }
}
