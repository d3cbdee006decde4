//! A primary with its secondary, zones over them, and the calls that effects take.

use crate::named::{Named, Role, SECRETS, ZONE, secret_file};
use segue_dns::{Settings, Zone};
use segue_model::event::{Attempt, Phase};
use segue_model::plan::{AuthorityPlan, OwnedSet, SecretRef, TsigKey, ZonePlan};
use segue_model::{Epoch, Sides, What};
use segue_port::{Authority, Call, Effect, Facts, NoProgress};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough for a loaded machine, and an end for a test that hangs.
pub(crate) const ENOUGH: Duration = Duration::from_secs(15);

pub(crate) struct World {
    pub(crate) primary: Named,
    pub(crate) secondary: Named,
    pub(crate) dir: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(ZONE).await
    }

    pub(crate) async fn start_with(zone: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let primary = Named::start(dir.path(), "primary", zone, &Role::Primary);
        let follows = Role::SecondaryOf(primary.address);
        let _ = std::fs::create_dir(dir.path().join("secondary"));
        let secondary = Named::start(dir.path(), "secondary", "", &follows);
        let world = Self { primary, secondary, dir };
        let probe = world.zone(vec![set("www", "CNAME", &["shop.example.test."], &[])]);
        wait_until("the secondary has the zone", async || equal(&probe).await == Some(1.0)).await;
        world
    }

    pub(crate) fn plan(&self, records: Vec<OwnedSet>) -> ZonePlan {
        let secret = secret_file(self.dir.path(), SECRETS[0]);
        ZonePlan {
            zone: "example.test".into(),
            provider: None,
            servers: vec![self.primary.address, self.secondary.address],
            authority: AuthorityPlan::Update {
                primary: self.primary.address,
                key: TsigKey {
                    name: "mig-key".into(),
                    algorithm: "hmac-sha256".into(),
                    secret: SecretRef(format!("file:{}", secret.display())),
                },
            },
            records,
            lowered_ttl_s: 30,
            lowered_other_ttl_s: 30,
            parents: Vec::new(),
            allow: Vec::new(),
            query_logs: Vec::new(),
        }
    }

    pub(crate) fn zone(&self, records: Vec<OwnedSet>) -> Arc<Zone> {
        zone(self.plan(records))
    }

    /// Returns a zone over another address of the primary.
    pub(crate) fn zone_via(&self, primary: SocketAddr, records: Vec<OwnedSet>) -> Arc<Zone> {
        let mut plan = self.plan(records);
        if let AuthorityPlan::Update { primary: former, .. } = &mut plan.authority {
            *former = primary;
        }
        zone(plan)
    }
}

pub(crate) fn zone(plan: ZonePlan) -> Arc<Zone> {
    Zone::new(Settings { plan, run: "run".into(), unit: "shop".into() })
}

/// Declares an owned set; the name is relative to the zone.
pub(crate) fn set(name: &str, rtype: &str, source: &[&str], target: &[&str]) -> OwnedSet {
    let texts = |data: &[&str]| data.iter().map(ToString::to_string).collect();
    OwnedSet {
        name: format!("{name}.example.test"),
        rtype: rtype.into(),
        data: Sides { source: texts(source), target: texts(target) },
    }
}

/// The shop's sets: three types, one of them only at the target.
pub(crate) fn shop() -> Vec<OwnedSet> {
    vec![
        set("shop", "A", &["127.0.0.11"], &["127.0.0.12"]),
        set("pay", "A", &["127.0.0.11"], &["127.0.0.12", "127.0.0.13"]),
        set("pay", "TXT", &["\"Source; exactly\" \"two parts\""], &["\"Target\""]),
        set("pay", "AAAA", &[], &["2001:db8::12"]),
    ]
}

pub(crate) fn call(phase: Phase, prepared: Value) -> Call {
    Call {
        progress: Arc::new(NoProgress),
        authority: Authority {
            run: "run".into(),
            unit: "shop".into(),
            step: "publish".into(),
            attempt: Attempt { phase, number: 1 },
            epoch: Epoch(1),
        },
        prepared,
        facts: Arc::new(Facts::new()),
        time_allowed: ENOUGH,
    }
}

/// Prepares and runs an effect; returns the call and the output.
pub(crate) async fn done(effect: &Arc<dyn Effect>, phase: Phase) -> (Call, Value) {
    let prepared = effect.prepare(&call(phase, Value::Null)).await.unwrap();
    let call = call(phase, prepared);
    let output = effect.run(&call).await.unwrap();
    (call, output)
}

/// Returns the zone's sets without the SOA, exact to the octet, by `name type`.
pub(crate) async fn contents(zone: &Zone) -> serde_json::Map<String, Value> {
    let contents = zone.contents(ENOUGH).await.unwrap();
    let exact = |set| {
        let value = serde_json::to_value(set).unwrap();
        (format!("{} {}", value["name"].as_str().unwrap(), value["type"].as_str().unwrap()), value)
    };
    contents.sets().map(exact).collect()
}

/// Returns what of the contents a plan does not own.
pub(crate) fn foreign(
    contents: &serde_json::Map<String, Value>,
    owned: &[OwnedSet],
) -> serde_json::Map<String, Value> {
    let owned: Vec<String> = owned.iter().map(|s| format!("{} {}", s.name, s.rtype)).collect();
    contents.clone().into_iter().filter(|(key, _)| !owned.contains(key)).collect()
}

/// Returns TTL and data of a set: `[20, ["127.0.0.11"]]`.
pub(crate) fn ttl_and_data(contents: &serde_json::Map<String, Value>, key: &str) -> Value {
    contents.get(key).map_or(Value::Null, |set| json!([set["ttl"], set["data"]]))
}

/// Returns the newest sample of the share of equal servers.
pub(crate) async fn equal(zone: &Arc<Zone>) -> Option<f64> {
    sampled(zone, What::ZoneServersEqual).await
}

pub(crate) async fn sampled(zone: &Arc<Zone>, what: What) -> Option<f64> {
    let samples = zone.samplers()[0].sample(1).await.ok()?;
    samples.iter().find(|s| s.what == what).map(|s| s.value)
}

pub(crate) async fn wait_until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + ENOUGH;
    while !holds().await {
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the key of a plan that has one.
pub(crate) fn key(plan: &mut ZonePlan) -> &mut TsigKey {
    match &mut plan.authority {
        AuthorityPlan::Update { key, .. } => key,
        other => panic!("{other:?}"),
    }
}
