//! Record data as values, and the names of a zone.

use crate::sets::{Data, Owner, SetKey};
use crate::zone::Contents;
use domain::base::name::{ParsedName, ToName};
use domain::base::rdata::ParseAnyRecordData;
use domain::base::{Name, Rtype};
use domain::dep::octseq::parse::Parser;
use domain::rdata::AllRecordData;
use std::collections::BTreeSet;

/// Data as the DNS library knows it.
pub(super) type Value<'d> = AllRecordData<&'d [u8], ParsedName<&'d [u8]>>;

/// Reads data of a type; `None` never happens for data that is in a zone.
pub(super) fn value(rtype: Rtype, data: &Data) -> Option<Value<'_>> {
    let mut parser = Parser::from_ref(data.wire.as_ref());
    AllRecordData::parse_any_rdata(rtype, &mut parser).ok()
}

/// Returns the name to which a record leads, if it leads to one.
pub(crate) fn target(rtype: Rtype, data: &Data) -> Option<Owner> {
    Some(match value(rtype, data)? {
        AllRecordData::Cname(data) => data.cname().to_canonical_name(),
        AllRecordData::Dname(data) => data.dname().to_canonical_name(),
        AllRecordData::Mx(data) => data.exchange().to_canonical_name(),
        AllRecordData::Srv(data) => data.target().to_canonical_name(),
        AllRecordData::Ns(data) => data.nsdname().to_canonical_name(),
        AllRecordData::Https(data) => data.target().to_canonical_name(),
        AllRecordData::Svcb(data) => data.target().to_canonical_name(),
        _ => return None,
    })
}

/// Returns the strings of a text record as one text; octets beyond ASCII are replaced.
pub(super) fn text(data: &Data) -> Option<String> {
    match value(Rtype::TXT, data)? {
        AllRecordData::Txt(texts) => {
            let octets: Vec<u8> = texts.text::<Vec<u8>>();
            Some(String::from_utf8_lossy(&octets).into_owned())
        }
        _ => None,
    }
}

/// What of a name a zone knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It has an address, or an alias.
    Reachable,
    /// It exists with other records, or has names below it.
    Bare,
    /// It does not exist.
    Missing,
    /// It is another zone's: outside this one, or below a delegation or DNAME.
    Elsewhere,
}

/// The names of a zone.
pub(crate) struct Names<'c> {
    pub(super) apex: &'c Owner,
    contents: &'c Contents,
    /// Every name with records, and every name above one.
    all: BTreeSet<Owner>,
    /// Delegations and DNAMEs.
    cuts: Vec<&'c SetKey>,
    /// Names that are answered for by what is no record.
    made_up: BTreeSet<Owner>,
}

impl<'c> Names<'c> {
    pub(crate) fn of(apex: &'c Owner, contents: &'c Contents) -> Self {
        Self::with(apex, contents, BTreeSet::new())
    }

    /// The same, with names that a provider answers for by what is no record.
    pub(super) fn with(apex: &'c Owner, contents: &'c Contents, made_up: BTreeSet<Owner>) -> Self {
        let mut all = BTreeSet::from([apex.clone()]);
        for name in contents.sets.keys().map(|key| &key.name).chain(&made_up) {
            let mut name = name.clone();
            while name.ends_with(apex) && all.insert(name.clone()) {
                match above(&name) {
                    Some(parent) => name = parent,
                    None => break,
                }
            }
        }
        let cut = |key: &&SetKey| match key.rtype {
            Rtype::NS => key.name != *apex,
            Rtype::DNAME => true,
            _ => false,
        };
        Self { apex, contents, all, cuts: contents.sets.keys().filter(cut).collect(), made_up }
    }

    /// Returns the delegation or DNAME that takes a name out of the zone.
    pub(super) fn cut(&self, name: &Owner) -> Option<&'c SetKey> {
        self.cuts
            .iter()
            .copied()
            .find(|cut| name.ends_with(&cut.name) && (cut.rtype == Rtype::NS || *name != cut.name))
    }

    /// Whether this zone holds an address for a name, glue included.
    pub(super) fn has_address(&self, name: &Owner) -> bool {
        [Rtype::A, Rtype::AAAA].into_iter().any(|rtype| self.has(name, rtype))
    }

    /// Whether it holds such a set.
    pub(super) fn has(&self, name: &Owner, rtype: Rtype) -> bool {
        self.contents.sets.contains_key(&SetKey { name: name.clone(), rtype })
    }

    /// Looks a name up as a server does: the name itself, else a wildcard (RFC 4592).
    pub(super) fn look_up(&self, name: &Owner) -> Known {
        if !name.ends_with(self.apex) || self.cut(name).is_some() {
            return Known::Elsewhere;
        }
        self.answering(name).map_or(Known::Missing, |owner| self.kind(&owner))
    }

    /// Returns whose records answer for a name: its own, or those of a wildcard.
    fn answering(&self, name: &Owner) -> Option<Owner> {
        if self.all.contains(name) {
            return Some(name.clone());
        }
        let mut closest = above(name);
        while let Some(parent) = closest {
            if self.all.contains(&parent) {
                return wildcard_of(&parent).filter(|name| self.all.contains(name));
            }
            closest = above(&parent);
        }
        None
    }

    /// Says why a name server of the zone itself cannot be found by its name, if so.
    pub(crate) fn lost(&self, name: &Owner) -> Option<&'static str> {
        if let Some(cut) = self.cut(name) {
            return (cut.rtype == Rtype::DNAME).then_some("lies below a DNAME");
        }
        match self.answering(name) {
            Some(owner) if self.has(&owner, Rtype::CNAME) => Some("is an alias"),
            Some(owner) if self.has_address(&owner) => None,
            _ => Some("has no address"),
        }
    }

    fn kind(&self, name: &Owner) -> Known {
        let reachable =
            self.has_address(name) || self.has(name, Rtype::CNAME) || self.made_up.contains(name);
        if reachable { Known::Reachable } else { Known::Bare }
    }
}

/// Returns the name without its first label; `None` for the root.
pub(super) fn above(name: &Owner) -> Option<Owner> {
    name.parent().map(|parent| Name::to_canonical_name(&parent))
}

fn wildcard_of(name: &Owner) -> Option<Owner> {
    crate::sets::owner(&format!("*.{}", name.fmt_with_dot())).ok()
}
