//! Which rows differ: a piece that does is divided by its key, within the same snapshots, down
//! to few rows, and those are named.
//!
//! One question at either server digests all parts of a piece, so 200,000 rows come down to the
//! one that differs in five questions. Nothing is asked where nothing differs.

use crate::copy::Column;
use crate::difference::{Difference, DifferentRange, TableDigest};
use crate::digest::{self, DIGEST_LIMIT, checked, row_hash};
use crate::fault::{Deadline, Explain};
use crate::frozen::{look, look_away};
use crate::keys::{self, Key, KeyValue, Range};
use crate::link::{Link, Wire};
use crate::pieces::{Pace, Piece};
use segue_doors::sql::{Row, SqlError};
use segue_port::Outcome;
use std::collections::HashMap;
use std::time::Duration;

/// Rows of a part from which on each row's hash is asked for.
const FEW: u64 = 8_192;
/// Parts that a piece is divided into.
const PARTS: u64 = 32;
/// Rows up to which one question finds all borders: it sorts their keys, which of many more
/// would fill the server's disk.
const SORTED: u64 = 500_000;

/// How much is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Ranges that are named.
    pub(crate) ranges: usize,
    /// When to stop.
    pub(crate) deadline: Deadline,
}

impl Limits {
    /// Returns what a comparison at this pace looks for: where users wait, not for long.
    pub(crate) fn of(pace: Pace) -> Self {
        let time = match pace {
            Pace::Full => Duration::from_secs(1),
            Pace::Gentle | Pace::Share(_) => Duration::from_secs(60),
        };
        Self { ranges: 8, deadline: Deadline::after(time) }
    }
}

/// A row that is not the same on both sides; its hash at each side, none where it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowFound {
    pub(crate) key: KeyValue,
    pub(crate) source: Option<u64>,
    pub(crate) target: Option<u64>,
}

/// A part with rows that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) piece: Piece,
    /// The rows; none if one side has none of many, or they were not looked for any more.
    pub(crate) rows: Vec<RowFound>,
    /// Whether the rows were looked at one by one.
    pub(crate) named: bool,
}

/// What was found in a table.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) key: Option<Key>,
    pub(crate) parts: Vec<Part>,
    /// Whether there are more parts that differ.
    pub(crate) more: bool,
}

impl Found {
    /// Returns it as a difference of a table.
    pub(crate) fn difference(
        &self,
        table: &str,
        source: &TableDigest,
        target: &TableDigest,
    ) -> Difference {
        Difference {
            object: format!("table `{table}`"),
            what: "rows".into(),
            source: format!("{} rows, sum {}", source.rows, source.sum),
            target: format!("{} rows, sum {}", target.rows, target.sum),
            key: self.key.as_ref().map(Key::names).unwrap_or_default(),
            ranges: self.ranges(),
            more: self.more,
        }
    }

    /// Returns its parts for people.
    pub(crate) fn ranges(&self) -> Vec<DifferentRange> {
        let Some(key) = &self.key else { return Vec::new() };
        self.parts.iter().map(|part| part.range(key)).collect()
    }
}

impl Part {
    fn range(&self, key: &Key) -> DifferentRange {
        let Piece { range, source, target } = &self.piece;
        let border =
            |value: &Option<KeyValue>| value.as_ref().map(|v| key.shown(v)).unwrap_or_default();
        let mut all = DifferentRange {
            after: border(&range.after),
            to: border(&range.to),
            source_rows: source.rows,
            target_rows: target.rows,
            ..DifferentRange::default()
        };
        for row in &self.rows {
            let keys = match (row.source, row.target) {
                (Some(_), Some(_)) => &mut all.changed,
                (Some(_), None) => &mut all.only_source,
                (None, _) => &mut all.only_target,
            };
            keys.note(|| key.shown(&row.key));
        }
        if !self.named {
            all.only_source.count = source.rows.saturating_sub(target.rows);
            all.only_target.count = target.rows.saturating_sub(source.rows);
        }
        all
    }
}

