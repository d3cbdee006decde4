//! Moves from their first step to their last, and back.

use super::visitors::Visitors;
use super::{LOW_S, Operator, TTL_S, lab, plan};
use crate::lab::parent::Delegation;
use crate::lab::providers::{Kind, Signing};
use crate::lab::{inside, set_of, source_names, target_names};
use segue_dns::moves::Wish;
use segue_model::plan::SigningWish;
use std::time::{Duration, Instant};

/// An edit at one provider, as its customer makes it.
fn edit(provider: &crate::lab::providers::Provider, address: &str) {
    let lines =
        format!("update delete www.example.test. A\nupdate add www.example.test. 5 A {address}");
    assert_eq!(provider.update(&lines), "NOERROR");
}

const EDITED_AT_SOURCE: &str = "192.0.2.7";
const EDITED_AT_TARGET: &str = "198.51.100.7";

/// There, with an edit at either side, and back.
///
/// An unsigned one has its source's name servers within itself, by glue, and each going on is
/// broken off many times before it is let through.
async fn there_and_back(source: (Kind, Signing), target: (Kind, Signing)) {
    let signed = source.1 != Signing::Unsigned;
    let lab = lab(source, target, !signed);
    let visitors = Visitors::start(signed);
    let mut operator = Operator::new(&lab, plan(&lab, SigningWish::Keep));
    operator.interrupted = !signed;
    let first = lab.parent.delegation();

    let early = if signed { "keys_known" } else { "lowered_known" };
    operator.until(Wish::Forward, Some(early)).await;
    assert_eq!(lab.source.data("www.example.test", "A"), lab.target.data("www.example.test", "A"));
    assert_eq!(lab.source.ttl("example.test", "NS"), LOW_S);
    edit(&lab.source, EDITED_AT_SOURCE);
    operator.until(Wish::Forward, Some("spread")).await;
    assert_eq!(lab.target.data("www.example.test", "A"), [EDITED_AT_SOURCE]);
    for provider in [&lab.source, &lab.target] {
        assert_eq!(set_of_data(provider.data("example.test", "NS")), set_of(&target_names()));
    }
    edit(&lab.target, EDITED_AT_TARGET);
    operator.interrupted = false;
    operator.until(Wish::Forward, None).await;
    assert_eq!(lab.source.data("www.example.test", "A"), [EDITED_AT_TARGET]);
    assert_eq!(lab.target.ttl("example.test", "NS"), TTL_S);
    let found = lab.parent.delegation();
    assert_eq!(found.ns, set_of(&target_names()));
    assert_eq!(found.ds.len(), usize::from(signed));
    assert!(found.ds.is_disjoint(&first.ds), "{found:?}");
    if signed {
        assert_eq!(operator.asked, ["ds", "delegation", "former_ds"]);
        let (holds, told) = lab.target.verified();
        assert!(holds, "{told}");
        for (provider, own) in [(&lab.source, source.1), (&lab.target, target.1)] {
            let keys = if own == Signing::Csk { 1 } else { 2 };
            assert_eq!(provider.data("example.test", "DNSKEY").len(), keys, "{:?}", provider.kind);
        }
    }

    operator.until(Wish::Back, None).await;
    assert_eq!(lab.parent.delegation(), first);
    for name in source_names(!signed) {
        assert!(lab.source.data("example.test", "NS").contains(&name));
    }
    assert_eq!(lab.source.ttl("example.test", "NS"), TTL_S);
    let saw = visitors.end();
    println!("{saw:?}");
    assert!(saw.wrong.is_empty(), "{:#?}", saw.wrong);
    assert!(saw.asked > 100, "{saw:?}");
    for address in ["192.0.2.1", EDITED_AT_SOURCE, EDITED_AT_TARGET] {
        assert!(saw.www.contains_key(address), "{saw:?}");
    }
}

fn set_of_data(data: Vec<String>) -> std::collections::BTreeSet<String> {
    data.into_iter().collect()
}

#[test]
fn an_unsigned_zone_goes_and_comes_back() {
    inside("moves::guided::an_unsigned_zone_goes_and_comes_back", async || {
        let unsigned = Signing::Unsigned;
        there_and_back((Kind::Bind, unsigned), (Kind::Knot, unsigned)).await;
    });
}

