//! Requests that reach a backend around its front, found in the backend's own access log.
//!
//! Common and combined log format: the first field is the remote address. Only what is
//! appended while the sampler runs is read, across rotation and truncation. A log that shows the
//! front's own address is read by addresses, one that shows clients by numbers (see
//! [`crate::ledger`]).

use crate::ledger::{Ledger, Shown};
use crate::lock;
use crate::tail::{Tail, interval};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use segue_model::{Fault, FaultKind, Sample, What};
use segue_port::{Outcome, Sampler};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Addresses that are named of those who came around.
const NAMED_MAX: usize = 3;

/// How many requests fronts have passed to the server, those that run now included; none while
/// a front does not answer.
pub type Passed = Arc<dyn Fn() -> BoxFuture<'static, Option<u64>> + Send + Sync>;

/// Counts the log lines of the last interval that do not come from the front.
pub struct AccessLogSampler {
    path: PathBuf,
    passing: Vec<IpAddr>,
    /// Paths that are asked for around the front by Segue itself.
    own_paths: Vec<String>,
    passed: Option<Passed>,
    read: Arc<Mutex<Read>>,
}

/// How far the log was read, and what that showed.
#[derive(Debug, Default)]
struct Read {
    tail: Option<Tail>,
    /// Whether the log shows the fronts themselves.
    by_address: bool,
    ledger: Ledger,
}

/// Lines of one interval.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lines {
    all: u64,
    /// Those of a front, by their address.
    fronts: u64,
    direct: u64,
    /// Some addresses of the latter.
    from: Vec<IpAddr>,
    /// First field of a line that is no address.
    odd: Option<String>,
}

impl AccessLogSampler {
    /// Builds the sampler of `DirectRequests`: lines of the log at `path` whose remote address
    /// is none of `passing` (the front's egress address, and the health probe's).
    pub fn new(path: impl Into<PathBuf>, passing: Vec<IpAddr>) -> Arc<Self> {
        Arc::new(Self::build(path.into(), passing, Vec::new(), None))
    }

    /// Builds the sampler of a log that may show clients instead of fronts: then it is what is
    /// logged beyond what fronts `passed`. `own_paths` are those that Segue itself asks the server
    /// for, from an address of `passing`.
    pub fn counted(
        path: impl Into<PathBuf>,
        passing: Vec<IpAddr>,
        own_paths: Vec<String>,
        passed: Passed,
    ) -> Arc<Self> {
        Arc::new(Self::build(path.into(), passing, own_paths, Some(passed)))
    }

    fn build(
        path: PathBuf,
        passing: Vec<IpAddr>,
        own_paths: Vec<String>,
        passed: Option<Passed>,
    ) -> Self {
        let passing = passing.into_iter().map(|address| address.to_canonical()).collect();
        Self { path, passing, own_paths, passed, read: Arc::default() }
    }

    /// Returns how many of an interval's lines came around the fronts; none if it cannot be told.
    async fn around(&self, lines: &Lines, op: &str) -> Outcome<Option<u64>> {
        let Some(passed) = &self.passed else { return Ok(Some(lines.direct)) };
        if lines.fronts > 0 {
            lock(&self.read).by_address = true;
        }
        if lock(&self.read).by_address {
            return Ok(Some(lines.direct));
        }
        let Some(passed) = passed().await else {
            // These lines stand against nothing: it begins anew.
            lock(&self.read).ledger = Ledger::default();
            return Ok(None);
        };
        match lock(&self.read).ledger.add(lines.direct, passed) {
            Shown::Around(count) => Ok(Some(count)),
            Shown::Nothing => Ok(None),
            Shown::Lacks(missing, of) => {
                let cause = format!(
                    "it lacks {missing} of {of} requests that fronts passed to the server, so it \
                     does not show whether others came"
                );
                Err(Fault::new("SG0540", FaultKind::Invalid, op, cause).hint(
                    "have the server log every request of the unit's sites, or log the fronts' own \
                     address",
                ))
            }
        }
    }
}

impl Lines {
    fn take(&mut self, line: &[u8], passing: &[IpAddr], own_paths: &[String]) {
        let first = line.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
        if first.is_empty() {
            return;
        }
        self.all += 1;
        let first = String::from_utf8_lossy(first);
        match first.parse::<IpAddr>() {
            Ok(address) if passing.contains(&address.to_canonical()) => {
                let own = path(line).is_some_and(|path| own_paths.iter().any(|own| own == path));
                self.fronts += u64::from(!own);
            }
            Ok(address) => {
                self.direct += 1;
                if self.from.len() < NAMED_MAX && !self.from.contains(&address) {
                    self.from.push(address);
                }
            }
            Err(_) => self.odd = Some(first.into_owned()),
        }
    }
}

/// Returns the path in `... "GET /path HTTP/1.1" ...`.
fn path(line: &[u8]) -> Option<&str> {
    let request = line.split(|b| *b == b'"').nth(1)?;
    std::str::from_utf8(request).ok()?.split(' ').nth(1)
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
