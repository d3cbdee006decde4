//! Seal: the fence is made to last, if it never lapsed.
//!
//! Under the table locks of the fence: logins locked, events off, sessions ended, and the
//! binary log read from the fence on. Only then are the tables unlocked, and that answer
//! proves that they were locked until then. What was closed is noted at the server before
//! it is closed, so that whoever comes later can open exactly that again.

use crate::epoch;
use crate::events::{self, Event};
use crate::fault::{Deadline, Explain};
use crate::link::{Link, Wire};
use crate::locks::Place;
use crate::logins::{self, Account};
use crate::replica::MariaReplica;
use crate::settings::own;
use async_trait::async_trait;
use segue_doors::sql::{Literal, Row};
use segue_model::event::Attempt;
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time that ending sessions may take within a pause.
const ENDING: Duration = Duration::from_millis(500);

/// Closes the side that the way leaves.
pub(crate) struct Seal(pub(crate) Arc<MariaReplica>);

/// What is closed, or is to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closed {
    pub(crate) accounts: Vec<Account>,
    pub(crate) events: Vec<Event>,
}

/// Returns every account to lock: the plan's and whoever else may write by now, as far as
/// they are open.
async fn to_close(link: &Link, wire: &mut Wire) -> Outcome<Closed> {
    let admin = &link.settings.plan.servers.get(wire.side()).admin;
    let mut users = link.settings.plan.logins.clone();
    let extra = logins::writers(link, wire).await?;
    users.extend(extra.iter().map(|account| account.user.clone()).filter(|user| user != admin));
    users.sort();
    users.dedup();
    let accounts = logins::of_users(wire, &users)
        .await?
        .into_iter()
        .filter(|(account, locked)| {
            !locked
                && (link.settings.plan.logins.contains(&account.user) || extra.contains(account))
        })
        .map(|(account, _)| account)
        .collect();
    Ok(Closed { accounts, events: events::of_schema(link, wire, true).await? })
}

/// Notes at the server what will be closed.
async fn note(link: &Link, wire: &mut Wire, closed: &Closed, op: &str) -> Outcome<()> {
    let unit = link.names.unit_literal();
    let mut rows = Vec::new();
    for account in &closed.accounts {
        rows.push(row("login", &account.to_string(), &json!(account)));
    }
    for event in &closed.events {
        rows.push(row("event", &event.name, &json!(event)));
    }
    if rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<String> = rows.into_iter().map(|row| format!("({unit}, {row})")).collect();
    wire.run(format!(
        "INSERT IGNORE INTO {} (unit, kind, name, detail) VALUES {}",
        own("sealed"),
        rows.join(", ")
    ))
    .await
    .changing(op)
}

fn row(kind: &str, name: &str, detail: &Value) -> String {
    format!("'{kind}', {}, {}", Literal::new(name), Literal::new(detail.to_string()))
}

/// Forgets the server's note.
pub(crate) async fn forget(link: &Link, wire: &mut Wire) -> Outcome<()> {
    wire.run(format!("DELETE FROM {} WHERE unit = {}", own("sealed"), link.names.unit_literal()))
        .await
        .changing(&format!("forget what was sealed at the {}", wire.side()))
}

/// Returns what the server's note says is closed.
pub(crate) async fn noted(link: &Link, wire: &mut Wire) -> Outcome<Closed> {
    let op = format!("read what is sealed at the {}", wire.side());
    let rows: Vec<(String, String)> = wire
        .rows(format!(
            "SELECT kind, detail FROM {} WHERE unit = {}",
            own("sealed"),
            link.names.unit_literal()
        ))
        .await
        .reading(&op)?;
    let mut closed = Closed::default();
    let wrong = |e: serde_json::Error| Fault::new("SG0204", FaultKind::Invalid, op.clone(), e);
    for (kind, detail) in rows {
        match kind.as_str() {
            "login" => closed.accounts.push(serde_json::from_str(&detail).map_err(wrong)?),
            "event" => closed.events.push(serde_json::from_str(&detail).map_err(wrong)?),
            _ => {}
        }
    }
    Ok(closed)
}

/// Takes back the note that the seal is whole.
async fn unfinish(link: &Link, wire: &mut Wire, attempt: Attempt, op: &str) -> Outcome<()> {
    wire.run(format!(
        "DELETE FROM {} WHERE unit = {} AND kind = 'done' AND name = {}",
        own("sealed"),
        link.names.unit_literal(),
        done_name(attempt)
    ))
    .await
    .changing(op)
}

fn done_name(attempt: Attempt) -> Literal {
    Literal::new(format!("{} {}", attempt.phase.as_str(), attempt.number))
}

/// A pattern of the schema's name before the dot of a qualified name, for `REGEXP`.
fn qualified(schema: &str) -> Literal {
    Literal::new(format!("(^|[^[:alnum:]_$])`?\\Q{schema}\\E`?[[:space:]]*[.]"))
}

