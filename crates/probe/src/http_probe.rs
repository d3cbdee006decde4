//! The open-loop probe of a page.

use crate::client::{Failure, Line};
use crate::lock;
use crate::tally::{Ended, ProbeSecond, ProbeSummary, Tally};
use crate::tls::Tls;
use async_trait::async_trait;
use segue_model::{RunId, Sample, What};
use segue_port::{Outcome, Sampler};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// No answer this long after the intended send time is a failure.
const LIMIT: Duration = Duration::from_secs(5);
/// Idle connections kept.
const IDLE_MAX: usize = 16;

/// How a probe connects. The two are separate series and never merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Requests share open connections.
    Keepalive,
    /// Every request opens a connection of its own.
    New,
}

/// What a probe asks, where and how often.
#[derive(Debug, Clone)]
pub struct ProbeSettings {
    /// Its name in samples and reports.
    pub name: String,
    /// The front's or site's address.
    pub address: SocketAddr,
    /// Host header.
    pub host: String,
    /// How TLS is spoken there; none for HTTP in clear.
    pub tls: Option<Tls>,
    /// Path and query of a GET that changes nothing.
    pub path: String,
    /// Text that a right body contains; empty if any body is right.
    pub marker: String,
    /// Requests per second, at least 1.
    pub per_second: u32,
    /// The run it belongs to, by which fronts know it.
    pub run: RunId,
    /// How it connects.
    pub connection: Connection,
}

/// A probe. It asks from [`Self::start`] to [`Self::stop`] and keeps its counts until dropped.
pub struct HttpProbe {
    settings: ProbeSettings,
    tally: Mutex<Tally>,
    idle: Mutex<Vec<Line>>,
    /// Intended times of requests that have not ended, by number.
    open: Mutex<BTreeMap<u64, Instant>>,
    /// Number of the next request.
    next: Mutex<u64>,
    running: Mutex<Option<CancellationToken>>,
    requests: TaskTracker,
    me: Weak<Self>,
}

impl HttpProbe {
    /// Builds a probe that does not ask yet.
    pub fn new(settings: ProbeSettings) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            settings,
            tally: Mutex::new(Tally::new()),
            idle: Mutex::default(),
            open: Mutex::default(),
            next: Mutex::default(),
            running: Mutex::default(),
            requests: TaskTracker::new(),
            me: me.clone(),
        })
    }

    /// Begins asking, in a task of its own. Does nothing if it asks already.
    pub fn start(&self) {
        let mut running = lock(&self.running);
        if running.is_some() {
            return;
        }
        let token = CancellationToken::new();
        tokio::spawn(ask_always(self.me.clone(), self.settings.per_second, token.clone()));
        *running = Some(token);
    }

    /// Stops asking and waits until every request sent has ended, at most 5 s.
    pub async fn stop(&self) {
        if let Some(token) = lock(&self.running).take() {
            token.cancel();
        }
        self.requests.close();
        self.requests.wait().await;
        self.requests.reopen();
        lock(&self.idle).clear();
    }

    /// Returns the totals since the first start.
    pub fn summary(&self) -> ProbeSummary {
        ProbeSummary {
            name: self.settings.name.clone(),
            address: self.settings.address.to_string(),
            per_second: self.settings.per_second,
            ..lock(&self.tally).summary()
        }
    }

    /// Returns the last two hours, second by second.
    pub fn seconds(&self) -> Vec<ProbeSecond> {
        lock(&self.tally).seconds()
    }

    /// Sends one request and counts its end.
    async fn ask(&self, number: u64, intended: Instant, intended_ms: u64) {
        let answered = timeout_at(intended + LIMIT, self.get()).await;
        let result =
            answered.unwrap_or(Err(Failure::Timeout)).map_err(|failure| failure.to_string());
        let took_us = u64::try_from(intended.elapsed().as_micros()).unwrap_or(u64::MAX);
        lock(&self.open).remove(&number);
        lock(&self.tally).ended(Ended { number, intended_ms, took_us, result }, boot_ms());
    }

    /// Returns the side that gave a right answer.
    async fn get(&self) -> Result<String, Failure> {
        let ProbeSettings { address, host, tls, path, marker, run, connection, .. } =
            &self.settings;
        let close = *connection == Connection::New;
        let mut line = match self.idle_line() {
            Some(line) => line,
            None => Line::open_as(*address, None, tls.as_ref()).await?,
        };
        let answer = line.get(host, path, Some(run.as_str()), close).await?;
        if !close && lock(&self.idle).len() < IDLE_MAX {
            lock(&self.idle).push(line);
        }
        if answer.status != 200 {
            return Err(Failure::Status(answer.status));
        }
        let found = marker.is_empty()
            || answer.body.windows(marker.len()).any(|part| part == marker.as_bytes());
        if found {
            Ok(answer.side.unwrap_or_else(|| "unknown".into()))
        } else {
            Err(Failure::Marker)
        }
    }

    fn idle_line(&self) -> Option<Line> {
        if self.settings.connection == Connection::New {
            return None;
        }
        let mut idle = lock(&self.idle);
        // A connection that the other end has closed is not used again; that is no retry.
        while let Some(line) = idle.pop() {
            if line.is_open() {
                return Some(line);
            }
        }
        None
    }
}

/// Sends at intended times until cancelled, or until the probe is dropped.
async fn ask_always(probe: Weak<HttpProbe>, per_second: u32, token: CancellationToken) {
    let (began, began_wall) = (Instant::now(), SystemTime::now());
    for step in 0_u64.. {
        let after =
            Duration::from_nanos(step.saturating_mul(1_000_000_000) / u64::from(per_second.max(1)));
        tokio::select! {
            () = token.cancelled() => return,
            () = sleep_until(began + after) => {}
        }
        let Some(probe) = probe.upgrade() else { return };
        let intended_ms =
            (began_wall + after).duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let intended_ms = u64::try_from(intended_ms).unwrap_or(u64::MAX);
        let number = {
            let mut next = lock(&probe.next);
            *next += 1;
            *next - 1
        };
        lock(&probe.open).insert(number, began + after);
        let asking = probe.clone();
        probe.requests.spawn(async move { asking.ask(number, began + after, intended_ms).await });
    }
}

fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000
        + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

impl Drop for HttpProbe {
    fn drop(&mut self) {
        if let Some(token) = lock(&self.running).take() {
            token.cancel();
        }
    }
}

#[async_trait]
impl Sampler for HttpProbe {
    fn name(&self) -> String {
        format!("probe:{}", self.settings.name)
    }

    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Returns no sample while the probe is stopped.
    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        if lock(&self.running).is_none() {
            return Ok(Vec::new());
        }
        let recent = lock(&self.tally).recent(boot_ms());
        // A request that waits still is at least as long as it has waited.
        let waiting = lock(&self.open).values().map(|t| t.elapsed()).max().unwrap_or_default();
        let max_ms = recent.max_ms.max(waiting.as_secs_f64() * 1000.0);
        let interrupted_ms = lock(&self.tally).interrupted_ms(wall_ms());
        let sample = |what, value| Sample {
            what,
            value,
            count: recent.ended,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        };
        Ok(vec![
            sample(What::ProbeCount, recent.ended as f64),
            sample(What::ProbeFailed, recent.failed as f64),
            sample(What::ProbeMaxMs, max_ms),
            sample(What::ProbeInterruptionMs, interrupted_ms as f64),
        ])
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
