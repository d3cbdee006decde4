//! What differs when both sides were not read at one moment: rows that are on their way differ
//! too. So a piece that differs is looked at again, and only what stays as it is counts.

use super::Wish;
use crate::copy::Column;
use crate::digest::digest;
use crate::fault::Deadline;
use crate::frozen::freeze;
use crate::keys::{Key, KeyValue};
use crate::link::{Link, Wire};
use crate::narrow::{self, Found, Limits, RowFound};
use crate::pieces::Piece;
use segue_port::Outcome;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Parts of a piece that are looked into.
const PARTS: usize = 64;
/// Time for one look.
const LOOK: Duration = Duration::from_secs(60);

/// What several looks at a piece have shown.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// What was the same difference at every look.
    pub(super) found: Found,
    /// Whether the piece differs without a row that could be named.
    pub(super) whole: bool,
    /// Rows that differed at every look, and in another way each time.
    pub(super) undecided: u64,
}

/// Looks at a piece that differs until it is the same, or as often as is wished.
pub(super) async fn look(
    link: &Link,
    (source, target): (&mut Wire, &mut Wire),
    (table, columns, key): (&str, &[Column], Option<&Key>),
    piece: Piece,
    wish: &Wish,
) -> Outcome<Looked> {
    let of = key.map(|key| key.within(&piece.range)).unwrap_or_default();
    let limits = || Limits { ranges: PARTS, deadline: Deadline::after(LOOK) };
    let first = narrow::rows(
        link,
        (&mut *source, &mut *target),
        (table, columns),
        vec![piece.clone()],
        limits(),
    )
    .await?;
    // Rows that nobody named can be told apart by the piece's digests only.
    let by_row = key.is_some() && is_by_row(&first);
    let mut rows = Rows::of(&first);
    let (mut last, mut same) = (piece, true);
    for _ in 1..wish.looks.max(2) {
        tokio::time::sleep(wish.look_pause).await;
        tokio::try_join!(freeze(source), freeze(target))?;
        let (here, there) = tokio::try_join!(
            digest(link, source, table, columns, &of),
            digest(link, target, table, columns, &of)
        )?;
        let now = Piece { range: last.range.clone(), source: here, target: there };
        if now.is_equal() {
            return Ok(Looked::default());
        }
        same &= now == last;
        last = now.clone();
        if by_row {
            let wires = (&mut *source, &mut *target);
            let found = narrow::rows(link, wires, (table, columns), vec![now], limits()).await?;
            if is_by_row(&found) {
                rows.meet(&Rows::of(&found));
            }
            if rows.always.is_empty() {
                return Ok(Looked::default());
            }
        }
    }
    Ok(if by_row { rows.proven(first) } else { whole(first, same) })
}

fn is_by_row(found: &Found) -> bool {
    !found.more && found.parts.iter().all(|part| part.named)
}

fn whole(found: Found, same: bool) -> Looked {
    if same {
        Looked { found, whole: true, undecided: 0 }
    } else {
        Looked { undecided: 1, ..Looked::default() }
    }
}

/// Rows that differ.
#[derive(Debug)]
struct Rows {
    /// With both hashes: as they were at every look.
    standing: HashMap<KeyValue, (Option<u64>, Option<u64>)>,
    /// Those that differed at every look, in whatever way.
    always: HashSet<KeyValue>,
}

impl Rows {
    fn of(found: &Found) -> Self {
        let rows = || found.parts.iter().flat_map(|part| &part.rows);
        let hashes = |row: &RowFound| (row.key.clone(), (row.source, row.target));
        Self {
            standing: rows().map(hashes).collect(),
            always: rows().map(|row| row.key.clone()).collect(),
        }
    }

    /// Leaves what another look has shown too.
    fn meet(&mut self, other: &Self) {
        self.standing.retain(|key, hashes| other.standing.get(key) == Some(hashes));
        self.always.retain(|key| other.always.contains(key));
    }

    /// Returns of what was found first what has stayed.
    fn proven(&self, mut found: Found) -> Looked {
        for part in &mut found.parts {
            part.rows.retain(|row| self.standing.contains_key(&row.key));
        }
        found.parts.retain(|part| !part.rows.is_empty());
        let undecided = (self.always.len() - self.standing.len()) as u64;
        Looked { found, whole: false, undecided }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::difference::TableDigest;
    use crate::keys::Range;
    use crate::narrow::Part;

    fn found(rows: &[(&str, Option<u64>, Option<u64>)]) -> Found {
        let empty = TableDigest::default();
        let piece = Piece { range: Range::default(), source: empty.clone(), target: empty };
        let row = |(key, source, target): &(&str, Option<u64>, Option<u64>)| RowFound {
            key: vec![(*key).into()],
            source: *source,
            target: *target,
        };
        let rows = rows.iter().map(row).collect();
        Found { key: None, parts: vec![Part { piece, rows, named: true }], more: false }
    }

    #[test]
    fn a_row_on_its_way_is_no_finding_and_a_lasting_difference_is() {
        let first = found(&[
            ("arrives", Some(1), None),
            ("wrong", Some(1), Some(2)),
            ("busy", Some(3), Some(4)),
        ]);
        let mut rows = Rows::of(&first);
        rows.meet(&Rows::of(&found(&[
            ("wrong", Some(1), Some(2)),
            ("busy", Some(5), Some(4)),
            ("comes", Some(9), None),
        ])));
        let looked = rows.proven(first);
        let left: Vec<&str> =
            looked.found.parts.iter().flat_map(|p| &p.rows).map(|r| r.key[0].as_str()).collect();
        assert_eq!((left, looked.undecided), (vec!["wrong"], 1));
    }

    #[test]
    fn what_has_no_rows_to_name_counts_if_it_stays_the_same() {
        assert!(whole(Found::default(), true).whole);
        let moving = whole(Found::default(), false);
        assert_eq!((moving.whole, moving.undecided), (false, 1));
    }
}
