//! Signed zones: what is changed is read back with a signature that holds, or it is not done.

use crate::named::ZONE;
use crate::primaries::{Lab, Make};
use crate::world::{call, done, set, shop};
use segue_model::event::Phase;
use segue_model::{EffectLeft, Severity};
use segue_port::Observed;
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

const SIGNERS: [Make; 3] = [Make::BindSigned, Make::KnotSigned, Make::PowerDnsSigned];

/// Waits until the server has signed its zone.
fn until_signed(server: SocketAddr) {
    let began = Instant::now();
    while !dig(server, &["+dnssec", "shop.example.test", "A"]).contains("RRSIG") {
        assert!(began.elapsed() < Duration::from_secs(20), "it is never signed");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn dig(server: SocketAddr, words: &[&str]) -> String {
    let asked = Command::new("dig")
        .args(["+noall", "+answer", "+time=2", "+tries=2", "@127.0.0.1", "-p"])
        .arg(server.port().to_string())
        .args(words)
        .output()
        .unwrap();
    String::from_utf8_lossy(&asked.stdout).into_owned()
}

/// Lets BIND's own validator judge a name, with the zone's present keys as its anchor.
fn delv(lab: &Lab, name: &str) -> String {
    let server = lab.servers[0];
    let keys = dig(server, &["example.test", "DNSKEY"]);
    let anchors: Vec<String> = keys
        .lines()
        .filter(|line| line.contains("\t257 "))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let key = words[7..].join("");
            format!("example.test. static-key {} {} {} \"{key}\";", words[4], words[5], words[6])
        })
        .collect();
    let file = lab.dir.path().join("anchors");
    std::fs::write(&file, format!("trust-anchors {{ {} }};\n", anchors.join("\n"))).unwrap();
    let told = Command::new("delv")
        .args(["@127.0.0.1", "-p", &server.port().to_string(), "-a"])
        .arg(&file)
        .args(["+root=example.test", name, "A"])
        .output()
        .expect("delv: apt-get install bind9-dnsutils");
    String::from_utf8_lossy(&told.stdout).into_owned() + &String::from_utf8_lossy(&told.stderr)
}

#[tokio::test]
async fn changes_signed_zones_and_proves_the_signatures() {
    for make in SIGNERS {
        let lab = Lab::start(make, ZONE).await;
        until_signed(lab.servers[0]);
        let zone = lab.zone(shop());
        let findings = zone.preflight().await;
        let about: Vec<_> = findings.iter().filter(|f| f.code == "SG0320").collect();
        assert_eq!(about.len(), 1, "{make:?}: {findings:?}");
        assert_eq!(about[0].severity, Severity::Warn);
        let (_, lowered) = done(&zone.lower_ttls(), Phase::Prepare).await;
        let (called, _) = done(&zone.publish(), Phase::Cutover).await;
        let told = delv(&lab, "shop.example.test");
        assert!(
            told.contains("fully validated") && told.contains("127.0.0.12"),
            "{make:?}: {told}"
        );
        assert!(matches!(zone.publish().observe(&called).await.unwrap(), Observed::Applied(_)));
        zone.publish().undo(&called).await.unwrap();
        done(&zone.restore_ttls(lowered), Phase::Settle).await;
        let told = delv(&lab, "shop.example.test");
        assert!(
            told.contains("fully validated") && told.contains("127.0.0.11"),
            "{make:?}: {told}"
        );
    }
}

/// All TTLs are low already, and still one changes: its new signature is the proof.
#[tokio::test]
async fn one_ttl_is_lowered_all_the_same_in_a_signed_zone() {
    let lab = Lab::start(Make::KnotSigned, ZONE).await;
    until_signed(lab.servers[0]);
    let zone = lab.zone(vec![set("shop", "A", &["127.0.0.11"], &["127.0.0.12"])]);
    done(&zone.lower_ttls(), Phase::Prepare).await;
    let text = dig(lab.servers[0], &["shop.example.test", "A"]);
    assert_eq!(text.split_whitespace().nth(1), Some("19"), "{text}");
}

/// A server that takes updates and signs nothing is found out by the first change, which whoever
/// validates takes all the same; and it is taken back.
#[tokio::test]
async fn a_server_that_does_not_sign_is_found_out_while_nothing_is_broken() {
    let lab = Lab::start(Make::KnotPresigned, ZONE).await;
    until_signed(lab.servers[0]);
    let zone = lab.zone(shop());
    let lower = zone.lower_ttls();
    let prepared = lower.prepare(&call(Phase::Prepare, Value::Null)).await.unwrap();
    let mut called = call(Phase::Prepare, prepared);
    called.time_allowed = Duration::from_secs(2);
    let fault = lower.run(&called).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.effect), ("SG0312", EffectLeft::Done), "{fault}");
    assert!(fault.cause.contains("no signature that holds"), "{fault}");
    let told = delv(&lab, "shop.example.test");
    assert!(told.contains("fully validated"), "{told}");
    let told = delv(&lab, "pay.example.test");
    assert!(told.contains("fully validated"), "{told}");
    called.time_allowed = Duration::from_secs(10);
    lower.undo(&called).await.unwrap();
}
