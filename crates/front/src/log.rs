//! The log of requests: one JSON object a line, without query strings, which may hold secrets.
//!
//! A request never waits for the disk: what the writer cannot take is dropped and counted.

use crate::stats::Answered;
use http::{Method, Request};
use segue_model::plan::AccessLogPlan;
use segue_model::{Fault, FaultKind, Side, UnitName};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Lines that wait for the writer at most.
const WAITING: usize = 8_192;

/// Longest path that is written, bytes.
const PATH_MAX: usize = 1_024;

/// How often what was written goes to the disk, and the file is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What is known of a request before it is answered.
#[derive(Debug)]
pub(crate) struct Entry {
    unit: Option<UnitName>,
    client: IpAddr,
    method: Method,
    host: String,
    path: String,
    /// Whether it is one of those that are logged in any case.
    picked: bool,
}

#[derive(Serialize)]
struct Line {
    /// When it was answered, milliseconds since 1970.
    at_ms: u64,
    #[serde(flatten)]
    about: About,
    status: Option<u16>,
    failed: bool,
    side: Option<Side>,
    /// From the head of the request to the end of the answer.
    took_ms: f64,
    /// How much of it the request waited at the front.
    waited_ms: f64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    probe: bool,
}

#[derive(Serialize)]
struct About {
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<UnitName>,
    client: IpAddr,
    method: String,
    host: String,
    path: String,
}

