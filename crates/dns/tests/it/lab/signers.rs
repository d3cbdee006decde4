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
//! All three sign the DNSKEY set again with their own KSK (or CSK) before the next question is
//! answered: no moment was seen with a set whose signature does not hold. CDS and CDNSKEY are
//! signed by the KSK at BIND and Knot, by both keys at PowerDNS. Foreign keys stay through other
//! updates. The TTL to add with is therefore the one that the DNSKEY set has: 4 s here at BIND and
//! Knot by their policy, the SOA's minimum at PowerDNS.
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

fn add(provider: &Provider, keys: &[String]) {
    for key in keys {
        let ttl = provider.ttl(ZONE_NAME, "DNSKEY");
        let line = format!("update add {ZONE_NAME} {ttl} DNSKEY {key}");
        assert_eq!(provider.update(&line), "NOERROR", "{:?}", provider.kind);
    }
}

fn fully_signed(provider: &Provider, stand_by: usize) {
    let (holds, told) = provider.verified();
    let zsk = format!("ZSKs: 1 active, {stand_by} stand-by");
    assert!(holds && told.contains(&zsk), "{:?}: {told}", provider.kind);
}

/// Both providers are asked by the resolvers in turn, and whatever they answer holds.
fn together(source: Kind, target: Kind) {
    let wanted = Wanted::new((source, Signing::KskZsk), (target, Signing::KskZsk));
    let lab = DelegationLab::start(&wanted);
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
    let mut ns = set_of(&source_names(false));
    ns.extend(target_names());
    lab.parent.delegate(&Delegation { ns, ds, ..Delegation::default() });
    let began = Instant::now();
    let mut seen = std::collections::BTreeSet::new();
    // Longer than the longest TTL, so that every set is asked for anew.
    while began.elapsed() < Duration::from_secs(7) {
        for resolver in addresses() {
            for name in ["www", "mail", "none"] {
                let said = ask(resolver, &format!("{name}.example.test"), "A");
                let code = if name == "none" { "NXDOMAIN" } else { "NOERROR" };
                assert!(said.validated && said.code == code, "{resolver} {name}: {said:?}");
                seen.extend(said.data);
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{source:?} and {target:?}: {seen:?}");
    let line = format!("update delete {ZONE_NAME} DNSKEY {}", of_source[0]);
    assert_eq!(lab.target.update(&line), "NOERROR");
    assert_eq!(zone_keys(&lab.target), of_target);
    fully_signed(&lab.target, 0);
}

#[test]
fn bind_signs_with_the_key_of_another_beside_its_own() {
    inside("lab::signers::bind_signs_with_the_key_of_another_beside_its_own", async || {
        together(Kind::PowerDns, Kind::Bind);
    });
}

#[test]
fn knot_signs_with_the_key_of_another_beside_its_own() {
    inside("lab::signers::knot_signs_with_the_key_of_another_beside_its_own", async || {
        together(Kind::Bind, Kind::Knot);
    });
}

#[test]
fn powerdns_signs_with_the_key_of_another_beside_its_own() {
    inside("lab::signers::powerdns_signs_with_the_key_of_another_beside_its_own", async || {
        together(Kind::Knot, Kind::PowerDns);
    });
}
