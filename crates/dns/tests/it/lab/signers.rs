//! Two providers that sign one zone, each with its own keys (RFC 8901 section 2.1.2): each also
//! publishes the other's key of the zone's data, which is added by UPDATE.
//!
//! What was measured with BIND 9.18.47, Knot DNS 3.2.6 and PowerDNS 4.7.3, each with the
//! configuration of `providers.rs`:
//!
//! | UPDATE (TSIG) | BIND | Knot | PowerDNS |
//! |---|---|---|---|
//! | add one DNSKEY, flags 256 or 257 | NOERROR, served | the same | the same |
//! | delete one added DNSKEY by its data | NOERROR, gone | the same | the same |
//! | delete a key of the server's own | NOERROR, ignored | the same | the same |
//! | delete all DNSKEY (class ANY) | REFUSED, nothing done | NOERROR, the added ones go | as Knot |
//! | add or delete CDS, CDNSKEY, also of foreign keys | NOERROR, done | the same | the same |
//! | delete all CDS or CDNSKEY (class ANY) | NOERROR, done | the same | the same |
//! | add a DNSKEY with another TTL | the whole set gets it | the whole set gets it | its own stays |
//! | add one that is there, with another TTL | the whole set gets it | ignored | its own stays |
//!
//! All three sign the DNSKEY set again with their own KSK (or CSK) by themselves: a transfer right
//! after the answer is fully signed. CDS and CDNSKEY are signed by the KSK at BIND and Knot, by both
//! keys at PowerDNS. Foreign keys and CDS stay through other updates, `rndc loadkeys` and `rndc sign`,
//! `knotc zone-sign`, `pdnsutil rectify-zone`. Whoever adds a key does it with the TTL that the set
//! has, unless a longer one is wanted as here: 4 s at BIND and Knot by their policy, the SOA's
//! minimum at PowerDNS.
//!
//! A resolver that holds one provider's keys and gets data from the other finds it bogus if the
//! other's key is missing there: unbound 1.17 said SERVFAIL at once.
//!
//! Needed for it: BIND `inline-signing no` beside `dnssec-policy`, and it logs that it lacks the
//! private key of what was added; Knot `dnskey-management: incremental`, which needs a
//! `delete-delay`, and `cds-cdnskey-publish: none`; PowerDNS `direct-dnskey=yes`, without which
//! what is added is stored and not served.

use super::parent::Delegation;
use super::providers::{Kind, Provider, Signing};
use super::resolvers::{addresses, ask};
use super::{DelegationLab, Wanted, ZONE_NAME, inside, set_of, source_names, target_names};
use std::time::{Duration, Instant};

/// Returns data of the keys that sign the zone's data.
fn zone_keys(provider: &Provider) -> Vec<String> {
    let keys = provider.data(ZONE_NAME, "DNSKEY");
    keys.into_iter().filter(|key| key.starts_with("256 ")).collect()
}

/// How long resolvers keep a set of keys here, seconds: far longer than the test takes.
const KEYS_TTL: u32 = 300;

fn add(provider: &Provider, keys: &[String]) {
    for key in keys {
        let line = format!("update add {ZONE_NAME} {KEYS_TTL} DNSKEY {key}");
        assert_eq!(provider.update(&line), "NOERROR", "{:?}", provider.kind);
    }
    assert_eq!(provider.ttl(ZONE_NAME, "DNSKEY"), KEYS_TTL, "{:?}", provider.kind);
}

fn fully_signed(provider: &Provider, stand_by: usize) {
    let (holds, told) = provider.verified();
    let zsk = format!("ZSKs: 1 active, {stand_by} stand-by");
    assert!(holds && told.contains(&zsk), "{:?}: {told}", provider.kind);
}

/// Two providers whose NS and addresses live for a second, and whose keys for long.
fn wanted(source: Kind, target: Kind) -> Wanted {
    let mut wanted = Wanted::new((source, Signing::KskZsk), (target, Signing::KskZsk));
    wanted.parent_ttl = 1;
    for zone in [&mut wanted.source_zone, &mut wanted.target_zone] {
        *zone = zone.replace("@ NS ", "@ 1 NS ").replace(" A ", " 1 A ");
        // PowerDNS gives its keys the TTL that negative answers have.
        *zone = zone.replace("@ SOA", &format!("@ {KEYS_TTL} SOA"));
        *zone = zone.replace(" 5 6000 5", &format!(" 5 6000 {KEYS_TTL}"));
    }
    wanted
}

/// Resolvers that hold the source's keys go over to the target, whose keys they do not ask for,
/// and whatever they say on the way is validated.
fn together(source: Kind, target: Kind) {
    let lab = DelegationLab::start(&wanted(source, target));
    let (of_source, of_target) = (zone_keys(&lab.source), zone_keys(&lab.target));
    assert_eq!((of_source.len(), of_target.len()), (1, 1));
    add(&lab.target, &of_source);
    add(&lab.source, &of_target);
    for provider in [&lab.source, &lab.target] {
        assert_eq!(provider.data(ZONE_NAME, "DNSKEY").len(), 3);
        fully_signed(provider, 1);
        provider.until_followed();
    }
    let ds = lab.source.ds().into_iter().chain(lab.target.ds()).collect();
    let mut wanted = Delegation { ns: set_of(&source_names(false)), ds, ..Delegation::default() };
    lab.parent.delegate(&wanted);
    until_all_say(&["192.0.2.1"]);
    wanted.ns = set_of(&target_names());
    lab.parent.delegate(&wanted);
    until_all_say(&["198.51.100.1"]);
    for resolver in addresses() {
        let keys = ask(resolver, "example.test", "DNSKEY").data;
        assert_eq!(keys, lab.source.data(ZONE_NAME, "DNSKEY"), "{resolver} has the source's");
    }
    let line = format!("update delete {ZONE_NAME} DNSKEY {}", of_source[0]);
    assert_eq!(lab.target.update(&line), "NOERROR");
    assert_eq!(zone_keys(&lab.target), of_target);
    fully_signed(&lab.target, 0);
}

/// Asks until all say so; not one answer may be without validation.
fn until_all_say(data: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut agree = false;
    while !agree {
        agree = addresses().into_iter().all(|resolver| {
            let said = ask(resolver, "www.example.test", "A");
            assert!(said.validated && said.code == "NOERROR", "{resolver}: {said:?}");
            assert!(Instant::now() < deadline, "{resolver}: {said:?}");
            said.data == data
        });
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn resolvers_go_over_from_powerdns_to_bind() {
    inside("lab::signers::resolvers_go_over_from_powerdns_to_bind", async || {
        together(Kind::PowerDns, Kind::Bind);
    });
}

#[test]
fn resolvers_go_over_from_bind_to_knot() {
    inside("lab::signers::resolvers_go_over_from_bind_to_knot", async || {
        together(Kind::Bind, Kind::Knot);
    });
}

#[test]
fn resolvers_go_over_from_knot_to_powerdns() {
    inside("lab::signers::resolvers_go_over_from_knot_to_powerdns", async || {
        together(Kind::Knot, Kind::PowerDns);
    });
}
