//! What holds a change back until somebody says by name that it is meant.

use crate::world::{World, set, shop, zone};
use segue_model::Severity;
use segue_model::plan::{OwnedSet, ZoneGuard};

/// At the zone's top.
fn top(rtype: &str, source: &[&str], target: &[&str]) -> OwnedSet {
    OwnedSet { name: "example.test".into(), ..set("", rtype, source, target) }
}

#[tokio::test]
async fn each_guard_holds_back_what_it_is_for_and_nothing_else() {
    let world = World::start().await;
    let questions: Vec<String> = (0..11).map(|n| format!("include:s{n}.test")).collect();
    let many = format!("\"v=spf1 {} -all\"", questions.join(" "));
    let mut most = shop();
    most.push(set("pay", "MX", &["10 mail.example.test."], &["10 mx.other.test."]));
    most.push(set("www", "CNAME", &["shop.example.test."], &["shop.other.test."]));
    let cases: Vec<(ZoneGuard, Vec<OwnedSet>, &str)> = vec![
        (ZoneGuard::Share, most, "5 of the zone's 15 records"),
        (ZoneGuard::Dangling, vec![set("mail", "A", &["192.0.2.25"], &[])], "MX 10 Mail.example"),
        (
            ZoneGuard::Spf,
            vec![top("TXT", &["\"v=spf1 ip4:127.0.0.11 -all\""], &[&many])],
            "11 questions",
        ),
        (
            ZoneGuard::Validation,
            vec![set("_acme-challenge", "TXT", &[], &["\"token\""])],
            "_acme-challenge.example.test TXT",
        ),
        (
            ZoneGuard::ApexNs,
            vec![top("NS", &["ns1.example.test.", "ns2.example.test."], &["ns1.example.test."])],
            "parent's delegation",
        ),
    ];
    for (guard, owned, words) in cases {
        let held = async |allow: Vec<ZoneGuard>| {
            let plan = segue_model::plan::ZonePlan { allow, ..world.plan(owned.clone()) };
            let findings = zone(plan).preflight().await;
            let refused = findings.into_iter().filter(|f| f.severity == Severity::Refuse);
            refused.map(|finding| format!("{} {finding}", finding.code)).collect::<Vec<_>>()
        };
        let refused = held(vec![]).await;
        let name = guard.name();
        assert!(!refused.is_empty(), "{name}: nothing is held back");
        for text in &refused {
            assert!(text.starts_with("SG0330") && text.contains(&format!("`{name}`")), "{text}");
        }
        assert!(refused.iter().any(|text| text.contains(words)), "{name}: {refused:?}");
        assert_eq!(held(vec![guard]).await, Vec::<String>::new(), "{name} is meant");
    }
}

/// What was wrong before and stays so is the audit's to tell.
#[tokio::test]
async fn what_was_wrong_before_holds_nothing_back() {
    let zone_text = format!("{}lost MX 10 nowhere\n", crate::named::ZONE);
    let world = World::start_with(&zone_text).await;
    let findings = world.zone(shop()).preflight().await;
    assert!(findings.iter().all(|finding| finding.severity != Severity::Refuse), "{findings:?}");
}
