//! The table of TTLs.

use crate::zone::Contents;
use serde::Serialize;
use std::collections::BTreeMap;

/// Names that are shown as examples.
const EXAMPLES: usize = 3;

/// Sets of one type and TTL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TtlRow {
    /// Record type.
    pub rtype: String,
    /// TTL in seconds.
    pub ttl_s: u32,
    /// How many sets have it.
    pub sets: usize,
    /// Some of their names.
    pub examples: Vec<String>,
}

/// Counts sets by type and TTL; the highest TTL of a type comes first.
pub(super) fn table(contents: &Contents) -> Vec<TtlRow> {
    let mut rows: BTreeMap<(String, std::cmp::Reverse<u32>), TtlRow> = BTreeMap::new();
    for set in contents.sets() {
        let rtype = set.key.rtype.to_string();
        let row = rows.entry((rtype.clone(), std::cmp::Reverse(set.ttl))).or_insert(TtlRow {
            rtype,
            ttl_s: set.ttl,
            sets: 0,
            examples: Vec::new(),
        });
        row.sets += 1;
        if row.examples.len() < EXAMPLES {
            row.examples.push(set.key.name.to_string());
        }
    }
    rows.into_values().collect()
}
