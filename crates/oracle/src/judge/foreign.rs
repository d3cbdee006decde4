//! Whether what belongs to others is as they left it.

use super::{Findings, Foreign, Tenant, TenantWrite, Zone};
use std::collections::{BTreeMap, BTreeSet};

/// Counts the bytes that differ.
pub(super) fn judge(foreign: &Foreign, changed: &mut Findings) {
    if let Some(tenant) = &foreign.tenant {
        rows(tenant, changed);
    }
    if let Some(zone) = &foreign.zone {
        records(zone, changed);
    }
}

fn rows(tenant: &Tenant, changed: &mut Findings) {
    let found: BTreeMap<u64, &TenantWrite> = tenant.rows.iter().map(|row| (row.id, row)).collect();
    let mut expected = BTreeMap::<u64, &TenantWrite>::new();
    for write in &tenant.writes[..written(tenant, &found)] {
        expected.insert(write.id, write);
    }
    for (id, write) in &expected {
        match found.get(id) {
            None => changed.add(bytes(write), || format!("tenant row {id} is gone")),
            Some(row) => {
                changed.add(difference(write, row), || {
                    format!("tenant row {id} is not what the tenant wrote last")
                });
            }
        }
    }
    for (id, row) in found.iter().filter(|(id, _)| !expected.contains_key(id)) {
        changed.add(bytes(row), || format!("tenant row {id} was written by somebody else"));
    }
    if let Some((start, now)) = tenant.archive {
        changed.add(u64::from(now != Some(start)), || {
            format!("checksum of the tenant's archive: {start} at the start, now {now:?}")
        });
    }
    changed.add(u64::from(tenant.at_target), || {
        "the tenant's schema appeared at the target".to_owned()
    });
}

/// Returns how many of the tenant's writes happened before its table was read: all that
/// were in the ledger by then, and those after them up to the last that shows.
fn written(tenant: &Tenant, found: &BTreeMap<u64, &TenantWrite>) -> usize {
    let shows = |write: &TenantWrite| {
        found.get(&write.id).is_some_and(|row| row.revision >= write.revision)
    };
    let sure = tenant.sure.min(tenant.writes.len());
    sure + tenant.writes[sure..].iter().rposition(shows).map_or(0, |at| at + 1)
}

fn bytes(row: &TenantWrite) -> u64 {
    (row.body.len() as u64).max(1)
}

/// Bytes that differ, and one for another revision of an equal body.
fn difference(one: &TenantWrite, two: &TenantWrite) -> u64 {
    let unequal = one.body.bytes().zip(two.body.bytes()).filter(|(a, b)| a != b).count();
    let bytes = unequal + one.body.len().abs_diff(two.body.len());
    (bytes as u64).max(u64::from(one.revision != two.revision))
}

fn records(zone: &Zone, changed: &mut Findings) {
    let foreign = |lines: &[String]| -> BTreeSet<String> {
        lines.iter().filter(|line| is_foreign(line, &zone.owned)).map(|line| normal(line)).collect()
    };
    let (before, after) = (foreign(&zone.before), foreign(&zone.after));
    for line in before.difference(&after) {
        changed.add(line.len() as u64, || format!("zone line is gone: {line}"));
    }
    for line in after.difference(&before) {
        changed.add(line.len() as u64, || format!("zone line appeared: {line}"));
    }
}

/// Columns are padded with blanks by the longest name.
fn normal(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a zone line is neither of an owned name nor the SOA, whose serial grows with
/// every change.
fn is_foreign(line: &str, owned: &[String]) -> bool {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default().trim_end_matches('.');
    let owned = owned.iter().any(|own| own.trim_end_matches('.').eq_ignore_ascii_case(name));
    // TTL and class may stand between name and type.
    let soa = words.take(3).any(|word| word.eq_ignore_ascii_case("SOA"));
    !owned && !soa
}
