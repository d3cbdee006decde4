//! Visitors who come whatever the servers do: each request has its moment, and its time counts
//! from then. Nothing is repeated.

use super::world::Visitor;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A request that has no answer by then has failed.
const LATEST: Duration = Duration::from_secs(5);

/// Most requests that wait for their connection.
const WAITING_MAX: usize = 1 << 14;

/// Connections of visitors.
const LANES: usize = 64;

/// What visitors met.
#[derive(Debug, Default)]
pub(crate) struct Met {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// Answered 503 with `Retry-After`, where a hold refuses.
    pub(crate) refused: u64,
    /// Orders that were acknowledged.
    pub(crate) orders: BTreeSet<u64>,
    pub(crate) longest: Duration,
    /// What the first failures were.
    pub(crate) first: Vec<String>,
}

/// Load that goes on until it is stopped.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    pace: JoinHandle<()>,
    lanes: Vec<JoinHandle<Met>>,
}

impl Load {
    /// Sends `rate` requests a second: half GET, half POST, a quarter on connections of their own.
    pub(crate) fn start(front: SocketAddr, rate: u64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicU64::new(0));
        let (mut senders, mut lanes) = (Vec::new(), Vec::new());
        for lane in 0..LANES {
            let (send, receive) = mpsc::channel(WAITING_MAX);
            senders.push(send);
            lanes.push(tokio::spawn(visit(front, lane, receive)));
        }
        let pace = tokio::spawn({
            let over = over.clone();
            async move {
                let began = Instant::now();
                let mut tick = tokio::time::interval(Duration::from_millis(1));
                while !over.load(Ordering::Relaxed) {
                    tick.tick().await;
                    let due = began.elapsed().as_micros() as u64 * rate / 1_000_000;
                    while next.load(Ordering::Relaxed) < due {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let at = began + Duration::from_micros(number * 1_000_000 / rate);
                        let sent = senders[number as usize % LANES].try_send((number, at));
                        sent.expect("visitors cannot keep up, nobody is answered");
                    }
                }
            }
        });
        Self { over, pace, lanes }
    }

    /// Ends it; the last request is waited for.
    pub(crate) async fn stop(self) -> Met {
        self.over.store(true, Ordering::Relaxed);
        self.pace.await.unwrap();
        let mut all = Met::default();
        for lane in self.lanes {
            let met = lane.await.unwrap();
            all.requests += met.requests;
            all.failed += met.failed;
            all.refused += met.refused;
            all.orders.extend(met.orders);
            all.longest = all.longest.max(met.longest);
            all.first.extend(met.first);
        }
        all.first.truncate(5);
        all
    }
}

async fn visit(front: SocketAddr, lane: usize, mut moments: mpsc::Receiver<(u64, Instant)>) -> Met {
    let mut met = Met::default();
    let mut visitor = Visitor::new(front);
    while let Some((number, at)) = moments.recv().await {
        if lane.is_multiple_of(4) {
            visitor = Visitor::new(front);
        }
        let order = (number / LANES as u64).is_multiple_of(2);
        let path = format!("/order?{number}");
        let asking = if order {
            visitor.ask("POST", &path, "two shirts")
        } else {
            visitor.ask("GET", "/page", "")
        };
        let outcome = tokio::time::timeout(LATEST, asking).await;
        let took = at.elapsed();
        met.requests += 1;
        met.longest = met.longest.max(took);
        let failure = match outcome {
            Ok(Ok(answer)) if answer.status == 200 && took < LATEST => {
                if order {
                    met.orders.insert(number);
                }
                continue;
            }
            Ok(Ok(answer)) if answer.status == 503 && answer.head.contains("retry-after: ") => {
                met.refused += 1;
                continue;
            }
            Ok(Ok(answer)) => format!("{} after {took:?}", answer.status),
            Ok(Err(error)) => format!("{error} after {took:?}"),
            Err(_) => format!("no answer after {took:?}"),
        };
        visitor = Visitor::new(front);
        met.failed += 1;
        met.first.push(format!("{} {failure}", if order { "POST" } else { "GET" }));
    }
    met
}