/// Finds the rows that differ in pieces that do.
pub(crate) async fn rows(
    link: &Link,
    (source, target): (&mut Wire, &mut Wire),
    (table, columns): (&str, &[Column]),
    pieces: Vec<Piece>,
    limits: Limits,
) -> Outcome<Found> {
    let key = keys::of(link, source, table).await?;
    let mut found = Found { key: key.clone(), ..Found::default() };
    // Without a key no row can be named.
    let Some(key) = key else { return Ok(found) };
    let mut waiting: Vec<Piece> = pieces.into_iter().rev().collect();
    let table = Table { link, table, columns, key: &key };
    while let Some(piece) = waiting.pop() {
        if found.parts.len() >= limits.ranges {
            found.more = true;
            break;
        }
        let (most, least) =
            (piece.source.rows.max(piece.target.rows), piece.source.rows.min(piece.target.rows));
        if most <= FEW {
            let rows = table.compare(source, target, &piece.range).await?;
            found.parts.push(Part { piece, rows, named: true });
        } else if least == 0 || limits.deadline.over() {
            found.parts.push(Part { piece, rows: Vec::new(), named: false });
        } else {
            waiting.extend(table.divide(source, target, &piece).await?.into_iter().rev());
        }
    }
    Ok(found)
}

/// A table that is looked into.
struct Table<'a> {
    link: &'a Link,
    table: &'a str,
    columns: &'a [Column],
    key: &'a Key,
}

impl Table<'_> {
    /// Divides a piece; returns the parts of it that differ.
    async fn divide(
        &self,
        source: &mut Wire,
        target: &mut Wire,
        piece: &Piece,
    ) -> Outcome<Vec<Piece>> {
        // The side with more rows says where: so no part keeps all of them.
        let borders = if piece.source.rows >= piece.target.rows {
            self.borders(source, &piece.range, piece.source.rows).await?
        } else {
            self.borders(target, &piece.range, piece.target.rows).await?
        };
        let (at_source, at_target) = tokio::try_join!(
            self.digests(source, &piece.range, &borders),
            self.digests(target, &piece.range, &borders)
        )?;
        let mut parts = Vec::new();
        let mut after = piece.range.after.clone();
        let ends = borders.into_iter().map(Some).chain([piece.range.to.clone()]);
        for (number, to) in ends.enumerate() {
            let part = Piece {
                range: Range { after: after.take(), to: to.clone() },
                source: at_source.get(&number).cloned().unwrap_or_default(),
                target: at_target.get(&number).cloned().unwrap_or_default(),
            };
            after = to;
            if !part.is_equal() {
                parts.push(part);
            }
        }
        Ok(parts)
    }

    /// Returns the keys at which a range is cut, lowest first.
    async fn borders(&self, wire: &mut Wire, range: &Range, rows: u64) -> Outcome<Vec<KeyValue>> {
        let step = rows.div_ceil(PARTS).max(1);
        if rows <= SORTED {
            return self.sorted_borders(wire, range, step).await;
        }
        let mut borders: Vec<KeyValue> = Vec::new();
        let mut rest = range.clone();
        while let Some(border) =
            keys::boundary(self.link, wire, (self.table, self.key), &rest, step).await?
        {
            rest.after = Some(border.clone());
            borders.push(border);
        }
        Ok(borders)
    }

    async fn sorted_borders(
        &self,
        wire: &mut Wire,
        range: &Range,
        step: u64,
    ) -> Outcome<Vec<KeyValue>> {
        let op = format!("divide table `{}` at the {}", self.table, wire.side());
        let select = self.key.select();
        let names: Vec<String> =
            (0..self.key.names().len()).map(|number| format!("k{number}")).collect();
        let names = names.join(", ");
        let rows: Vec<Row> = long(
            wire,
            format!(
                "WITH numbered ({names}, n) AS (SELECT {select}, \
                   ROW_NUMBER() OVER (ORDER BY {}) FROM {}{}) \
                 SELECT {names} FROM numbered WHERE n % {step} = 0 ORDER BY n",
                self.key.order(),
                self.link.names.table(self.table),
                self.key.within(range)
            ),
            &op,
        )
        .await?;
        rows.iter().map(|row| self.key.value(row, &op)).collect()
    }

    /// Digests the parts of a range; a part without rows is left out.
    async fn digests(
        &self,
        wire: &mut Wire,
        range: &Range,
        borders: &[KeyValue],
    ) -> Outcome<HashMap<usize, TableDigest>> {
        let op = format!("digest parts of table `{}` at the {}", self.table, wire.side());
        let cases: Vec<String> = borders
            .iter()
            .enumerate()
            .map(|(number, border)| format!("WHEN {} THEN {number}", self.key.up_to(border)))
            .collect();
        let part = match cases.as_slice() {
            [] => "0".to_owned(),
            cases => format!("CASE {} ELSE {} END", cases.join(" "), borders.len()),
        };
        let rows: Vec<(usize, String, u64)> = long(
            wire,
            format!(
                "SELECT {part}, {} FROM {}{} GROUP BY 1",
                digest::sum_and_rows(self.columns),
                self.link.names.table(self.table),
                self.key.within(range)
            ),
            &op,
        )
        .await?;
        rows.into_iter().map(|(number, sum, rows)| Ok((number, checked(sum, rows, &op)?))).collect()
    }

    /// Compares the rows of a range one by one.
    async fn compare(
        &self,
        source: &mut Wire,
        target: &mut Wire,
        range: &Range,
    ) -> Outcome<Vec<RowFound>> {
        let (at_source, at_target) =
            tokio::try_join!(self.hashes(source, range), self.hashes(target, range))?;
        let mut there: HashMap<&KeyValue, u64> =
            at_target.iter().map(|(key, hash)| (key, *hash)).collect();
        let mut found = Vec::new();
        for (key, hash) in &at_source {
            let target = there.remove(key);
            if target != Some(*hash) {
                found.push(RowFound { key: key.clone(), source: Some(*hash), target });
            }
        }
        let only_there = at_target.iter().filter(|(key, _)| there.contains_key(key));
        found.extend(only_there.map(|(key, hash)| RowFound {
            key: key.clone(),
            source: None,
            target: Some(*hash),
        }));
        Ok(found)
    }

    /// Returns the rows of a range in the order of their keys, each with its hash.
    async fn hashes(&self, wire: &mut Wire, range: &Range) -> Outcome<Vec<(KeyValue, u64)>> {
        let op = format!("read the rows of table `{}` at the {}", self.table, wire.side());
        let rows: Vec<Row> = long(
            wire,
            format!(
                "SELECT {}, COALESCE({}, 0) FROM {}{} ORDER BY {}",
                self.key.select(),
                row_hash(self.columns),
                self.link.names.table(self.table),
                self.key.within(range),
                self.key.order()
            ),
            &op,
        )
        .await?;
        let last = self.key.names().len();
        rows.iter()
            .map(|row| {
                let hash = row.get_opt::<u64, _>(last).and_then(Result::ok);
                let hash = hash.ok_or_else(|| SqlError::Unexpected("a row without hash".into()));
                Ok((self.key.value(row, &op)?, hash.reading(&op)?))
            })
            .collect()
    }
}

