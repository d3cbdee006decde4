//! Rows from one server to the other: read in a snapshot, loaded as they come.
//!
//! Every column travels as the bytes that are stored, in no character set, except for the
//! types whose bytes a load would read differently; see [`Column::select`].

use crate::fault::{Deadline, Explain};
use crate::frozen::{look, look_away};
use crate::link::{Link, Wire};
use crate::stops::Stops;
use bytes::{BufMut, Bytes, BytesMut};
use segue_doors::sql::{Ident, Literal, Row, Value};
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::{Outcome, Progress, ProgressSink};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// A load is given up when the server has taken nothing for so long.
const LOAD_STALL: Duration = Duration::from_secs(600);

/// Rows of a table from which on it is copied in parts.
const PART_ROWS: u64 = 60_000;

/// Bytes gathered before they are handed to the loading side.
const CHUNK: usize = 256 * 1024;

/// Longest silence of the reading server.
const STALL: Duration = Duration::from_secs(60);

/// A stored column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// Its data type, lower case, without length.
    pub(crate) kind: String,
    /// Whether the server computes it.
    pub(crate) generated: bool,
    /// Whether it may be NULL.
    pub(crate) nullable: bool,
}

impl Column {
    /// Returns the expression that reads it without loss.
    fn select(&self) -> String {
        let name = Ident::new(self.name.as_str());
        match self.kind.as_str() {
            // As text a FLOAT has six digits.
            "float" => format!("CAST({name} AS DOUBLE)"),
            // The index, for an invalid member reads like the empty one.
            "enum" | "bit" => format!("CAST({name} AS UNSIGNED)"),
            _ => name.to_string(),
        }
    }

    /// Returns the expression that stores it, if the bytes alone would be read differently.
    fn store(&self, variable: &str) -> Option<String> {
        match self.kind.as_str() {
            "enum" | "bit" => Some(format!("CAST({variable} AS UNSIGNED)")),
            // Sixteen characters of an address would be taken for its sixteen bytes.
            "inet6" | "inet4" | "uuid" => Some(format!("CONVERT({variable} USING utf8mb4)")),
            _ => None,
        }
    }
}

/// Reads the columns of a table, in their order.
pub(crate) async fn columns(link: &Link, wire: &mut Wire, table: &str) -> Outcome<Vec<Column>> {
    let rows: Vec<(String, String, bool, bool)> = wire
        .rows(format!(
            "SELECT COLUMN_NAME, LOWER(DATA_TYPE), IS_GENERATED = 'ALWAYS', IS_NULLABLE = 'YES' \
             FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
            link.names.schema_literal(),
            Literal::new(table)
        ))
        .await
        .reading(&format!("read the columns of table `{table}` at the {}", wire.side()))?;
    let column = |(name, kind, generated, nullable)| Column { name, kind, generated, nullable };
    Ok(rows.into_iter().map(column).collect())
}

/// A part of a table to copy.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    table: String,
    select: String,
    load: String,
    /// Columns of a row.
    width: usize,
}

/// Plans the copy of one table, in parts if it is big and its key is one whole number.
pub(crate) async fn parts(
    link: &Link,
    wire: &mut Wire,
    table: &str,
    rows: u64,
) -> Outcome<Vec<Part>> {
    look(wire).await?;
    let parts = planned(link, wire, table, rows).await;
    look_away(wire).await?;
    parts
}

async fn planned(link: &Link, wire: &mut Wire, table: &str, rows: u64) -> Outcome<Vec<Part>> {
    let stored: Vec<Column> =
        columns(link, wire, table).await?.into_iter().filter(|column| !column.generated).collect();
    let select: Vec<String> = stored.iter().map(Column::select).collect();
    let select = format!("SELECT {} FROM {}", select.join(", "), link.names.table(table));
    let load = load_statement(link, table, &stored);
    let part = |condition: Option<String>| Part {
        table: table.to_owned(),
        select: match condition {
            Some(condition) => format!("{select} WHERE {condition}"),
            None => select.clone(),
        },
        load: load.clone(),
        width: stored.len(),
    };
    let Some(key) = whole_key(link, wire, table).await?.filter(|_| rows > PART_ROWS) else {
        return Ok(vec![part(None)]);
    };
    let ends: (Option<i128>, Option<i128>) = bounds(link, wire, table, &key).await?;
    let (Some(low), Some(high)) = ends else { return Ok(vec![part(None)]) };
    let count = i128::from(rows.div_ceil(PART_ROWS)).min(high - low + 1).max(1);
    let step = (high - low) / count + 1;
    Ok((0..count)
        .map(|index| low + index * step)
        .filter(|from| *from <= high)
        .map(|from| part(Some(format!("{key} >= {from} AND {key} < {}", from + step))))
        .collect())
}

