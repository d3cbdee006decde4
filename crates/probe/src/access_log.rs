//! Requests that reach a backend around its front, found in the backend's own access log.
//!
//! Common and combined log format: the first field is the remote address, and behind the last quote
//! there may be `peer=`, the address of the connection. Only what is appended while the sampler
//! runs is read, across rotation and truncation. A log that shows the front's own address is read
//! by addresses, one that shows clients by numbers (see [`crate::ledger`]); where others may come
//! from the front's address, numbers show those as well.

mod lines;
mod manner;
mod passing;

pub use passing::Passing;

use crate::ledger::{Ledger, Shown};
use crate::lock;
use crate::tail::{Tail, interval};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use lines::Lines;
use manner::Manner;
use segue_model::{Fault, FaultKind, Sample, What};
use segue_port::{Outcome, Sampler};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How many requests fronts have passed to the server, those that run now included; none while a
/// front does not answer, and why, where that can never be told.
pub type Passed = Arc<dyn Fn() -> BoxFuture<'static, Result<Option<u64>, String>> + Send + Sync>;

/// Counts the log lines of the last interval that do not come from the front.
pub struct AccessLogSampler {
    path: PathBuf,
    passing: Passing,
    /// Paths that are asked for around the front by Segue itself.
    own_paths: Vec<String>,
    passed: Option<Passed>,
    read: Arc<Mutex<Read>>,
}

/// How far the log was read, and what that showed.
#[derive(Debug, Default)]
struct Read {
    tail: Option<Tail>,
    manner: Manner,
    /// Whether the log shows the fronts themselves.
    by_address: bool,
    ledger: Ledger,
}

impl AccessLogSampler {
    /// Builds the sampler of `DirectRequests`: lines of the log at `path` whose remote address
    /// is none of `passing` (the front's egress address, and the health probe's).
    pub fn new(path: impl Into<PathBuf>, passing: Vec<IpAddr>) -> Arc<Self> {
        Arc::new(Self::build(path.into(), Passing::only(passing), Vec::new(), None))
    }

    /// Builds the sampler of a log that may show clients instead of fronts: then it is what is
    /// logged beyond what fronts `passed`. `own_paths` are those that Segue itself asks the server
    /// for, from an address of `passing`.
    pub fn counted(
        path: impl Into<PathBuf>,
        passing: Passing,
        own_paths: Vec<String>,
        passed: Passed,
    ) -> Arc<Self> {
        Arc::new(Self::build(path.into(), passing, own_paths, Some(passed)))
    }

    fn build(
        path: PathBuf,
        passing: Passing,
        own_paths: Vec<String>,
        passed: Option<Passed>,
    ) -> Self {
        Self { path, passing, own_paths, passed, read: Arc::default() }
    }

    /// Returns how many of an interval's lines came around the fronts; none if it cannot be told.
    async fn around(&self, lines: &Lines, op: &str) -> Outcome<Option<u64>> {
        let Some(passed) = &self.passed else { return Ok(Some(lines.direct)) };
        let (by_address, silent) = {
            let mut read = lock(&self.read);
            let by_address = read.manner.add(lines);
            if by_address != read.by_address {
                // What was counted stood against other lines.
                read.ledger = Ledger::default();
                read.by_address = by_address;
            }
            (by_address, read.manner.is_silent())
        };
        if by_address && !self.passing.shows_others() {
            return Ok(Some(lines.direct));
        }
        let passed = match passed().await {
            Ok(Some(passed)) => passed,
            Ok(None) => {
                // These lines stand against nothing: it begins anew.
                lock(&self.read).ledger = Ledger::default();
                return Ok((by_address && lines.direct > 0).then_some(lines.direct));
            }
            Err(_) if by_address => return Ok(Some(lines.direct)),
            // A log that shows Segue's own questions would show others'.
            Err(_) if silent => return Ok((lines.all > 0).then_some(0)),
            Err(why) => return Err(untold(op, &format!("it shows visitors, and {why}"))),
        };
        if by_address {
            // What else comes from a front's addresses is more than fronts passed.
            let shown = lock(&self.read).ledger.add(lines.fronts, passed);
            return match shown {
                Shown::Around(more) => Ok(Some(lines.direct + more)),
                // Who shows came, whatever else does not show.
                _ if lines.direct > 0 => Ok(Some(lines.direct)),
                other => told(other, op),
            };
        }
        // From an address of fronts alone nobody comes whom this log would show otherwise.
        let others = if self.passing.is_alone() { 0 } else { lines.fronts };
        told(lock(&self.read).ledger.add(lines.direct + others, passed), op)
    }
}