/// Asks for rows without the limit of short calls.
async fn long<T>(wire: &mut Wire, query: String, op: &str) -> Outcome<Vec<T>>
where
    T: segue_doors::sql::FromRow + Send + 'static,
{
    look(wire).await?;
    wire.set_limit(DIGEST_LIMIT);
    let rows = wire.rows(query).await;
    wire.set_limit(crate::link::CALL_LIMIT);
    look_away(wire).await?;
    rows.reading(op)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, source: Option<u64>, target: Option<u64>) -> RowFound {
        RowFound { key: vec![key.into()], source, target }
    }

    fn part(source: u64, target: u64, rows: Vec<RowFound>, named: bool) -> Part {
        let digest = |rows| TableDigest { rows, sum: String::new() };
        let range = Range { after: Some(vec!["1".into()]), to: None };
        let piece = Piece { range, source: digest(source), target: digest(target) };
        Part { piece, rows, named }
    }

    #[test]
    fn what_differs_is_told_by_the_side_that_has_it() {
        let key = Key::of_number("id");
        let rows =
            vec![row("4", Some(1), None), row("5", Some(1), Some(2)), row("6", None, Some(1))];
        let told = part(2, 2, rows, true).range(&key);
        assert_eq!((told.after.as_str(), told.to.as_str()), ("1", ""));
        assert_eq!(told.only_source.first, ["4"]);
        assert_eq!(told.changed.first, ["5"]);
        assert_eq!(told.only_target.first, ["6"]);
    }

    #[test]
    fn of_rows_that_were_not_named_the_number_is_told() {
        let told = part(90_000, 0, Vec::new(), false).range(&Key::of_number("id"));
        assert_eq!((told.only_source.count, told.only_source.first.len()), (90_000, 0));
        assert_eq!(told.only_target.count, 0);
    }
}