#[test]
fn a_signed_zone_goes_and_comes_back_and_is_believed_all_the_while() {
    let name = "moves::guided::a_signed_zone_goes_and_comes_back_and_is_believed_all_the_while";
    inside(name, async || {
        let (bind, knot, powerdns) = (Kind::Bind, Kind::Knot, Kind::PowerDns);
        let (one, two) = (Signing::Csk, Signing::KskZsk);
        let first = ((bind, two), (powerdns, one));
        let all = [
            first,
            ((bind, one), (knot, two)),
            ((knot, two), (powerdns, two)),
            ((bind, two), (bind, two)),
        ];
        for (source, target) in whole_or(&[first], &all) {
            there_and_back(*source, *target).await;
        }
    });
}

/// In its place at each make: signed, believed, and unsigned again.
async fn in_place(kind: Kind) {
    let lab = lab((kind, Signing::Unsigned), (Kind::Bind, Signing::Unsigned), false);
    let visitors = Visitors::start(false);
    let mut plan = plan(&lab, SigningWish::Sign);
    plan.providers.target = plan.providers.source.clone();
    let mut operator = Operator::new(&lab, plan.clone());
    operator.folder = lab.dir.path().join("sign");
    operator.until(Wish::Forward, None).await;
    assert_eq!(operator.asked, ["signed", "ds"]);
    assert_eq!(lab.parent.delegation().ds.len(), 1);
    for resolver in crate::lab::resolvers::addresses() {
        // A resolver may know for a little longer than the TTL that there is no DS.
        let deadline = Instant::now() + Duration::from_secs(20);
        for number in 0.. {
            let name = format!("never-asked-{number}.example.test");
            let said = crate::lab::resolvers::ask(resolver, &name, "A");
            assert!(said.code == "NXDOMAIN" && Instant::now() < deadline, "{said:?}");
            if said.validated {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    plan.dnssec = SigningWish::Unsign;
    let mut operator = Operator::new(&lab, plan);
    operator.folder = lab.dir.path().join("unsign");
    operator.until(Wish::Forward, None).await;
    assert_eq!(operator.asked, ["no_ds", "unsigned"]);
    assert!(lab.parent.delegation().ds.is_empty());
    let saw = visitors.end();
    assert!(saw.wrong.is_empty() && saw.asked > 50, "{saw:#?}");
}

#[test]
fn a_zone_is_signed_in_its_place_and_unsigned_again() {
    inside("moves::guided::a_zone_is_signed_in_its_place_and_unsigned_again", async || {
        for kind in whole_or(&[Kind::PowerDns], &[Kind::Bind, Kind::Knot, Kind::PowerDns]) {
            in_place(*kind).await;
        }
    });
}

/// From a provider that signs to one that does not, and whose primary nobody is to ask.
#[test]
fn a_signed_zone_goes_to_a_provider_that_does_not_sign() {
    inside("moves::guided::a_signed_zone_goes_to_a_provider_that_does_not_sign", async || {
        let lab = lab((Kind::Knot, Signing::Csk), (Kind::Bind, Signing::Unsigned), false);
        let visitors = Visitors::start(false);
        let mut plan = plan(&lab, SigningWish::Unsign);
        plan.providers.target.name_servers = vec!["ns2.target.test".into()];
        plan.providers.target.servers = vec![lab.target.secondary];
        let mut operator = Operator::new(&lab, plan);
        operator.until(Wish::Forward, None).await;
        assert_eq!(operator.asked, ["no_ds", "delegation"]);
        let found = lab.parent.delegation();
        assert_eq!(found, Delegation { ns: set_of(&target_names()[1..]), ..Default::default() });
        let saw = visitors.end();
        assert!(saw.wrong.is_empty() && saw.asked > 50, "{saw:#?}");
    });
}

/// Some in every run of the tests, all with `SEGUE_DNS_WHOLE`.
fn whole_or<'a, T>(some: &'a [T], all: &'a [T]) -> &'a [T] {
    if std::env::var_os("SEGUE_DNS_WHOLE").is_some() { all } else { some }
}
