//! Errors in the application's own log, and bounces in the mail log.

use crate::lock;
use crate::tail::{Tail, interval};
use async_trait::async_trait;
use segue_model::plan::labelled;
use segue_model::{Fault, FaultKind, Sample, Side, What};
use segue_port::{Outcome, Sampler, from_side};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// Deliveries of this time are one sample of bounces: a single mail is no rate.
const MAIL_WINDOW_MS: u64 = 60_000;

type Reader = Arc<Mutex<Option<Tail>>>;

/// Counts new lines of the log at `path` that `counts` counts, each with what it says;
/// none at the first call.
async fn count(
    path: &Path,
    reader: &Reader,
    op: &str,
    mut counts: impl FnMut(&[u8]) + Send + 'static,
) -> Outcome<bool> {
    let (path, reader) = (path.to_owned(), reader.clone());
    let read = tokio::task::spawn_blocking(move || {
        let mut reader = lock(&reader);
        let result = interval(&path, &mut reader, &mut counts);
        if result.is_err() {
            *reader = None;
        }
        result
    });
    let read = read.await.map_err(|e| Fault::new("SG0599", FaultKind::Bug, op, e))?;
    read.map_err(|e| {
        Fault::new("SG0525", FaultKind::Denied, op, e)
            .hint("let the controller read the log, or leave it out of the plan")
    })
}

/// Counts the lines of the application's log that hold one of the plan's words.
#[derive(Debug)]
pub struct AppLogSampler {
    side: Side,
    /// What tells the log from others of its unit.
    label: Option<String>,
    path: PathBuf,
    words: Arc<Vec<String>>,
    /// And when it was last read.
    reader: Reader,
    last_ms: Mutex<Option<u64>>,
}

impl AppLogSampler {
    /// Builds the sampler of `AppErrorsPerSecond(side)`.
    pub fn new(side: Side, path: impl Into<PathBuf>, words: Vec<String>) -> Arc<Self> {
        Self::labelled(None, side, path, words)
    }

    /// Does what [`AppLogSampler::new`] does for one of several logs.
    pub fn labelled(
        label: Option<String>,
        side: Side,
        path: impl Into<PathBuf>,
        words: Vec<String>,
    ) -> Arc<Self> {
        Arc::new(Self {
            side,
            label,
            path: path.into(),
            words: Arc::new(words),
            reader: Arc::default(),
            last_ms: Mutex::new(None),
        })
    }
}

/// Says whether `line` holds `word`.
fn holds(line: &[u8], word: &str) -> bool {
    line.windows(word.len().max(1)).any(|piece| piece == word.as_bytes())
}

#[async_trait]
impl Sampler for AppLogSampler {
    fn name(&self) -> String {
        labelled(&from_side("app-log", self.side), self.label.as_deref())
    }

    fn every(&self) -> Duration {
        SECOND
    }

    /// Returns no sample at the first call: there is no interval yet.
    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let op = format!("read the application's log `{}`", self.path.display());
        let words = Arc::clone(&self.words);
        let lines = Arc::new(Mutex::new((0_u64, 0_u64)));
        let counted = Arc::clone(&lines);
        let take = move |line: &[u8]| {
            let mut counted = lock(&counted);
            counted.0 += 1;
            counted.1 += u64::from(words.iter().any(|word| holds(line, word)));
        };
        let whole = count(&self.path, &self.reader, &op, take).await?;
        let last_ms = lock(&self.last_ms).replace(now_boot_ms);
        let (Some(last_ms), true) = (last_ms, whole) else { return Ok(Vec::new()) };
        let (all, errors) = *lock(&lines);
        let seconds = now_boot_ms.saturating_sub(last_ms).max(1) as f64 / 1000.0;
        Ok(vec![Sample {
            what: What::AppErrorsPerSecond(self.side),
            value: errors as f64 / seconds,
            count: all,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        }])
    }
}

/// Deliveries of one interval, as Postfix logs them: `status=sent`, `status=bounced`.
#[derive(Debug, Clone, Copy, Default)]
struct Deliveries {
    at_ms: u64,
    all: u64,
    bounced: u64,
}

/// Share of the deliveries that were bounced.
#[derive(Debug)]
pub struct MailLogSampler {
    /// What tells the log from others of its unit.
    label: Option<String>,
    path: PathBuf,
    reader: Reader,
    recent: Mutex<VecDeque<Deliveries>>,
}

impl MailLogSampler {
    /// Builds the sampler of `MailBouncePercent`.
    pub fn new(path: impl Into<PathBuf>) -> Arc<Self> {
        Self::labelled(None, path)
    }

    /// Does what [`MailLogSampler::new`] does for one of several logs.
    pub fn labelled(label: Option<String>, path: impl Into<PathBuf>) -> Arc<Self> {
        Arc::new(Self {
            label,
            path: path.into(),
            reader: Arc::default(),
            recent: Mutex::default(),
        })
    }
}

#[async_trait]
impl Sampler for MailLogSampler {
    fn name(&self) -> String {
        labelled("mail-log", self.label.as_deref())
    }

    fn every(&self) -> Duration {
        SECOND
    }

    /// Returns no sample while nothing was delivered in the last minute.
    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let op = format!("read mail log `{}`", self.path.display());
        let counted = Arc::new(Mutex::new(Deliveries { at_ms: now_boot_ms, ..Default::default() }));
        let place = Arc::clone(&counted);
        let take = move |line: &[u8]| {
            // A deferred mail is tried again, and is counted when it is decided.
            let decided = holds(line, " status=sent") || holds(line, " status=bounced");
            let mut counted = lock(&place);
            counted.all += u64::from(decided);
            counted.bounced += u64::from(holds(line, " status=bounced"));
        };
        count(&self.path, &self.reader, &op, take).await?;
        let mut recent = lock(&self.recent);
        recent.push_back(*lock(&counted));
        while recent.front().is_some_and(|first| first.at_ms + MAIL_WINDOW_MS <= now_boot_ms) {
            recent.pop_front();
        }
        let all: u64 = recent.iter().map(|some| some.all).sum();
        let bounced: u64 = recent.iter().map(|some| some.bounced).sum();
        if all == 0 {
            return Ok(Vec::new());
        }
        Ok(vec![Sample {
            what: What::MailBouncePercent,
            value: bounced as f64 * 100.0 / all as f64,
            count: all,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        }])
    }
}
