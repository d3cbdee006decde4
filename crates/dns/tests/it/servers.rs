//! Servers that lag, servers that do not answer, keys that do not fit.

use crate::named::{Named, Role, SECRETS, ZONE, secret_file};
use crate::world::{World, call, contents, done, equal, key, sampled, shop, zone};
use segue_model::event::Phase;
use segue_model::plan::{SecretRef, ZonePlan};
use segue_model::{EffectLeft, FaultKind, Severity, What};
use segue_port::Observed;
use serde_json::Value;
use std::time::Duration;

#[tokio::test]
async fn names_the_server_that_stays_behind() {
    let world = World::start().await;
    let deaf = Named::start(world.dir.path(), "deaf", ZONE, &Role::Deaf);
    let mut plan = world.plan(shop());
    plan.servers.push(deaf.address);
    let zone = zone(plan);
    assert_eq!(equal(&zone).await, Some(1.0));
    let publish = zone.publish();
    let prepared = publish.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap();
    let mut called = call(Phase::Cutover, prepared);
    called.time_allowed = Duration::from_secs(1);
    let fault = publish.run(&called).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("SG0312", FaultKind::Timeout));
    assert_eq!(fault.effect, EffectLeft::Done);
    assert!(fault.cause.contains(&deaf.address.to_string()), "{fault}");
    assert!(!fault.cause.contains(&world.secondary.address.to_string()), "{fault}");
    assert_eq!(equal(&zone).await, Some(2.0 / 3.0));
    // A change that is not everywhere is never reported as in force.
    assert_eq!(publish.observe(&called).await.unwrap_err().code, "SG0312");

    let without = world.zone(shop()).publish();
    assert!(matches!(without.observe(&called).await.unwrap(), Observed::Applied(_)));
}

#[tokio::test]
async fn tells_a_silent_secondary_from_a_silent_primary() {
    let World { primary, secondary, dir } = World::start().await;
    let world = World { primary, secondary, dir };
    let zone = world.zone(shop());
    let World { primary, secondary, dir } = world;
    drop(secondary);
    assert_eq!(equal(&zone).await, Some(0.5));
    drop(primary);
    assert_eq!(sampled(&zone, What::ZoneTtlMaxS).await, None);
    let fault = zone.publish().prepare(&call(Phase::Cutover, Value::Null)).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.effect), ("SG0303", EffectLeft::None));
    drop(dir);
}

#[tokio::test]
async fn says_what_is_wrong_with_the_key() {
    let world = World::start().await;
    let good = world.plan(shop());
    let secret = secret_file(world.dir.path(), SECRETS[1]);
    let mut other_secret = good.clone();
    key(&mut other_secret).secret = SecretRef(format!("file:{}", secret.display()));
    let mut other_name = good.clone();
    key(&mut other_name).name = "nobody".into();
    let mut other_algorithm = good.clone();
    key(&mut other_algorithm).algorithm = "hmac-md5".into();
    let cases: [(ZonePlan, &str, &str); 3] = [
        (other_secret, "SG0305", "secret differs"),
        (other_name, "SG0305", "does not know the key"),
        (other_algorithm, "SG0302", "unknown algorithm"),
    ];
    let before = contents(&zone(good)).await;
    for (plan, code, words) in cases {
        let bad = zone(plan);
        let publish = bad.publish();
        let fault = publish.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap_err();
        assert_eq!((fault.code.as_str(), fault.effect), (code, EffectLeft::None), "{fault}");
        assert!(fault.cause.contains(words), "{fault}");
        for secret in SECRETS {
            assert!(!format!("{fault:?}").contains(secret));
        }
        let findings = bad.preflight().await;
        let refused = findings.iter().find(|f| f.severity == Severity::Refuse).unwrap();
        assert_eq!(refused.code, code);
    }
    assert_eq!(contents(&world.zone(shop())).await, before);
}

#[tokio::test]
async fn measures_safe_after_from_the_last_server() {
    let world = World::start().await;
    let zone = world.zone(shop());
    done(&zone.lower_ttls(), Phase::Prepare).await;
    let (_, output) = done(&zone.publish(), Phase::Cutover).await;
    let at = |server: &Value| server["at_ms"].as_u64().unwrap();
    let last = output["servers"].as_array().unwrap().iter().map(at).max().unwrap();
    assert_eq!(output["published_at"].as_u64(), Some(last));
    // AAAA did not exist: resolvers may keep that for the negative TTL, which was lowered to 30 s.
    assert_eq!(output["safe_after_wall_ms"].as_u64(), Some(last + 30_000));
    assert!(output["safe_after_boot_ms"].is_u64());
}
