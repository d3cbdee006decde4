//! What the schema holds besides rows: definitions, read, compared and made anew.

use crate::fault::Explain;
use crate::link::{Link, Wire};
use segue_doors::sql::{Literal, Row, SqlError, SqlResult};
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use std::fmt;

/// Kind of an object in a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The schema itself: what new tables and routines get where they say nothing.
    Schema,
    Table,
    Function,
    Procedure,
    View,
    Trigger,
    Event,
    /// A login of the unit with its rights on the schema; only compared as an object.
    Login,
}

impl Kind {
    /// The word SQL uses.
    fn word(self) -> &'static str {
        match self {
            Self::Schema => "SCHEMA",
            Self::Login => "LOGIN",
            Self::Table => "TABLE",
            Self::Function => "FUNCTION",
            Self::Procedure => "PROCEDURE",
            Self::View => "VIEW",
            Self::Trigger => "TRIGGER",
            Self::Event => "EVENT",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word().to_lowercase())
    }
}

/// One object with everything needed to make it anew exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// The statement, in the character set it was written in.
    pub(crate) create: Vec<u8>,
    /// Session settings it was made under, as assignments.
    settings: Vec<(&'static str, String)>,
    /// The schema's collation when it was made: what texts in it have that say nothing else.
    collation: Option<String>,
    /// Of a trigger: where it comes among those of its table. No statement shows it.
    place: String,
}

impl Object {
    /// What its statement says all of.
    pub(crate) fn plain(kind: Kind, name: String, create: Vec<u8>) -> Self {
        Self { kind, name, create, settings: Vec::new(), collation: None, place: String::new() }
    }

    /// Returns the definition in a form that is equal on both sides exactly if the objects
    /// are: without the table's counter and without whether an event is enabled.
    pub(crate) fn normal(&self) -> Vec<u8> {
        let text = match self.kind {
            Kind::Table => without_counter(&self.create),
            Kind::Event => disabled(&self.create),
            _ => self.create.clone(),
        };
        let mut all = text;
        for (name, value) in &self.settings {
            all.extend_from_slice(format!("\n{name}={value}").as_bytes());
        }
        for more in self.collation.iter().chain(Some(&self.place).filter(|place| !place.is_empty()))
        {
            all.extend_from_slice(format!("\n{more}").as_bytes());
        }
        all
    }
}

/// Cuts ` AUTO_INCREMENT=123` out of a table's options.
fn without_counter(create: &[u8]) -> Vec<u8> {
    const WORD: &[u8] = b" AUTO_INCREMENT=";
    // The options stand behind the last closing bracket that begins a line.
    let options = find_last(create, b"\n)").unwrap_or(0);
    let Some(at) = find(&create[options..], WORD).map(|at| at + options) else {
        return create.to_vec();
    };
    let digits = create[at + WORD.len()..].iter().take_while(|b| b.is_ascii_digit()).count();
    [&create[..at], &create[at + WORD.len() + digits..]].concat()
}

/// Puts an event's state to disabled.
fn disabled(create: &[u8]) -> Vec<u8> {
    for state in [&b"PRESERVE ENABLE"[..], b"PRESERVE DISABLE ON SLAVE", b"PRESERVE DISABLE"] {
        if let Some(at) = find(create, state) {
            return [&create[..at], b"PRESERVE DISABLE", &create[at + state.len()..]].concat();
        }
    }
    create.to_vec()
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn find_last(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).rposition(|window| window == part)
}

/// Reads how the schema itself was made.
pub(crate) async fn schema(link: &Link, wire: &mut Wire) -> Outcome<Object> {
    let (charset, collation, comment): (String, String, String) = wire
        .one(format!(
            "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, SCHEMA_COMMENT \
             FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}",
            link.names.schema_literal()
        ))
        .await
        .reading(&format!(
            "read how schema `{}` was made at the {}",
            link.names.schema,
            wire.side()
        ))?;
    let mut create = format!(
        "CREATE SCHEMA {} CHARACTER SET {charset} COLLATE {collation}",
        link.names.schema_ident()
    );
    if !comment.is_empty() {
        create += &format!(" COMMENT {}", Literal::new(comment));
    }
    Ok(Object::plain(Kind::Schema, link.names.schema.clone(), create.into_bytes()))
}

