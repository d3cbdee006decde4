//! The file of zones that move.

use crate::{PlanError, read_moves};
use segue_model::plan::{AuthorityPlan, SigningWish};

const FILE: &str = r#"
resolvers = ["192.0.2.2:53"]
zones = ["a.example", "b.example"]
[source]
name_servers = ["ns1.source.example"]
servers = ["192.0.2.53:53"]
update = { primary = "192.0.2.53:53", key = { name = "k", secret = "file:/etc/segue/k" } }
[target]
name_servers = ["ns1.target.example", "ns2.target.example"]
servers = ["203.0.113.53:53"]
zone_file = { file = "/zones/{zone}.db", reload = ["/usr/sbin/rndc", "reload", "{zone}"] }
"#;

fn refused(text: &str) -> String {
    match read_moves(text, "zones.toml") {
        Err(PlanError::Refused { problems, .. }) => {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_zone_gets_both_providers_and_its_name_in_their_paths() {
    let more = "[[zone]]\nzone = \"c.example\"\ndnssec = \"sign\"\nreplace = true\n";
    let plan = read_moves(&format!("{FILE}{more}"), "zones.toml").unwrap();
    let names: Vec<&str> = plan.zones.iter().map(|zone| zone.zone.as_str()).collect();
    assert_eq!(names, ["a.example", "b.example", "c.example"]);
    let last = &plan.zones[2];
    assert_eq!((last.dnssec, last.replace), (SigningWish::Sign, true));
    assert_eq!((plan.at_once, plan.zones_per_s, last.lowered_ttl_s), (8, 20, 60));
    let AuthorityPlan::ZoneFile { file, reload } = &last.providers.target.authority else {
        panic!("{last:?}")
    };
    assert_eq!(file.to_str(), Some("/zones/c.example.db"));
    assert_eq!(reload.last().map(String::as_str), Some("c.example"));
    assert!(last.moves());
}

#[test]
fn what_cannot_be_is_refused_with_its_key() {
    let cases = [
        ("zones = [\"a.example\", \"b.example\"]", "zones = []", "SG0736", "no zone"),
        ("\"b.example\"", "\"a.example\"", "SG0705", "a.example"),
        ("\"b.example\"", "\"B.example.\"", "SG0711", "dot"),
        ("resolvers = [\"192.0.2.2:53\"]", "resolvers = []", "SG0736", "resolver"),
        ("ns1.target.example", "ns1.source.example", "SG0736", "both providers"),
        ("203.0.113.53:53", "192.0.2.53:53", "SG0736", "server of both"),
        ("name_servers = [\"ns1.source.example\"]", "name_servers = []", "SG0736", "empty"),
        ("\"ns1.source.example\"", "\"ns1.source.example.\"", "SG0736", "dot"),
        ("/zones/{zone}.db", "zones/{zone}.db", "SG0735", "absolute"),
        ("zones = [", "at_once = 0\nzones = [", "SG0736", "1 to 64"),
        ("zones = [", "zones_per_s = 5000\nzones = [", "SG0736", "1 to 1000"),
        ("zones = [", "lowered_ttl_s = 0\nzones = [", "SG0725", "3600"),
    ];
    for (from, to, code, word) in cases {
        let text = FILE.replacen(from, to, 1);
        assert_ne!(text, FILE, "{from}");
        let problems = refused(&text);
        assert!(problems.contains(code) && problems.contains(word), "{to}: {problems}");
    }
}

/// What all zones have in common is wrong once.
#[test]
fn a_mistake_that_all_zones_share_is_told_for_each_zone_but_one_of_the_file_once() {
    let problems = refused(&FILE.replace("zones = [", "at_once = 0\nzones = ["));
    assert_eq!(problems.matches("at_once").count(), 1, "{problems}");
}

#[test]
fn without_a_source_only_the_signing_changes() {
    let start = FILE.find("[source]").unwrap();
    let end = FILE.find("[target]").unwrap();
    let text = format!("{}{}", &FILE[..start], &FILE[end..]);
    assert!(refused(&text).contains("nothing would change"));
    let text = text.replacen("zones = [", "dnssec = \"sign\"\nzones = [", 1);
    let plan = read_moves(&text, "zones.toml").unwrap();
    assert!(!plan.zones[0].moves());
}

#[test]
fn a_key_that_is_not_known_is_told_and_a_secret_in_its_place_is_not() {
    let text = FILE.replace("secret = \"file:/etc/segue/k\"", "secret = 7");
    let error = read_moves(&text, "zones.toml").unwrap_err().to_string();
    assert!(error.contains("SG0701"), "{error}");
    let text = FILE.replace("file:/etc/segue/k", "c2VjcmV0");
    let problems = refused(&text);
    assert!(!problems.contains("c2VjcmV0"), "{problems}");
}
