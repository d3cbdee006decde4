//! Whether both sides hold the same: one digest a table, computed by the servers.
//!
//! Each row becomes a text: which columns are NULL, then every other column's length and bytes.
//! Its hash is `CRC32(text) * (CRC32C(text) | 1)`; a table's digest is the number of rows and
//! the exact sum of their hashes.
//!
//! **What it sees.** A missing, additional or changed row; values exchanged between rows
//! (the product is not affine, as a CRC alone is); a NULL moved to another column (the NULL
//! map) or a border moved between columns (the lengths); a pair of equal rows against
//! another pair (a sum; in an exclusive or they cancel each other); a row whose text would not
//! fit into a packet (its hash is NULL and fails the digest). Two different tables agree by
//! accident in about one of 2^60 cases; a forger could make them agree.
//! **What it does not see.** Nothing below the values: page layout, index order, counters.

use crate::copy::{Column, columns};
use crate::definitions::{self, definitions};
use crate::difference::{Comparison, Difference, TableDigest};
use crate::fault::Explain;
use crate::frozen::{freeze, look, look_away};
use crate::link::{Link, Wire};
use crate::narrow::{self, Found};
use crate::pieces::{self, Pace};
use crate::schema;
use segue_doors::sql::Ident;
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest time one table's digest may take.
pub(crate) const DIGEST_LIMIT: Duration = Duration::from_secs(3_600);

/// Kinds whose text cannot hold the separator: they need no length before them.
const SELF_ENDING: [&str; 15] = [
    "tinyint",
    "smallint",
    "mediumint",
    "int",
    "bigint",
    "decimal",
    "float",
    "double",
    "bit",
    "enum",
    "date",
    "time",
    "datetime",
    "timestamp",
    "year",
];

/// Kinds whose values may be long: they enter by their digest, so that the row's text stays
/// short.
const LONG: [&str; 13] = [
    "mediumtext",
    "longtext",
    "mediumblob",
    "longblob",
    "json",
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
];

/// Returns the text of a row as an SQL expression: which columns are NULL, then of each that is
/// not its length, unless its text ends by itself, and its bytes.
///
/// A part that is NULL is left out with its separator, which the map has told before. The
/// collation of the separator makes all of it bytes: no column is converted.
pub(crate) fn row_text(columns: &[Column]) -> String {
    let mut parts = vec!["_binary'|' COLLATE 'binary'".to_owned()];
    let name = |column: &Column| Ident::new(column.name.as_str());
    let nullable = columns.iter().filter(|column| column.nullable);
    parts.extend(nullable.map(|column| format!("ISNULL({})", name(column))));
    for (index, column) in columns.iter().enumerate() {
        let (name, kind) = (name(column), column.kind.as_str());
        if LONG.contains(&kind) {
            parts.push(format!("LENGTH({name}), MD5({name})"));
            continue;
        }
        // The end of the text ends the last value.
        if !SELF_ENDING.contains(&kind) && index + 1 < columns.len() {
            parts.push(format!("LENGTH({name})"));
        }
        parts.push(match kind {
            // As text a FLOAT has six digits.
            "float" => format!("CAST({name} AS DOUBLE)"),
            "bit" | "enum" => format!("CAST({name} AS UNSIGNED)"),
            _ => name.to_string(),
        });
    }
    format!("CONCAT_WS({})", parts.join(", "))
}

/// What a row without a hash adds to the sum: more than all hashes of any table together.
const WITHOUT_HASH: u128 = 10u128.pow(30);

/// Returns the expression for a row's hash.
///
/// The text of a row is by far the most of the work. A variable of the session keeps it for the
/// second function, which would make it anew. It is set and read within one product, from left
/// to right; between two aggregates the server keeps no order.
pub(crate) fn row_hash(columns: &[Column]) -> String {
    let text = row_text(columns);
    format!("CAST(CRC32(@segue_text := {text}) AS UNSIGNED) * (CRC32C(@segue_text) | 1)")
}

/// Returns the expressions for the digest of rows: the sum of their hashes, and their number.
pub(crate) fn sum_and_rows(columns: &[Column]) -> String {
    let hash = row_hash(columns);
    format!("CAST(COALESCE(SUM(IFNULL({hash}, {WITHOUT_HASH})), 0) AS CHAR), COUNT(*)")
}