/// Ends the sessions of the logins, and whoever waits at the fence: it would write as
/// soon as the tables are unlocked. Who waits there has the schema as its default or names
/// it in the statement; a neighbour who waits for a lock of its own does neither.
async fn end_writers(link: &Link, wire: &mut Wire, closed: &Closed, op: &str) -> Outcome<u64> {
    let mut users = link.settings.plan.logins.clone();
    users.extend(logins::users(&closed.accounts));
    let own_login = link.epoch().map(|epoch| link.names.login(epoch)).unwrap_or_default();
    let waiting = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() \
         AND USER NOT IN ('system user', {}) AND (DB = {} OR INFO REGEXP {}) \
         AND STATE LIKE 'Waiting for table%lock%'",
        Literal::new(own_login),
        link.names.schema_literal(),
        qualified(&link.names.schema)
    );
    let names: Vec<String> =
        users.iter().map(|user| Literal::new(user.as_str()).to_string()).collect();
    let of_logins = if names.is_empty() { "''".to_owned() } else { names.join(", ") };
    let list = waiting.replacen("COUNT(*)", "ID", 1).replacen(
        "WHERE ",
        &format!("WHERE USER IN ({of_logins}) OR "),
        1,
    );
    let ended: u64 = wire.rows::<u64>(&list).await.reading(op)?.len() as u64;
    epoch::kill_until_gone(wire, &list, Deadline::after(ENDING), op).await?;
    Ok(ended)
}

/// Refuses if the binary log shows anything of the schema behind the fence.
async fn nothing_since(link: &Link, wire: &mut Wire, place: &Place, op: &str) -> Outcome<()> {
    let files: Vec<Row> = wire.rows("SHOW BINARY LOGS").await.reading(op)?;
    let files: Vec<String> = files
        .iter()
        .filter_map(|row| row.get_opt::<String, _>(0).and_then(Result::ok))
        .skip_while(|file| *file != place.file)
        .collect();
    if files.is_empty() {
        return Err(after_fence(op, format!("the binary log {} is gone", place.file)));
    }
    for (index, file) in files.iter().enumerate() {
        let from = if index == 0 { place.offset } else { 4 };
        let events: Vec<Row> = wire
            .rows(format!("SHOW BINLOG EVENTS IN {} FROM {from}", Literal::new(file.as_str())))
            .await
            .reading(op)?;
        for event in events {
            let column = |title: &str| {
                event.get_opt::<String, _>(title).and_then(Result::ok).unwrap_or_default()
            };
            let (kind, info) = (column("Event_type"), column("Info"));
            if touches(&link.names.schema, &kind, &info) {
                return Err(after_fence(op, format!("{file} has a {kind} event: {info}")));
            }
        }
    }
    Ok(())
}

fn after_fence(op: &str, cause: String) -> Fault {
    Fault::new("SG0217", FaultKind::Conflict, op, cause)
        .leaving(EffectLeft::Maybe)
        .hint("an administrator changed the schema in the pause; the cutover withdraws by itself")
}

/// Returns whether an event is about the schema: its rows, or a statement that names it.
/// Rather one withdrawal too many than a write left behind.
pub(crate) fn touches(schema: &str, kind: &str, info: &str) -> bool {
    match kind {
        "Table_map" => info.contains(&format!("({schema}.")),
        "Query" | "Query_compressed" | "Execute_load_query" => {
            !about_rights(info) && names_word(info, schema)
        }
        _ => false,
    }
}

/// Returns whether a statement is about logins and rights, which no row depends on; the
/// logins themselves were read after the fence.
fn about_rights(info: &str) -> bool {
    let statement = match info.strip_prefix("use `") {
        Some(rest) => rest.split_once("`; ").map_or(info, |(_, statement)| statement),
        None => info,
    };
    let statement = statement.to_ascii_uppercase();
    [
        "GRANT ",
        "REVOKE ",
        "CREATE USER ",
        "ALTER USER ",
        "DROP USER ",
        "RENAME USER ",
        "SET PASSWORD ",
    ]
    .iter()
    .any(|word| statement.starts_with(word))
}

fn names_word(text: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(part_of_name)
            && !text[at + word.len()..].chars().next().is_some_and(part_of_name)
    })
}

impl Seal {
    async fn close(&self, wire: &mut Wire, call: &Call, place: &Place, op: &str) -> Outcome<Value> {
        let link = &self.0.link;
        let begun = Instant::now();
        let closed = to_close(link, wire).await?;
        note(link, wire, &closed, op).await?;
        logins::set_locked(wire, &closed.accounts, true).await?;
        events::set(link, wire, &closed.events, false).await?;
        let ended = end_writers(link, wire, &closed, op).await?;
        nothing_since(link, wire, place, op).await?;
        let all = noted(link, wire).await?;
        let output = json!({
            "effect": "database.seal",
            "at": wire.side().as_str(),
            "logins": all.accounts,
            "events": all.events,
            "sessions_ended": ended,
            "file": place.file,
            "offset": place.offset,
            "gtid": place.gtid,
            "took_ms": begun.elapsed().as_secs_f64() * 1000.0,
        });
        wire.run(format!(
            "REPLACE INTO {} (unit, kind, name, detail) VALUES ({}, 'done', {}, {})",
            own("sealed"),
            link.names.unit_literal(),
            done_name(call.authority.attempt),
            Literal::new(output.to_string())
        ))
        .await
        .changing(op)?;
        Ok(output)
    }
}

