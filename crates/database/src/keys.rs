//! The key by which a table is cut into ranges: its primary key, or a unique key without NULLs.
//!
//! Values are read in a form that loses nothing and written back as literals that the server
//! compares as it compares the column: texts as their bytes, in their character set and
//! collation. So ranges of texts that sort together, of composite keys and of numbers with
//! gaps are ranges of the index.

use crate::fault::Explain;
use crate::frozen::{look, look_away};
use crate::link::{Link, Wire};
use segue_doors::sql::{Ident, Literal, Row, SqlError};
use segue_port::Outcome;

/// One row's key: of each column what [`Key::select`] reads of it.
pub(crate) type KeyValue = Vec<String>;

/// How a column's values are read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Exact numbers, as they are printed.
    Number,
    /// Numbers that are printed in full as a double only.
    Double,
    /// The number behind an enumeration, a set or bits.
    Index,
    /// What is a literal between quotes: dates, times, addresses.
    Quoted,
    /// Texts, as the bytes that are stored.
    Text { charset: String, collation: String },
    /// Bytes.
    Bytes,
}

impl Form {
    /// Returns the form of a data type; none of one that makes no ranges.
    fn of(kind: &str, charset: Option<String>, collation: Option<String>) -> Option<Self> {
        Some(match kind {
            "decimal" => Self::Number,
            kind if kind.ends_with("int") => Self::Number,
            "float" | "double" => Self::Double,
            "bit" | "enum" | "set" => Self::Index,
            "date" | "time" | "datetime" | "timestamp" | "year" | "uuid" | "inet4" | "inet6" => {
                Self::Quoted
            }
            "binary" | "varbinary" => Self::Bytes,
            "char" | "varchar" => Self::Text { charset: charset?, collation: collation? },
            _ => return None,
        })
    }

    /// Returns whether a value has this form, and nothing else in it.
    fn fits(&self, value: &str) -> bool {
        let all = |allowed: fn(u8) -> bool| !value.is_empty() && value.bytes().all(allowed);
        match self {
            Self::Number | Self::Double => {
                all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E'))
            }
            Self::Index => all(|b| b.is_ascii_digit()),
            Self::Quoted => true,
            Self::Text { .. } | Self::Bytes => value.bytes().all(|b| b.is_ascii_hexdigit()),
        }
    }

    fn literal(&self, value: &str) -> String {
        match self {
            Self::Number | Self::Index => value.to_owned(),
            // Without an exponent it would be a decimal.
            Self::Double if !value.contains(['e', 'E']) => format!("{value}e0"),
            Self::Double => value.to_owned(),
            Self::Quoted => Literal::new(value).to_string(),
            Self::Text { charset, collation } => {
                format!("_{charset} x'{value}' COLLATE {collation}")
            }
            Self::Bytes => format!("x'{value}'"),
        }
    }

    /// Returns a value for people.
    fn shown(&self, value: &str) -> String {
        match self {
            Self::Text { charset, .. } => match (charset.as_str(), bytes(value)) {
                ("ascii" | "utf8mb3" | "utf8mb4", Some(bytes)) => {
                    Literal::new(String::from_utf8_lossy(&bytes)).to_string()
                }
                ("latin1", Some(bytes)) => {
                    Literal::new(bytes.iter().copied().map(char::from).collect::<String>())
                        .to_string()
                }
                _ => format!("x'{value}'"),
            },
            Self::Quoted | Self::Bytes => self.literal(value),
            Self::Number | Self::Double | Self::Index => value.to_owned(),
        }
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok()).collect()
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct KeyColumn {
    name: String,
    form: Form,
}

impl KeyColumn {
    fn ident(&self) -> Ident {
        Ident::new(self.name.as_str())
    }
}

/// A key of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    index: String,
    columns: Vec<KeyColumn>,
}

/// Rows of a table from behind one key up to another, that one included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Range {
    /// The last key before it; none at the beginning of the table.
    pub(crate) after: Option<KeyValue>,
    /// Its last key; none at the end of the table.
    pub(crate) to: Option<KeyValue>,
}

