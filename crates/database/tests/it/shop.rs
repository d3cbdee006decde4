//! The unit that the tests move, and a run of its steps.

use crate::servers::Turn;
use segue_database::{MariaReplica, Settings};
use segue_model::event::{Attempt, Phase};
use segue_model::{Epoch, Fault, RunId, Side, StepName, UnitName};
use segue_port::{Authority, Call, Effect, Facts, NoProgress, Observed, ReplicaEffects};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everything in the schema that a copy can get wrong.
const SCHEMA: &str = "
CREATE SCHEMA shop CHARACTER SET utf8mb4;
USE shop;
CREATE TABLE orders (id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, client VARCHAR(20) NOT NULL, total DECIMAL(12,4),
  note TEXT, placed TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), doubled DECIMAL(14,4) AS (total * 2) VIRTUAL,
  kept DECIMAL(14,4) AS (total * 3) STORED, KEY (client));
CREATE TABLE `lines` (order_id INT UNSIGNED NOT NULL, line INT NOT NULL, product INT, PRIMARY KEY (order_id, line),
  CONSTRAINT of_order FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE);
CREATE TABLE odd (id BIGINT UNSIGNED PRIMARY KEY, f FLOAT, d DOUBLE, b BIT(9), e ENUM('','a','1'), s SET('x','y','z'),
  bin VARBINARY(40), blo LONGBLOB, latin VARCHAR(20) CHARACTER SET latin1, j JSON, i6 INET6, u UUID, g POINT, y YEAR,
  t TIME(6), dt DATETIME, hidden INT INVISIBLE DEFAULT 7, c CHAR(5));
CREATE TABLE audit (what VARCHAR(40), n INT);
CREATE TABLE big (id INT PRIMARY KEY, v VARCHAR(60) NOT NULL);
INSERT INTO orders (client, total, note) VALUES ('ada', 12.5, 'a\\tb\\nc\\\\d'), ('bob', NULL, NULL), ('eve', 3.0001, '');
INSERT INTO `lines` VALUES (1, 1, 10), (1, 2, NULL), (3, 1, 5);
INSERT INTO odd (id, f, d, b, e, s, bin, blo, latin, j, i6, u, g, y, t, dt, hidden, c) VALUES
 (1, 0.1, 0.1, b'100000001', 'a', 'x,z', x'00ff5c0a09', x'000102', 'caf\u{e9}', '{\"a\": 1}', '2001:db8::1:2345', UUID(), POINT(1, 2), 2024, '-11:12:13.123456', '2024-02-30 00:00:00', 9, 'ab'),
 (18446744073709551615, 16777216, -1e300, b'0', '1', '', '', NULL, '', '[]', '::1', NULL, NULL, NULL, NULL, '0000-00-00 00:00:00', NULL, ''),
 (2, 3.4028234e38, 1e-300, NULL, '', NULL, NULL, '', NULL, NULL, '::ffff:10.0.0.1', '00000000-0000-0000-0000-000000000001', NULL, 1901, '838:59:59', NULL, 1, NULL);
INSERT INTO audit VALUES ('a', 1), ('a', 1), (NULL, NULL);
INSERT INTO big SELECT seq, MD5(seq) FROM seq_1_to_3000;
CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2;
CREATE PROCEDURE note_it(IN w VARCHAR(40)) MODIFIES SQL DATA INSERT INTO audit VALUES (w, twice(1));
CREATE VIEW z_counts AS SELECT client, COUNT(*) AS n FROM orders GROUP BY client;
CREATE VIEW a_sums AS SELECT client, n FROM z_counts WHERE n > 0;
CREATE TRIGGER orders_in AFTER INSERT ON orders FOR EACH ROW INSERT INTO audit VALUES (NEW.client, NEW.id);
CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY STARTS '2034-01-01 00:00:00' DO DELETE FROM audit WHERE n < 0;
CREATE EVENT asleep ON SCHEDULE EVERY 1 DAY STARTS '2034-01-01 00:00:00' DISABLE DO DELETE FROM audit;
CREATE USER shop@'%' IDENTIFIED BY 'shop-secret';
GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON shop.* TO shop@'%';
CREATE SCHEMA tenant;
CREATE TABLE tenant.x (id INT PRIMARY KEY AUTO_INCREMENT, v INT);
INSERT INTO tenant.x (v) VALUES (1);
";

/// Fills the source.
pub(crate) async fn fill(turn: &Turn) {
    let mut root = turn.root(Side::Source).await;
    for statement in SCHEMA.split(";\n") {
        if !statement.trim().is_empty() {
            root.run(statement).await.unwrap_or_else(|e| panic!("{e}: {statement}"));
        }
    }
    root.close().await;
}

/// Adds rows until the big table is copied in parts.
pub(crate) async fn grow(turn: &Turn) {
    let mut root = turn.root(Side::Source).await;
    root.run("USE shop").await.unwrap();
    root.run("INSERT INTO big SELECT seq, MD5(seq) FROM seq_3001_to_90000").await.unwrap();
    root.run("ANALYZE TABLE shop.big").await.unwrap();
    root.close().await;
}

