//! What clients write: small transactions over one table, as a shop's are.

use secrecy::SecretString;
use segue_database::Position;
use segue_doors::sql::{self, Endpoint, Row, Session};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ROWS: u64 = 20_000;
const CLIENTS: u64 = 2;

pub(crate) async fn connect(address: SocketAddr) -> Session {
    let endpoint =
        Endpoint { address, user: "root".into(), password: SecretString::from(String::new()) };
    let mut session = sql::connect(&endpoint, Duration::from_secs(10)).await.unwrap();
    session.set_limit(Duration::from_secs(600));
    session
}

/// Clients of a source.
pub(crate) struct Load {
    source: SocketAddr,
}

impl Load {
    /// Makes the same tables at all servers, at the others outside of their logs.
    pub(crate) async fn make(source: SocketAddr, others: &[SocketAddr]) -> Self {
        for address in others.iter().chain([&source]) {
            let mut session = connect(*address).await;
            session
                .run(format!(
                    "SET sql_log_bin = {}; CREATE SCHEMA bench; \
                     CREATE TABLE bench.t (id INT PRIMARY KEY, k INT NOT NULL, c CHAR(120), pad CHAR(60), KEY (k)); \
                     CREATE TABLE bench.beat (id INT PRIMARY KEY, at BIGINT NOT NULL); \
                     INSERT INTO bench.beat VALUES (1, 0); \
                     INSERT INTO bench.t SELECT seq, seq, MD5(seq), MD5(-seq) FROM bench.seq_1_to_{ROWS}",
                    u8::from(*address == source)
                ))
                .await
                .unwrap();
            session.close().await;
        }
        Self { source }
    }

    pub(crate) async fn position(&self) -> Position {
        let text: String =
            connect(self.source).await.one("SELECT @@GLOBAL.gtid_binlog_pos").await.unwrap();
        text.parse().unwrap()
    }

    /// Writes so many transactions as fast as the clients can; returns how long it took.
    pub(crate) async fn produce(&self, count: u64) -> Duration {
        let mut sessions = Vec::new();
        for _ in 0..CLIENTS {
            sessions.push(connect(self.source).await);
        }
        let begun = Instant::now();
        let mut clients = Vec::new();
        for (client, mut session) in (0..CLIENTS).zip(sessions) {
            clients.push(tokio::spawn(async move {
                for number in 0..count / CLIENTS {
                    session.run(transaction(client, number)).await.unwrap();
                }
            }));
        }
        for client in clients {
            client.await.unwrap();
        }
        begun.elapsed()
    }

    /// Writes at a rate, and looks at another server how old its newest beat is.
    pub(crate) async fn lag(&self, at: SocketAddr, rate: u64, time: Duration) -> Vec<Duration> {
        let mut writer = connect(self.source).await;
        let writes = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
            let begun = Instant::now();
            for number in 0.. {
                if begun.elapsed() > time {
                    break;
                }
                ticks.tick().await;
                writer.run(transaction(0, number)).await.unwrap();
            }
        });
        let mut heart = connect(self.source).await;
        let beats = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            let begun = Instant::now();
            while begun.elapsed() < time {
                ticks.tick().await;
                let beat = format!("UPDATE bench.beat SET at = {}", now().as_micros());
                heart.run(beat).await.unwrap();
            }
        });
        let mut reader = connect(at).await;
        let (mut lags, mut last) = (Vec::new(), None);
        while !beats.is_finished() {
            let beat: u64 = reader.one("SELECT at FROM bench.beat").await.unwrap();
            if last.replace(beat).is_some_and(|before| before != beat) {
                lags.push(now().saturating_sub(Duration::from_micros(beat)));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        writes.await.unwrap();
        lags
    }

    /// Returns the sums of the tables at a server.
    pub(crate) async fn sums(&self, at: SocketAddr) -> Vec<Option<String>> {
        let rows: Vec<Row> =
            connect(at).await.rows("CHECKSUM TABLE bench.t, bench.beat").await.unwrap();
        rows.iter().map(|row| row.get(1).unwrap()).collect()
    }
}

fn transaction(client: u64, number: u64) -> String {
    // Each client has rows of its own, spread over the table.
    let row =
        |step: u64| ((number * 7_919 + step * 104_729) % (ROWS / CLIENTS)) * CLIENTS + client + 1;
    format!(
        "BEGIN; UPDATE bench.t SET k = k + 1 WHERE id = {}; UPDATE bench.t SET c = MD5({number}) WHERE id = {}; \
         DELETE FROM bench.t WHERE id = {}; INSERT INTO bench.t VALUES ({}, {number}, 'c', 'pad'); COMMIT",
        row(1),
        row(2),
        row(3),
        row(3)
    )
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
