//! Requests that reach a backend around its front, found in the backend's own access log.
//!
//! Common and combined log format: the first field is the remote address. Only what is
//! appended while the sampler runs is read, across rotation and truncation.

use crate::lock;
use crate::tail::{Tail, interval};
use async_trait::async_trait;
use segue_model::{Fault, FaultKind, Sample, What};
use segue_port::{Outcome, Sampler};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Counts the log lines of the last interval that do not come from the front.
#[derive(Debug)]
pub struct AccessLogSampler {
    path: PathBuf,
    passing: Vec<IpAddr>,
    reader: Arc<Mutex<Option<Tail>>>,
}

/// Lines of one interval.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lines {
    all: u64,
    direct: u64,
    /// First field of a line that is no address.
    odd: Option<String>,
}

impl AccessLogSampler {
    /// Builds the sampler of `DirectRequests`: lines of the log at `path` whose remote address
    /// is none of `passing` (the front's egress address, and the health probe's).
    pub fn new(path: impl Into<PathBuf>, passing: Vec<IpAddr>) -> Arc<Self> {
        let passing = passing.into_iter().map(|address| address.to_canonical()).collect();
        Arc::new(Self { path: path.into(), passing, reader: Arc::default() })
    }
}

impl Lines {
    fn take(&mut self, line: &[u8], passing: &[IpAddr]) {
        let first = line.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
        if first.is_empty() {
            return;
        }
        self.all += 1;
        let first = String::from_utf8_lossy(first);
        match first.parse::<IpAddr>() {
            Ok(address) if passing.contains(&address.to_canonical()) => {}
            Ok(_) => self.direct += 1,
            Err(_) => self.odd = Some(first.into_owned()),
        }
    }
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
        let (path, passing, reader) =
            (self.path.clone(), self.passing.clone(), self.reader.clone());
        let read = tokio::task::spawn_blocking(move || {
            let mut reader = lock(&reader);
            let mut lines = Lines::default();
            let result = interval(&path, &mut reader, &mut |line| lines.take(line, &passing));
            if result.is_err() {
                *reader = None;
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
        Ok(vec![Sample {
            what: What::DirectRequests,
            value: lines.direct as f64,
            count: lines.all,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        }])
    }
}
