//! Limits and errors of providers that are reached by an API, and of a zone file.

use crate::named::{SECRETS, ZONE, secret_file};
use crate::primaries::{Lab, Make, Server};
use crate::world::{call, contents, done, set, shop, ttl_and_data, zone as zone_of};
use segue_model::event::Phase;
use segue_model::plan::{AuthorityPlan, OwnedSet, SecretRef};
use segue_model::{EffectLeft, FaultKind, Side};
use serde_json::{Value, json};
use std::time::Duration;

/// Owned sets with so many values.
fn many(values: usize) -> Vec<OwnedSet> {
    let texts: Vec<String> = (0..values).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    vec![set("many", "A", &[], &texts)]
}

/// Tries a publish that must be refused before anything changed.
async fn refused(lab: &Lab, owned: Vec<OwnedSet>, code: &str) -> segue_model::Fault {
    let zone = lab.zone(owned);
    let before = contents(&lab.zone(shop())).await;
    let publish = zone.publish();
    let prepared = publish.prepare(&call(Phase::Cutover, Value::Null)).await;
    let fault = match prepared {
        Err(fault) => fault,
        Ok(prepared) => publish.run(&call(Phase::Cutover, prepared)).await.unwrap_err(),
    };
    assert_eq!((fault.code.as_str(), fault.effect), (code, EffectLeft::None), "{fault}");
    assert_eq!(contents(&lab.zone(shop())).await, before);
    fault
}

#[tokio::test]
async fn route53_refuses_a_change_that_would_be_two() {
    let lab = Lab::start(Make::Route53, ZONE).await;
    let fault = refused(&lab, many(1_001), "SG0314").await;
    assert!(fault.cause.contains("two batches are not one change"), "{fault}");
    let zone = lab.zone(many(1_000));
    done(&zone.publish(), Phase::Cutover).await;
    let Server::Route53(cloud) = &lab.server else { panic!() };
    assert_eq!(cloud.batches(), 1);
}

#[tokio::test]
async fn route53_waits_while_it_is_throttled_and_until_servers_have_it() {
    let mut lab = Lab::start(Make::Route53, ZONE).await;
    let slow = crate::fakes::route53::Route53::start(ZONE, 5).await;
    lab.servers = slow.edges.iter().map(|edge| edge.address).collect();
    let mut plan = lab.plan(shop());
    let AuthorityPlan::Route53 { url, .. } = &mut plan.authority else { panic!() };
    *url = format!("http://{}", slow.address);
    let zone = zone_of(plan);
    let (_, output) = done(&zone.publish(), Phase::Cutover).await;
    assert_eq!(output["servers"].as_array().unwrap().len(), 2);
    assert!(slow.errors("Throttling") > 0, "the limit was never reached");
    assert_eq!(slow.batches(), 1);
}

#[tokio::test]
async fn route53_says_what_is_wrong_with_the_key() {
    let lab = Lab::start(Make::Route53, ZONE).await;
    let mut plan = lab.plan(shop());
    let AuthorityPlan::Route53 { secret_key, .. } = &mut plan.authority else { panic!() };
    *secret_key = SecretRef(format!("file:{}", secret_file(lab.dir.path(), SECRETS[1]).display()));
    let publish = zone_of(plan).publish();
    let fault = publish.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("SG0318", FaultKind::Denied), "{fault}");
    assert!(!format!("{fault:?}").contains(SECRETS[1]));
}

#[tokio::test]
async fn cloudflare_refuses_what_it_could_not_do_at_once_or_undo() {
    let lab = Lab::start(Make::Cloudflare, ZONE).await;
    refused(&lab, many(201), "SG0314").await;
    refused(&lab, vec![set("t", "TLSA", &[], &["3 1 1 00"])], "SG0319").await;
    let Server::Cloudflare(cloud) = &lab.server else { panic!() };
    cloud.proxy("shop.example.test");
    let zone = lab.zone(shop());
    let fault = zone.departure(Side::Source).await.unwrap_err();
    assert_eq!(fault.code, "SG0319", "{fault}");
}

#[tokio::test]
async fn cloudflare_waits_when_it_asked_too_often() {
    let lab = Lab::start(Make::Cloudflare, ZONE).await;
    let Server::Cloudflare(cloud) = &lab.server else { panic!() };
    let zone = lab.zone(shop());
    cloud.refuse(2);
    done(&zone.publish(), Phase::Cutover).await;
    assert_eq!(cloud.refused(), 2);
}

/// MX, SRV and CAA have parts there, and come back as they were.
#[tokio::test]
async fn cloudflare_has_records_with_parts() {
    let lab = Lab::start(Make::Cloudflare, ZONE).await;
    let owned = vec![
        set("pay", "MX", &["10 mail.example.test."], &["10 mx1.other.test.", "20 mx2.other.test."]),
        set("_sip._tcp", "SRV", &[], &["1 2 5060 sip.other.test."]),
        set("pay", "CAA", &[], &["0 issue \"ca.test; account=7\""]),
    ];
    let zone = lab.zone(owned);
    let before = contents(&zone).await;
    let (called, _) = done(&zone.publish(), Phase::Cutover).await;
    let after = contents(&zone).await;
    let caa = json!([60, ["0 issue \"ca.test; account=7\""]]);
    assert_eq!(ttl_and_data(&after, "pay.example.test CAA"), caa);
    zone.publish().undo(&called).await.unwrap();
    let back = contents(&zone).await;
    let plain = |all: &serde_json::Map<String, Value>| {
        all.keys().map(|key| ttl_and_data(all, key).to_string().to_lowercase()).collect::<Vec<_>>()
    };
    assert_eq!(plain(&back), plain(&before));
}

