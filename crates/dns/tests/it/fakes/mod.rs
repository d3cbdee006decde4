//! Stand-ins of providers that cannot be had on one machine: servers with state, with the limits
//! and errors that their documentation names, and with name servers that follow in their time.

pub(crate) mod cloudflare;
mod edge;
mod http;
pub(crate) mod route53;

pub(crate) use edge::{Edge, Sets};

use std::collections::BTreeMap;

/// Reads a zone's text into sets by name (no dot at its end) and type.
pub(crate) fn sets_of(zone: &str) -> Sets {
    let text = format!("$ORIGIN example.test.\n{zone}");
    let mut none = |name: &str| Err(format!("{name} is not there"));
    let read = segue_dns::zonefile::read("example.test", "zone", text.as_bytes(), &mut none);
    let contents = read.unwrap().contents;
    let mut sets: Sets = BTreeMap::new();
    for set in contents.sets() {
        let value = serde_json::to_value(set).unwrap();
        let text = |key: &str| value[key].as_str().unwrap().to_owned();
        sets.insert((text("name"), text("type")), (set.ttl_s(), set.texts()));
    }
    let soa = "ns1.example.test. hostmaster.example.test. 1 3600 600 86400 60".to_owned();
    sets.insert(("example.test".into(), "SOA".into()), (300, vec![soa]));
    sets
}