/// Digests the rows of a table that the condition `of` chooses; all for an empty one.
pub(crate) async fn digest(
    link: &Link,
    wire: &mut Wire,
    table: &str,
    columns: &[Column],
    of: &str,
) -> Outcome<TableDigest> {
    let op = format!("digest table `{table}` at the {}", wire.side());
    let query = format!("SELECT {} FROM {}{of}", sum_and_rows(columns), link.names.table(table));
    let limit = crate::link::CALL_LIMIT;
    look(wire).await?;
    wire.set_limit(DIGEST_LIMIT);
    let answer = wire.one::<(String, u64)>(query).await;
    wire.set_limit(limit);
    look_away(wire).await?;
    let (sum, rows) = answer.reading(&op)?;
    checked(sum, rows, &op)
}

/// Makes a digest of what the server answered.
///
/// # Errors
/// `SG0223` if a row has no hash.
pub(crate) fn checked(sum: String, rows: u64, op: &str) -> Outcome<TableDigest> {
    let too_long = sum
        .parse::<u128>()
        .map_err(|_| Fault::new("SG0219", FaultKind::Bug, op, format!("sum `{sum}`")))?
        / WITHOUT_HASH;
    if too_long > 0 {
        return Err(Fault::new(
            "SG0223",
            FaultKind::Unsupported,
            op,
            format!("{too_long} rows are longer than the server's max_allowed_packet"),
        )
        .hint("raise max_allowed_packet at both servers"));
    }
    Ok(TableDigest { rows, sum })
}

/// Sessions that see one moment: the same one on both sides.
#[derive(Debug)]
pub(crate) struct Snapshots {
    /// Pairs of sessions, source and target.
    pairs: Vec<(Wire, Wire)>,
}

impl Snapshots {
    /// Opens pairs of snapshots. The caller sees to it that nothing is written to the
    /// schema at either side meanwhile.
    pub(crate) async fn open(link: &Link) -> Outcome<Self> {
        use segue_model::Side::{Source, Target};
        let one = || async {
            let (mut source, mut target) = tokio::try_join!(link.take(Source), link.take(Target))?;
            tokio::try_join!(freeze(&mut source), freeze(&mut target))?;
            Ok((source, target))
        };
        let (first, second) = tokio::try_join!(one(), one())?;
        Ok(Self { pairs: vec![first, second] })
    }

    /// Takes pairs of sessions, source and target, whose snapshots are open.
    pub(crate) fn of(pairs: Vec<(Wire, Wire)>) -> Self {
        Self { pairs }
    }

