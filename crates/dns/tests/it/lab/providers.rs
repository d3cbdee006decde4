//! Providers of `example.test`: a primary of a chosen make, and a BIND secondary that follows it.
//!
//! What was measured with BIND 9.18.47, Knot DNS 3.2.6 and PowerDNS 4.7.3:
//!
//! **The zone must be there** before the first UPDATE, else the answer is NOTAUTH at all three.
//! * BIND: a `zone` block and a file with SOA and one NS, then `rndc reconfig`. Without a file, or
//!   without NS, it is not loaded: SERVFAIL to questions and UPDATEs.
//! * Knot: a `zone` item, `knotc reload`, and then its first SOA, by a file or by `knotc zone-begin`,
//!   `zone-set ZONE @ TTL SOA ...`, `zone-commit`; SERVFAIL until then. NS may come by UPDATE.
//! * PowerDNS: `pdnsutil create-zone ZONE NS`; the SOA is then `a.misconfigured.dns.server.invalid.
//!   hostmaster.ZONE. 0 10800 3600 604800 3600`, TTL 3600. Then `pdns_control rediscover`: without
//!   it questions are REFUSED for up to 300 s, while UPDATEs are taken already. Unless
//!   `TSIG-ALLOW-DNSUPDATE` is set, whoever has an address of `allow-dnsupdate-from` may update. If
//!   `SOA-EDIT-DNSUPDATE` is not set either, the first UPDATE makes a serial of the date.
//!
//! **The apex's NS** can be replaced in one UPDATE at all three: first add every wanted one, then
//! delete each of the others by its data. Deletions first leave one of the former NS behind at
//! BIND and Knot, not at PowerDNS. Another TTL: delete and add one after the other, name by name
//! (needs two).
//!
//! **The SOA** is taken whole, with the exact serial, if that is higher (RFC 1982), also together
//! with other changes in one UPDATE. Lower or the same: NOERROR, ignored. Its TTL changes at BIND
//! and Knot; PowerDNS keeps the one that it has.
//!
//! **Types**: TYPE65400, CAA, HTTPS, DNAME, wildcards, delegations with DS and glue, texts of several
//! parts: all three took them. CDS goes into an unsigned zone everywhere; a DNSKEY does at Knot and
//! PowerDNS, while BIND says SERVFAIL.

use super::daemon::{AUTHORITATIVE, Daemon, dig, named, update};
use super::{ZONE_NAME, ip};
use crate::makes::{knot, pdnsutil, powerdns, program};
use crate::named::{SECRETS, secret_file};
use segue_model::plan::{AuthorityPlan, OwnedSet, SecretRef, TsigKey, ZonePlan};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Make of a primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bind,
    Knot,
    PowerDns,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Bind, Kind::Knot, Kind::PowerDns];

/// How a provider signs; the keys are always its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signing {
    Unsigned,
    /// One key for everything.
    Csk,
    /// A key for the keys, and one for the rest.
    KskZsk,
}

/// A provider: its primary and its secondary.
pub(crate) struct Provider {
    pub(crate) kind: Kind,
    pub(crate) primary: SocketAddr,
    pub(crate) secondary: SocketAddr,
    pub(super) home: PathBuf,
    daemons: Vec<Daemon>,
    /// Starts the secondary, until it is started.
    follower: Option<Command>,
}