/// A run of steps with what they left for one another.
pub(crate) struct Run {
    pub(crate) replica: Arc<MariaReplica>,
    pub(crate) effects: ReplicaEffects,
    facts: Facts,
    unit: UnitName,
    run: RunId,
    phase: Phase,
    number: u32,
    epoch: Epoch,
}

impl Run {
    /// Builds a run that acts under epoch 1.
    pub(crate) async fn begin(turn: &Turn) -> Self {
        Self::with(turn, "run-1", 1).await
    }

    /// Builds a run of a name and an epoch.
    pub(crate) async fn with(turn: &Turn, run: &str, epoch: u64) -> Self {
        Self::of(settings(turn, run), epoch).await
    }

    /// Builds a run over settings of its own.
    pub(crate) async fn of(settings: Settings, epoch: u64) -> Self {
        let (unit, run) = (settings.unit.clone(), settings.run.clone());
        let replica = MariaReplica::new(settings);
        replica.take_epoch(Epoch(epoch)).await.unwrap();
        let effects = replica.effects();
        Self {
            replica,
            effects,
            facts: Facts::new(),
            unit,
            run,
            phase: Phase::Sync,
            number: 1,
            epoch: Epoch(epoch),
        }
    }

    /// Begins another table.
    pub(crate) fn table(&mut self, phase: Phase) {
        self.phase = phase;
        self.number += 1;
    }

    /// Returns what a step is told.
    pub(crate) fn call(&self, step: &str, allowed: Duration) -> Call {
        Call {
            progress: Arc::new(NoProgress),
            authority: Authority {
                run: self.run.clone(),
                unit: self.unit.clone(),
                step: StepName::from(step),
                attempt: Attempt { phase: self.phase, number: self.number },
                epoch: self.epoch,
            },
            prepared: Value::Null,
            facts: Arc::new(self.facts.clone()),
            time_allowed: allowed,
        }
    }

    /// Prepares and runs a step.
    pub(crate) async fn try_step(&mut self, step: &str) -> Result<Value, Fault> {
        let effect = self.effect(step);
        let mut call = self.call(step, Duration::from_secs(15));
        call.prepared = effect.prepare(&call).await?;
        let output = effect.run(&call).await?;
        self.facts.insert(StepName::from(step), output.clone());
        Ok(output)
    }

    /// Prepares and runs a step that must succeed.
    pub(crate) async fn step(&mut self, step: &str) -> Value {
        self.try_step(step).await.unwrap_or_else(|fault| panic!("{step}: {fault}"))
    }

    /// Runs several steps.
    pub(crate) async fn steps(&mut self, steps: &[&str]) {
        for step in steps {
            self.step(step).await;
        }
    }

    /// Asks a step's effect what the world says.
    pub(crate) async fn observed(&self, step: &str) -> Observed {
        let call = self.call(step, Duration::from_secs(5));
        self.effect(step).observe(&call).await.unwrap()
    }

    /// Takes a step back.
    pub(crate) async fn undo(&self, step: &str) {
        let call = self.call(step, Duration::from_secs(5));
        self.effect(step).undo(&call).await.unwrap();
    }

    /// Returns a step's effect.
    pub(crate) fn effect(&self, step: &str) -> Arc<dyn Effect> {
        let all = &self.effects;
        let found = match step {
            "claim" => &all.claim,
            "seed" => &all.seed,
            "follow" => &all.follow,
            "reverse" => &all.reverse,
            "arm" => &all.arm,
            "fence" => &all.fence,
            "drain" => &all.drain,
            "verify" => &all.verify,
            "seal" => &all.seal,
            "promote" => &all.promote,
            "compare" => &all.compare,
            "end" => &all.end,
            other => panic!("no step {other}"),
        };
        Arc::clone(found.as_ref().unwrap())
    }

    /// Copies the unit and starts both streams.
    pub(crate) async fn sync(&mut self) {
        self.steps(&["claim", "seed", "follow", "reverse"]).await;
    }
}

/// Returns settings over the shared pair.
pub(crate) fn settings(turn: &Turn, run: &str) -> Settings {
    let servers = &turn.pair.servers;
    Settings {
        plan: turn.pair.plan(servers.source.address, servers.target.address),
        run: RunId(run.into()),
        unit: UnitName::from("shop"),
        lease_ms: 1_000,
    }
}

/// Waits until a query at a server gives a number.
pub(crate) async fn until(turn: &Turn, side: Side, query: &str, wanted: i64) {
    let mut root = turn.root(side).await;
    let begun = Instant::now();
    loop {
        let is: i64 = root.one(query).await.unwrap();
        if is == wanted {
            return root.close().await;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{query} gives {is}, not {wanted}, at the {side}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
