//! The answer of a verification.

use super::notes::{Kept, TableKept};
use crate::difference::Difference;
use serde::Serialize;

/// What a verification found, and what it looked at when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Tables compared.
    pub tables: u64,
    /// Rows compared, at the source.
    pub rows: u64,
    /// Everything that differs.
    pub differences: Vec<Difference>,
    /// What was another one at every look, so that nobody knows.
    pub undecided: Vec<String>,
    /// What is no difference, and may matter.
    pub worth_knowing: Vec<String>,
    /// What was looked at when.
    pub moments: Vec<Seen>,
    /// Whether all of it was looked at on both sides at one moment each.
    pub one_moment: bool,
    /// Whether an earlier verification was gone on with.
    pub resumed: bool,
    /// What has to be said of how it went.
    pub said: Vec<String>,
    /// How long it took this time, milliseconds.
    pub ms: u64,
}

/// What was looked at at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// When, by the source's clock, milliseconds since 1970.
    pub at_ms: u64,
    /// Where it is in the write side's binary log; empty if both sides were read at nearly the
    /// same moment only.
    pub place: String,
    /// Tables, or their parts by the key at which each ends.
    pub parts: Vec<String>,
}

impl Verified {
    /// Puts together what was kept of these tables, and what differs besides.
    pub(super) fn of(
        kept: &Kept,
        tables: &[String],
        differences: Vec<Difference>,
        said: Vec<String>,
    ) -> Self {
        let mut all = Self { differences, said, ..Self::default() };
        let seen = |moment: &super::notes::Moment| Seen {
            at_ms: moment.at_ms,
            place: moment.place.clone(),
            parts: Vec::new(),
        };
        all.moments = kept.moments.iter().map(seen).collect();
        for name in tables {
            let Some(table) = kept.tables.get(name) else { continue };
            all.tables += 1;
            all.rows += table.source.rows;
            all.differences.extend(difference(name, table));
            if table.undecided > 0 {
                all.undecided.push(format!(
                    "table `{name}`: {} rows or ranges differed at every look, each time otherwise",
                    table.undecided
                ));
            }
            let many = table.parts.len() > 1;
            for part in &table.parts {
                let Some(seen) = all.moments.get_mut(part.moment) else { continue };
                seen.parts.push(match part.shown.as_str() {
                    _ if !many => format!("`{name}`"),
                    "" => format!("`{name}` to its end"),
                    to => format!("`{name}` up to {to}"),
                });
            }
        }
        all.moments.retain(|seen| !seen.parts.is_empty());
        all.one_moment = all.moments.iter().all(|seen| !seen.place.is_empty());
        all
    }
}

fn difference(name: &str, table: &TableKept) -> Option<Difference> {
    // Pieces that differ and come to the same in all are cut at keys that the servers sort
    // otherwise: every row is there.
    if !table.differs || table.source == table.target {
        return None;
    }
    Some(Difference {
        object: format!("table `{name}`"),
        what: "rows".into(),
        source: format!("{} rows, sum {}", table.source.rows, table.source.sum),
        target: format!("{} rows, sum {}", table.target.rows, table.target.sum),
        key: table.key.clone(),
        ranges: table.ranges.clone(),
        more: table.more,
    })
}

#[cfg(test)]
mod tests {
    use super::super::notes::{Moment, PartKept};
    use super::*;
    use crate::difference::TableDigest;

    fn table(parts: Vec<PartKept>, sums: (&str, &str)) -> TableKept {
        let digest = |sum: &str| TableDigest { rows: 4, sum: sum.into() };
        TableKept {
            done: true,
            parts,
            differs: true,
            source: digest(sums.0),
            target: digest(sums.1),
            ..TableKept::default()
        }
    }

    fn part(moment: usize, shown: &str) -> PartKept {
        PartKept { moment, to: None, shown: shown.into() }
    }

    #[test]
    fn each_part_is_told_with_its_moment() {
        let mut kept = Kept::default();
        for place in ["1-1-4", "unused", ""] {
            kept.moments.push(Moment { at_ms: 7, place: place.into() });
        }
        let parts = vec![part(0, "12"), part(2, "")];
        kept.tables.insert("big".into(), table(parts, ("1", "2")));
        kept.tables.insert("same".into(), table(vec![part(0, "")], ("3", "3")));
        let told = Verified::of(&kept, &["big".into(), "same".into()], vec![], vec![]);
        assert_eq!(told.moments[0].parts, ["`big` up to 12", "`same`"]);
        assert_eq!(told.moments[1].parts, ["`big` to its end"]);
        assert_eq!((told.moments.len(), told.one_moment, told.rows), (2, false, 8));
        let objects: Vec<&str> = told.differences.iter().map(|d| d.object.as_str()).collect();
        assert_eq!(objects, ["table `big`"]);
    }
}
