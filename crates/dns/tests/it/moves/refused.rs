//! What a move does not do, and what it says instead.

use super::{Operator, TTL_S, lab, plan};
use crate::lab::providers::{Kind, Signing};
use crate::lab::{inside, set_of, target_names};
use segue_dns::moves::{Stage, Standing, State, Wish};
use segue_model::plan::SigningWish;
use std::path::Path;

const UNSIGNED: Signing = Signing::Unsigned;

/// What stands in the way of the stage at which it stands.
fn blocked(standing: &Standing) -> (&'static str, String) {
    match standing.current() {
        Some(Stage { name, state: State::Blocked { why }, .. }) => (*name, why.join("\n")),
        other => panic!("{other:?}"),
    }
}

fn edit(provider: &crate::lab::providers::Provider, address: &str) {
    let lines =
        format!("update delete www.example.test. A\nupdate add www.example.test. 5 A {address}");
    assert_eq!(provider.update(&lines), "NOERROR");
    provider.until_followed();
}

#[test]
fn a_validated_zone_does_not_go_to_a_provider_that_does_not_sign() {
    inside(
        "moves::refused::a_validated_zone_does_not_go_to_a_provider_that_does_not_sign",
        async || {
            let lab = lab((Kind::Knot, Signing::Csk), (Kind::Bind, UNSIGNED), false);
            let operator = Operator::new(&lab, plan(&lab, SigningWish::Keep));
            let (stage, why) = blocked(&operator.go(Wish::Forward).await);
            assert_eq!(stage, "copy");
            assert!(why.contains("`target` does not sign it"), "{why}");
            assert!(why.contains("unsign"), "{why}");
            assert!(lab.target.data("www.example.test", "A").is_empty(), "nothing was begun");
        },
    );
}

#[test]
fn what_the_target_had_and_what_both_changed_is_for_a_person() {
    inside(
        "moves::refused::what_the_target_had_and_what_both_changed_is_for_a_person",
        async || {
            let lab = lab((Kind::Bind, UNSIGNED), (Kind::PowerDns, UNSIGNED), false);
            edit(&lab.target, "198.51.100.99");
            let mut plan = plan(&lab, SigningWish::Keep);
            let mut operator = Operator::new(&lab, plan.clone());
            let (stage, why) = blocked(&operator.go(Wish::Forward).await);
            assert_eq!(stage, "copy");
            assert!(why.contains("198.51.100.99") && why.contains("replace = true"), "{why}");
            assert_eq!(lab.target.data("www.example.test", "A"), ["198.51.100.99"]);

            plan.replace = true;
            operator.moving = segue_dns::moves::Move::new(plan);
            operator.until(Wish::Forward, Some("lowered_known")).await;
            assert_eq!(lab.target.data("www.example.test", "A"), ["192.0.2.1"]);

            edit(&lab.source, "192.0.2.50");
            edit(&lab.target, "198.51.100.50");
            let standing = operator.go(Wish::Forward).await;
            let alarms = standing.alarms.join("\n");
            assert!(alarms.contains("192.0.2.50") && alarms.contains("198.51.100.50"), "{alarms}");
            assert_eq!(lab.source.data("www.example.test", "A"), ["192.0.2.50"]);
            assert_eq!(lab.target.data("www.example.test", "A"), ["198.51.100.50"]);
            edit(&lab.target, "192.0.2.50");
            operator.until(Wish::Forward, Some("spread")).await;
            assert_eq!(lab.target.data("www.example.test", "A"), ["192.0.2.50"]);
        },
    );
}

#[test]
fn nobody_is_sent_to_a_server_that_the_file_does_not_name_or_that_is_down() {
    inside(
        "moves::refused::nobody_is_sent_to_a_server_that_the_file_does_not_name_or_that_is_down",
        async || {
            let lab = lab((Kind::Bind, UNSIGNED), (Kind::Knot, UNSIGNED), false);
            let whole = plan(&lab, SigningWish::Keep);
            let mut less = whole.clone();
            less.providers.target.servers.pop();
            let mut operator = Operator::new(&lab, less.clone());
            operator.until(Wish::Forward, Some("lowered_known")).await;
            tokio::time::sleep(std::time::Duration::from_secs(4)).await;
            let (stage, why) = blocked(&operator.go(Wish::Forward).await);
            assert_eq!(stage, "names");
            assert!(why.contains("ns2.target.test") && why.contains("10.53.0.22"), "{why}");
            assert!(!lab.source.data("example.test", "NS").contains(&target_names()[0]));

            // A server in the list that does not answer: the same.
            let mut dead = whole;
            dead.providers.target.servers.push("10.53.0.22:5399".parse().unwrap());
            operator.moving = segue_dns::moves::Move::new(dead);
            let (stage, why) = blocked(&operator.go(Wish::Forward).await);
            assert_eq!(stage, "names");
            assert!(why.contains("10.53.0.22:5399"), "{why}");
        },
    );
}

/// Back before the registrar was asked for name servers: nobody waits for the parent's TTL.
#[test]
fn a_move_turns_round_before_the_registrar_was_asked() {
    inside("moves::refused::a_move_turns_round_before_the_registrar_was_asked", async || {
        let lab = lab((Kind::Knot, Signing::KskZsk), (Kind::Bind, Signing::Csk), false);
        let before = lab.parent.delegation();
        let mut operator = Operator::new(&lab, plan(&lab, SigningWish::Keep));
        let standing = operator.until(Wish::Forward, Some("delegation")).await;
        assert!(matches!(standing.current().unwrap().state, State::Due), "{standing:#?}");
        operator.until(Wish::Back, None).await;
        assert_eq!(lab.parent.delegation(), before);
        assert_eq!(lab.source.data("example.test", "DNSKEY").len(), 2);
        assert_eq!(lab.source.ttl("example.test", "NS"), TTL_S);
        assert_eq!(operator.asked, ["ds", "former_ds"]);
        let written = |name: &str| std::fs::read_to_string(Path::new(&operator.folder).join(name));
        let changes = written("example.test.changes.jsonl").unwrap();
        for line in changes.lines() {
            let change: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(change["former"].is_array() && change["side"].is_string(), "{line}");
        }
        assert!(changes.lines().count() >= 6, "{changes}");
    });
}

#[test]
fn who_only_looks_changes_nothing_and_leaves_nothing() {
    inside("moves::refused::who_only_looks_changes_nothing_and_leaves_nothing", async || {
        let lab = lab((Kind::Bind, UNSIGNED), (Kind::Bind, UNSIGNED), false);
        let operator = Operator::new(&lab, plan(&lab, SigningWish::Keep));
        let standing = operator.go(Wish::Look).await;
        assert_eq!(standing.current().unwrap().name, "copy");
        assert!(lab.target.data("www.example.test", "A").is_empty());
        assert_eq!(lab.source.ttl("example.test", "NS"), TTL_S);
        assert!(!operator.folder.exists());
        assert_eq!(lab.parent.delegation().ns, set_of(&crate::lab::source_names(false)));
    });
}
