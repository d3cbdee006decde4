//! The lab itself: that it behaves as the Internet does.

use super::parent::Delegation;
use super::providers::{Kind, Signing};
use super::resolvers::{Said, addresses, ask};
use super::{DelegationLab, Wanted, inside, set_of, source_names, target_names};
use crate::world::{done, set, zone};
use segue_model::event::Phase;
use std::time::{Duration, Instant};

const SOURCE_WWW: &str = "192.0.2.1";
const TARGET_WWW: &str = "198.51.100.1";
const UNSIGNED: (Kind, Signing) = (Kind::Bind, Signing::Unsigned);

/// Asks both resolvers until `holds` is true of what both say; returns for each how long it took.
fn until(limit_s: u64, mut holds: impl FnMut(&Said) -> bool) -> [Duration; 2] {
    let began = Instant::now();
    let mut took = [None; 2];
    while took.contains(&None) {
        for (resolver, took) in addresses().into_iter().zip(&mut took) {
            let said = ask(resolver, "www.example.test", "A");
            if took.is_none() && holds(&said) {
                *took = Some(began.elapsed());
            }
            let late = began.elapsed() > Duration::from_secs(limit_s);
            assert!(!late || took.is_some(), "{resolver} after {limit_s} s: {said:?}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    took.map(Option::unwrap)
}

fn has(data: &str, validated: bool) -> impl FnMut(&Said) -> bool {
    move |said| said.data == [data] && said.validated == validated && said.code == "NOERROR"
}

/// A lab without signatures in which NS live for `ns_ttl` seconds and addresses for one.
fn unsigned(ns_ttl: u32, glue: bool) -> DelegationLab {
    let mut wanted = Wanted::new(UNSIGNED, UNSIGNED);
    wanted.parent_ttl = ns_ttl;
    wanted.glue = glue;
    if glue {
        wanted.source_zone = super::zone_text(&source_names(true), SOURCE_WWW);
    }
    for zone in [&mut wanted.source_zone, &mut wanted.target_zone] {
        *zone = zone.replace("@ NS ", &format!("@ {ns_ttl} NS ")).replace(" A ", " 1 A ");
    }
    DelegationLab::start(&wanted)
}

fn to_target() -> Delegation {
    Delegation { ns: set_of(&target_names()), ..Default::default() }
}

/// A resolver that has the source's NS goes on to ask the source until their TTL is over.
#[test]
fn resolvers_keep_the_source_while_only_the_parent_changed() {
    inside("lab::tests::resolvers_keep_the_source_while_only_the_parent_changed", async || {
        let lab = unsigned(9, false);
        let began = Instant::now();
        until(10, has(SOURCE_WWW, false));
        lab.parent.delegate(&to_target());
        let took = until(30, has(TARGET_WWW, false));
        println!("content of the target after {took:?}");
        let first = began.elapsed() - took[0].max(took[1]) + took[0].min(took[1]);
        assert!(first > Duration::from_secs(8), "sooner than the NS expire: {took:?}");
    });
}

/// The same change at the source too: the TTL of the content alone counts.
#[test]
fn content_follows_its_own_ttl_where_the_source_changes_too() {
    inside("lab::tests::content_follows_its_own_ttl_where_the_source_changes_too", async || {
        let lab = unsigned(120, false);
        until(10, has(SOURCE_WWW, false));
        lab.parent.delegate(&to_target());
        let [one, two] = target_names();
        let [former, other] = source_names(false);
        let lines = format!(
            "update add example.test. 120 NS {one}\nupdate add example.test. 120 NS {two}\n\
             update delete example.test. NS {former}\nupdate delete example.test. NS {other}\n\
             update delete www.example.test. A\nupdate add www.example.test. 1 A {TARGET_WWW}"
        );
        assert_eq!(lab.source.update(&lines), "NOERROR");
        assert_eq!(lab.source.data("example.test", "NS"), target_names());
        let took = until(30, has(TARGET_WWW, false));
        println!("content of the target after {took:?}");
    });
}

/// Name servers in the zone itself: they are found by their glue, which the registrar changes. BIND
/// keeps a name server's address for ten seconds at least, whatever its TTL.
#[test]
fn glue_leads_to_name_servers_inside_the_zone() {
    inside("lab::tests::glue_leads_to_name_servers_inside_the_zone", async || {
        let lab = unsigned(2, true);
        until(10, has(SOURCE_WWW, false));
        let found = lab.parent.delegation();
        assert_eq!((found.glue.len(), found.ns), (2, set_of(&source_names(true))));
        let mut wanted = lab.parent.delegation();
        let names = source_names(true).into_iter();
        wanted.glue = names.zip(super::TARGET.map(str::to_owned)).collect();
        lab.parent.delegate(&wanted);
        assert_eq!(lab.parent.delegation(), wanted);
        let took = until(30, has(TARGET_WWW, false));
        println!("content of the target after {took:?}");
    });
}

#[test]
fn a_signed_zone_is_validated_and_a_wrong_ds_breaks_it() {
    inside("lab::tests::a_signed_zone_is_validated_and_a_wrong_ds_breaks_it", async || {
        let mut wanted = Wanted::new((Kind::Bind, Signing::Csk), UNSIGNED);
        wanted.parent_ttl = 2;
        let mut lab = DelegationLab::start(&wanted);
        until(10, has(SOURCE_WWW, true));
        let right = lab.parent.delegation();
        assert_eq!(right.ds.len(), 1, "{right:?}");
        let mut wrong = right.clone();
        let digest = "00".repeat(32);
        wrong.ds = right.ds.iter().map(|ds| format!("{} {digest}", &ds[..ds.len() - 65])).collect();
        lab.parent.delegate(&wrong);
        let took = until(30, |said| said.code == "SERVFAIL" && said.data.is_empty());
        println!("SERVFAIL after {took:?}");
        lab.parent.delegate(&right);
        lab.forget();
        until(10, has(SOURCE_WWW, true));
    });
}

/// What Segue changes at either provider is what resolvers get.
#[test]
fn resolvers_see_what_is_published_at_either_provider() {
    inside("lab::tests::resolvers_see_what_is_published_at_either_provider", async || {
        let kinds = [Kind::Knot, Kind::PowerDns].map(|kind| (kind, Signing::Csk));
        let lab = DelegationLab::start(&Wanted::new(kinds[0], kinds[1]));
        until(10, has(SOURCE_WWW, true));
        let published = "203.0.113.7";
        for (provider, www) in [(&lab.source, SOURCE_WWW), (&lab.target, TARGET_WWW)] {
            let plan = provider.plan(vec![set("www", "A", &[www], &[published])]);
            done(&zone(plan).publish(), Phase::Cutover).await;
            assert_eq!(provider.data("www.example.test", "A"), [published]);
        }
        until(30, has(published, true));
    });
}