impl Key {
    /// Returns a key of one whole number.
    #[cfg(test)]
    pub(crate) fn of_number(name: &str) -> Self {
        let column = KeyColumn { name: name.into(), form: Form::Number };
        Self { index: "PRIMARY".into(), columns: vec![column] }
    }

    /// Returns the names of its columns.
    pub(crate) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    /// Returns the expressions that read it, for a list of columns.
    pub(crate) fn select(&self) -> String {
        let read = |column: &KeyColumn| {
            let name = column.ident();
            match column.form {
                Form::Number | Form::Quoted => name.to_string(),
                Form::Double => format!("CAST({name} AS DOUBLE)"),
                Form::Index => format!("CAST({name} AS UNSIGNED)"),
                Form::Text { .. } | Form::Bytes => format!("HEX({name})"),
            }
        };
        self.columns.iter().map(read).collect::<Vec<_>>().join(", ")
    }

    /// Returns its columns, as rows are put in order by.
    pub(crate) fn order(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|c| c.ident().to_string()).collect();
        names.join(", ")
    }

    /// Reads it out of the first columns of a row.
    pub(crate) fn value(&self, row: &Row, op: &str) -> Outcome<KeyValue> {
        (0..self.columns.len())
            .map(|at| row.get_opt::<String, _>(at).and_then(Result::ok))
            .collect::<Option<KeyValue>>()
            .ok_or_else(|| SqlError::Unexpected("a key that is no text".into()))
            .reading(op)
    }

    /// Returns whether this is a value of the key, and no other text.
    pub(crate) fn fits(&self, value: &[String]) -> bool {
        value.len() == self.columns.len()
            && self.columns.iter().zip(value).all(|(column, part)| column.form.fits(part))
    }

    /// Returns a value for people: `7, 'ada'`.
    pub(crate) fn shown(&self, value: &[String]) -> String {
        let parts: Vec<String> =
            self.columns.iter().zip(value).map(|(c, part)| c.form.shown(part)).collect();
        parts.join(", ")
    }

    /// Returns the condition that a row's key stands beyond a value, or up to it. Each column
    /// is compared by itself: a comparison of tuples would not use the index.
    fn compared(&self, value: &[String], sign: char, or_equal: bool) -> String {
        let mut all = String::new();
        for (at, (column, part)) in self.columns.iter().zip(value).enumerate().rev() {
            let (name, literal) = (column.ident(), column.form.literal(part));
            all = if at + 1 == self.columns.len() {
                format!("{name} {sign}{} {literal}", if or_equal { "=" } else { "" })
            } else {
                format!("({name} {sign} {literal} OR ({name} = {literal} AND {all}))")
            };
        }
        all
    }

    /// Returns the condition that a row's key is at most a value.
    pub(crate) fn up_to(&self, value: &[String]) -> String {
        self.compared(value, '<', true)
    }

    /// Returns the condition that chooses a range, with its `WHERE`; nothing for a whole table.
    pub(crate) fn within(&self, range: &Range) -> String {
        let after = range.after.as_ref().map(|value| self.compared(value, '>', false));
        let to = range.to.as_ref().map(|value| self.up_to(value));
        let all: Vec<String> = after.into_iter().chain(to).collect();
        if all.is_empty() { String::new() } else { format!(" WHERE {}", all.join(" AND ")) }
    }
}

