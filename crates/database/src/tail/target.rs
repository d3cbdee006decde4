//! What a target must be like before changes are applied to it.

use super::apply::Applier;
use super::checkpoint::Checkpoint;
use super::source::{LIMIT, resolve};
use super::{Follow, Source, faults};
use crate::fault::Explain;
use crate::gtid::Position;
use segue_doors::sql::{self, Endpoint, Literal, Session};
use segue_port::Outcome;

/// Smallest `max_allowed_packet` that is worked with.
const PACKET: usize = 1024 * 1024;

/// Opens the session that applies to one schema; returns it with what the schema has.
///
/// # Errors
/// `SG0280` if the target would not apply the changes as they are, `SG0279` if somebody
/// else does already.
pub(super) async fn open(
    source: &Source,
    asking: &mut Session,
    names: u64,
    follow: &Follow,
) -> Outcome<(Applier, Position)> {
    let schema = follow.schema.as_str();
    let op = format!("ask the target of schema `{schema}` what it takes");
    let mut session = connect(&follow.target, &op).await?;
    let packet = check(&mut session, schema, names, &op).await?;
    let (checkpoint, has) =
        Checkpoint::take(&mut session, &source.name, schema, &follow.begin).await?;
    let has = match has {
        Some(has) => has,
        // Looked up once: the file that it names may be purged later.
        None => {
            let begin = resolve(asking, &follow.begin).await?;
            checkpoint.begin(&mut session, &begin).await?;
            begin
        }
    };
    let target = follow.target.clone();
    Ok((Applier::new(session, target, checkpoint, schema.to_owned(), packet), has))
}

/// Opens a session whose changes are not in the target's own log: who follows that one back would
/// take them for the target's.
pub(super) async fn connect(target: &Endpoint, op: &str) -> Outcome<Session> {
    let mut session = sql::connect(target, LIMIT).await.reading(op)?;
    // A group may be long under way, and a schema quiet for hours.
    session
        .run(
            "SET SESSION sql_log_bin = 0, wait_timeout = 28800, idle_transaction_timeout = 0, \
             idle_write_transaction_timeout = 0",
        )
        .await
        .reading(op)?;
    Ok(session)
}

async fn check(session: &mut Session, schema: &str, names: u64, op: &str) -> Outcome<usize> {
    let unfit = |cause: &str, hint: &str| Err(faults::unfit_target(schema, cause, hint));
    let version: String = session.one("SELECT VERSION()").await.reading(op)?;
    if !version.contains("MariaDB") {
        return unfit(
            &format!("the target is no MariaDB server, but {version}"),
            "row events can be passed on between MariaDB servers only",
        );
    }
    let (mode, triggers, packet, target_names): (String, String, usize, u64) = session
        .one(
            "SELECT @@GLOBAL.slave_exec_mode, @@GLOBAL.slave_run_triggers_for_rbr, \
             @@SESSION.max_allowed_packet, @@GLOBAL.lower_case_table_names",
        )
        .await
        .reading(op)?;
    if mode != "STRICT" {
        return unfit(
            &format!("slave_exec_mode is {mode}: rows that do not fit would be passed over"),
            "SET GLOBAL slave_exec_mode = STRICT at the target",
        );
    }
    if triggers != "NO" {
        return unfit(
            &format!("slave_run_triggers_for_rbr is {triggers}: triggers would act twice"),
            "SET GLOBAL slave_run_triggers_for_rbr = NO at the target",
        );
    }
    let (skipped, converted): (String, String) = session
        .one("SELECT @@GLOBAL.slave_skip_errors, @@GLOBAL.slave_type_conversions")
        .await
        .reading(op)?;
    if !skipped.is_empty() && skipped != "OFF" {
        return unfit(
            &format!("slave_skip_errors is {skipped}: changes that fail would be passed over"),
            "start the target without slave_skip_errors",
        );
    }
    if converted.contains("ALL_LOSSY") {
        return unfit(
            &format!("slave_type_conversions is {converted}: values would be cut to fit"),
            "SET GLOBAL slave_type_conversions = '' at the target",
        );
    }
    if packet < PACKET {
        return unfit(
            &format!("max_allowed_packet is {packet} bytes"),
            "raise it to 1 MiB at least, better to what the source has",
        );
    }
    if target_names != names {
        return unfit(
            "both servers compare names of tables in different ways",
            "lower_case_table_names must be the same at source and target",
        );
    }
    let name = Literal::new(schema);
    let seen: Option<String> = session
        .first(format!(
            "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {name}"
        ))
        .await
        .reading(op)?;
    match seen {
        Some(seen) if seen == schema => {}
        // The log has it as the server stores it, and compares by its bytes.
        Some(seen) => {
            return unfit(&format!("it is called `{seen}` there"), "name it as the servers do");
        }
        None => {
            return unfit("it is not there, or the login may not see it", "seed the schema first");
        }
    }
    let bound: Option<String> = session
        .first(format!(
            "SELECT CONCAT(CONSTRAINT_SCHEMA, '.', TABLE_NAME) \
             FROM information_schema.REFERENTIAL_CONSTRAINTS \
             WHERE CONSTRAINT_SCHEMA <> UNIQUE_CONSTRAINT_SCHEMA \
             AND {name} IN (CONSTRAINT_SCHEMA, UNIQUE_CONSTRAINT_SCHEMA) LIMIT 1"
        ))
        .await
        .reading(op)?;
    if let Some(table) = bound {
        return unfit(
            &format!("a foreign key of `{table}` binds it to another schema"),
            "each schema is applied at its own pace: remove the key while it moves",
        );
    }
    need_transactions(session, schema).await?;
    Ok(packet)
}

/// Makes sure that no table of the schema is without transactions.
///
/// # Errors
/// `SG0280` with the table.
pub(super) async fn need_transactions(session: &mut Session, schema: &str) -> Outcome<()> {
    let others: Option<String> = session
        .first(format!(
            "SELECT t.TABLE_NAME FROM information_schema.TABLES t JOIN information_schema.ENGINES e \
             ON e.ENGINE = t.ENGINE WHERE t.TABLE_SCHEMA = {} AND e.TRANSACTIONS <> 'YES' LIMIT 1",
            Literal::new(schema)
        ))
        .await
        .reading(&format!("ask the target of schema `{schema}` for its tables' engines"))?;
    match others {
        Some(table) => Err(faults::unfit_target(
            schema,
            &format!("`{table}` has no transactions: its rows cannot go with the checkpoint"),
            "change its engine to InnoDB at both servers",
        )),
        None => Ok(()),
    }
}
