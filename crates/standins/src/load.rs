//! Visitors of a rehearsal: open loop, through both fronts, nobody asks twice.

use crate::client::send;
use crate::ledger::Acknowledged;
use crate::site::WRITE;
use http::Method;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

/// A request without an answer so long after it should have been sent has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// One visitor in so many keeps the address that it knew first.
const STALE_ONE_IN: u64 = 40;
/// One write in so many leaves a file as well.
const FILE_ONE_IN: u64 = 8;
/// Failures that are kept in words.
const EXAMPLES: usize = 10;

/// What visitors do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Visitors {
    /// Host that they ask for.
    pub host: String,
    /// Pages that they ask for in turn.
    pub gets: Vec<String>,
    /// Pages a second.
    pub gets_per_second: f64,
    /// Writes a second.
    pub writes_per_second: f64,
    /// Where a visitor goes who looked the name up long ago.
    pub stale: SocketAddr,
    /// Page with a text that must be in it.
    pub marker: Option<(String, String)>,
    /// Text that every other page must contain; none for a real application.
    pub everywhere: Option<String>,
}

/// What they saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Requests sent.
    pub requests: u64,
    /// Those that failed while nothing was asked to fail.
    pub failed: u64,
    /// Those that failed while an asked fault was planted.
    pub failed_by_fault: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Longest answer, from the time it should have been asked, milliseconds.
    pub longest_ms: f64,
    /// Longest write, likewise.
    pub longest_write_ms: f64,
    /// Some failures in words.
    pub examples: Vec<String>,
}

struct Shared {
    plan: Visitors,
    /// Where a visitor goes who looks the name up now.
    fresh: Mutex<SocketAddr>,
    seen: Mutex<Seen>,
    acknowledged: Mutex<Vec<Acknowledged>>,
    /// Requests that have no answer yet.
    open: AtomicU64,
    next_id: AtomicU64,
    away: AtomicBool,
    fault: AtomicBool,
}

/// Visitors at work. Dropping it sends them away.
pub struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    /// Lets them in. Must be called within a runtime.
    pub fn start(plan: Visitors) -> Self {
        let (gets, writes) = (plan.gets_per_second, plan.writes_per_second);
        let shared = Arc::new(Shared {
            fresh: Mutex::new(plan.stale),
            plan,
            seen: Mutex::default(),
            acknowledged: Mutex::default(),
            open: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
            away: AtomicBool::new(false),
            fault: AtomicBool::new(false),
        });
        let tasks = vec![
            tokio::spawn(keep_asking(Arc::clone(&shared), gets, false)),
            tokio::spawn(keep_asking(Arc::clone(&shared), writes, true)),
        ];
        Self { shared, tasks }
    }

    /// Tells where the name leads now.
    pub fn lead(&self, fresh: SocketAddr) {
        *lock(&self.shared.fresh) = fresh;
    }

    /// Sends visitors away, or lets them in again.
    pub fn stay_away(&self, away: bool) {
        self.shared.away.store(away, Ordering::Relaxed);
    }

    /// Says whether failures are asked for now.
    pub fn expect_failures(&self, expected: bool) {
        self.shared.fault.store(expected, Ordering::Relaxed);
    }

    /// Returns what they saw so far.
    pub fn seen(&self) -> Seen {
        lock(&self.shared.seen).clone()
    }

    /// Returns every write that was acknowledged so far.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        lock(&self.shared.acknowledged).clone()
    }

    /// Waits until no request is open, at most as long as one may take. Visitors should be away.
    pub async fn idle(&self) {
        let deadline = Instant::now() + PATIENCE + Duration::from_secs(1);
        while self.shared.open.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Sends at a fixed rate, whatever became of the requests before.
async fn keep_asking(shared: Arc<Shared>, per_second: f64, writes: bool) {
    if per_second <= 0.0 {
        return;
    }
    let pause = Duration::from_secs_f64(1.0 / per_second);
    let mut due = Instant::now();
    for number in 0_u64.. {
        due += pause;
        sleep_until(due).await;
        if shared.away.load(Ordering::Relaxed) {
            continue;
        }
        shared.open.fetch_add(1, Ordering::AcqRel);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let fault = shared.fault.load(Ordering::Relaxed);
            let ended = shared.one(number, writes, due).await;
            shared.note(ended, writes, fault, due);
            shared.open.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

impl Shared {
    async fn one(&self, number: u64, writes: bool, due: Instant) -> Result<(), String> {
        let front =
            if number.is_multiple_of(STALE_ONE_IN) { self.plan.stale } else { *lock(&self.fresh) };
        let by = due + PATIENCE;
        if writes {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            let file = id.is_multiple_of(FILE_ONE_IN);
            let path = format!("{WRITE}?id={id}&file={}", u8::from(file));
            let asked = send(front, Method::POST, &self.plan.host, &path);
            let answered = timeout_at(by, asked).await.map_err(|_| silence(&path, front))?;
            let answered = answered.map_err(|e| format!("POST {path} at {front}: {e}"))?;
            if answered.status != 200 {
                let said = answered.body.lines().next().unwrap_or_default().to_owned();
                return Err(format!("POST {path} at {front}: {} {said}", answered.status));
            }
            lock(&self.acknowledged).push(Acknowledged { id, file });
            return Ok(());
        }
        let pages = &self.plan.gets;
        let place = usize::try_from(number).unwrap_or(0) % pages.len().max(1);
        let path = pages.get(place).map_or("/", String::as_str);
        let asked = send(front, Method::GET, &self.plan.host, path);
        let answered = timeout_at(by, asked).await.map_err(|_| silence(path, front))?;
        let answered = answered.map_err(|e| format!("GET {path} at {front}: {e}"))?;
        let marker = match &self.plan.marker {
            Some((page, marker)) if page == path => Some(marker),
            _ => self.plan.everywhere.as_ref(),
        };
        let right = (200..400).contains(&answered.status);
        if !right {
            let said = answered.body.lines().next().unwrap_or_default();
            return Err(format!("GET {path} at {front}: {} {said}", answered.status));
        }
        match marker.filter(|marker| !answered.body.contains(marker.as_str())) {
            Some(_) => Err(format!("GET {path} at {front}: the marker is missing")),
            None => Ok(()),
        }
    }

    fn note(&self, ended: Result<(), String>, writes: bool, fault: bool, due: Instant) {
        // A fault that was planted or taken away meanwhile counts as well.
        let fault = fault || self.fault.load(Ordering::Relaxed);
        let took_ms = due.elapsed().as_secs_f64() * 1_000.0;
        let mut seen = lock(&self.seen);
        seen.requests += 1;
        match ended {
            Ok(()) => {
                seen.acknowledged += u64::from(writes);
                if !fault {
                    seen.longest_ms = seen.longest_ms.max(took_ms);
                    if writes {
                        seen.longest_write_ms = seen.longest_write_ms.max(took_ms);
                    }
                }
            }
            Err(_) if fault => seen.failed_by_fault += 1,
            Err(cause) => {
                seen.failed += 1;
                if seen.examples.len() < EXAMPLES {
                    seen.examples.push(cause);
                }
            }
        }
    }
}

fn silence(path: &str, front: SocketAddr) -> String {
    format!("{path} at {front}: no answer within {} s", PATIENCE.as_secs())
}