/// Reads the definitions of the base tables.
pub(crate) async fn tables(link: &Link, wire: &mut Wire, names: &[String]) -> Outcome<Vec<Object>> {
    let mut all = Vec::with_capacity(names.len());
    raw(wire, true).await?;
    for name in names {
        all.push(read(link, wire, Kind::Table, name.clone()).await?);
    }
    raw(wire, false).await?;
    Ok(all)
}

/// Reads the definitions of everything but tables, in an order in which they can be made.
pub(crate) async fn others(link: &Link, wire: &mut Wire) -> Outcome<Vec<Object>> {
    let op = format!("list the objects of schema `{}` at the {}", link.names.schema, wire.side());
    let schema = link.names.schema_literal();
    let names: Vec<(String, String)> = wire
        .rows(format!(
            "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {schema} \
             UNION ALL SELECT 'VIEW', TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {schema} \
             UNION ALL SELECT 'EVENT', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {schema} \
             UNION ALL SELECT 'TRIGGER', TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {schema}"
        ))
        .await
        .reading(&op)?;
    let mut wanted = Vec::new();
    for (kind, name) in names {
        let kind = match kind.as_str() {
            "FUNCTION" => Kind::Function,
            "PROCEDURE" => Kind::Procedure,
            "VIEW" => Kind::View,
            "EVENT" => Kind::Event,
            "TRIGGER" => Kind::Trigger,
            other => {
                return Err(Fault::new(
                    "SG0222",
                    FaultKind::Unsupported,
                    op,
                    format!("{other} `{name}` cannot be copied"),
                )
                .hint("remove it from the schema or move it by hand"));
            }
        };
        wanted.push((kind, name));
    }
    wanted.sort();
    // Several triggers of one table and event fire in the order in which they were made.
    let order: Vec<(String, String)> = wire
        .rows(format!(
            "SELECT TRIGGER_NAME, CONCAT_WS(' ', ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER) \
             FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {schema} \
             ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER"
        ))
        .await
        .reading(&op)?;
    let position = |name: &String| order.iter().position(|(other, _)| other == name);
    wanted.sort_by_key(|(kind, name)| (*kind, position(name)));
    raw(wire, true).await?;
    let mut all = Vec::with_capacity(wanted.len());
    for (kind, name) in wanted {
        let mut object = read(link, wire, kind, name).await?;
        if let Some(at) = position(&object.name).filter(|_| kind == Kind::Trigger) {
            object.place.clone_from(&order[at].1);
        }
        all.push(object);
    }
    raw(wire, false).await?;
    Ok(all)
}

/// Makes the session hand out definitions as they are stored, or as UTF-8 again.
async fn raw(wire: &mut Wire, on: bool) -> Outcome<()> {
    let charset = if on { "NULL" } else { "utf8mb4" };
    wire.run(format!("SET character_set_results = {charset}"))
        .await
        .reading(&format!("prepare reading definitions at the {}", wire.side()))
}

async fn read(link: &Link, wire: &mut Wire, kind: Kind, name: String) -> Outcome<Object> {
    let op = format!("read the definition of {kind} `{name}` at the {}", wire.side());
    let sql = format!("SHOW CREATE {} {}", kind.word(), link.names.table(&name));
    let row: Row = wire.one(sql).await.reading(&op)?;
    parse(kind, name, &row).reading(&op)
}

