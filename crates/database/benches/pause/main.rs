//! How long clients wait for a cutover of their database: 50 of them, there and back by turns,
//! while 500 rows a second are written by clients that follow the side that takes writes.
//!
//! `pause SOURCE TARGET` takes the addresses of two empty MariaDB servers with different server
//! ids and `gtid_domain_id`, which log by rows and whose root has no password. It leaves schema
//! `bench` at both. Each measurement is printed as a line of JSON, `{"name", "value"}`. A row that
//! was acknowledged and is not at both sides, or is there twice, ends it with an error.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod clients;
mod steps;

use clients::Clients;
use segue_doors::sql::{self, Endpoint, Session};
use segue_model::event::Phase;
use segue_model::{Side, Sides};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use steps::Steps;

/// Cutovers and failbacks in all.
const CUTOVERS: usize = 50;
/// Steps between the first and the last moment at which clients may wait.
const PAUSE: [&str; 5] = ["fence", "drain", "verify", "seal", "promote"];
/// How long clients write undisturbed between two of them.
const REST: Duration = Duration::from_millis(300);

const SCHEMA: &str = "
CREATE SCHEMA bench;
CREATE TABLE bench.orders (client INT NOT NULL, seq INT NOT NULL, note VARCHAR(80) NOT NULL,
  placed TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), PRIMARY KEY (client, seq), KEY (placed));
CREATE TABLE bench.stock (product INT PRIMARY KEY, n INT NOT NULL);
INSERT INTO bench.stock SELECT seq, 1000 FROM seq_1_to_5000;
CREATE EVENT bench.tidy ON SCHEDULE EVERY 1 DAY STARTS '2034-01-01 00:00:00' DO DELETE FROM bench.stock WHERE n < 0;
CREATE USER bench@'%' IDENTIFIED BY 'bench-secret';
GRANT SELECT, INSERT, UPDATE, DELETE ON bench.* TO bench@'%'";

fn main() {
    // `cargo bench` adds a word of its own.
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    let addresses: Vec<SocketAddr> = words.map(|word| word.parse().unwrap()).collect();
    let [source, target] = addresses[..] else { panic!("pause SOURCE TARGET, each an address") };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(Sides { source, target }));
}

async fn measure(servers: Sides<SocketAddr>) {
    let mut root = session(servers.source, "root", "").await;
    for statement in SCHEMA.split(";\n") {
        root.run(statement).await.unwrap();
    }
    let mut steps = Steps::begin(&servers).await;
    steps.all(&["claim", "seed", "follow", "reverse"]).await;
    let clients = Clients::start(servers.clone());
    tokio::time::sleep(REST).await;
    let mut pauses = Vec::new();
    let mut held = Vec::new();
    for number in 0..CUTOVERS {
        let (phase, to) = match number % 2 {
            0 => (Phase::Cutover, Side::Target),
            _ => (Phase::Failback, Side::Source),
        };
        steps.table(phase);
        steps.all(&["arm"]).await;
        let begun = Instant::now();
        steps.all(&PAUSE).await;
        clients.go_to(to);
        held.push(begun.elapsed());
        tokio::time::sleep(REST).await;
        pauses.push(clients.longest_since(begun));
        let differences = steps.step("compare").await["differences"].clone();
        assert_eq!(differences, 0, "cutover {number}");
    }
    let ledger = clients.end().await;
    told("writes", ledger.written as f64);
    told("writes that were refused and made again", ledger.refused as f64);
    shown("pause seen by clients", &mut pauses);
    shown("fence to promote", &mut held);
    settled(&servers, &ledger).await;
}

fn shown(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    told(&format!("{name}, p50, ms"), times[times.len() / 2].as_secs_f64() * 1e3);
    told(&format!("{name}, max, ms"), times[times.len() - 1].as_secs_f64() * 1e3);
}

fn told(name: &str, value: f64) {
    println!("{{\"name\": \"{name}\", \"value\": {value:.3}}}");
}

/// Every acknowledged row is at both sides, and nothing else.
async fn settled(servers: &Sides<SocketAddr>, ledger: &clients::Ledger) {
    for side in [Side::Source, Side::Target] {
        let begun = Instant::now();
        let mut root = session(*servers.get(side), "root", "").await;
        loop {
            let rows: Vec<(u32, u32)> = root
                .rows("SELECT client, COUNT(*) FROM bench.orders GROUP BY client ORDER BY client")
                .await
                .unwrap();
            let counted: Vec<u32> = rows.iter().map(|(_, count)| *count).collect();
            if counted == ledger.acknowledged {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{side}: {rows:?}, {ledger:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    told("rows lost or doubled", 0.0);
}

async fn session(address: SocketAddr, user: &str, password: &str) -> Session {
    let endpoint = Endpoint { address, user: user.into(), password: password.to_owned().into() };
    sql::connect(&endpoint, Duration::from_secs(5)).await.unwrap()
}