    /// Compares everything and ends the snapshots.
    pub(crate) async fn compare(self, link: &Link, pace: Pace) -> Outcome<Comparison> {
        let begun = Instant::now();
        let mut pairs = self.pairs;
        if pace == Pace::Gentle {
            // One statement at a time at either server.
            for (source, target) in pairs.drain(1.min(pairs.len())..) {
                source.close().await;
                target.close().await;
            }
        }
        let Some((source, target)) = pairs.first_mut() else {
            return Err(Fault::new("SG0219", FaultKind::Bug, "compare", "no snapshot is open"));
        };
        let (at_source, at_target) =
            tokio::try_join!(definitions(link, source), definitions(link, target))?;
        let mut differences = definitions::different(&at_source, &at_target);
        differences.extend(definitions::open_at_both(link, source, target).await?);
        let both: VecDeque<String> = at_source
            .keys()
            .filter(|(kind, _)| *kind == schema::Kind::Table)
            .filter(|key| at_target.contains_key(*key))
            .map(|(_, name)| name.clone())
            .collect();
        let waiting = Mutex::new(both);
        let done = Mutex::new(BTreeMap::new());
        futures_util::future::try_join_all(
            pairs
                .iter_mut()
                .map(|(source, target)| carry(link, (source, target), pace, &waiting, &done)),
        )
        .await?;
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut hasher = blake3::Hasher::new();
        for ((kind, name), definition) in &at_source {
            hasher.update(format!("{kind} {name}\n").as_bytes());
            hasher.update(definition);
        }
        for (table, Compared { source, target, found }) in &done {
            hasher.update(format!("{table} {} {}\n", source.rows, source.sum).as_bytes());
            if source != target {
                differences.push(found.difference(table, source, target));
            }
        }
        for (source, target) in pairs {
            source.close().await;
            target.close().await;
        }
        Ok(Comparison {
            tables: done.len() as u64,
            rows: done.values().map(|table| table.source.rows).sum(),
            differences,
            digest: hasher.finalize().to_hex().to_string(),
            ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Ends the snapshots.
    pub(crate) async fn close(self) {
        for (source, target) in self.pairs {
            source.close().await;
            target.close().await;
        }
    }
}

/// Returns the tables whose rows differ, each with its number of rows at the target, and the
/// definitions that do. Rows of tables that are defined otherwise are not compared.
pub(crate) async fn unequal(
    link: &Link,
    source: &mut Wire,
    target: &mut Wire,
) -> Outcome<(Vec<(String, u64)>, Vec<Difference>)> {
    let at_source = definitions(link, source).await?;
    let at_target = definitions(link, target).await?;
    let mut tables = Vec::new();
    for (key, definition) in &at_source {
        if key.0 != schema::Kind::Table || at_target.get(key) != Some(definition) {
            continue;
        }
        let columns = columns(link, source, &key.1).await?;
        let here = digest(link, source, &key.1, &columns, "").await?;
        let there = digest(link, target, &key.1, &columns, "").await?;
        if here != there {
            tables.push((key.1.clone(), there.rows.max(here.rows)));
        }
    }
    Ok((tables, definitions::different(&at_source, &at_target)))
}

/// A table of which both sides were digested.
#[derive(Debug)]
struct Compared {
    source: TableDigest,
    target: TableDigest,
    found: Found,
}

type Done = Mutex<BTreeMap<String, Compared>>;

async fn carry(
    link: &Link,
    (source, target): (&mut Wire, &mut Wire),
    pace: Pace,
    waiting: &Mutex<VecDeque<String>>,
    done: &Done,
) -> Outcome<()> {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(table) = next else { return Ok(()) };
        let compared = match one(link, (&mut *source, &mut *target), pace, &table).await {
            // The definitions have shown it already.
            Err(fault) if pieces::lacks_column(&fault) => Compared {
                source: TableDigest::default(),
                target: TableDigest::default(),
                found: Found::default(),
            },
            other => other?,
        };
        done.lock().unwrap_or_else(PoisonError::into_inner).insert(table, compared);
    }
}

async fn one(
    link: &Link,
    (source, target): (&mut Wire, &mut Wire),
    pace: Pace,
    table: &str,
) -> Outcome<Compared> {
    // Columns by name: equal definitions mean equal columns, others are reported.
    let columns = columns(link, source, table).await?;
    let all = pieces::both(link, source, target, (table, &columns), pace).await?;
    let found = if all.source == all.target {
        Found::default()
    } else {
        let limits = narrow::Limits::of(pace);
        narrow::rows(link, (source, target), (table, &columns), all.differing, limits).await?
    };
    Ok(Compared { source: all.source, target: all.target, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: &str, nullable: bool) -> Column {
        Column { name: name.into(), kind: kind.into(), generated: false, nullable }
    }

    #[test]
    fn columns_that_could_hold_the_separator_enter_with_their_length() {
        let columns = [
            column("a", "int", false),
            column("v", "varchar", true),
            column("f", "float", true),
            column("b", "longblob", false),
            column("c", "char", false),
        ];
        assert_eq!(
            row_text(&columns),
            "CONCAT_WS(_binary'|' COLLATE 'binary', ISNULL(`v`), ISNULL(`f`), `a`, LENGTH(`v`), `v`, \
             CAST(`f` AS DOUBLE), LENGTH(`b`), MD5(`b`), `c`)"
        );
    }

    #[test]
    fn the_text_of_a_row_is_made_once() {
        let digest = sum_and_rows(&[column("c", "char", false)]);
        assert_eq!(digest.matches("CONCAT_WS").count(), 1, "{digest}");
    }
}
