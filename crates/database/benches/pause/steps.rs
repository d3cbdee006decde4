//! The steps of a unit's tables, one after the other, as the executor runs them.

use segue_database::{MariaReplica, Settings};
use segue_model::event::{Attempt, Phase};
use segue_model::plan::{DatabasePlan, DatabaseServer, SecretRef};
use segue_model::{Epoch, RunId, Sides, StepName, UnitName};
use segue_port::{Authority, Call, Effect, Facts, NoProgress, ReplicaEffects};
use serde_json::Value;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Steps {
    effects: ReplicaEffects,
    facts: Facts,
    attempt: Attempt,
    /// Holds the administrator's password.
    _secret: tempfile::NamedTempFile,
}

impl Steps {
    pub(crate) async fn begin(servers: &Sides<SocketAddr>) -> Self {
        let mut secret = tempfile::NamedTempFile::new().unwrap();
        secret.write_all(b"admin-secret").unwrap();
        for address in [servers.source, servers.target] {
            let mut root = super::session(address, "root", "").await;
            for statement in [
                "SET sql_log_bin = 0",
                "CREATE USER segue_admin@'%' IDENTIFIED BY 'admin-secret'",
                "GRANT ALL PRIVILEGES ON *.* TO segue_admin@'%' WITH GRANT OPTION",
            ] {
                root.run(statement).await.unwrap();
            }
        }
        let server = |address: &SocketAddr| DatabaseServer {
            address: *address,
            admin: "segue_admin".into(),
            password: SecretRef(format!("file:{}", secret.path().display())),
        };
        let replica = MariaReplica::new(Settings {
            plan: DatabasePlan {
                schema: "bench".into(),
                servers: Sides { source: server(&servers.source), target: server(&servers.target) },
                logins: vec!["bench".into()],
            },
            run: RunId("bench".into()),
            unit: UnitName::from("bench"),
            lease_ms: 2_000,
        });
        replica.take_epoch(Epoch(1)).await.unwrap();
        let attempt = Attempt { phase: Phase::Sync, number: 1 };
        Self { effects: replica.effects(), facts: Facts::new(), attempt, _secret: secret }
    }

    /// Begins another table.
    pub(crate) fn table(&mut self, phase: Phase) {
        self.attempt = Attempt { phase, number: self.attempt.number + 1 };
    }

    pub(crate) async fn all(&mut self, steps: &[&str]) {
        for step in steps {
            self.step(step).await;
        }
    }

    pub(crate) async fn step(&mut self, step: &str) -> Value {
        let effect = self.effect(step);
        let mut call = Call {
            progress: Arc::new(NoProgress),
            authority: Authority {
                run: RunId("bench".into()),
                unit: UnitName::from("bench"),
                step: StepName::from(step),
                attempt: self.attempt,
                epoch: Epoch(1),
            },
            prepared: Value::Null,
            facts: Arc::new(self.facts.clone()),
            time_allowed: Duration::from_secs(15),
        };
        call.prepared = effect.prepare(&call).await.unwrap();
        let output = effect.run(&call).await.unwrap_or_else(|fault| panic!("{step}: {fault}"));
        self.facts.insert(StepName::from(step), output.clone());
        output
    }

    fn effect(&self, step: &str) -> Arc<dyn Effect> {
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
            other => panic!("no step {other}"),
        };
        Arc::clone(found.as_ref().unwrap())
    }
}