impl Provider {
    /// Starts both; `zone` is a zone file's text without `$ORIGIN`.
    pub(crate) fn start(
        home: &Path,
        kind: Kind,
        signing: Signing,
        addresses: [&str; 2],
        zone: &str,
    ) -> Self {
        let [first, second] = addresses.map(ip);
        let primary = home.join("primary");
        fs::create_dir_all(&primary).unwrap();
        let file = primary.join("example.test.zone");
        fs::write(&file, format!("$ORIGIN {ZONE_NAME}\n{zone}")).unwrap();
        let command = match kind {
            Kind::Bind => bind(&primary, first, second, bind_policy(signing)),
            Kind::Knot => knot_of(&primary, &file, first, second, signing),
            Kind::PowerDns => powerdns_of(&primary, &file, first, second, signing),
        };
        let zone = format!(
            "zone \"example.test\" {{ type secondary; file \"zone\"; masterfile-format text;
               primaries {{ {first} key mig-key; }}; allow-notify {{ key mig-key; {first}; }};
               notify no; allow-transfer {{ key mig-key; }}; }};"
        );
        let follower = home.join("secondary");
        let follow = named(&follower, second, AUTHORITATIVE, &zone);
        let daemons = vec![Daemon::start(&primary, command)];
        Self {
            kind,
            primary: (first, 53).into(),
            secondary: (second, 53).into(),
            home: home.to_owned(),
            daemons,
            follower: Some(follow),
        }
    }

    /// Starts the secondary as soon as the primary serves the zone, so that it need not try twice;
    /// waits until both serve it, signed if the primary signs.
    pub(crate) fn until_ready(&mut self, signing: Signing) {
        let [first, second] = [self.primary.ip(), self.secondary.ip()];
        let soa = ["+short", ZONE_NAME, "SOA"];
        // The chain of NSEC is the last thing that is made.
        let chain = ["+dnssec", "nothing.example.test", "A"];
        let signs = signing != Signing::Unsigned;
        self.daemons[0].until(first, &soa, "hostmaster.");
        if signs {
            self.daemons[0].until(first, &chain, "RRSIG\tNSEC ");
        }
        if let Some(follower) = self.follower.take() {
            self.daemons.push(Daemon::start(&self.home.join("secondary"), follower));
        }
        self.daemons[1].until(second, &soa, "hostmaster.");
        if signs {
            self.daemons[1].until(second, &chain, "RRSIG\tNSEC ");
        }
        self.until_followed();
    }

    /// Returns how Segue changes the zone here; the secret lies in the provider's folder.
    pub(crate) fn authority(&self) -> AuthorityPlan {
        let secret = secret_file(&self.home, SECRETS[0]);
        AuthorityPlan::Update {
            primary: self.primary,
            key: TsigKey {
                name: "mig-key".into(),
                algorithm: "hmac-sha256".into(),
                secret: SecretRef(format!("file:{}", secret.display())),
            },
        }
    }

    /// Returns a plan of the zone as it is with this provider alone.
    pub(crate) fn plan(&self, records: Vec<OwnedSet>) -> ZonePlan {
        ZonePlan {
            zone: "example.test".into(),
            provider: None,
            servers: vec![self.primary, self.secondary],
            authority: self.authority(),
            records,
            lowered_ttl_s: 1,
            lowered_other_ttl_s: 1,
            allow: Vec::new(),
            query_logs: Vec::new(),
            parents: Vec::new(),
        }
    }

    /// Sends one UPDATE to the primary; `lines` are those of `nsupdate`. Returns the answer's code.
    pub(crate) fn update(&self, lines: &str) -> String {
        update(self.primary, ZONE_NAME, lines)
    }

    /// Returns records of a type at a name of the primary, one a line, data only, without RRSIG.
    pub(crate) fn data(&self, name: &str, rtype: &str) -> Vec<String> {
        let text = dig(self.primary.ip(), &["+noall", "+answer", name, rtype]);
        let mut data: Vec<String> = text
            .lines()
            .filter_map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                (words.len() > 4 && words[3] == rtype).then(|| words[4..].join(" "))
            })
            .collect();
        data.sort();
        data
    }

    /// Returns the TTL of a set at the primary, seconds.
    pub(crate) fn ttl(&self, name: &str, rtype: &str) -> u32 {
        let text = dig(self.primary.ip(), &["+noall", "+answer", name, rtype]);
        text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("the set is there")
    }

    /// Waits until the secondary has the primary's serial.
    pub(crate) fn until_followed(&self) {
        let soa = |server: SocketAddr| dig(server.ip(), &["+short", ZONE_NAME, "SOA"]);
        let deadline = Instant::now() + Duration::from_secs(15);
        while soa(self.primary) != soa(self.secondary) {
            assert!(Instant::now() < deadline, "{:?}: the secondary follows", self.kind);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Writes the zone as the primary transfers it to a file; returns its path.
    pub(crate) fn transfer(&self) -> PathBuf {
        let key = self.home.join("transfer.key");
        fs::write(&key, super::daemon::key_text()).unwrap();
        let key = key.display().to_string();
        let words = ["-k", &key, "+noall", "+answer", "+onesoa", ZONE_NAME, "AXFR"];
        let text = dig(self.primary.ip(), &words);
        assert!(text.contains("SOA"), "{:?}: the zone is transferred: {text}", self.kind);
        let file = self.home.join("transferred");
        fs::write(&file, text).unwrap();
        file
    }

    /// Lets BIND's `dnssec-verify` judge the zone as the primary transfers it; returns what it
    /// says, after `true` if it is fully signed.
    pub(crate) fn verified(&self) -> (bool, String) {
        let file = self.transfer();
        let done = Command::new(program("dnssec-verify", "bind9-utils"))
            .args(["-z", "-o", ZONE_NAME])
            .arg(file)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        (done.status.success(), told.into_owned())
    }

    /// Returns the DS data of the zone's keys that sign the keys, as `12345 13 2 AB...`: what the
    /// provider shows to its customer.
    pub(crate) fn ds(&self) -> Vec<String> {
        let keys = dig(self.primary.ip(), &["+noall", "+answer", ZONE_NAME, "DNSKEY"]);
        let file = self.home.join("keys");
        fs::write(&file, keys).unwrap();
        let file = file.display().to_string();
        let told = super::parent::run(
            &self.home,
            "dnssec-dsfromkey",
            &["-2", "-f", &file, "example.test"],
        );
        told.lines().map(|line| line.split(" DS ").nth(1).unwrap().to_owned()).collect()
    }
}

/// The part of BIND's configuration that a change of `signing` changes.
fn bind_zones(second: IpAddr, signing: &str) -> String {
    format!(
        "dnssec-policy csk {{ {TIMES} keys {{ csk lifetime unlimited algorithm 13; }}; }};
         dnssec-policy ksk-zsk {{ {TIMES} keys {{ ksk lifetime unlimited algorithm 13;
           zsk lifetime unlimited algorithm 13; }}; }};
         zone \"example.test\" {{ type primary; file \"example.test.zone\"; {signing}
           update-policy {{ grant mig-key zonesub ANY; }}; allow-transfer {{ key mig-key; }};
           notify explicit; notify-delay 0; also-notify {{ {second} key mig-key; }}; }};"
    )
}

