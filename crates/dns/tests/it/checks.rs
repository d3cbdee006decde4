//! Preflight and audit.

use crate::named::ZONE;
use crate::world::{World, set, shop, zone};
use segue_model::plan::OwnedSet;
use segue_model::{Finding, Severity};

fn refusals(findings: &[Finding]) -> Vec<(&str, &str)> {
    let refused = findings.iter().filter(|f| f.severity == Severity::Refuse);
    refused.map(|f| (f.code.as_str(), f.text.as_str())).collect()
}

#[tokio::test]
async fn passes_a_sound_plan_and_names_what_it_cannot_know() {
    let world = World::start().await;
    let findings = world.zone(shop()).preflight().await;
    assert_eq!(refusals(&findings), []);
    let texts: Vec<&str> = findings.iter().map(|f| f.text.as_str()).collect();
    assert!(texts.iter().any(|t| t.contains("shows with the first change")), "{texts:?}");
    assert!(texts.iter().any(|t| t.contains("pay.example.test A 3600 s")), "{texts:?}");
    assert!(texts.iter().any(|t| t.contains("60 s that an owned set does not exist")), "{texts:?}");
}

#[tokio::test]
async fn refuses_plans_that_would_go_wrong() {
    let world = World::start().await;
    let cases: Vec<(OwnedSet, &str)> = vec![
        (set("shop", "A", &["127.0.0.99"], &["127.0.0.12"]), "SG0321"),
        (set("absent", "A", &["127.0.0.11"], &["127.0.0.12"]), "SG0321"),
        (set("shop", "A", &["127.0.0.11"], &["not an address"]), "SG0301"),
        (set("shop", "NONSENSE", &["1"], &["2"]), "SG0301"),
        (set("www", "A", &[], &["127.0.0.12"]), "SG0323"),
        (set("shop", "CNAME", &[], &["a.test.", "b.test."]), "SG0323"),
        (set("host.sub", "A", &[], &["127.0.0.12"]), "SG0324"),
        (
            OwnedSet {
                name: "example.test".into(),
                ..set("", "NS", &["ns1.example.test.", "ns2.example.test."], &["ns.new.test."])
            },
            "SG0330",
        ),
        (
            OwnedSet {
                name: "example.test".into(),
                ..set("", "NS", &["ns1.example.test.", "ns2.example.test."], &[])
            },
            "SG0324",
        ),
        (OwnedSet { name: "shop.other.test".into(), ..set("", "A", &[], &["::1"]) }, "SG0301"),
        (
            OwnedSet { name: "shop.other.test".into(), ..set("", "A", &[], &["127.0.0.1"]) },
            "SG0301",
        ),
    ];
    for (owned, code) in cases {
        let text = format!("{owned:?}");
        let findings = world.zone(vec![owned]).preflight().await;
        let refused = refusals(&findings);
        assert!(refused.iter().any(|(found, _)| *found == code), "{text}: {refused:?}");
    }
}

#[tokio::test]
async fn takes_a_delegation_it_owns_from_the_referral() {
    let world = World::start().await;
    let owned = vec![set("sub", "NS", &["ns.elsewhere.test."], &["ns.provider.test."])];
    let findings = world.zone(owned).preflight().await;
    assert_eq!(refusals(&findings), []);
}

#[tokio::test]
async fn tells_of_a_signed_zone_and_refuses_a_wildcard_over_an_owned_name() {
    let key = "@ DNSKEY 257 3 13 \
        mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==\n";
    let world = World::start_with(&format!("{ZONE}{key}*.wild AAAA 2001:db8::1\n")).await;
    let findings = world.zone(shop()).preflight().await;
    assert!(findings.iter().any(|finding| finding.code == "SG0320"), "{findings:?}");
    let wild = vec![set("shop.wild", "AAAA", &[], &["2001:db8::2"])];
    let findings = world.zone(wild).preflight().await;
    assert!(refusals(&findings).iter().any(|(code, _)| *code == "SG0322"), "{findings:?}");
}

#[tokio::test]
async fn notices_unlisted_name_servers() {
    let world = World::start_with(&format!("{ZONE}@ NS ns3\nns3 A 127.0.0.77\n")).await;
    let findings = zone(world.plan(shop())).preflight().await;
    assert!(findings.iter().any(|f| f.code == "SG0327" && f.text.contains("127.0.0.77")));
}

#[tokio::test]
async fn audits_what_follows_and_what_stays_behind() {
    let world = World::start().await;
    let owned = vec![set("shop", "A", &["127.0.0.11"], &["127.0.0.12"])];
    let audit = world.zone(owned).audit().await.unwrap();
    assert_eq!(audit.sets[0].ttl_s, Some(20));
    assert_eq!(audit.negative_ttl_s, 60);
    assert_eq!(audit.aliases, ["www.example.test"]);
    let texts: Vec<&str> = audit.findings.iter().map(|f| f.text.as_str()).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts.iter().any(|t| t.contains("pay.example.test A")), "{texts:?}");
    assert!(texts.iter().any(|t| t.contains("v=spf1")), "{texts:?}");
}
