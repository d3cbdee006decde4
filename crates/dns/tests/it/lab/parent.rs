//! Above the zone: a signed root, the signed `test`, and the zones of the name servers' own names.
//! And the registrar: what a person does there.

use super::daemon::{AUTHORITATIVE, Daemon, dig, named, update};
use super::{HOSTS, PARENT, ROOT, SOURCE, TARGET, ZONE_NAME, ip};
use crate::makes::program;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The servers above `example.test`.
pub(crate) struct Parent {
    daemons: Vec<Daemon>,
    /// The root's key, in the words of a zone file: `. IN DNSKEY 257 3 13 ...`.
    pub(crate) anchor: String,
    /// TTL of the delegation's NS, DS and glue, seconds.
    ttl: u32,
}

/// What the parent says about `example.test`, without TTLs; names in full with their dot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Delegation {
    /// Names of name servers.
    pub(crate) ns: BTreeSet<String>,
    /// DS data, as `12345 13 2 AB...`.
    pub(crate) ds: BTreeSet<String>,
    /// Addresses of name servers that lie in the zone: (name, IPv4 address).
    pub(crate) glue: BTreeSet<(String, String)>,
}

impl Parent {
    pub(crate) fn start(dir: &Path, ttl: u32, first: &Delegation) -> Self {
        let root = dir.join("root");
        let tld = dir.join("tld");
        let hosts = dir.join("hosts");
        for folder in [&root, &tld, &hosts] {
            fs::create_dir_all(folder).unwrap();
        }
        let anchor = key(&root, ".");
        key(&tld, "test");
        let zone = format!(
            "$TTL {ttl}\n@ SOA ns1.nic.test. hostmaster.nic.test. 1 60 5 6000 {ttl}\n@ NS ns1.nic\n\
             ns1.nic A {PARENT}\nsource NS ns1.host\ntarget NS ns1.host\nhost NS ns1.host\n\
             ns1.host A {HOSTS}\n{}",
            first.lines(ttl)
        );
        sign(&tld, "test", &zone);
        let ds = fs::read_to_string(tld.join("dsset-test.")).unwrap();
        let zone = format!(
            "$TTL 600\n. SOA ns1.root. hostmaster.root. 1 60 5 6000 5\n. NS ns1.root.\n\
             ns1.root. A {ROOT}\ntest. NS ns1.nic.test.\nns1.nic.test. A {PARENT}\n{ds}"
        );
        sign(&root, ".", &zone);
        for (name, [one, two]) in [("source", SOURCE), ("target", TARGET), ("host", [HOSTS; 2])] {
            let zone = format!(
                "$TTL 600\n@ SOA ns1.host.test. hostmaster.host.test. 1 60 5 6000 5\n\
                 @ NS ns1.host.test.\nns1 A {one}\nns2 A {two}\n"
            );
            fs::write(hosts.join(name), zone).unwrap();
        }
        let more = format!("{AUTHORITATIVE} notify no; allow-transfer {{ any; }};");
        let zone = "zone \".\" { type primary; file \"signed\"; };";
        let mut commands = vec![(root.clone(), named(&root, ip(ROOT), &more, zone))];
        // Its key lies in its folder: what an update changes is signed at once.
        let zone = "zone \"test\" { type primary; file \"signed\";
            update-policy { grant mig-key zonesub ANY; }; };";
        commands.push((tld.clone(), named(&tld, ip(PARENT), &more, zone)));
        let zones: String = ["source", "target", "host"]
            .iter()
            .map(|name| format!("zone \"{name}.test\" {{ type primary; file \"{name}\"; }};\n"))
            .collect();
        commands.push((hosts.clone(), named(&hosts, ip(HOSTS), &more, &zones)));
        let daemons =
            commands.into_iter().map(|(home, command)| Daemon::start(&home, command)).collect();
        Self { daemons, anchor, ttl }
    }

    /// Waits until all answer.
    pub(crate) fn until_ready(&mut self) {
        let zones = [(ROOT, "."), (PARENT, "test"), (HOSTS, "source.test")];
        for (daemon, (address, zone)) in self.daemons.iter_mut().zip(zones) {
            daemon.until(ip(address), &["+short", zone, "SOA"], "hostmaster.");
        }
    }

    /// Changes the whole delegation of `example.test` at once: what a person does at the registrar.
    pub(crate) fn delegate(&self, wanted: &Delegation) {
        let present = self.delegation();
        let mut lines = format!("update delete {ZONE_NAME} NS\nupdate delete {ZONE_NAME} DS\n");
        for (name, _) in &present.glue {
            lines += &format!("update delete {name} A\n");
        }
        for line in wanted.lines(self.ttl).lines() {
            lines += &format!("update add {line}\n");
        }
        assert_eq!(update((ip(PARENT), 53).into(), "test", &lines), "NOERROR", "{lines}");
        assert_eq!(&self.delegation(), wanted, "the parent has what it was told");
    }

    /// Reads the delegation of `example.test` from the parent's zone.
    pub(crate) fn delegation(&self) -> Delegation {
        let mut found = Delegation::default();
        let text = dig(ip(PARENT), &["+noall", "+answer", "+onesoa", "test", "AXFR"]);
        assert!(text.contains("SOA"), "the parent's zone is read: {text}");
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, _, _, rtype, data @ ..] = words.as_slice() else { continue };
            match *rtype {
                "NS" if *name == ZONE_NAME => found.ns.insert(data[0].to_owned()),
                // A long digest is printed in pieces.
                "DS" if *name == ZONE_NAME => {
                    found.ds.insert(format!("{} {}", data[..3].join(" "), data[3..].concat()))
                }
                "A" if name.ends_with(&format!(".{ZONE_NAME}")) => {
                    found.glue.insert(((*name).to_owned(), data[0].to_owned()))
                }
                _ => continue,
            };
        }
        found
    }
}

impl Delegation {
    /// Returns its records, one a line.
    fn lines(&self, ttl: u32) -> String {
        let ns = self.ns.iter().map(|name| format!("{ZONE_NAME} {ttl} IN NS {name}\n"));
        let ds = self.ds.iter().map(|data| format!("{ZONE_NAME} {ttl} IN DS {data}\n"));
        let glue = self.glue.iter().map(|(name, to)| format!("{name} {ttl} IN A {to}\n"));
        ns.chain(ds).chain(glue).collect()
    }
}

/// Makes the key of a zone that signs everything; returns its DNSKEY record.
fn key(home: &Path, zone: &str) -> String {
    let name = run(home, "dnssec-keygen", &["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", zone]);
    let text = fs::read_to_string(home.join(format!("{}.key", name.trim()))).unwrap();
    text.lines().find(|line| !line.starts_with(';')).unwrap().to_owned()
}

/// Signs a zone into the file `signed` of a folder that has the key.
fn sign(home: &Path, zone: &str, text: &str) {
    fs::write(home.join("zone"), text).unwrap();
    run(home, "dnssec-signzone", &["-q", "-S", "-z", "-P", "-o", zone, "-f", "signed", "zone"]);
}

/// Runs one of BIND's tools in a folder; returns what it prints.
pub(crate) fn run(home: &Path, tool: &str, words: &[&str]) -> String {
    let path: PathBuf = program(tool, "bind9-utils");
    let done = Command::new(path).current_dir(home).args(words).output().unwrap();
    assert!(done.status.success(), "{tool}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}
