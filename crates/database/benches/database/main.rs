//! One copy or one comparison between two servers, by the effects of the product itself.
//!
//! `copy` takes over the unit, copies it as a sync does, and leaves it at the target; `compare`
//! compares both sides as a cutover does; `clear` takes the copy back. Each measurement is
//! printed as a line of JSON, `{"name", "value"}`; `cargo xtask bench database` reads them.
//! Nothing here is linked into `segue`.
//!
//! Arguments: the verb, both servers' addresses, the schema, a file with the password of
//! `segue_admin`, the epoch.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use segue_database::{MariaReplica, Settings, testing};
use segue_model::event::{Attempt, Phase};
use segue_model::plan::{DatabasePlan, DatabaseServer, SecretRef};
use segue_model::{Epoch, RunId, Sides, StepName, UnitName};
use segue_port::{Authority, Call, Effect, Facts, NoProgress};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than any of it takes.
const ALLOWED: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() {
    // `cargo bench` adds a word of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: [String; 6] = words.try_into().unwrap();
    let [verb, source, target, schema, secret, epoch] = words;
    let server = |address: &str| DatabaseServer {
        address: address.parse().unwrap(),
        admin: "segue_admin".into(),
        password: SecretRef(format!("file:{secret}")),
    };
    let plan = DatabasePlan {
        schema: schema.clone(),
        servers: Sides { source: server(&source), target: server(&target) },
        logins: vec![schema],
    };
    let settings = Settings {
        plan,
        run: RunId("bench".into()),
        unit: UnitName::from("bench"),
        lease_ms: 1_000,
    };
    let epoch = Epoch(epoch.parse().unwrap());
    let replica = MariaReplica::new(settings);
    replica.take_epoch(epoch).await.unwrap();
    match verb.as_str() {
        "copy" => copy(&replica, epoch).await,
        "compare" => compare(&replica).await,
        "clear" => clear(&replica, epoch).await,
        other => panic!("no such verb: {other}"),
    }
    replica.close().await;
}

/// Tells one measurement.
fn told(name: &str, value: f64) {
    println!("{}", serde_json::json!({ "name": name, "value": value }));
}

fn call(step: &str, epoch: Epoch) -> Call {
    Call {
        progress: Arc::new(NoProgress),
        authority: Authority {
            run: RunId("bench".into()),
            unit: UnitName::from("bench"),
            step: StepName::from(step),
            attempt: Attempt { phase: Phase::Sync, number: 1 },
            epoch,
        },
        prepared: Value::Null,
        facts: Arc::new(Facts::new()),
        time_allowed: ALLOWED,
    }
}

async fn step(effect: Option<Arc<dyn Effect>>, mut call: Call) -> Value {
    let effect = effect.unwrap();
    call.prepared = effect.prepare(&call).await.unwrap();
    effect.run(&call).await.unwrap()
}

async fn copy(replica: &Arc<MariaReplica>, epoch: Epoch) {
    let effects = replica.effects();
    step(effects.claim, call("claim", epoch)).await;
    let begun = Instant::now();
    let seeded = step(effects.seed, call("seed", epoch)).await;
    told("copy, s", begun.elapsed().as_secs_f64());
    told("rows copied", seeded["rows"].as_f64().unwrap());
    told("warnings of the copy", seeded["warnings"].as_f64().unwrap());
}

async fn compare(replica: &MariaReplica) {
    let begun = Instant::now();
    let compared = testing::compare(replica).await.unwrap();
    told("compare, s", begun.elapsed().as_secs_f64());
    told("rows compared", compared.rows as f64);
    told("differences", compared.differences.len() as f64);
    for difference in &compared.differences {
        println!("{difference:?}");
    }
}

async fn clear(replica: &Arc<MariaReplica>, epoch: Epoch) {
    let effects = replica.effects();
    effects.seed.unwrap().undo(&call("seed", epoch)).await.unwrap();
    effects.claim.unwrap().undo(&call("claim", epoch)).await.unwrap();
}