/// The log; its file is written by a thread of its own.
pub(crate) struct Log {
    lines: SyncSender<Line>,
    every: u64,
    seen: AtomicU64,
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// Opens the file and starts its writer, which ends with the front.
    ///
    /// # Errors
    /// `SG0149` if the file cannot be opened.
    pub(crate) fn open(plan: &AccessLogPlan) -> Result<Self, Fault> {
        let fault = |e: io::Error| {
            let op = format!("open access log `{}`", plan.path.display());
            Fault::new("SG0149", FaultKind::Invalid, op, e)
                .hint("make its folder, writable for the user who runs the front")
        };
        let file = open(&plan.path).map_err(fault)?;
        let (lines, receiver) = sync_channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer { path: plan.path.clone(), file, dropped: dropped.clone() };
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run(&receiver))
            .map_err(fault)?;
        Ok(Self { lines, every: plan.every.max(1), seen: AtomicU64::new(0), dropped })
    }

    /// Notes what is known of a request.
    pub(crate) fn entry<B>(
        &self,
        request: &Request<B>,
        unit: Option<&UnitName>,
        client: IpAddr,
    ) -> Box<Entry> {
        let picked = self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.every);
        let text = |text: &str| text.chars().take(PATH_MAX).collect::<String>();
        Box::new(Entry {
            unit: unit.cloned(),
            client,
            method: request.method().clone(),
            host: text(request.headers().get("host").and_then(|h| h.to_str().ok()).unwrap_or("")),
            path: text(request.uri().path()),
            picked,
        })
    }

    /// Writes a request that is over, if it is one of so many or failed.
    pub(crate) fn write(
        &self,
        entry: Entry,
        answered: &Answered,
        side: Option<Side>,
        waited_us: u64,
    ) {
        let Entry { unit, client, method, host, path, picked } = entry;
        if !picked && !answered.failed {
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = Line {
            at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            about: About { unit, client, method: method.to_string(), host, path },
            status: answered.status.map(|status| status.as_u16()),
            failed: answered.failed,
            side,
            took_ms: crate::clock::as_ms(answered.whole_us),
            waited_ms: crate::clock::as_ms(waited_us),
            probe: answered.probe,
        };
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns how many lines were dropped, because the disk was too slow or full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn open(path: &Path) -> io::Result<BufWriter<File>> {
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
    Ok(BufWriter::new(file))
}

struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    fn run(mut self, lines: &Receiver<Line>) {
        let mut looked = Instant::now();
        loop {
            match lines.recv_timeout(EVERY) {
                Ok(line) => self.line(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if looked.elapsed() >= EVERY {
                looked = Instant::now();
                self.look();
            }
        }
        let _ = self.file.flush();
    }

    fn line(&mut self, line: &Line) {
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        // What is buffered goes as a whole, so that a full disk leaves no half lines between.
        if self.file.buffer().len() + text.len() > self.file.capacity() {
            self.flush();
        }
        if self.file.write_all(&text).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what is buffered; what the disk does not take is given up.
    fn flush(&mut self) {
        let lines = self.file.buffer().iter().filter(|byte| **byte == b'\n').count();
        if let Err(error) = self.file.flush() {
            self.dropped.fetch_add(lines as u64, Ordering::Relaxed);
            tracing::warn!(%error, path = %self.path.display(), "access log not written");
            self.anew();
        }
    }

    /// Opens the file again where it was moved away, as log rotation does.
    fn look(&mut self) {
        self.flush();
        let now = std::fs::metadata(&self.path).map(|about| (about.dev(), about.ino()));
        let own = self.file.get_ref().metadata().map(|about| (about.dev(), about.ino()));
        if now.ok() != own.ok() {
            self.anew();
        }
    }

    fn anew(&mut self) {
        if let Ok(file) = open(&self.path) {
            // What the former one could not write shall not be tried again when it is dropped.
            let former = std::mem::replace(&mut self.file, file);
            let _ = former.into_parts();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn answered(status: u16) -> Answered {
        Answered {
            answer_us: None,
            whole_us: 12_500,
            failed: status >= 500,
            status: StatusCode::from_u16(status).ok(),
            client: 0,
            probe: false,
        }
    }

    async fn until(path: &Path, lines: usize) -> Vec<serde_json::Value> {
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let read: Vec<_> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
            if read.len() >= lines {
                return read;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{} of {lines} lines", read.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn one_of_so_many_is_logged_every_failure_and_no_query() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("access.json");
        let log = Log::open(&AccessLogPlan { path: path.clone(), every: 10 }).unwrap();
        let ask = |status| {
            let request = Request::get("/reset?token=secret").header("host", "a.test");
            let client = "192.0.2.7".parse().unwrap();
            let entry = log.entry(&request.body(()).unwrap(), Some(&"a".into()), client);
            log.write(*entry, &answered(status), Some(Side::Source), 2_000);
        };
        (0..20).for_each(|_| ask(200));
        (0..3).for_each(|_| ask(502));
        let lines = until(&path, 5).await;
        let status = |wanted: u64| lines.iter().filter(|line| line["status"] == wanted).count();
        // The first of the failed ones was picked as well.
        assert_eq!((status(200), status(502), lines.len()), (2, 3, 5));
        let first = &lines[0];
        assert_eq!((&first["unit"], &first["side"]), (&"a".into(), &"source".into()));
        assert_eq!(
            (first["took_ms"].as_f64(), first["waited_ms"].as_f64()),
            (Some(12.5), Some(2.0))
        );
        assert!(!std::fs::read_to_string(&path).unwrap().contains("secret"));
        // Rotation moves the file away.
        std::fs::rename(&path, folder.path().join("access.json.1")).unwrap();
        tokio::time::sleep(EVERY * 2).await;
        ask(502);
        assert_eq!(until(&path, 1).await.len(), 1);
    }

    #[tokio::test]
    async fn what_the_disk_does_not_take_is_dropped_and_counted() {
        let log = Log::open(&AccessLogPlan { path: "/dev/full".into(), every: 1 }).unwrap();
        for _ in 0..2_000 {
            let request = Request::get("/").body(()).unwrap();
            let entry = log.entry(&request, None, "192.0.2.7".parse().unwrap());
            log.write(*entry, &answered(200), None, 0);
        }
        let began = Instant::now();
        while log.dropped() < 2_000 {
            assert!(began.elapsed() < Duration::from_secs(10), "{} dropped", log.dropped());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(log.dropped(), 2_000);
    }
}
