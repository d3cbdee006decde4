//! Records that lead nowhere.

use super::records::{Known, Names, target};
use crate::sets::{Owner, SetKey};
use crate::zone::Contents;
use domain::base::Rtype;
use domain::base::name::Name;
use serde::Serialize;
use std::collections::BTreeSet;

/// A record that leads nowhere, or where it must not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dangling {
    /// Owner name.
    pub name: String,
    /// Record type.
    pub rtype: String,
    /// Its data.
    pub data: String,
    /// What is wrong with it.
    pub why: String,
}

/// Finds records whose target does not exist in this zone, and what only others can tell.
pub(crate) fn find(names: &Names<'_>, contents: &Contents) -> (Vec<Dangling>, Vec<String>) {
    let (mut dangling, mut elsewhere) = (Vec::new(), BTreeSet::new());
    for set in contents.sets() {
        for data in &set.data {
            let rtype = set.key.rtype;
            let Some(to) = target(rtype, data) else { continue };
            match wrong(names, &set.key, &to) {
                Ok(()) => {}
                Err(Some(why)) => dangling.push(Dangling {
                    name: set.key.name.to_string(),
                    rtype: rtype.to_string(),
                    data: data.text(rtype),
                    why,
                }),
                Err(None) => drop(elsewhere.insert(to.to_string())),
            }
        }
    }
    let unknown = (!elsewhere.is_empty()).then(|| {
        let names: Vec<String> = elsewhere.into_iter().collect();
        format!("whether these names of other zones exist: {}", names.join(", "))
    });
    (dangling, unknown.into_iter().collect())
}

/// Says what is wrong with a target; `Err(None)` if this zone cannot tell.
fn wrong(names: &Names<'_>, key: &SetKey, to: &Owner) -> Result<(), Option<String>> {
    // "No such service" (RFC 7505, RFC 2782), and the owner itself (RFC 9460 section 2.5).
    if *to == Name::root_bytes() {
        return Ok(());
    }
    if key.rtype == Rtype::DNAME {
        return if names.look_up(to) == Known::Elsewhere { Err(None) } else { Ok(()) };
    }
    if key.rtype == Rtype::NS && names.cut(to).is_some_and(|cut| cut.name == key.name) {
        // Below the very name that it serves: without glue nobody finds it.
        let why = || Some(format!("`{to}` lies below the delegation and has no glue"));
        return if names.has_address(to) { Ok(()) } else { Err(why()) };
    }
    match names.look_up(to) {
        Known::Elsewhere => Err(None),
        Known::Missing => Err(Some(format!("`{to}` does not exist"))),
        Known::Bare if key.rtype == Rtype::CNAME => Ok(()),
        Known::Bare => Err(Some(format!("`{to}` has no address"))),
        // RFC 2181 section 10.3, RFC 2782.
        Known::Reachable
            if matches!(key.rtype, Rtype::MX | Rtype::NS | Rtype::SRV)
                && names.has(to, Rtype::CNAME) =>
        {
            Err(Some(format!("`{to}` is an alias, which is not allowed there")))
        }
        Known::Reachable => Ok(()),
    }
}
