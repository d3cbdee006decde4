//! Clients that write at a fixed rate, each row once, wherever writes are taken.

use segue_doors::sql::{self, Endpoint, Session};
use segue_model::{Side, Sides};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CLIENTS: usize = 10;
/// Each client's writes: 50 a second.
const EVERY: Duration = Duration::from_millis(20);
/// How long one that was refused waits before it asks again.
const AGAIN: Duration = Duration::from_millis(5);

/// What was acknowledged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) written: u64,
    pub(crate) refused: u64,
    /// Rows of each client.
    pub(crate) acknowledged: Vec<u32>,
}

/// When a write was due, and how long it took from then on.
type Taken = Arc<Mutex<Vec<(Instant, Duration)>>>;

pub(crate) struct Clients {
    side: watch::Sender<Option<Side>>,
    taken: Taken,
    tasks: Vec<JoinHandle<(u32, u64)>>,
}

impl Clients {
    pub(crate) fn start(servers: Sides<SocketAddr>) -> Self {
        let (side, _) = watch::channel(Some(Side::Source));
        let taken = Taken::default();
        let client = |number| {
            let client = Client {
                number,
                servers: servers.clone(),
                side: side.subscribe(),
                taken: Arc::clone(&taken),
                session: None,
                refused: 0,
            };
            tokio::spawn(client.write())
        };
        let tasks = (0..CLIENTS).map(client).collect();
        Self { side, taken, tasks }
    }

    /// Tells the clients where to write from now on.
    pub(crate) fn go_to(&self, side: Side) {
        self.side.send_replace(Some(side));
    }

    /// Returns the longest time that a write took which came to its end since then.
    pub(crate) fn longest_since(&self, begun: Instant) -> Duration {
        let taken = self.taken.lock().unwrap();
        // In the order of their ends.
        let since = taken.iter().rev().take_while(|(due, took)| *due + *took >= begun);
        since.map(|(_, took)| *took).max().unwrap()
    }

    pub(crate) async fn end(self) -> Ledger {
        self.side.send_replace(None);
        let mut ledger = Ledger::default();
        for task in self.tasks {
            let (acknowledged, refused) = task.await.unwrap();
            ledger.written += u64::from(acknowledged);
            ledger.refused += refused;
            ledger.acknowledged.push(acknowledged);
        }
        ledger
    }
}

struct Client {
    number: usize,
    servers: Sides<SocketAddr>,
    side: watch::Receiver<Option<Side>>,
    taken: Taken,
    session: Option<(Side, Session)>,
    refused: u64,
}

impl Client {
    async fn write(mut self) -> (u32, u64) {
        let mut seq = 0;
        let mut due = Instant::now();
        while self.side.borrow().is_some() {
            if !self.one(seq).await {
                break;
            }
            self.taken.lock().unwrap().push((due, due.elapsed()));
            seq += 1;
            due += EVERY;
            tokio::time::sleep_until(due.into()).await;
        }
        (seq, self.refused)
    }

    /// Writes one row, as often as it takes. A write that waits at a fence is ended before it has
    /// done anything, so it may be made again; had it been done, the key would refuse it.
    /// Returns false if the end came before.
    async fn one(&mut self, seq: u32) -> bool {
        let row = format!(
            "INSERT INTO bench.orders (client, seq, note) VALUES ({}, {seq}, MD5({seq}))",
            self.number
        );
        loop {
            let Some(side) = *self.side.borrow_and_update() else { return false };
            match self.attempt(side, &row).await {
                Ok(()) => return true,
                Err(error) => assert_ne!(error.code(), Some(1062), "a row was written twice"),
            }
            self.session = None;
            self.refused += 1;
            let _ = tokio::time::timeout(AGAIN, self.side.changed()).await;
        }
    }

    async fn attempt(&mut self, side: Side, row: &str) -> sql::SqlResult<()> {
        if self.session.as_ref().is_none_or(|(at, _)| *at != side) {
            let endpoint = Endpoint {
                address: *self.servers.get(side),
                user: "bench".into(),
                password: "bench-secret".to_owned().into(),
            };
            self.session = Some((side, sql::connect(&endpoint, Duration::from_secs(2)).await?));
        }
        let Some((_, session)) = self.session.as_mut() else { unreachable!("just opened") };
        session.run_within(row, Duration::from_secs(10)).await
    }
}