/// Puts the parts of all tables in turns, so that carriers are at different tables as a rule: the
/// first rows of an empty table are loaded in bulk, under a lock on all of it.
pub(crate) fn in_turns(tables: Vec<Vec<Part>>) -> VecDeque<Part> {
    let mut tables: Vec<_> = tables.into_iter().map(Vec::into_iter).collect();
    let mut parts = VecDeque::new();
    while !tables.is_empty() {
        tables.retain_mut(|table| {
            let next = table.next();
            let more = next.is_some();
            parts.extend(next);
            more
        });
    }
    parts
}

/// Returns the primary key, quoted, if it is one column of whole numbers.
async fn whole_key(link: &Link, wire: &mut Wire, table: &str) -> Outcome<Option<Ident>> {
    let rows: Vec<(String, String)> = wire
        .rows(format!(
            "SELECT c.COLUMN_NAME, LOWER(c.DATA_TYPE) FROM information_schema.STATISTICS s \
             JOIN information_schema.COLUMNS c USING (TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME) \
             WHERE s.TABLE_SCHEMA = {} AND s.TABLE_NAME = {} AND s.INDEX_NAME = 'PRIMARY'",
            link.names.schema_literal(),
            Literal::new(table)
        ))
        .await
        .reading(&format!("read the key of table `{table}`"))?;
    Ok(match rows.as_slice() {
        [(name, kind)] if kind.ends_with("int") => Some(Ident::new(name.as_str())),
        _ => None,
    })
}

/// Returns the lowest and the highest value of a whole key; nothing of an empty table.
async fn bounds(
    link: &Link,
    wire: &mut Wire,
    table: &str,
    key: &Ident,
) -> Outcome<(Option<i128>, Option<i128>)> {
    let (low, high): (Option<String>, Option<String>) = wire
        .one(format!(
            "SELECT CAST(MIN({key}) AS CHAR), CAST(MAX({key}) AS CHAR) FROM {}",
            link.names.table(table)
        ))
        .await
        .reading(&format!("read the key's range of table `{table}`"))?;
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
    Ok((number(low), number(high)))
}

fn load_statement(link: &Link, table: &str, stored: &[Column]) -> String {
    let mut fields = Vec::new();
    let mut sets = Vec::new();
    for (index, column) in stored.iter().enumerate() {
        let name = Ident::new(column.name.as_str());
        let variable = format!("@v{index}");
        match column.store(&variable) {
            Some(expression) => {
                sets.push(format!("{name} = {expression}"));
                fields.push(variable);
            }
            None => fields.push(name.to_string()),
        }
    }
    let sets = if sets.is_empty() { String::new() } else { format!(" SET {}", sets.join(", ")) };
    format!(
        "LOAD DATA LOCAL INFILE 'rows' INTO TABLE {} CHARACTER SET binary \
         FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({}){sets}",
        link.names.table(table),
        fields.join(", ")
    )
}

/// Totals of a copy, shared by those who carry it out.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Rows stored.
    pub(crate) rows: AtomicU64,
    /// Bytes sent to the target.
    pub(crate) bytes: AtomicU64,
    /// Warnings the target counted.
    pub(crate) warnings: AtomicU64,
}

/// Work that several carriers share.
pub(crate) struct Work<'a> {
    /// Parts not begun.
    pub(crate) parts: Mutex<VecDeque<Part>>,
    /// What was done.
    pub(crate) tally: Tally,
    /// Rows in all, estimated.
    pub(crate) expected: u64,
    /// Where progress goes.
    pub(crate) progress: &'a dyn ProgressSink,
    /// When to give up.
    pub(crate) deadline: Deadline,
    /// Where a test makes it wait.
    pub(crate) stops: &'a Stops,
}

/// Prepares both ends of a carrier: no character set at the reading end, no checks and no
/// binary log at the loading end. Each end waits for the other: a load for the one that fills
/// the same table in bulk, a reader for its load, a load for a source that is busy elsewhere.
pub(crate) async fn prepare(reader: &mut Wire, loader: &mut Wire) -> Outcome<()> {
    let (reads, loads) = (STALL.as_secs(), LOAD_STALL.as_secs());
    reader
        .run(format!("SET NAMES binary, SESSION net_write_timeout = {loads}"))
        .await
        .reading("prepare reading rows")?;
    loader
        .run(format!(
            "SET SESSION sql_log_bin = 0, unique_checks = 0, foreign_key_checks = 0, \
             check_constraint_checks = 0, innodb_lock_wait_timeout = {loads}, net_read_timeout = {}",
            reads * 2
        ))
        .await
        .reading("prepare loading rows")
}

/// Copies parts until none is left.
pub(crate) async fn carry(reader: &mut Wire, loader: &mut Wire, work: &Work<'_>) -> Outcome<()> {
    loop {
        let next = work.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front();
        let Some(part) = next else { return Ok(()) };
        work.stops.at(|| format!("before {}", part.table)).await;
        carry_part(reader, loader, &part, work).await?;
        work.stops.at(|| format!("after {}", part.table)).await;
    }
}