/// Nothing waits longer than the lab's TTLs.
const TIMES: &str = "dnskey-ttl 4; max-zone-ttl 300; parent-ds-ttl 4; publish-safety 0;
    retire-safety 0; zone-propagation-delay 0; parent-propagation-delay 0; purge-keys 0;";

/// Configures BIND; `policy` are the words by which the zone is signed.
pub(super) fn bind(home: &Path, first: IpAddr, second: IpAddr, policy: &str) -> Command {
    named(home, first, AUTHORITATIVE, &bind_zones(second, policy))
}

/// Names the policy that signs; nothing for a zone without signatures.
pub(super) fn bind_policy(signing: Signing) -> &'static str {
    match signing {
        Signing::Unsigned => "",
        Signing::Csk => "dnssec-policy csk; inline-signing no;",
        Signing::KskZsk => "dnssec-policy ksk-zsk; inline-signing no;",
    }
}

pub(super) fn knot_of(
    home: &Path,
    file: &Path,
    first: IpAddr,
    second: IpAddr,
    signing: Signing,
) -> Command {
    let command = knot(home, file, (first, 53).into());
    let config = home.join("knot.conf");
    let text = fs::read_to_string(&config).unwrap();
    let single = if signing == Signing::Csk { "on" } else { "off" };
    let before = format!(
        "remote:\n  - id: secondary\n    address: {second}\n    key: mig-key\n\
         policy:\n  - id: lab\n    algorithm: ecdsap256sha256\n    single-type-signing: {single}\n    \
         dnskey-management: incremental\n    delete-delay: 1d\n    dnskey-ttl: 4\n    \
         zone-max-ttl: 300\n    propagation-delay: 1\n    cds-cdnskey-publish: none\n"
    );
    let (head, zones) = text.split_at(text.find("zone:\n  - domain").unwrap());
    let mut text = format!("{head}{before}{zones}    notify: secondary\n    dnssec-policy: lab\n");
    if signing != Signing::Unsigned {
        text += "    dnssec-signing: on\n";
    }
    fs::write(config, text).unwrap();
    command
}

fn powerdns_of(
    home: &Path,
    file: &Path,
    first: IpAddr,
    second: IpAddr,
    signing: Signing,
) -> Command {
    let command = powerdns(home, file, (first, 53).into());
    let config = home.join("pdns.conf");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(config, text + "direct-dnskey=yes\n").unwrap();
    let notify = second.to_string();
    pdnsutil(home, &["set-meta", "example.test", "ALSO-NOTIFY", &notify]);
    pdnsutil(home, &["set-meta", "example.test", "NOTIFY-DNSUPDATE", "1"]);
    pdnsutil(home, &["rectify-zone", "example.test"]);
    for step in powerdns_signing(signing) {
        pdnsutil(home, step);
    }
    command
}

/// How PowerDNS is told to sign.
pub(super) fn powerdns_signing(signing: Signing) -> &'static [&'static [&'static str]] {
    match signing {
        Signing::Unsigned => &[],
        Signing::Csk => &[&["secure-zone", "example.test"]],
        Signing::KskZsk => &[
            &["add-zone-key", "example.test", "ksk", "active", "ecdsa256"],
            &["add-zone-key", "example.test", "zsk", "active", "ecdsa256"],
            &["rectify-zone", "example.test"],
        ],
    }
}