/// Returns what numbers show; none if they say nothing yet.
fn told(shown: Shown, op: &str) -> Outcome<Option<u64>> {
    match shown {
        Shown::Around(count) => Ok(Some(count)),
        Shown::Nothing => Ok(None),
        Shown::Lacks(missing, of) => {
            let cause = format!(
                "it lacks {missing} of {of} requests that fronts passed to the server, so it does \
                 not show whether others came"
            );
            Err(untold(op, &cause))
        }
    }
}

fn untold(op: &str, cause: &str) -> Fault {
    Fault::new("SG0540", FaultKind::Invalid, op, cause).hint(
        "have each line end with the address of its connection, as `segue fragments PLAN` prints it, \
         for every request of the unit's sites",
    )
}

#[async_trait]
impl Sampler for AccessLogSampler {
    fn name(&self) -> String {
        format!("access-log:{}", self.path.display())
    }

    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Returns no sample at the first call: there is no interval yet.
    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let op = format!("read access log `{}`", self.path.display());
        let (path, passing) = (self.path.clone(), self.passing.clone());
        let (own_paths, read) = (self.own_paths.clone(), self.read.clone());
        let read = tokio::task::spawn_blocking(move || {
            let mut read = lock(&read);
            let mut lines = Lines::default();
            let each = &mut |line: &[u8]| lines.take(line, &passing, &own_paths);
            let result = interval(&path, &mut read.tail, each);
            if result.is_err() {
                read.tail = None;
            }
            if result.is_err() || lines.odd.is_some() {
                read.ledger = Ledger::default();
            }
            result.map(|counts| counts.then_some(lines))
        });
        let lines = read.await.map_err(|e| Fault::new("SG0599", FaultKind::Bug, op.clone(), e))?;
        let lines = lines.map_err(|e| {
            Fault::new("SG0521", FaultKind::Denied, op.clone(), e)
                .hint("let the controller read the log, or leave it out of the plan")
        })?;
        let Some(lines) = lines else { return Ok(Vec::new()) };
        if let Some(odd) = lines.odd {
            let cause = format!("a line begins with `{odd}`, which is no address");
            return Err(Fault::new("SG0522", FaultKind::Invalid, op, cause)
                .hint("log in common or combined format, with addresses instead of host names"));
        }
        let Some(around) = self.around(&lines, &op).await? else { return Ok(Vec::new()) };
        if around > 0 {
            let (log, from) = (self.path.display(), &lines.from);
            tracing::warn!(%log, around, of = lines.all, ?from, "requests came around the fronts");
        }
        Ok(vec![Sample {
            what: What::DirectRequests,
            value: around as f64,
            count: lines.all,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        }])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    const UNTOLD: u64 = u64::MAX;

    #[tokio::test]
    async fn a_server_that_no_longer_logs_does_not_look_as_if_nobody_came_around() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        std::fs::write(&path, "").unwrap();
        let count = Arc::new(AtomicU64::new(0));
        let passed: Passed = {
            let count = count.clone();
            Arc::new(move || {
                let now = count.load(Ordering::SeqCst);
                Box::pin(async move { Ok((now != UNTOLD).then_some(now)) })
            })
        };
        let front: IpAddr = "127.0.0.1".parse().unwrap();
        let sampler = AccessLogSampler::counted(&path, Passing::shared([front]), vec![], passed);
        let turn = async |text: &str, now: u64| {
            use std::io::Write;
            count.store(now, Ordering::SeqCst);
            let mut file = std::fs::File::options().append(true).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let sampled = sampler.sample(1).await;
            sampled.map(|all| all.first().map(|sample| sample.value)).map_err(|fault| fault.code)
        };
        let line = |from: &str| format!("{from} - - [x] \"GET / HTTP/1.1\" 200 1 \"-\" \"x\"\n");
        let (ours, strange) = (line("127.0.0.1"), line("198.51.100.1"));
        let mut latest = turn("", 0).await;
        for second in 1..=100 {
            latest = turn(&ours.repeat(3), second * 3).await;
        }
        assert_eq!(latest, Ok(Some(0.0)), "what fronts passed is logged");
        assert_eq!(turn(&strange, UNTOLD).await, Ok(Some(1.0)), "who shows came");
        assert_eq!(turn("", UNTOLD).await, Ok(None), "a front that does not answer");
        let mut said = Vec::new();
        for second in 1..=100 {
            said.push(turn("", second * 3).await);
        }
        assert!(said.contains(&Err("SG0540".into())), "{said:?}");
        assert!(said.iter().all(|one| *one != Ok(Some(0.0))), "{said:?}");
    }
}
