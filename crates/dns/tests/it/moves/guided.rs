//! Moves from their first step to their last, and back.

use super::visitors::Visitors;
use super::{LOW_S, Operator, lab, plan};
use crate::lab::providers::{Kind, Signing};
use crate::lab::{inside, set_of, source_names, target_names};
use segue_dns::moves::Wish;
use segue_model::plan::SigningWish;

/// An edit at one provider, as its customer makes it.
fn edit(provider: &crate::lab::providers::Provider, address: &str) {
    let lines = format!(
        "update delete www.example.test. A\nupdate add www.example.test. 5 A {address}"
    );
    assert_eq!(provider.update(&lines), "NOERROR");
}

const EDITED_AT_SOURCE: &str = "192.0.2.7";
const EDITED_AT_TARGET: &str = "198.51.100.7";

/// There, with an edit at either side, and back.
async fn there_and_back(source: (Kind, Signing), target: (Kind, Signing), interrupted: bool) {
    let lab = lab(source, target, false);
    let signed = source.1 != Signing::Unsigned;
    let visitors = Visitors::start(signed);
    let mut operator = Operator::new(&lab, plan(&lab, SigningWish::Keep));
    operator.interrupted = interrupted;
    let first = lab.parent.delegation();

    operator.until(Wish::Forward, Some("lowered_known")).await;
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
    assert_eq!(lab.target.ttl("example.test", "NS"), 5);
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
    for name in source_names(false) {
        assert!(lab.source.data("example.test", "NS").contains(&name));
    }
    assert_eq!(lab.source.ttl("example.test", "NS"), 5);
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
        there_and_back((Kind::Bind, unsigned), (Kind::Knot, unsigned), true).await;
    });
}

#[test]
fn a_signed_zone_goes_and_comes_back_and_is_believed_all_the_while() {
    let name = "moves::guided::a_signed_zone_goes_and_comes_back_and_is_believed_all_the_while";
    inside(name, async || {
        there_and_back((Kind::Bind, Signing::KskZsk), (Kind::PowerDns, Signing::Csk), false).await;
    });
}