async fn carry_part(
    reader: &mut Wire,
    loader: &mut Wire,
    part: &Part,
    work: &Work<'_>,
) -> Outcome<()> {
    let op = format!("copy table `{}`", part.table);
    let (send, receive) = mpsc::channel(8);
    let (sent, loaded) = tokio::join!(
        read_rows(reader, part, send, work, &op),
        loader.load(&part.load, receive, work.deadline.left(), LOAD_STALL),
    );
    let loaded = loaded.changing(&op)?;
    let sent = sent?;
    work.tally.warnings.fetch_add(loaded.warnings, Ordering::Relaxed);
    // A local load leaves out rows that violate a key, with no more than a warning.
    if loaded.rows != sent {
        return Err(Fault::new(
            "SG0210",
            FaultKind::Invalid,
            op,
            format!("{sent} rows were read and {} stored", loaded.rows),
        )
        .leaving(EffectLeft::Maybe)
        .hint("compare the collations and versions of both servers"));
    }
    Ok(())
}

/// Reads one part and sends it as text that `LOAD DATA` understands.
async fn read_rows(
    reader: &mut Wire,
    part: &Part,
    send: mpsc::Sender<Bytes>,
    work: &Work<'_>,
    op: &str,
) -> Outcome<u64> {
    look(reader).await?;
    let mut rows = reader.stream(part.select.clone(), STALL).await.reading(op)?;
    let mut count = 0u64;
    let mut told = 0u64;
    let mut buffer = BytesMut::with_capacity(CHUNK + 4096);
    while let Some(row) = rows.next().await.reading(op)? {
        encode(&row, part.width, &mut buffer);
        count += 1;
        if buffer.len() >= CHUNK {
            let chunk = buffer.split().freeze();
            work.tally.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if send.send(chunk).await.is_err() {
                // The loading side failed and says why.
                return Ok(count);
            }
            tell(work, part, count - told);
            told = count;
            buffer.reserve(CHUNK + 4096);
        }
    }
    if !buffer.is_empty() {
        work.tally.bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        // As above.
        let _ = send.send(buffer.freeze()).await;
    }
    // Said here: the load ends when nobody can send to it any more.
    drop((rows, send));
    look_away(reader).await?;
    tell(work, part, count - told);
    Ok(count)
}

fn tell(work: &Work<'_>, part: &Part, more: u64) {
    let done = work.tally.rows.fetch_add(more, Ordering::Relaxed) + more;
    work.progress.report(Progress {
        what: format!("copy table `{}`", part.table),
        done,
        total: work.expected,
        unit: "rows",
    });
}

/// Writes one row: tab between fields, line break behind, backslash before what would end
/// a field, `\N` for NULL.
fn encode(row: &Row, width: usize, buffer: &mut BytesMut) {
    for index in 0..width {
        if index > 0 {
            buffer.put_u8(b'\t');
        }
        match row.as_ref(index) {
            Some(Value::Bytes(bytes)) => escape(bytes, buffer),
            // The text protocol knows bytes and NULL only.
            _ => buffer.put_slice(b"\\N"),
        }
    }
    buffer.put_u8(b'\n');
}

fn escape(bytes: &[u8], buffer: &mut BytesMut) {
    // Most values have nothing to escape: they are taken as a whole.
    if memchr::memchr3(b'\\', b'\t', b'\n', bytes).or_else(|| memchr::memchr(0, bytes)).is_none() {
        return buffer.put_slice(bytes);
    }
    for byte in bytes {
        match byte {
            b'\\' => buffer.put_slice(b"\\\\"),
            b'\t' => buffer.put_slice(b"\\t"),
            b'\n' => buffer.put_slice(b"\\n"),
            0 => buffer.put_slice(b"\\0"),
            other => buffer.put_u8(*other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_field_is_escaped() {
        let mut buffer = BytesMut::new();
        escape(b"a\tb\nc\\d\0e\xff", &mut buffer);
        assert_eq!(&buffer[..], b"a\\tb\\nc\\\\d\\0e\xff");
    }

    #[test]
    fn parts_of_one_table_do_not_follow_each_other_while_others_wait() {
        let part = |table: &str, select: &str| Part {
            table: table.into(),
            select: select.into(),
            load: String::new(),
            width: 1,
        };
        let parts = in_turns(vec![
            vec![part("a", "1"), part("a", "2"), part("a", "3")],
            vec![],
            vec![part("b", "1")],
            vec![part("c", "1"), part("c", "2")],
        ]);
        let order: Vec<String> =
            parts.iter().map(|part| part.table.clone() + &part.select).collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "c2", "a3"]);
    }

    #[test]
    fn each_of_them_is_found_alone() {
        for (plain, escaped) in [
            (&b"\\"[..], &b"\\\\"[..]),
            (b"a\t", b"a\\t"),
            (b"\nb", b"\\nb"),
            (b"a\0b", b"a\\0b"),
            (b"\xffplain 'text'", b"\xffplain 'text'"),
            (b"", b""),
        ] {
            let mut buffer = BytesMut::new();
            escape(plain, &mut buffer);
            assert_eq!(&buffer[..], escaped);
        }
    }
}
