//! Many small units between the same two servers, with a client each.

use crate::servers::Turn;
use crate::shop::Run;
use segue_database::Settings;
use segue_doors::sql::{Row, Session};
use segue_model::Side::{Source, Target};
use segue_model::{RunId, Side, UnitName};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Returns the name of a unit, of its schema and of its login. Each even one, taken for a
/// pattern, also means the odd one behind it.
pub(crate) fn name(number: usize) -> String {
    format!("s{}{}", if number.is_multiple_of(2) { '_' } else { 'x' }, number / 2)
}

/// Makes `count` units at the source, and a tenant at each side whom nobody may touch.
pub(crate) async fn fill(turn: &Turn, count: usize) {
    let mut root = turn.root(Source).await;
    for number in 0..count {
        let name = name(number);
        root.run(format!(
            "CREATE SCHEMA {name}; USE {name}; \
             CREATE TABLE {name}.said (id INT PRIMARY KEY AUTO_INCREMENT, what BIGINT NOT NULL, KEY (what)); \
             CREATE TABLE {name}.keyless (what BIGINT); \
             CREATE TABLE {name}.counter (id INT PRIMARY KEY, n BIGINT NOT NULL); \
             INSERT INTO {name}.counter VALUES (1, 0); \
             INSERT INTO {name}.said (what) SELECT -seq FROM seq_1_to_50; \
             CREATE USER {name}@'%' IDENTIFIED BY 'shop-secret'; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO {name}@'%'"
        ))
        .await
        .unwrap();
    }
    for side in [Source, Target] {
        let mut root = turn.root(side).await;
        root.run("CREATE SCHEMA tenant; CREATE TABLE tenant.x (id INT PRIMARY KEY AUTO_INCREMENT, v INT)")
            .await
            .unwrap();
    }
}

/// Begins the run of one unit.
pub(crate) async fn begin(turn: &Turn, number: usize, epoch: u64) -> Run {
    let servers = &turn.pair.servers;
    let mut plan = turn.pair.plan(servers.source.address, servers.target.address);
    plan.schema = name(number);
    plan.logins = vec![name(number)];
    let settings = Settings {
        plan,
        run: RunId("run-1".into()),
        unit: UnitName::from(name(number).as_str()),
        lease_ms: 2_000,
    };
    Run::of(settings, epoch).await
}

/// What the tenant of a side writes: of it nothing may come to the other one.
fn mine(side: Side) -> u8 {
    match side {
        Source => 1,
        Target => 2,
    }
}

/// Clients of the units and of the tenants, until they are asked to end.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<Client>>,
    tenants: Vec<tokio::task::JoinHandle<(Side, i64)>>,
}

/// What one client knows of its unit.
pub(crate) struct Client {
    number: usize,
    /// Writes that were acknowledged.
    acknowledged: BTreeSet<i64>,
    /// Writes whose answer was lost.
    uncertain: BTreeSet<i64>,
}

impl Traffic {
    /// Starts a client for each unit; each writes where its login lets it.
    pub(crate) fn start(turn: &Turn, count: usize, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..count)
            .map(|number| {
                let (pair, stop) = (Arc::clone(&turn.pair), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut client = Client {
                        number,
                        acknowledged: BTreeSet::new(),
                        uncertain: BTreeSet::new(),
                    };
                    let mut session: Option<Session> = None;
                    let (mut what, login) = (0, name(number));
                    while !stop.load(Ordering::SeqCst) {
                        if session.is_none() {
                            for side in [Source, Target] {
                                let server = pair.servers.get(side);
                                let login = server.login(&login, "shop-secret");
                                if let Ok(open) = login.await {
                                    session = Some(open);
                                    break;
                                }
                            }
                        }
                        if let Some(open) = &mut session {
                            what += 1;
                            session =
                                client.write(open, what).await.then(|| session.take()).flatten();
                        }
                        tokio::time::sleep(pause).await;
                    }
                    client
                })
            })
            .collect();
        let tenants = [Source, Target]
            .into_iter()
            .map(|side| {
                let (pair, stop) = (Arc::clone(&turn.pair), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut written = 0;
                    let write = format!("INSERT INTO tenant.x (v) VALUES ({})", mine(side));
                    let mut session = pair.servers.get(side).login("root", "").await.ok();
                    while !stop.load(Ordering::SeqCst) {
                        match &mut session {
                            Some(root) => match root.run(&write).await {
                                Ok(()) => written += 1,
                                Err(_) => session = None,
                            },
                            None => session = pair.servers.get(side).login("root", "").await.ok(),
                        }
                        tokio::time::sleep(Duration::from_millis(15)).await;
                    }
                    (side, written)
                })
            })
            .collect();
        Self { stop, clients, tenants }
    }

    /// Ends the clients; returns what they know, and checks that no tenant was touched.
    pub(crate) async fn end(self, turn: &Turn, exact: bool) -> Vec<Client> {
        self.stop.store(true, Ordering::SeqCst);
        for tenant in self.tenants {
            let (side, written) = tenant.await.unwrap();
            let mut root = turn.root(side).await;
            let count = "SELECT COUNT(*) FROM tenant.x WHERE v";
            let rows: i64 = root.one(format!("{count} = {}", mine(side))).await.unwrap();
            let others: i64 = root.one(format!("{count} <> {}", mine(side))).await.unwrap();
            assert_eq!(others, 0, "rows of the other side's tenant came to the {side}");
            let right = if exact { rows == written } else { rows >= written };
            assert!(right, "the tenant at the {side} wrote {written} rows and has {rows}");
        }
        let mut all = Vec::new();
        for client in self.clients {
            all.push(client.await.unwrap());
        }
        all
    }
}