/// Its API would delete a zone's last name servers.
#[tokio::test]
async fn powerdns_keeps_its_name_servers() {
    let lab = Lab::start(Make::PowerDnsApi, ZONE).await;
    let mut apex = set("x", "NS", &["ns1.example.test.", "ns2.example.test."], &[]);
    apex.name = "example.test".into();
    refused(&lab, vec![apex], "SG0317").await;
}

#[tokio::test]
async fn powerdns_says_what_is_wrong_with_the_key() {
    let lab = Lab::start(Make::PowerDnsApi, ZONE).await;
    let mut plan = lab.plan(shop());
    let AuthorityPlan::Powerdns { key, .. } = &mut plan.authority else { panic!() };
    *key = SecretRef(format!("file:{}", secret_file(lab.dir.path(), SECRETS[1]).display()));
    let publish = zone_of(plan).publish();
    let fault = publish.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("SG0318", FaultKind::Denied), "{fault}");
    assert!(!format!("{fault:?}").contains(SECRETS[1]));
}

/// A process died between writing the file and letting the server read it.
#[tokio::test]
async fn a_zone_file_that_was_written_is_read_by_the_server_when_tried_again() {
    let lab = Lab::start(Make::ZoneFile, ZONE).await;
    let mut plan = lab.plan(shop());
    let AuthorityPlan::ZoneFile { reload, .. } = &mut plan.authority else { panic!() };
    *reload = vec!["/bin/false".into()];
    let publish = zone_of(plan).publish();
    let prepared = publish.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap();
    let called = call(Phase::Cutover, prepared);
    let fault = publish.run(&called).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.effect), ("SG0318", EffectLeft::Done), "{fault}");
    let again = lab.zone(shop()).publish();
    let output = again.run(&called).await.unwrap();
    assert_eq!(output["servers"].as_array().unwrap().len(), 1);
}

/// What the checker refuses never takes the file's place.
#[tokio::test]
async fn a_zone_file_is_left_alone_if_its_change_would_break_it() {
    let lab = Lab::start(Make::ZoneFile, ZONE).await;
    let file = lab.dir.path().join("primary/zone");
    let before = std::fs::read(&file).unwrap();
    // An alias beside the zone's own SOA and NS.
    let mut apex = set("x", "CNAME", &[], &["elsewhere.test."]);
    apex.name = "example.test".into();
    let zone = lab.zone(vec![apex]);
    let publish = zone.publish();
    let prepared = publish.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap();
    let mut called = call(Phase::Cutover, prepared);
    called.time_allowed = Duration::from_secs(5);
    let fault = publish.run(&called).await.unwrap_err();
    assert_eq!(fault.effect, EffectLeft::None, "{fault}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

/// Owner, rights and a link to the file stay; the file behind the link is the one that changes.
#[tokio::test]
async fn a_zone_file_keeps_its_owner_and_its_link() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    let lab = Lab::start(Make::ZoneFile, ZONE).await;
    let file = lab.dir.path().join("primary/zone");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
    // Only an administrator can give a file away.
    let owner = if std::os::unix::fs::chown(&file, Some(65_534), Some(65_534)).is_ok() {
        65_534
    } else {
        std::fs::metadata(&file).unwrap().uid()
    };
    let link = lab.dir.path().join("link");
    symlink(&file, &link).unwrap();
    let mut plan = lab.plan(shop());
    let AuthorityPlan::ZoneFile { file: place, .. } = &mut plan.authority else { panic!() };
    place.clone_from(&link);
    done(&zone_of(plan).publish(), Phase::Cutover).await;
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    let about = std::fs::metadata(&file).unwrap();
    assert_eq!((about.uid(), about.permissions().mode() & 0o777), (owner, 0o664));
    let left: Vec<_> = std::fs::read_dir(file.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("segue") && name != "zone.segue-lock")
        .collect();
    assert_eq!(left, [""; 0], "drafts go away");
}

/// Units of two runs change one file at the same time: nobody's change is lost.
#[tokio::test]
async fn two_runs_change_one_zone_file_by_turns() {
    let lab = Lab::start(Make::ZoneFile, ZONE).await;
    let shop = lab.zone(vec![set("shop", "A", &["127.0.0.11"], &["127.0.0.12"])]).publish();
    let tenant = lab.zone(vec![set("tenant", "A", &["198.51.100.7"], &["198.51.100.8"])]).publish();
    for _ in 0..10 {
        let one = shop.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap();
        let other = tenant.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap();
        let (one, other) = (call(Phase::Cutover, one), call(Phase::Cutover, other));
        let (first, second) = tokio::join!(shop.run(&one), tenant.run(&other));
        first.unwrap();
        second.unwrap();
        let (first, second) = tokio::join!(shop.undo(&one), tenant.undo(&other));
        first.unwrap();
        second.unwrap();
    }
}

/// Somebody else's record that nobody here can read does not stand in the way.
#[tokio::test]
async fn records_that_are_not_owned_need_not_be_readable() {
    let odd = format!("{ZONE}place LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m\n");
    for make in [Make::PowerDnsApi, Make::Command, Make::ZoneFile] {
        let lab = Lab::start(make, &odd).await;
        let zone = lab.zone(shop());
        let (called, _) = done(&zone.publish(), Phase::Cutover).await;
        zone.publish().undo(&called).await.unwrap();
        assert!(contents(&zone).await.contains_key("place.example.test LOC"), "{make:?}");
    }
}
