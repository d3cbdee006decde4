//! Requests that reach a backend around its front, found in the backend's own access log.
//!
//! Common and combined log format: the first field is the remote address. Only what is
//! appended while the sampler runs is read, across rotation and truncation.

use crate::lock;
use async_trait::async_trait;
use segue_model::{Fault, FaultKind, Sample, What};
use segue_port::{Outcome, Sampler};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Most bytes read for one sample; what is left is read for the next.
const READ_MAX: u64 = 32 << 20;
/// Intervals without a file before that is a fault and not a rotation.
const MISSING_MAX: u32 = 3;
/// Longest line kept while its end is awaited.
const LINE_MAX: usize = 64 << 10;

/// Counts the log lines of the last interval that do not come from the front.
#[derive(Debug)]
pub struct AccessLogSampler {
    path: PathBuf,
    passing: Vec<IpAddr>,
    reader: Arc<Mutex<Option<Tail>>>,
}

/// An open log and how far it was read.
#[derive(Debug)]
struct Tail {
    file: File,
    inode: u64,
    at: u64,
    /// The beginning of a line whose end is not written yet.
    part: Vec<u8>,
    /// The first line was being written when reading began: its beginning is not known.
    cut: bool,
    /// How many times in a row no file stood at the path.
    missing: u32,
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

impl Tail {
    fn open(path: &Path, at_end: bool) -> io::Result<Self> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        let at = if at_end { about.len() } else { 0 };
        let mut last = *b"\n";
        if at > 0 {
            file.read_exact_at(&mut last, at - 1)?;
        }
        Ok(Self { file, inode: about.ino(), at, part: Vec::new(), cut: last != *b"\n", missing: 0 })
    }

    /// Reads what was appended.
    fn read(&mut self, passing: &[IpAddr], lines: &mut Lines) -> io::Result<()> {
        if self.file.metadata()?.len() < self.at {
            // Truncated in place: what stands there now is new.
            self.at = 0;
            self.part.clear();
            self.cut = false;
        }
        self.file.seek(SeekFrom::Start(self.at))?;
        let mut fresh = Vec::new();
        let read = (&self.file).take(READ_MAX).read_to_end(&mut fresh)?;
        self.at += read as u64;
        for piece in fresh.split_inclusive(|&b| b == b'\n') {
            self.part.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                if !std::mem::take(&mut self.cut) {
                    lines.take(&self.part, passing);
                }
                self.part.clear();
            }
        }
        self.part.truncate(LINE_MAX);
        Ok(())
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

/// Reads one interval; `None` on the first call, which only finds the end of the log.
fn interval(
    path: &Path,
    passing: &[IpAddr],
    reader: &mut Option<Tail>,
) -> io::Result<Option<Lines>> {
    let Some(tail) = reader else {
        *reader = Some(Tail::open(path, true)?);
        return Ok(None);
    };
    let mut lines = Lines::default();
    // First what the known file got, also after it was renamed; then a new one from its start.
    tail.read(passing, &mut lines)?;
    match std::fs::metadata(path) {
        Ok(about) if about.ino() != tail.inode => {
            let mut next = Tail::open(path, false)?;
            next.read(passing, &mut lines)?;
            *reader = Some(next);
        }
        Ok(_) => tail.missing = 0,
        // Between the two steps of a rotation there is no file for a moment.
        Err(e) if e.kind() == io::ErrorKind::NotFound && tail.missing < MISSING_MAX => {
            tail.missing += 1;
        }
        Err(e) => return Err(e),
    }
    Ok(Some(lines))
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
            let result = interval(&path, &passing, &mut reader);
            if result.is_err() {
                *reader = None;
            }
            result
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
