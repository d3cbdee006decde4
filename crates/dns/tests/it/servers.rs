//! Servers that lag, servers that do not answer, keys that do not fit.

use crate::named::{Named, Role, SECRETS, ZONE, secret_file};
use crate::world::{
    ENOUGH, World, call, contents, done, equal, key, sampled, shop, wait_until, zone,
};
use segue_dns::drill::DrillQuestion;
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

fn drill(mut zone: segue_model::plan::ZonePlan, waiting: fn(&str)) -> DrillQuestion {
    zone.records.clear();
    DrillQuestion {
        flush: Vec::new(),
        zones: vec![zone],
        resolvers: Vec::new(),
        ttl_s: 1,
        label: "_segue-drill-x".into(),
        waiting,
    }
}

/// A server that says nothing would be waited for at each step.
#[tokio::test]
async fn a_drill_is_refused_while_a_server_is_silent() {
    let world = World::start().await;
    let mut plan = world.plan(shop());
    let silent = crate::named::free_port();
    plan.servers.push(silent);
    let serial = world.zone(shop()).contents(ENOUGH).await.unwrap().serial();
    let began = std::time::Instant::now();
    let question = drill(plan, |_| {});
    let drilled = segue_dns::drill::drill(&question, std::future::pending(), |_, _| {});
    let fault = drilled.await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.effect), ("SG0304", EffectLeft::None), "{fault}");
    assert!(fault.cause.contains(&silent.to_string()), "{fault}");
    assert!(began.elapsed() < ENOUGH, "{:?}", began.elapsed());
    assert_eq!(world.zone(shop()).contents(ENOUGH).await.unwrap().serial(), serial);
}

/// One that answers and stays behind is named while it is waited for.
#[tokio::test]
async fn a_drill_tells_which_server_it_waits_for() {
    static TOLD: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
    let world = World::start().await;
    let deaf = Named::start(world.dir.path(), "deaf", ZONE, &Role::Deaf);
    let mut plan = world.plan(shop());
    plan.servers.push(deaf.address);
    let question = drill(plan, |what| TOLD.lock().unwrap().push(what.to_owned()));
    let told = async {
        wait_until("somebody is told", async || !TOLD.lock().unwrap().is_empty()).await;
    };
    segue_dns::drill::drill(&question, told, |_, _| {}).await.unwrap_err();
    let told = TOLD.lock().unwrap().concat();
    assert!(told.contains(&format!("waiting for {}", deaf.address)), "{told}");
    assert!(!told.contains(&world.secondary.address.to_string()), "{told}");
    let left = contents(&world.zone(shop())).await;
    assert!(!left.contains_key("_segue-drill-x.example.test TXT"));
}

/// Lets a secondary look for something new again and again, as members of a cluster do for each
/// other (RFC 1996 section 3.7); never ends.
async fn copies(secondary: std::net::SocketAddr) {
    // Opcode NOTIFY with AA, one question: example.test SOA IN.
    let mut notify = vec![0, 7, 0x24, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    notify.extend(b"\x07example\x04test\x00\x00\x06\x00\x01");
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    loop {
        socket.send_to(&notify, secondary).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// Two providers of which one copies from the other.
#[tokio::test]
async fn a_drill_finds_out_that_two_providers_are_one_cluster() {
    let world = World::start().await;
    let copies = copies(world.secondary.address);
    let mut one = world.plan(shop());
    one.servers = vec![world.primary.address];
    one.provider = Some("one".into());
    let mut other = one.clone();
    other.servers = vec![world.secondary.address];
    other.provider = Some("other".into());
    let mut question = drill(one, |_| {});
    other.records.clear();
    question.zones.push(other);
    let drilled = segue_dns::drill::drill(&question, std::future::pending(), |_, _| {});
    let fault = tokio::select! {
        drilled = drilled => drilled.unwrap_err(),
        () = copies => unreachable!("it never ends"),
    };
    assert_eq!(fault.code, "SG0333", "{fault}");
    assert!(fault.hint.contains("one DNS cluster"), "{fault}");
    let left = contents(&world.zone(shop())).await;
    assert!(!left.contains_key("_segue-drill-x.example.test TXT"));
}
