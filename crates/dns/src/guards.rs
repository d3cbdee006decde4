//! What a change of a zone is held back for until somebody says by name that it is meant.
//!
//! **Invariant.** Each compares the zone as it is with the zone as it would be: what was wrong
//! before and stays so is the audit's to tell, and holds nothing back.

use crate::audit::{Names, dangling, spf};
use crate::codes;
use crate::sets::RecordSet;
use crate::zone::{Contents, Declared};
use domain::base::Rtype;
use segue_model::plan::ZoneGuard;
use segue_model::{Finding, Side};

/// Zones with fewer records change as a whole all the time.
const RECORDS_MIN: u64 = 10;
/// Share of a zone's records that may change or go, percent.
const SHARE_MAX: u64 = 30;

/// First labels by which somebody else proves that the domain is his: certificate authorities
/// (RFC 8555 section 8.4; CA/Browser Forum 3.2.2.4.7), panels, providers of mail and names.
const VALIDATION: [&str; 8] = [
    "_acme-challenge",
    "_acme-challenge-test",
    "_cpanel-dcv-test-record",
    "_dnsauth",
    "_domainconnect",
    "_pki-validation",
    "_globalsign-domain-verification",
    "_validation-persist",
];

/// Returns the zone after the owned sets took the data of `side`; their TTLs are the lowered
/// ones where a set is new.
pub(crate) fn after(declared: &Declared, contents: &Contents, side: Side) -> Contents {
    let mut sets = contents.sets.clone();
    for wanted in declared.data.get(side) {
        let former = sets.remove(&wanted.key);
        if wanted.exists() {
            let ttl = former.map_or(wanted.ttl, |former| former.ttl.min(wanted.ttl));
            sets.insert(wanted.key.clone(), wanted.with_ttl(ttl));
        }
    }
    Contents { soa: contents.soa.clone(), sets }
}

/// Says what holds the move of the owned sets to the target back.
pub(crate) fn guards(
    declared: &Declared,
    contents: &Contents,
    allow: &[ZoneGuard],
) -> Vec<Finding> {
    let wanted = after(declared, contents, Side::Target);
    let mut found = Vec::new();
    found.extend(share(declared, contents).map(|text| (ZoneGuard::Share, text)));
    found.extend(dangles(declared, contents, &wanted).map(|text| (ZoneGuard::Dangling, text)));
    found.extend(rejected(contents, &wanted).map(|text| (ZoneGuard::Spf, text)));
    found.extend(validates(declared).map(|text| (ZoneGuard::Validation, text)));
    found.extend(own_ns(declared).map(|text| (ZoneGuard::ApexNs, text)));
    let held = found.into_iter().filter(|(guard, _)| !allow.contains(guard));
    held.map(|(guard, text)| {
        let name = guard.name();
        Finding::refuse(
            codes::GUARDED,
            format!("guard `{name}`: {text}"),
            format!("if that is meant, write `allow = [\"{name}\"]` into the [[zone]]"),
        )
    })
    .collect()
}

fn share(declared: &Declared, contents: &Contents) -> Option<String> {
    let all = contents.records();
    let gone = |wanted: &RecordSet| {
        let former = contents.set(&wanted.key);
        former.data.difference(&wanted.data).count() as u64
    };
    let changed: u64 = declared.data.get(Side::Target).iter().map(gone).sum();
    (all >= RECORDS_MIN && changed * 100 > all * SHARE_MAX).then(|| {
        format!("{changed} of the zone's {all} records change or go, more than {SHARE_MAX} %")
    })
}

fn dangles(
    declared: &Declared,
    contents: &Contents,
    wanted: &Contents,
) -> impl Iterator<Item = String> {
    let apex = &declared.apex;
    let find = |contents: &Contents| dangling::find(&Names::of(apex, contents), contents).0;
    let before = find(contents);
    let new = find(wanted).into_iter().filter(move |now| !before.contains(now));
    new.map(|now| {
        format!("`{} {} {}` would lead nowhere: {}", now.name, now.rtype, now.data, now.why)
    })
}

fn rejected(contents: &Contents, wanted: &Contents) -> impl Iterator<Item = String> {
    let wrong =
        |contents: &Contents| spf::find(contents).into_iter().filter(|spf| spf.wrong.is_some());
    let before: Vec<_> = wrong(contents).map(|spf| (spf.name, spf.wrong)).collect();
    wrong(wanted).filter_map(move |now| {
        let known = before.iter().any(|(name, why)| *name == now.name && *why == now.wrong);
        let why = now.wrong.filter(|_| !known)?;
        Some(format!("the SPF record of `{}`: {why}", now.name))
    })
}

fn validates(declared: &Declared) -> impl Iterator<Item = String> {
    let label = |set: &RecordSet| {
        let name = set.key.name.to_string();
        name.split('.').next().unwrap_or_default().to_owned()
    };
    let sets = declared.data.get(Side::Target).iter();
    sets.filter(move |set| VALIDATION.contains(&label(set).as_str())).map(|set| {
        format!(
            "`{}` proves to somebody else whose the domain is, and changes without you",
            set.key
        )
    })
}

fn own_ns(declared: &Declared) -> Option<String> {
    let apex = &declared.apex;
    let owned = declared.keys.iter().find(|key| key.name == *apex && key.rtype == Rtype::NS)?;
    Some(format!(
        "`{owned}` belongs to all units of the zone, and its parent's delegation is another set, \
         which is not changed"
    ))
}
