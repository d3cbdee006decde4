//! Events: which run, and switching them.

use crate::epoch::hex;
use crate::fault::Explain;
use crate::link::{Link, Wire};
use segue_doors::sql::Ident;
use segue_port::Outcome;

/// An enabled event and who it acts as.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Event {
    /// Its name.
    pub(crate) name: String,
    /// `user@host` of its definer. `ALTER EVENT` would otherwise make Segue the definer.
    pub(crate) definer: String,
}

/// Returns the schema's events that are enabled, or those that are not.
pub(crate) async fn of_schema(link: &Link, wire: &mut Wire, enabled: bool) -> Outcome<Vec<Event>> {
    let sign = if enabled { "=" } else { "<>" };
    let rows: Vec<(String, String)> = wire
        .rows(format!(
            "SELECT EVENT_NAME, DEFINER FROM information_schema.EVENTS \
             WHERE EVENT_SCHEMA = {} AND STATUS {sign} 'ENABLED' ORDER BY EVENT_NAME",
            link.names.schema_literal()
        ))
        .await
        .reading(&format!(
            "list the events of schema `{}` at the {}",
            link.names.schema,
            wire.side()
        ))?;
    Ok(rows.into_iter().map(|(name, definer)| Event { name, definer }).collect())
}

/// Enables or disables events, keeping their definers and the character sets of their bodies: any
/// `ALTER EVENT` notes the session's in their place.
pub(crate) async fn set(
    link: &Link,
    wire: &mut Wire,
    events: &[Event],
    enabled: bool,
) -> Outcome<()> {
    if events.is_empty() {
        return Ok(());
    }
    let word = if enabled { "ENABLE" } else { "DISABLE" };
    let op = format!("{} events at the {}", word.to_lowercase(), wire.side());
    let sets: Vec<(String, String, String)> = wire
        .rows(format!(
            "SELECT EVENT_NAME, CHARACTER_SET_CLIENT, COLLATION_CONNECTION \
             FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {}",
            link.names.schema_literal()
        ))
        .await
        .reading(&op)?;
    for event in events {
        // Dropped meanwhile, or it deleted itself after its last run.
        let Some((_, charset, collation)) = sets.iter().find(|(name, ..)| *name == event.name)
        else {
            continue;
        };
        let (user, host) = event.definer.rsplit_once('@').unwrap_or((&event.definer, "%"));
        let sql = format!(
            "ALTER DEFINER = {}@{} EVENT {} {word}",
            Ident::new(user),
            Ident::new(host),
            link.names.table(&event.name)
        );
        // In digits: names reach the server whatever the character set.
        let sql = format!(
            "SET character_set_client = {charset}, collation_connection = {collation}; \
             EXECUTE IMMEDIATE _utf8mb4 x'{}'",
            hex(sql.as_bytes())
        );
        match wire.run(sql).await {
            Err(error) if error.code() == Some(1539) => {}
            other => other.changing(&format!("{op}: `{}`", event.name))?,
        }
    }
    wire.run("SET NAMES utf8mb4").await.reading(&op)
}
