//! Whether who validates believes what a provider serves (RFC 4035 section 5), whichever provider
//! the keys were asked from (RFC 8901 section 4).

use super::facts::Seen;
use super::keys;
use super::look::ServerLook;
use crate::change::now_ms;
use crate::sets::RecordSet;
use crate::signed::verified;
use domain::base::Rtype;
use segue_model::Side;

/// Says where the chain from the parent's DS to the zone's data breaks at the servers of `side`.
/// `crossed`: also where one's data cannot be proved with the other's keys.
pub(super) fn broken(seen: &Seen<'_>, side: Side, crossed: bool) -> Vec<String> {
    let mut why = Vec::new();
    for server in seen.servers(side) {
        why.extend(entry(seen, server).err());
        why.extend(data(seen, server, server).err());
        for other in seen.servers(side.other()).iter().filter(|_| crossed) {
            why.extend(data(seen, server, other).err());
            why.extend(data(seen, other, server).err());
        }
    }
    why.sort();
    why.dedup();
    why
}

/// Every server of the parent names a key with which the server's keys are signed.
fn entry(seen: &Seen<'_>, server: &ServerLook) -> Result<(), String> {
    let own = &server.own;
    let now_s = now_ms().0 / 1000;
    for parent in &seen.look.parents {
        let named = |key: &&crate::sets::Data| {
            parent.ds.data.iter().any(|ds| keys::names_key(seen.apex, ds, key))
        };
        let named: std::collections::BTreeSet<_> =
            own.keys.data.iter().filter(named).cloned().collect();
        if named.is_empty() {
            return Err(format!(
                "the parent ({}) names no key that {} shows",
                parent.server, server.address
            ));
        }
        let named = RecordSet { data: named, ..own.keys.clone() };
        verified(seen.apex, &own.keys, &own.key_signatures, &named, now_s)
            .map_err(|why| format!("the keys that {} shows: {why}", server.address))?;
    }
    Ok(())
}

/// What `server` signs is proved with the keys that `shows` shows.
fn data(seen: &Seen<'_>, shows: &ServerLook, server: &ServerLook) -> Result<(), String> {
    let own = &server.own;
    let now_s = now_ms().0 / 1000;
    let proved = verified(seen.apex, &own.soa, &own.soa_signatures, &shows.own.keys, now_s);
    proved.map_err(|why| match shows.address == server.address {
        true => format!("what {} serves: {why}", server.address),
        false => {
            format!("what {} serves, with the keys of {}: {why}", server.address, shows.address)
        }
    })
}

/// Says why the parent must not name a key of `side` yet: its servers do not all prove what they
/// serve with keys that they sign themselves.
pub(super) fn unproved(seen: &Seen<'_>, side: Side) -> Vec<String> {
    let mut why = Vec::new();
    let entry = seen.signing(side, Rtype::DNSKEY);
    for server in seen.servers(side) {
        let own = &server.own;
        let keys = RecordSet { data: entry.clone(), ..own.keys.clone() };
        let signed = verified(seen.apex, &own.keys, &own.key_signatures, &keys, now_ms().0 / 1000);
        why.extend(signed.err().map(|e| format!("the keys that {} shows: {e}", server.address)));
        why.extend(data(seen, server, server).err());
    }
    why
}
