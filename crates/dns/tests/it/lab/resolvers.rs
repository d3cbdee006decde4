//! Two validating resolvers that know nothing but the lab's root, with the settings they have by
//! themselves.
//!
//! What they once found bogus they believe whatever the TTLs: where a DS that was wrong is right
//! again, unbound 1.17 goes on to say SERVFAIL for 60 s (answers by `val-bogus-ttl`, keys by a
//! constant), BIND 9.18 for 30 s (measured: 29.2 s). [`super::DelegationLab::forget`] cuts that
//! short.

use super::daemon::{Daemon, dig, named};
use super::{BIND_RESOLVER, ROOT, UNBOUND, ip};
use crate::makes::program;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

/// unbound and BIND, in this order everywhere.
pub(crate) struct Resolvers {
    daemons: Vec<Daemon>,
}

/// What a resolver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// `NOERROR`, `SERVFAIL`; empty if it does not answer.
    pub(crate) code: String,
    /// It has validated the answer (AD).
    pub(crate) validated: bool,
    /// Data of the asked type, sorted.
    pub(crate) data: Vec<String>,
}

/// Their addresses.
pub(crate) fn addresses() -> [IpAddr; 2] {
    [ip(UNBOUND), ip(BIND_RESOLVER)]
}

impl Resolvers {
    pub(crate) fn start(dir: &Path, anchor: &str) -> Self {
        let unbound = unbound(&dir.join("unbound"), anchor);
        let bind = bind(&dir.join("resolver"), anchor);
        let daemons = vec![
            Daemon::start(&dir.join("unbound"), unbound),
            Daemon::start(&dir.join("resolver"), bind),
        ];
        Self { daemons }
    }

    /// Ends both.
    pub(crate) fn end(&mut self) {
        self.daemons.clear();
    }

    /// Waits until both answer; nothing of `example.test` is in their caches then.
    pub(crate) fn until_ready(&mut self) {
        for (daemon, address) in self.daemons.iter_mut().zip(addresses()) {
            let words = ["+rd", "+short", "ns1.root", "A"];
            daemon.until(address, &words, ROOT);
        }
    }
}

/// Asks a resolver as a program does that wants to know whether it validated.
pub(crate) fn ask(resolver: IpAddr, name: &str, rtype: &str) -> Said {
    // The longest that a resolver needs to give up validation.
    let text = dig(resolver, &["+rd", "+adflag", "+time=5", name, rtype]);
    let code = text.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
    let flags = text.split("flags:").nth(1).and_then(|rest| rest.split(';').next());
    let mut data: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with(';'))
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let fits = words.len() > 4 && words[3] == rtype && words[0] == format!("{name}.");
            fits.then(|| words[4..].join(" "))
        })
        .collect();
    data.sort();
    Said {
        code: code.unwrap_or_default().to_owned(),
        validated: flags.is_some_and(|flags| flags.split(' ').any(|flag| flag == "ad")),
        data,
    }
}

const HINTS: &str = ". 3600 NS ns1.root.\nns1.root. 3600 A ";

fn unbound(home: &Path, anchor: &str) -> Command {
    fs::create_dir_all(home).unwrap();
    fs::write(home.join("hints"), format!("{HINTS}{ROOT}\n")).unwrap();
    let text = format!(
        "server:\n  interface: {UNBOUND}\n  outgoing-interface: {UNBOUND}\n  username: \"\"\n  \
         chroot: \"\"\n  directory: \"{home}\"\n  pidfile: \"\"\n  do-ip6: no\n  use-syslog: no\n  \
         logfile: \"\"\n  access-control: 10.0.0.0/8 allow\n  local-zone: \"test.\" nodefault\n  \
         module-config: \"validator iterator\"\n  trust-anchor: \"{anchor}\"\n  \
         root-hints: \"hints\"\n  num-threads: 1\n  qname-minimisation: yes\n  \
         val-log-level: 2\n\
         remote-control:\n  control-enable: no\n",
        home = home.display(),
    );
    let config = home.join("unbound.conf");
    fs::write(&config, text).unwrap();
    let mut command = Command::new(program("unbound", "unbound"));
    command.args(["-d", "-c"]).arg(config);
    command
}

fn bind(home: &Path, anchor: &str) -> Command {
    let words: Vec<&str> = anchor.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "DNSKEY").unwrap();
    let [flags, protocol, algorithm, key @ ..] = &words[at + 1..] else { panic!("{anchor}") };
    let zones = format!(
        "zone \".\" {{ type hint; file \"hints\"; }};
         trust-anchors {{ . static-key {flags} {protocol} {algorithm} \"{}\"; }};",
        key.concat()
    );
    let options = "recursion yes; allow-recursion { any; }; dnssec-validation yes;";
    let command = named(home, ip(BIND_RESOLVER), options, &zones);
    fs::write(home.join("hints"), format!("{HINTS}{ROOT}\n")).unwrap();
    command
}
