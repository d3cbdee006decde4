//! What a comparison found, in the form in which it is told and stored.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Digest of one table, or of some of its rows, at one side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDigest {
    /// Number of rows.
    pub rows: u64,
    /// Sum of the rows' hashes, decimal.
    pub sum: String,
}

/// Something that is not the same on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Kind and name of the object: ``table `orders` ``.
    pub object: String,
    /// What differs: `rows`, `definition`, `missing at source`, `missing at target`,
    /// `open at both sides`.
    pub what: String,
    /// The source's side of it; empty if there is nothing to show.
    pub source: String,
    /// The target's side of it.
    pub target: String,
    /// Of rows: the columns of the key by which they are named; empty of a table without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// Of rows: the ranges in which they are, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<DifferentRange>,
    /// Whether there are rows beyond those ranges that differ too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// A range of a table's key with rows that differ. It shows keys, and no other column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferentRange {
    /// The key before its first one, as in a statement; empty at the table's beginning.
    pub after: String,
    /// Its last key; empty at the table's end.
    pub to: String,
    /// Its rows at the source.
    pub source_rows: u64,
    /// Its rows at the target.
    pub target_rows: u64,
    /// Rows that are at the source only.
    #[serde(default, skip_serializing_if = "Keys::is_empty")]
    pub only_source: Keys,
    /// Rows that are at the target only.
    #[serde(default, skip_serializing_if = "Keys::is_empty")]
    pub only_target: Keys,
    /// Rows with other values at the target.
    #[serde(default, skip_serializing_if = "Keys::is_empty")]
    pub changed: Keys,
}

/// Keys of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// How many rows.
    pub count: u64,
    /// The first of them, as in a statement.
    pub first: Vec<String>,
}

impl Keys {
    /// Keys that are named of each kind.
    pub(crate) const NAMED: usize = 20;

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn note(&mut self, key: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push(key());
        }
    }
}

/// Outcome of a full comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Tables compared.
    pub tables: u64,
    /// Rows compared, at the source.
    pub rows: u64,
    /// Everything that differs; empty if both sides are equal.
    pub differences: Vec<Difference>,
    /// One digest over all tables and definitions of the source, hexadecimal.
    pub digest: String,
    /// How long it took, milliseconds.
    pub ms: u64,
}

impl Comparison {
    /// Returns it as the output of a step: `differences` is their number, `found` names
    /// the first of them.
    pub fn output(&self) -> Value {
        const NAMED: usize = 20;
        json!({
            "tables": self.tables, "rows": self.rows, "digest": self.digest, "ms": self.ms,
            "differences": self.differences.len(),
            "found": self.differences.iter().take(NAMED).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_names_no_ranges_is_read() {
        let former = r#"{"object":"table `t`","what":"rows","source":"1 rows","target":"2 rows"}"#;
        let read: Difference = serde_json::from_str(former).unwrap();
        assert_eq!((read.ranges.len(), read.more), (0, false));
        assert_eq!(serde_json::to_string(&read).unwrap(), former);
    }

    #[test]
    fn so_many_keys_are_counted_and_the_first_are_named() {
        let mut keys = Keys::default();
        for id in 0..50 {
            keys.note(|| id.to_string());
        }
        assert_eq!((keys.count, keys.first.len(), keys.first[0].as_str()), (50, 20, "0"));
    }
}
