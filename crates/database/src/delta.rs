//! What was written at the target since the way back was closed: the rows in which it
//! differs from the source, which stands as it was at that moment.

use crate::copy::{Column, columns};
use crate::digest::{self, row_text};
use crate::fault::Explain;
use crate::frozen::freeze;
use crate::link::{Link, Wire};
use segue_doors::sql::{Ident, Literal};
use segue_model::Side;
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt::Write as _;

/// Rows of a table whose keys are held in memory at once, about.
const ROWS_AT_ONCE: u64 = 400_000;
/// Keys that are named of each kind.
const NAMED: usize = 50;

/// What differs in one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDelta {
    /// Its name.
    pub table: String,
    /// Columns of the key by which rows are told apart; empty for a table without one: then a
    /// changed row counts as one that went and one that came.
    pub key: Vec<String>,
    /// Rows that are at the target only.
    pub added: u64,
    /// Rows with other values at the target.
    pub changed: u64,
    /// Rows that are at the source only.
    pub removed: u64,
    /// Keys of the first added, changed and removed rows, each part in SQL's quotes.
    pub added_keys: Vec<String>,
    /// As above.
    pub changed_keys: Vec<String>,
    /// As above.
    pub removed_keys: Vec<String>,
}

/// What differs in a schema.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseDelta {
    /// The schema.
    pub schema: String,
    /// Tables that differ; those that are equal are not listed.
    pub tables: Vec<TableDelta>,
    /// Tables, views, routines and logins that are at one side only, or are defined otherwise.
    pub definitions: Vec<String>,
}

/// Compares both sides as they stand now.
pub(crate) async fn delta(link: &Link) -> Outcome<DatabaseDelta> {
    let mut source = link.admin(Side::Source).await?;
    let mut target = link.admin(Side::Target).await?;
    freeze(&mut source).await?;
    freeze(&mut target).await?;
    let (tables, definitions) = digest::unequal(link, &mut source, &mut target).await?;
    let mut all = DatabaseDelta {
        schema: link.names.schema.clone(),
        tables: Vec::new(),
        definitions: definitions
            .iter()
            .map(|found| format!("{}: {}", found.object, found.what))
            .collect(),
    };
    for (table, rows) in tables {
        all.tables.push(of_table(link, &mut source, &mut target, &table, rows).await?);
    }
    source.close().await;
    target.close().await;
    Ok(all)
}

async fn of_table(
    link: &Link,
    source: &mut Wire,
    target: &mut Wire,
    table: &str,
    rows: u64,
) -> Outcome<TableDelta> {
    let all = columns(link, source, table).await?;
    let key = key(link, source, table).await?;
    let mut delta =
        TableDelta { table: table.to_owned(), key: key.clone(), ..TableDelta::default() };
    let parts = rows.div_ceil(ROWS_AT_ONCE).max(1);
    for part in 0..parts {
        let query = query(link, table, &all, &key, part, parts);
        let (mut at_source, at_target) =
            (hashes(source, table, &query).await?, hashes(target, table, &query).await?);
        for (key, (hash, count)) in at_target {
            match at_source.remove(&key) {
                None => note(&mut delta.added, &mut delta.added_keys, &key, count),
                Some((former, before)) if former != hash || before != count => {
                    note(&mut delta.changed, &mut delta.changed_keys, &key, count.max(before));
                }
                Some(_) => {}
            }
        }
        for (key, (_, count)) in at_source {
            note(&mut delta.removed, &mut delta.removed_keys, &key, count);
        }
    }
    for keys in [&mut delta.added_keys, &mut delta.changed_keys, &mut delta.removed_keys] {
        keys.sort_unstable();
    }
    Ok(delta)
}

fn note(counter: &mut u64, keys: &mut Vec<String>, key: &str, count: u64) {
    *counter += count;
    if keys.len() < NAMED {
        keys.push(key.to_owned());
    }
}

/// Returns the columns of the primary key, or of the first unique key without NULLs.
async fn key(link: &Link, wire: &mut Wire, table: &str) -> Outcome<Vec<String>> {
    let rows: Vec<(String, String)> = wire
        .rows(format!(
            "SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS s \
             WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {table} AND NON_UNIQUE = 0 \
             AND NOT EXISTS (SELECT 1 FROM information_schema.STATISTICS n \
               WHERE n.TABLE_SCHEMA = s.TABLE_SCHEMA AND n.TABLE_NAME = s.TABLE_NAME \
               AND n.INDEX_NAME = s.INDEX_NAME AND n.NULLABLE = 'YES') \
             ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX",
            schema = link.names.schema_literal(),
            table = Literal::new(table)
        ))
        .await
        .reading(&format!("read the key of table `{table}` at the {}", wire.side()))?;
    let first = rows.first().map(|(index, _)| index.clone());
    let of_first = rows.into_iter().filter(|(index, _)| Some(index) == first.as_ref());
    Ok(of_first.map(|(_, column)| column).collect())
}

/// Returns the query for keys and hashes of one part of a table.
fn query(
    link: &Link,
    table: &str,
    columns: &[Column],
    key: &[String],
    part: u64,
    parts: u64,
) -> String {
    let text = row_text(columns);
    let hash = format!("CAST(CRC32({text}) AS UNSIGNED) * (CRC32C({text}) | 1)");
    let quoted: Vec<String> =
        key.iter().map(|column| format!("QUOTE({})", Ident::new(column.as_str()))).collect();
    let by = match quoted.as_slice() {
        [] => format!("CAST({hash} AS CHAR)"),
        parts => format!("CONCAT_WS(', ', {})", parts.join(", ")),
    };
    let mut query = format!(
        "SELECT CAST(k AS CHAR), CAST(COALESCE(MIN(h), 0) AS UNSIGNED), COUNT(*) FROM \
         (SELECT {by} AS k, {hash} AS h FROM {}) hashed",
        link.names.table(table)
    );
    if parts > 1 {
        let _ = write!(query, " WHERE CRC32(k) % {parts} = {part}");
    }
    query + " GROUP BY k"
}

async fn hashes(wire: &mut Wire, table: &str, query: &str) -> Outcome<HashMap<String, (u64, u64)>> {
    let op = format!("read the rows of table `{table}` at the {}", wire.side());
    let limit = crate::link::CALL_LIMIT;
    wire.set_limit(digest::DIGEST_LIMIT);
    let rows = wire.rows::<(String, u64, u64)>(query).await;
    wire.set_limit(limit);
    Ok(rows.reading(&op)?.into_iter().map(|(key, hash, count)| (key, (hash, count))).collect())
}
