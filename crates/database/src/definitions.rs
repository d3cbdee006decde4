//! Definitions of both sides beside each other: the schema, what is in it, and the unit's logins.

use crate::difference::Difference;
use crate::fault::Explain;
use crate::frozen::{look, look_away};
use crate::link::{Link, Wire};
use crate::schema::{self, Object};
use crate::{events, logins};
use segue_doors::sql::Literal;
use segue_port::Outcome;
use std::collections::BTreeMap;

/// Definitions by kind and name, in the form in which they are compared.
pub(crate) type Definitions = BTreeMap<(schema::Kind, String), Vec<u8>>;

/// Reads everything that is defined at a side, in a snapshot's session.
pub(crate) async fn definitions(link: &Link, wire: &mut Wire) -> Outcome<Definitions> {
    look(wire).await?;
    let names = crate::locks::base_tables(link, wire).await?;
    let mut objects: Vec<Object> = vec![schema::schema(link, wire).await?];
    objects.extend(schema::tables(link, wire, &names).await?);
    objects.extend(schema::others(link, wire).await?);
    objects.extend(logins::objects(link, wire).await?);
    look_away(wire).await?;
    Ok(objects.into_iter().map(|o| ((o.kind, o.name.clone()), o.normal())).collect())
}

/// Returns what is defined otherwise, or at one side only.
pub(crate) fn different(source: &Definitions, target: &Definitions) -> Vec<Difference> {
    let mut found = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for ((kind, name), here) in source {
        let object = format!("{kind} `{name}`");
        match target.get(&(*kind, name.clone())) {
            None => found.push(Difference {
                object,
                what: "missing at target".into(),
                source: text(here),
                ..Difference::default()
            }),
            Some(there) if there != here => found.push(Difference {
                object,
                what: "definition".into(),
                source: text(here),
                target: text(there),
                ..Difference::default()
            }),
            Some(_) => {}
        }
    }
    for ((kind, name), there) in target {
        if !source.contains_key(&(*kind, name.clone())) {
            found.push(Difference {
                object: format!("{kind} `{name}`"),
                what: "missing at source".into(),
                target: text(there),
                ..Difference::default()
            });
        }
    }
    found
}

/// Returns a short text that changes with the shape of any table: cheap enough for the
/// pause, where a full comparison is not.
pub(crate) async fn shape(link: &Link, wire: &mut Wire) -> Outcome<String> {
    let schema: Literal = link.names.schema_literal();
    wire.one(format!(
        "SELECT CAST(CONCAT(COUNT(*), ' ', COALESCE(SUM(CAST(CRC32(CONCAT_WS('|', TABLE_NAME, COLUMN_NAME, \
         ORDINAL_POSITION, COLUMN_TYPE, IS_NULLABLE, COALESCE(COLLATION_NAME, '-'), EXTRA)) AS UNSIGNED)), 0)) AS CHAR) \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {schema}"
    ))
    .await
    .reading(&format!("read the shape of the tables at the {}", wire.side()))
}

/// Returns the logins and events that are open at both sides: a unit has one side that is
/// written to, and one at which its events run.
pub(crate) async fn open_at_both(
    link: &Link,
    source: &mut Wire,
    target: &mut Wire,
) -> Outcome<Vec<Difference>> {
    let (here, there) = (open(link, source).await?, open(link, target).await?);
    let both = here.into_iter().filter(|object| there.contains(object));
    let difference =
        |object| Difference { object, what: "open at both sides".into(), ..Difference::default() };
    Ok(both.map(difference).collect())
}

async fn open(link: &Link, wire: &mut Wire) -> Outcome<Vec<String>> {
    look(wire).await?;
    let accounts = logins::planned(link, wire).await?;
    let events = events::of_schema(link, wire, true).await?;
    look_away(wire).await?;
    let accounts = accounts.into_iter().filter(|(_, locked)| !locked);
    let logins = accounts.map(|(account, _)| format!("{} `{account}`", schema::Kind::Login));
    let events =
        events.into_iter().map(|event| format!("{} `{}`", schema::Kind::Event, event.name));
    Ok(logins.chain(events).collect())
}