impl Client {
    /// Writes three times in one transaction; returns whether the session goes on.
    async fn write(&mut self, session: &mut Session, what: i64) -> bool {
        let name = name(self.number);
        let done = session
            .run(format!(
                "BEGIN; INSERT INTO {name}.said (what) VALUES ({what}); \
                 INSERT INTO {name}.keyless VALUES ({what}); \
                 UPDATE {name}.counter SET n = n + 1; COMMIT"
            ))
            .await;
        match done {
            Ok(()) => self.acknowledged.insert(what),
            Err(_) => self.uncertain.insert(what),
        };
        done.is_ok()
    }

    /// Checks that a side has every acknowledged write exactly once.
    pub(crate) async fn check(&self, turn: &Turn, side: Side) {
        let name = name(self.number);
        let mut root = turn.root(side).await;
        for table in ["said", "keyless"] {
            let rows: Vec<i64> = root
                .rows(format!("SELECT what FROM {name}.{table} WHERE what > 0 ORDER BY what"))
                .await
                .unwrap();
            let once: BTreeSet<i64> = rows.iter().copied().collect();
            assert_eq!(once.len(), rows.len(), "{name}.{table} has doubled rows at the {side}");
            let lost: Vec<&i64> = self.acknowledged.difference(&once).collect();
            assert!(lost.is_empty(), "{name}.{table} at the {side} lacks {lost:?}");
            let strange: Vec<&i64> = once
                .iter()
                .filter(|w| !self.acknowledged.contains(w) && !self.uncertain.contains(w))
                .collect();
            assert!(strange.is_empty(), "{name}.{table} at the {side} has {strange:?}");
        }
        assert!(!self.acknowledged.is_empty(), "{name} had no traffic");
    }
}

/// Returns all rows of a unit and the server's own checksums, as text.
async fn rows(turn: &Turn, side: Side, number: usize) -> String {
    let name = name(number);
    let mut root = turn.root(side).await;
    let mut text = String::new();
    for (table, order) in [("said", "id"), ("keyless", "what"), ("counter", "id")] {
        let rows: Vec<Row> =
            root.rows(format!("SELECT * FROM {name}.{table} ORDER BY {order}")).await.unwrap();
        for row in rows {
            writeln!(text, "{table} {:?}", row.unwrap()).unwrap();
        }
        let sum: Row = root.one(format!("CHECKSUM TABLE {name}.{table}")).await.unwrap();
        writeln!(text, "{:?}", sum.unwrap()).unwrap();
    }
    root.close().await;
    text
}

/// Waits until both sides of the units hold the same rows.
pub(crate) async fn equal(turn: &Turn, numbers: impl IntoIterator<Item = usize>) {
    let begun = Instant::now();
    for number in numbers {
        loop {
            let (source, target) =
                (rows(turn, Source, number).await, rows(turn, Target, number).await);
            if source == target {
                break;
            }
            let count = |text: &str| text.lines().count();
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{} differs: {} lines at the source, {} at the target",
                name(number),
                count(&source),
                count(&target)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Returns everything of Segue at a server.
pub(crate) async fn traces(turn: &Turn, side: Side) -> Vec<String> {
    let mut root = turn.root(side).await;
    let mut found: Vec<String> = root
        .rows(
            "SELECT User FROM mysql.global_priv WHERE User LIKE 'segue\\_%' AND User <> 'segue_admin' \
             UNION SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES \
               WHERE TABLE_SCHEMA = 'segue' \
             UNION SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'segue'",
        )
        .await
        .unwrap();
    let streams: Vec<Row> = root.rows("SHOW ALL SLAVES STATUS").await.unwrap();
    found.extend(streams.iter().map(|row| row.get::<String, _>("Connection_name").unwrap()));
    found
}