/// Returns the key of a table: the primary one, else the first unique one in which no NULL, no
/// shortened text and no unordered index is.
pub(crate) async fn of(link: &Link, wire: &mut Wire, table: &str) -> Outcome<Option<Key>> {
    type Part = (String, String, String, Option<String>, Option<String>, bool);
    let rows: Vec<Part> = wire
        .rows(format!(
            "SELECT s.INDEX_NAME, s.COLUMN_NAME, LOWER(c.DATA_TYPE), c.CHARACTER_SET_NAME, \
               c.COLLATION_NAME, s.SUB_PART IS NULL AND COALESCE(s.NULLABLE, '') <> 'YES' \
               AND s.INDEX_TYPE = 'BTREE' AND s.IGNORED = 'NO' \
             FROM information_schema.STATISTICS s \
             JOIN information_schema.COLUMNS c USING (TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME) \
             WHERE s.TABLE_SCHEMA = {} AND s.TABLE_NAME = {} AND s.NON_UNIQUE = 0 \
             ORDER BY s.INDEX_NAME <> 'PRIMARY', s.INDEX_NAME, s.SEQ_IN_INDEX",
            link.names.schema_literal(),
            Literal::new(table)
        ))
        .await
        .reading(&format!("read the keys of table `{table}` at the {}", wire.side()))?;
    Ok(rows.chunk_by(|one, other| one.0 == other.0).find_map(|parts| {
        let column = |(_, name, kind, charset, collation, whole): &Part| {
            let form = Form::of(kind, charset.clone(), collation.clone())?;
            whole.then(|| KeyColumn { name: name.clone(), form })
        };
        let columns = parts.iter().map(column).collect::<Option<Vec<_>>>()?;
        Some(Key { index: parts[0].0.clone(), columns })
    }))
}

/// Returns the key of the row at which `rows` rows of a range are full; none if it has fewer.
pub(crate) async fn boundary(
    link: &Link,
    wire: &mut Wire,
    (table, key): (&str, &Key),
    range: &Range,
    rows: u64,
) -> Outcome<Option<KeyValue>> {
    let op = format!("cut table `{table}` at the {}", wire.side());
    let query = format!(
        "SELECT {} FROM {} FORCE INDEX ({}){} ORDER BY {} LIMIT 1 OFFSET {}",
        key.select(),
        link.names.table(table),
        Ident::new(key.index.as_str()),
        key.within(range),
        key.order(),
        rows.saturating_sub(1)
    );
    look(wire).await?;
    let row = wire.first::<Row>(query).await;
    look_away(wire).await?;
    row.reading(&op)?.map(|row| key.value(&row, &op)).transpose()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(columns: &[(&str, Form)]) -> Key {
        let column =
            |(name, form): &(&str, Form)| KeyColumn { name: (*name).into(), form: form.clone() };
        Key { index: "PRIMARY".into(), columns: columns.iter().map(column).collect() }
    }

    fn text() -> Form {
        Form::Text { charset: "latin1".into(), collation: "latin1_swedish_ci".into() }
    }

    #[test]
    fn a_range_is_open_before_and_closed_behind() {
        let key = key(&[("id", Form::Number)]);
        let range = Range { after: Some(vec!["-5".into()]), to: Some(vec!["7".into()]) };
        assert_eq!(key.within(&range), " WHERE `id` > -5 AND `id` <= 7");
        assert_eq!(key.within(&Range::default()), "");
    }

    #[test]
    fn columns_of_a_composite_key_are_compared_in_their_order() {
        let key = key(&[("a", Form::Number), ("b", text()), ("c", Form::Double)]);
        let range = Range { after: Some(vec!["1".into(), "6162".into(), "0.5".into()]), to: None };
        let b = "_latin1 x'6162' COLLATE latin1_swedish_ci";
        assert_eq!(
            key.within(&range),
            format!(" WHERE (`a` > 1 OR (`a` = 1 AND (`b` > {b} OR (`b` = {b} AND `c` > 0.5e0))))")
        );
    }

    #[test]
    fn a_key_is_shown_as_it_is_written_in_a_statement() {
        let key = key(&[("b", text()), ("u", Form::Bytes), ("d", Form::Quoted)]);
        let value = vec!["63E927".into(), "00FF".into(), "2024-02-30".into()];
        assert_eq!(key.shown(&value), r"'cé\'', x'00FF', '2024-02-30'");
    }

    #[test]
    fn a_kept_value_is_no_statement() {
        let key = key(&[("a", Form::Number), ("b", text())]);
        assert!(key.fits(&["-12".into(), String::new()]));
        for wrong in [
            vec!["1 OR 1".into(), "00".into()],
            vec!["1".into(), "00' OR '".into()],
            vec!["1".into()],
            vec![String::new(), "00".into()],
        ] {
            assert!(!key.fits(&wrong), "{wrong:?}");
        }
    }
}
