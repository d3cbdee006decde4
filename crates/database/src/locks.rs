//! Read locks on every table of the schema: short, and without making others wait long.

use crate::fault::{Deadline, Explain};
use crate::link::{Link, Wire};
use segue_doors::sql::SqlError;
use segue_model::{Fault, FaultKind, Side};
use segue_port::Outcome;
use std::time::Duration;

/// How long one attempt may make writers queue behind it.
const PATIENCE: Duration = Duration::from_millis(200);

/// Pause between two attempts, in which the queued writers pass.
const BREATH: Duration = Duration::from_millis(30);

/// Time kept to give up and to say what was in the way.
const TELLING: Duration = Duration::from_millis(60);

/// Returns the base tables of the schema, in order of their names.
pub(crate) async fn base_tables(link: &Link, wire: &mut Wire) -> Outcome<Vec<String>> {
    let schema = link.names.schema_literal();
    wire.rows(format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = {schema} AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME"
    ))
    .await
    .reading(&format!(
        "list the tables of schema `{}` at the {}",
        link.names.schema,
        wire.side()
    ))
}

/// Locks every base table of the schema against writing, on this very session.
///
/// A transaction that is open on one of the tables keeps the lock from being granted, and
/// the waiting lock keeps every other writer waiting. So each attempt is given up after
/// a moment, and begun again until the deadline. Returns the tables and the attempts.
///
/// # Errors
/// `SG0214` if the deadline passes; names the oldest open transaction. Nothing is locked.
pub(crate) async fn lock_schema(
    link: &Link,
    wire: &mut Wire,
    deadline: Deadline,
) -> Outcome<(Vec<String>, u32)> {
    let side = wire.side();
    let op = format!("lock the tables of schema `{}` at the {side}", link.names.schema);
    let mut helper = link.take(side).await?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let tables = base_tables(link, &mut helper).await?;
        if tables.is_empty() {
            return Err(Fault::new("SG0214", FaultKind::Invalid, op, "it has no table")
                .hint("see the plan's `database.schema`"));
        }
        let list: Vec<String> =
            tables.iter().map(|table| format!("{} READ", link.names.table(table))).collect();
        let patience = PATIENCE.min(deadline.left().saturating_sub(TELLING));
        let sql = format!("LOCK TABLES {}", list.join(", "));
        match attempt(wire, &mut helper, &sql, patience, &op).await? {
            Tried::Locked => {
                // A table created in between would stand open.
                if base_tables(link, &mut helper).await? == tables {
                    helper.close().await;
                    return Ok((tables, attempts));
                }
                wire.run("UNLOCK TABLES").await.changing(&op)?;
            }
            Tried::Busy | Tried::Moved => {}
        }
        if deadline.left() <= BREATH + TELLING * 2 {
            return Err(Fault::new(
                "SG0214",
                FaultKind::Busy,
                op,
                format!("not granted in {attempts} attempts; {}", oldest(&mut helper).await),
            )
            .hint("wait until the long transaction ended, or end it"));
        }
        tokio::time::sleep(BREATH).await;
    }
}

enum Tried {
    Locked,
    /// A transaction was in the way.
    Busy,
    /// A table was dropped since the list was read.
    Moved,
}

/// Tries once, and has the attempt ended by the server when it waits too long.
async fn attempt(
    wire: &mut Wire,
    helper: &mut Wire,
    sql: &str,
    patience: Duration,
    op: &str,
) -> Outcome<Tried> {
    let id = wire.id();
    let locking = wire.run(sql);
    tokio::pin!(locking);
    let answer = tokio::select! {
        answer = &mut locking => answer,
        () = tokio::time::sleep(patience) => {
            let killed = helper.run(format!("KILL QUERY {id}")).await;
            let answer = locking.await;
            // The statement ended one way or the other; its own answer counts.
            if answer.is_ok() {
                killed.changing(op)?;
            }
            answer
        }
    };
    match answer {
        Ok(()) => Ok(Tried::Locked),
        // interrupted, lock wait time-out, deadlock
        Err(SqlError::Server { code: 1317 | 1205 | 1213, .. }) => Ok(Tried::Busy),
        Err(SqlError::Server { code: 1146, .. }) => Ok(Tried::Moved),
        Err(error) => Err(error).changing(op),
    }
}

/// Describes the oldest open transaction, for the message.
async fn oldest(helper: &mut Wire) -> String {
    let found = helper
        .first::<(u64, String, u64)>(
            "SELECT t.trx_mysql_thread_id, p.USER, \
                    CAST(TIMESTAMPDIFF(SECOND, t.trx_started, SYSDATE()) AS UNSIGNED) \
             FROM information_schema.INNODB_TRX t \
             JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id \
             ORDER BY t.trx_started LIMIT 1",
        )
        .await;
    match found {
        Ok(Some((id, user, seconds))) => format!(
            "the oldest open transaction is of login `{user}`, connection {id}, {seconds} s old"
        ),
        Ok(None) => "no open transaction is seen now".to_owned(),
        Err(error) => format!("the open transactions could not be read: {error}"),
    }
}

/// Returns the server's position: file, offset and transaction ids.
pub(crate) async fn position(wire: &mut Wire) -> Outcome<Place> {
    let side: Side = wire.side();
    let op = format!("read the binary log's position at the {side}");
    let (file, offset): (String, u64) = wire
        .one::<segue_doors::sql::Row>("SHOW MASTER STATUS")
        .await
        .and_then(|row| match (row.get::<String, _>(0), row.get::<u64, _>(1)) {
            (Some(file), Some(offset)) => Ok((file, offset)),
            _ => Err(SqlError::Unexpected("no file and offset".into())),
        })
        .reading(&op)?;
    let gtid: String = wire.one("SELECT @@GLOBAL.gtid_binlog_pos").await.reading(&op)?;
    Ok(Place { file, offset, gtid })
}

/// A place in a server's binary log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Place {
    /// The log's file.
    pub(crate) file: String,
    /// Offset within it.
    pub(crate) offset: u64,
    /// The same as transaction ids.
    pub(crate) gtid: String,
}
