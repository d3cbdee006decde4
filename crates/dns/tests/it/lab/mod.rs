//! A lab of delegations in a network of its own, every server on port 53: a signed root, the signed
//! `test`, two providers of `example.test`, and two validating resolvers.

pub(crate) mod daemon;
pub(crate) mod inside;
pub(crate) mod parent;
pub(crate) mod providers;
pub(crate) mod resolvers;
mod signers;
mod signing;
mod tests;

use parent::{Delegation, Parent};
use providers::{Kind, Provider, Signing};
use resolvers::Resolvers;
use std::collections::BTreeSet;
use std::future::Future;
use std::net::IpAddr;
use tempfile::TempDir;

pub(crate) const ZONE_NAME: &str = "example.test.";
pub(crate) const ROOT: &str = "10.53.0.1";
pub(crate) const PARENT: &str = "10.53.0.2";
/// Serves the names of the name servers: `ns1.source.test` and the like.
pub(crate) const HOSTS: &str = "10.53.0.3";
/// Primary and secondary: `ns1.source.test` and `ns2.source.test`.
pub(crate) const SOURCE: [&str; 2] = ["10.53.0.11", "10.53.0.12"];
/// Primary and secondary: `ns1.target.test` and `ns2.target.test`.
pub(crate) const TARGET: [&str; 2] = ["10.53.0.21", "10.53.0.22"];
pub(crate) const UNBOUND: &str = "10.53.0.101";
pub(crate) const BIND_RESOLVER: &str = "10.53.0.102";

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Runs the body of the test `name` inside the lab's network; see [`inside::inside`].
pub(crate) fn inside<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    let all = [ROOT, PARENT, HOSTS, UNBOUND, BIND_RESOLVER];
    let all: Vec<&str> = all.into_iter().chain(SOURCE).chain(TARGET).collect();
    inside::inside(name, &all, body);
}

/// What a lab is made of.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) source: (Kind, Signing),
    pub(crate) target: (Kind, Signing),
    /// Zone files' text without `$ORIGIN`.
    pub(crate) source_zone: String,
    pub(crate) target_zone: String,
    /// TTL of NS, DS and glue in `test`, seconds.
    pub(crate) parent_ttl: u32,
    /// The source's name servers are `ns1.example.test` and `ns2.example.test`, with glue.
    pub(crate) glue: bool,
}

impl Wanted {
    /// The same content at both, apart from the NS, and apart from `www`, which has 192.0.2.1 at
    /// the source and 198.51.100.1 at the target.
    pub(crate) fn new(source: (Kind, Signing), target: (Kind, Signing)) -> Self {
        Self {
            source,
            target,
            source_zone: zone_text(&source_names(false), "192.0.2.1"),
            target_zone: zone_text(&target_names(), "198.51.100.1"),
            parent_ttl: 4,
            glue: false,
        }
    }
}

/// Names of the source's name servers.
pub(crate) fn source_names(glue: bool) -> [String; 2] {
    let zone = if glue { "example" } else { "source" };
    [1, 2].map(|number| format!("ns{number}.{zone}.test."))
}

/// Names of the target's name servers.
pub(crate) fn target_names() -> [String; 2] {
    [1, 2].map(|number| format!("ns{number}.target.test."))
}

/// A small zone: TTL 5 s throughout.
pub(crate) fn zone_text(names: &[String; 2], www: &str) -> String {
    let [one, two] = names;
    let glue = if one.ends_with(ZONE_NAME) {
        format!("{one} A {}\n{two} A {}\n", SOURCE[0], SOURCE[1])
    } else {
        String::new()
    };
    format!(
        "$TTL 5\n@ SOA {one} hostmaster.example.test. 10 60 5 6000 5\n@ NS {one}\n@ NS {two}\n\
         {glue}www A {www}\nmail A 192.0.2.25\n@ MX 10 mail\n@ TXT \"v=spf1 mx -all\"\n"
    )
}

/// A running lab; its servers end with the value. Fields are dropped in this order.
pub(crate) struct DelegationLab {
    resolvers: Resolvers,
    pub(crate) source: Provider,
    pub(crate) target: Provider,
    pub(crate) parent: Parent,
    pub(crate) dir: TempDir,
}

impl DelegationLab {
    /// Starts everything; `example.test` is delegated to the source, with DS if it is signed.
    pub(crate) fn start(wanted: &Wanted) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names = source_names(wanted.glue);
        let mut first = Delegation { ns: names.iter().cloned().collect(), ..Default::default() };
        if wanted.glue {
            first.glue = names.into_iter().zip(SOURCE.map(str::to_owned)).collect();
        }
        let provider = |name: &str, (kind, signing), addresses, zone: &str| {
            Provider::start(&dir.path().join(name), kind, signing, addresses, zone)
        };
        let mut source = provider("source", wanted.source, SOURCE, &wanted.source_zone);
        let mut target = provider("target", wanted.target, TARGET, &wanted.target_zone);
        let mut parent = Parent::start(dir.path(), wanted.parent_ttl, &first);
        let mut resolvers = Resolvers::start(dir.path(), &parent.anchor);
        source.until_ready(wanted.source.1);
        target.until_ready(wanted.target.1);
        parent.until_ready();
        if wanted.source.1 != Signing::Unsigned {
            first.ds = source.ds().into_iter().collect();
            parent.delegate(&first);
        }
        resolvers.until_ready();
        Self { resolvers, source, target, parent, dir }
    }

    /// Starts both resolvers again, with empty caches.
    pub(crate) fn forget(&mut self) {
        self.resolvers.end();
        self.resolvers = Resolvers::start(self.dir.path(), &self.parent.anchor);
        self.resolvers.until_ready();
    }
}

/// Names as a set.
pub(crate) fn set_of(names: &[String]) -> BTreeSet<String> {
    names.iter().cloned().collect()
}
