//! What a person at a provider does to have the zone signed, and to have it signed no more.
//!
//! What was measured with BIND 9.18.47, Knot DNS 3.2.6 and PowerDNS 4.7.3:
//!
//! **Start.** All three have signed a small zone within one second.
//! * BIND: `dnssec-policy NAME; inline-signing no;` in the `zone` block, `rndc reconfig`. Once a key
//!   is everywhere by its clock, or after `rndc dnssec -checkds published ZONE`, it publishes CDS and
//!   CDNSKEY of its own; 9.18 has no setting against that.
//! * Knot: `dnssec-signing: on` and `dnssec-policy: NAME` for the zone, `knotc reload`.
//! * PowerDNS: `pdnsutil secure-zone ZONE`, or `add-zone-key` for each key. The serial stays: every
//!   secondary keeps the zone without signatures until `pdnsutil increase-serial ZONE`, and a DS
//!   before that breaks the zone there.
//!
//! **Stop.** The DS must be gone from the parent, and its TTL over, before any of these. What was
//! added by UPDATE (DNSKEY, CDS, CDNSKEY of others) must be deleted before as well.
//! * BIND: `dnssec-policy insecure;`, `rndc reconfig`. It takes the signatures away **at once** unless
//!   it was told that there is a DS (`rndc dnssec -checkds published`): it does not ask. If it was,
//!   it waits for `rndc dnssec -checkds withdrawn ZONE`, and then longer than the 10 s that were
//!   waited: its policy `insecure` has times of its own (a day for the parent's DS, not measured to
//!   its end). It sets the TTL of DNSKEY and CDS that are left to 3600. A key of another that was
//!   not deleted before stays, with the NSEC, and cannot be deleted any more: REFUSED, being the
//!   last DNSKEY.
//! * Knot: `dnssec-signing: off`, `knotc reload`. DNSKEY, NSEC and RRSIG **stay** as they are and are
//!   kept up no more: the next change makes the zone incomplete. They go by UPDATE, which may
//!   delete RRSIG, NSEC and DNSKEY of each name then.
//! * PowerDNS: `pdnsutil disable-dnssec ZONE`, then `increase-serial`, as above. Keys of others that
//!   were added stay and can be deleted.

use super::ZONE_NAME;
use super::daemon::rndc;
use super::providers::KINDS;
use super::providers::{Kind, Provider, Signing, bind, bind_policy, knot_of, powerdns_signing};
use super::{TARGET, inside, target_names, zone_text};
use crate::makes::{pdnsutil, program};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

impl Provider {
    /// Has a zone without signatures signed; returns at once.
    pub(crate) fn sign(&self, signing: Signing) {
        match self.kind {
            Kind::Bind => self.bind_policy(bind_policy(signing)),
            Kind::Knot => self.knot_signing(signing),
            Kind::PowerDns => {
                let home = self.home.join("primary");
                powerdns_signing(signing).iter().for_each(|step| pdnsutil(&home, step));
                self.powerdns_changed();
            }
        }
    }

    /// Has a signed zone signed no more; returns at once. The DS must be gone before.
    pub(crate) fn unsign(&self) {
        match self.kind {
            Kind::Bind => self.bind_policy("dnssec-policy insecure; inline-signing no;"),
            Kind::Knot => {
                self.knot_signing(Signing::Unsigned);
                self.delete_signatures();
            }
            Kind::PowerDns => {
                pdnsutil(&self.home.join("primary"), &["disable-dnssec", "example.test"]);
                self.powerdns_changed();
            }
        }
    }

    fn bind_policy(&self, policy: &str) {
        let home = self.home.join("primary");
        // The command that it returns would start a second one.
        drop(bind(&home, self.primary.ip(), self.secondary.ip(), policy));
        rndc(&home, self.primary.ip(), &["reconfig"]);
    }

    fn knot_signing(&self, signing: Signing) {
        let home = self.home.join("primary");
        let file = home.join("example.test.zone");
        drop(knot_of(&home, &file, self.primary.ip(), self.secondary.ip(), signing));
        let config = home.join("knot.conf").display().to_string();
        let mut reload = Command::new(program("knotc", "knot"));
        let done = reload.args(["-c", &config, "-b", "reload"]).output().unwrap();
        assert!(done.status.success(), "knotc: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Deletes what signatures are left of a zone that is signed no more.
    fn delete_signatures(&self) {
        let text = std::fs::read_to_string(self.transfer()).unwrap();
        let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let left: BTreeSet<String> = rows
            .filter(|row| row.len() > 4 && ["DNSKEY", "NSEC", "RRSIG"].contains(&row[3]))
            .map(|row| format!("update delete {} {}\n", row[0], row[3]))
            .collect();
        assert_eq!(self.update(&left.into_iter().collect::<String>()), "NOERROR");
    }

    /// Lets PowerDNS forget what it keeps of the zone, and its secondary fetch it.
    fn powerdns_changed(&self) {
        let home = self.home.join("primary");
        pdnsutil(&home, &["increase-serial", "example.test"]);
        let socket = format!("--socket-dir={}", home.display());
        for order in [["purge", "example.test$"], ["notify", "example.test"]] {
            let mut control = Command::new(program("pdns_control", "pdns-server"));
            let done = control.arg(&socket).args(order).output().unwrap();
            assert!(done.status.success(), "{order:?}: {}", String::from_utf8_lossy(&done.stderr));
        }
    }
}

/// Waits until both servers of a provider serve `www` with or without a signature.
fn until_both(provider: &Provider, signed: bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    for server in [provider.primary, provider.secondary] {
        let ask = || super::daemon::dig(server.ip(), &["+dnssec", "www.example.test", "A"]);
        while ask().contains("RRSIG\tA ") != signed {
            assert!(Instant::now() < deadline, "{:?} {server}: {signed}: {}", provider.kind, ask());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn each_make_starts_to_sign_and_stops() {
    inside("lab::signing::each_make_starts_to_sign_and_stops", async || {
        for kind in KINDS {
            let dir = tempfile::tempdir().unwrap();
            let zone = zone_text(&target_names(), "192.0.2.1");
            let mut provider = Provider::start(dir.path(), kind, Signing::Unsigned, TARGET, &zone);
            provider.until_ready(Signing::Unsigned);
            assert_eq!(provider.data(ZONE_NAME, "DNSKEY").len(), 0);
            provider.sign(Signing::KskZsk);
            until_both(&provider, true);
            let (holds, told) = provider.verified();
            assert!(holds, "{kind:?}: {told}");
            assert_eq!(provider.ds().len(), 1);
            provider.unsign();
            until_both(&provider, false);
            let left = std::fs::read_to_string(provider.transfer()).unwrap();
            for rtype in ["DNSKEY", "RRSIG", "NSEC"] {
                assert!(!left.contains(&format!("\t{rtype}\t")), "{kind:?}: {left}");
            }
            let line = format!("update add more.{ZONE_NAME} 5 A 192.0.2.9");
            assert_eq!(provider.update(&line), "NOERROR");
            assert_eq!(provider.data("more.example.test", "A"), ["192.0.2.9"]);
        }
    });
}