fn parse(kind: Kind, name: String, row: &Row) -> SqlResult<Object> {
    let column = |title: &str| -> SqlResult<Vec<u8>> {
        row.get_opt::<Option<Vec<u8>>, _>(title).and_then(Result::ok).flatten().ok_or_else(|| {
            SqlError::Unexpected(format!("no `{title}` for `{name}`; is a right missing?"))
        })
    };
    let word = |title: &str| -> SqlResult<String> {
        String::from_utf8(column(title)?).map_err(|e| SqlError::Unexpected(e.to_string()))
    };
    let title = match kind {
        Kind::Schema => "Create Database",
        Kind::Login => "Create User",
        Kind::Table => "Create Table",
        Kind::Function => "Create Function",
        Kind::Procedure => "Create Procedure",
        Kind::View => "Create View",
        Kind::Trigger => "SQL Original Statement",
        Kind::Event => "Create Event",
    };
    let mut settings = Vec::new();
    if kind != Kind::Table {
        settings.push(("character_set_client", word("character_set_client")?));
        settings.push(("collation_connection", word("collation_connection")?));
    }
    if !matches!(kind, Kind::Table | Kind::View) {
        settings.push(("sql_mode", word("sql_mode")?));
    }
    if kind == Kind::Event {
        settings.push(("time_zone", word("time_zone")?));
    }
    let collation = match kind {
        Kind::Function | Kind::Procedure | Kind::Trigger | Kind::Event => {
            Some(word("Database Collation")?)
        }
        _ => None,
    };
    let create = column(title)?;
    Ok(Object { settings, collation, ..Object::plain(kind, name, create) })
}

/// Makes one object in the session's current schema; an event is made disabled.
///
/// # Errors
/// The server's answer as it is: a view may have to wait for another one.
pub(crate) async fn create(wire: &mut Wire, object: &Object) -> SqlResult<()> {
    let own: String = match object.collation {
        Some(_) => wire.one("SELECT @@collation_database").await?,
        None => String::new(),
    };
    let mut changed = Vec::new();
    for (name, value) in &object.settings {
        changed.push(format!("{name} = {}", Literal::new(value.as_str())));
    }
    if !changed.is_empty() {
        wire.run(format!("SET {}", changed.join(", "))).await?;
    }
    let statement =
        if object.kind == Kind::Event { disabled(&object.create) } else { object.create.clone() };
    let made = match object.collation.as_ref().filter(|wanted| **wanted != own) {
        Some(wanted) => {
            wire.run(format!("ALTER SCHEMA COLLATE {wanted}")).await?;
            let made = wire.run(statement).await;
            wire.run(format!("ALTER SCHEMA COLLATE {own}")).await?;
            made
        }
        None => wire.run(statement).await,
    };
    wire.run(
        "SET NAMES utf8mb4, time_zone = '+00:00', \
         sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'",
    )
    .await?;
    made
}

/// Makes objects; those that need another one first are tried again.
pub(crate) async fn create_all(wire: &mut Wire, objects: Vec<Object>) -> Outcome<()> {
    let mut waiting = objects;
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut later = Vec::new();
        let mut last = None;
        for object in waiting {
            if let Err(error) = create(wire, &object).await {
                if error.code().is_none() {
                    return Err(error)
                        .changing(&format!("create {} `{}`", object.kind, object.name));
                }
                last = Some((format!("create {} `{}`", object.kind, object.name), error));
                later.push(object);
            }
        }
        if later.len() == before
            && let Some((op, error)) = last
        {
            return Err(error).changing(&op);
        }
        waiting = later;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_of_a_table_does_not_count() {
        let one = b"CREATE TABLE `t` (\n  `a` text DEFAULT ' AUTO_INCREMENT=5'\n) ENGINE=InnoDB AUTO_INCREMENT=12 DEFAULT CHARSET=utf8mb4";
        let text = String::from_utf8_lossy(&without_counter(one)).into_owned();
        assert!(text.ends_with("ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"), "{text}");
        assert!(text.contains("' AUTO_INCREMENT=5'"), "{text}");
    }

    #[test]
    fn an_event_is_made_disabled_whatever_it_was() {
        for state in ["ENABLE", "DISABLE", "DISABLE ON SLAVE"] {
            let create = format!(
                "CREATE EVENT `e` ON SCHEDULE EVERY 1 DAY ON COMPLETION NOT PRESERVE {state} DO SELECT 1"
            );
            assert_eq!(
                String::from_utf8_lossy(&disabled(create.as_bytes())),
                "CREATE EVENT `e` ON SCHEDULE EVERY 1 DAY ON COMPLETION NOT PRESERVE DISABLE DO SELECT 1"
            );
        }
    }
}