#[async_trait]
impl Effect for Seal {
    fn what(&self) -> String {
        format!(
            "close schema `{}` for good: lock its logins, end their sessions, switch its events off",
            self.0.link.names.schema
        )
    }

    fn by_hand(&self) -> String {
        "at the sealed side, never while the other is open: ALTER USER ... ACCOUNT UNLOCK and ALTER EVENT ... ENABLE for what segue.sealed lists".into()
    }

    async fn prepare(&self, call: &Call) -> Outcome<Value> {
        let mut wire = self.0.link.take(call.authority.way().from()).await?;
        let closed = to_close(&self.0.link, &mut wire).await?;
        wire.close().await;
        Ok(json!({ "logins": closed.accounts, "events": closed.events }))
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let link = &self.0.link;
        let side = call.authority.way().from();
        let op = format!("seal schema `{}` at the {side}", link.names.schema);
        let taken = self.0.fence.lock().await.take();
        let Some(fence) = taken else { return Err(super::fence::lapsed(side)) };
        let right = fence.attempt == call.authority.attempt && fence.side == side;
        if !right || !fence.stands().await {
            fence.release().await;
            return Err(super::fence::lapsed(side));
        }
        let place = fence.place.clone();
        let mut wire = link.take(side).await?;
        match self.close(&mut wire, call, &place, &op).await {
            Ok(output) => match fence.lower().await {
                Ok(()) => {
                    tokio::spawn(wire.close());
                    Ok(output)
                }
                Err(fault) => {
                    unfinish(link, &mut wire, call.authority.attempt, &op).await?;
                    Err(fault.leaving(EffectLeft::Maybe))
                }
            },
            Err(fault) => {
                fence.release().await;
                Err(fault.leaving(EffectLeft::Maybe))
            }
        }
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        let link = &self.0.link;
        let mut wire = link.open(call.authority.way().from()).await?;
        let op = format!("see whether the {} is sealed", wire.side());
        let done: Option<String> = wire
            .first(format!(
                "SELECT detail FROM {} WHERE unit = {} AND kind = 'done' AND name = {}",
                own("sealed"),
                link.names.unit_literal(),
                done_name(call.authority.attempt)
            ))
            .await
            .reading(&op)?;
        let closed = noted(link, &mut wire).await?;
        let open = logins::of_users(&mut wire, &logins::users(&closed.accounts))
            .await?
            .iter()
            .filter(|(account, locked)| !locked && closed.accounts.contains(account))
            .count();
        let enabled = events::of_schema(link, &mut wire, true).await?.len();
        wire.close().await;
        Ok(match done {
            Some(output) if open == 0 && enabled == 0 => Observed::Applied(
                serde_json::from_str(&output)
                    .map_err(|e| Fault::new("SG0204", FaultKind::Invalid, op, e))?,
            ),
            // Closed in part, and the fence is gone: only an undo makes it whole again.
            _ => Observed::NotApplied,
        })
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        let link = &self.0.link;
        let mut wire = link.open(call.authority.way().from()).await?;
        let closed = noted(link, &mut wire).await?;
        let known: Vec<Account> = logins::of_users(&mut wire, &logins::users(&closed.accounts))
            .await?
            .into_iter()
            .map(|(account, _)| account)
            .filter(|account| closed.accounts.contains(account))
            .collect();
        logins::set_locked(&mut wire, &known, false).await?;
        events::set(link, &mut wire, &closed.events, true).await?;
        forget(link, &mut wire).await?;
        wire.close().await;
        Ok(())
    }

    async fn quench(&self, call: &Call) -> Outcome<()> {
        epoch::quench(&self.0.link, &[call.authority.way().from()]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_the_schema_is_told_from_a_neighbours() {
        assert!(touches("shop", "Table_map", "table_id: 32 (shop.orders)"));
        assert!(!touches("shop", "Table_map", "table_id: 32 (shop2.orders)"));
        assert!(touches("shop", "Query", "use `x`; ALTER TABLE shop.t ADD c INT"));
        assert!(touches("shop", "Query", "use `shop`; DROP TABLE `t`"));
        assert!(!touches("shop", "Query", "use `tenant`; CREATE TABLE shopping (a INT)"));
        assert!(!touches("shop", "Gtid", "BEGIN GTID 1-1-5"));
        assert!(!touches("shop", "Query", "use `shop`; GRANT INSERT ON shop.* TO panel@'%'"));
    }
}
