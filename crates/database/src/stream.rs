//! Native replication of one schema: one named connection in each direction.
//!
//! **Two filters.** Statements pass by their schema (`replicate_do_db`), tables by their
//! pattern (`replicate_wild_do_table`). Patterns alone let through what names no table: a
//! routine made by another tenant stopped the stream.
//!
//! **A stream must not run unfiltered.** A server forgets the filters when it restarts, but
//! starts the connection by itself. So the login it reads under is locked but for the moment
//! in which it connects: after a restart it stays outside until [`restore`] set the filters.
//! The reader's password stands in the reading server's `master-*.info`, as with any
//! replication of MariaDB; it opens nothing while the login is locked.

use crate::epoch::{random_password, stored_form};
use crate::fault::{Deadline, Explain};
use crate::gtid::Position;
use crate::link::{Link, Wire};
use crate::settings::own;
use secrecy::ExposeSecret;
use segue_doors::sql::{Literal, Row};
use segue_model::{EffectLeft, Fault, FaultKind, Side};
use segue_port::Outcome;
use std::collections::BTreeSet;
use std::time::Duration;

/// State of a replication connection as its server shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// Whether the receiving thread is connected.
    pub(crate) receiving: bool,
    /// Whether the applying thread runs.
    pub(crate) applying: bool,
    /// The last error of either thread; empty if none.
    pub(crate) error: String,
    /// Error number of the applying thread; it does not go away by itself.
    pub(crate) apply_errno: u64,
    schemas: BTreeSet<String>,
    patterns: BTreeSet<String>,
    host: String,
    port: u64,
}

impl Status {
    /// Returns whether both threads run.
    pub(crate) fn runs(&self) -> bool {
        self.receiving && self.applying
    }

    /// Returns whether exactly the unit's filters are set.
    pub(crate) fn filtered(&self, link: &Link) -> bool {
        self.schemas == link.names.schemas().into_iter().collect()
            && self.patterns == link.names.table_patterns().into_iter().collect()
    }

    /// Returns whether it reads from the plan's server.
    fn reads_from(&self, link: &Link, origin: Side) -> bool {
        let address = link.settings.plan.servers.get(origin).address;
        self.host == address.ip().to_string() && self.port == u64::from(address.port())
    }
}

/// Reads the state of the connection at this server; `None` if there is no such connection.
pub(crate) async fn status(link: &Link, wire: &mut Wire) -> Outcome<Option<Status>> {
    let name = link.names.connection(wire.side());
    let op = format!("read the state of stream `{name}` at the {}", wire.side());
    let row = match wire.first::<Row>(format!("SHOW SLAVE {} STATUS", Literal::new(name))).await {
        // 1617: there is no such connection.
        Err(error) if error.code() == Some(1617) => return Ok(None),
        other => other.reading(&op)?,
    };
    let Some(row) = row else { return Ok(None) };
    let text = |title: &str| -> String {
        row.get_opt::<Option<String>, _>(title).and_then(Result::ok).flatten().unwrap_or_default()
    };
    let set = |title: &str| -> BTreeSet<String> {
        text(title).split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let error = match (text("Last_SQL_Error"), text("Last_IO_Error")) {
        (apply, _) if !apply.is_empty() => apply,
        (_, receive) => receive,
    };
    Ok(Some(Status {
        receiving: text("Slave_IO_Running") == "Yes",
        applying: text("Slave_SQL_Running") == "Yes",
        error,
        apply_errno: text("Last_SQL_Errno").parse().unwrap_or(0),
        schemas: set("Replicate_Do_DB"),
        patterns: set("Replicate_Wild_Do_Table"),
        host: text("Master_Host"),
        port: text("Master_Port").parse().unwrap_or(0),
    }))
}

/// Returns what the server applied so far.
pub(crate) async fn applied(wire: &mut Wire) -> Outcome<Position> {
    let op = format!("read the applied position at the {}", wire.side());
    let text: String = wire.one("SELECT @@GLOBAL.gtid_slave_pos").await.reading(&op)?;
    parse(&text, &op)
}

/// Reads a position that a server or an earlier step wrote.
pub(crate) fn parse(text: &str, op: &str) -> Outcome<Position> {
    text.parse().map_err(|cause: String| Fault::new("SG0204", FaultKind::Invalid, op, cause))
}

/// Where the stream of this server begins, if it was ever set.
pub(crate) async fn begun_at(link: &Link, wire: &mut Wire) -> Outcome<Option<String>> {
    let found = wire
        .first(format!(
            "SELECT gtid FROM {} WHERE unit = {}",
            own("position"),
            link.names.unit_literal()
        ))
        .await;
    match found {
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => Ok(None),
        other => other.reading(&format!("read where the stream at the {} began", wire.side())),
    }
}

/// Makes the connection, sets its position once and its filters, and starts it.
///
/// `from` is where the copied state ends in the origin's binary log. It is set once:
/// setting it again behind a stream that ran would apply everything twice.
pub(crate) async fn establish(
    link: &Link,
    replica: Side,
    from: &str,
    deadline: Deadline,
) -> Outcome<()> {
    let _alone = link.streams.get(replica).lock().await;
    let mut wire = link.open(replica).await?;
    let op = format!("start stream `{}` at the {replica}", link.names.connection(replica));
    if let Some(status) = status(link, &mut wire).await? {
        if !status.reads_from(link, replica.other()) {
            return Err(Fault::new(
                "SG0212",
                FaultKind::Conflict,
                op,
                format!("the connection reads from {}:{}", status.host, status.port),
            )
            .hint("see SHOW ALL SLAVES STATUS; remove the connection if it is a leftover"));
        }
        if status.runs() && status.filtered(link) {
            return shut_reader(link, replica.other()).await;
        }
    } else {
        change_master(link, &mut wire, &op).await?;
    }
    if begun_at(link, &mut wire).await?.is_none() {
        set_position(link, &mut wire, from, &op).await?;
    }
    start(link, &mut wire, deadline).await?;
    wire.close().await;
    Ok(())
}

async fn change_master(link: &Link, wire: &mut Wire, op: &str) -> Outcome<()> {
    let origin = wire.side().other();
    let address = link.settings.plan.servers.get(origin).address;
    let password = random_password();
    let reader = Literal::new(link.names.reader());
    let mut there = link.open(origin).await?;
    let stored = Literal::new(stored_form(&password));
    for host in ["%", "localhost"] {
        there
            .run(format!(
                "ALTER USER {reader}@{} IDENTIFIED VIA mysql_native_password USING {stored} ACCOUNT LOCK",
                Literal::new(host)
            ))
            .await
            .changing(op)?;
    }
    there.close().await;
    // The position stands in gtid_slave_pos, one for the server: only one domain is ours.
    let name = Literal::new(link.names.connection(wire.side()));
    wire.run(format!(
        "CHANGE MASTER {name} TO MASTER_HOST = {}, MASTER_PORT = {}, MASTER_USER = {reader}, \
         MASTER_PASSWORD = {}, MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, \
         MASTER_HEARTBEAT_PERIOD = 2",
        Literal::new(address.ip().to_string()),
        address.port(),
        Literal::new(password.expose_secret()),
    ))
    .await
    .changing(op)
}

async fn set_position(link: &Link, wire: &mut Wire, from: &str, op: &str) -> Outcome<()> {
    let wanted = parse(from, op)?;
    let position = applied(wire).await?.with(&wanted);
    wire.run(format!("SET GLOBAL gtid_slave_pos = {}", Literal::new(position.to_string())))
        .await
        .changing(op)?;
    wire.run(format!(
        "INSERT INTO {} (unit, gtid) VALUES ({}, {}) ON DUPLICATE KEY UPDATE gtid = VALUES(gtid)",
        own("position"),
        link.names.unit_literal(),
        Literal::new(from)
    ))
    .await
    .changing(op)
}

/// Sets the filters and starts the connection, its reader's door open for that moment.
async fn start(link: &Link, wire: &mut Wire, deadline: Deadline) -> Outcome<()> {
    let replica = wire.side();
    let origin = replica.other();
    let name = Literal::new(link.names.connection(replica));
    let op = format!("start stream {name} at the {replica}");
    // Filters of a running connection cannot be changed.
    wire.run(format!("STOP SLAVE {name}")).await.changing(&op)?;
    wire.run(format!("SET @@default_master_connection = {name}")).await.changing(&op)?;
    for (variable, values) in [
        ("replicate_do_db", link.names.schemas()),
        ("replicate_wild_do_table", link.names.table_patterns()),
    ] {
        wire.run(format!("SET GLOBAL {variable} = {}", Literal::new(values.join(","))))
            .await
            .changing(&op)?;
    }
    door(link, origin, false).await?;
    let started = async {
        wire.run(format!("START SLAVE {name}")).await.changing(&op)?;
        wait_until_running(link, wire, deadline, &op).await
    }
    .await;
    door(link, origin, true).await?;
    started
}

async fn wait_until_running(
    link: &Link,
    wire: &mut Wire,
    deadline: Deadline,
    op: &str,
) -> Outcome<()> {
    loop {
        let status = status(link, wire).await?;
        if status.as_ref().is_some_and(|status| status.runs() && status.filtered(link)) {
            return Ok(());
        }
        let cause = status.map(|status| status.error).unwrap_or_default();
        if deadline.over() {
            return Err(stopped(op, &cause).leaving(EffectLeft::Maybe));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn stopped(op: &str, cause: &str) -> Fault {
    let cause = if cause.is_empty() { "it does not run, and names no error" } else { cause };
    Fault::new("SG0211", FaultKind::Invalid, op, cause)
        .hint("see SHOW ALL SLAVES STATUS; when rows differ, the target must be seeded again")
}

/// Opens or shuts the reader's login at the origin.
async fn door(link: &Link, origin: Side, shut: bool) -> Outcome<()> {
    let word = if shut { "LOCK" } else { "UNLOCK" };
    let reader = Literal::new(link.names.reader());
    let mut wire = link.take(origin).await?;
    wire.run(format!("ALTER USER {reader}@'%', {reader}@'localhost' ACCOUNT {word}"))
        .await
        .changing(&format!("{} the reader's login at the {origin}", word.to_lowercase()))?;
    wire.close().await;
    Ok(())
}

async fn shut_reader(link: &Link, origin: Side) -> Outcome<()> {
    door(link, origin, true).await
}

/// Brings a stream back that was established, after a server or the network failed.
///
/// Leaves alone what was never established, what runs, and what stopped over its data.
/// Returns whether it runs, filtered.
pub(crate) async fn restore(link: &Link, wire: &mut Wire) -> Outcome<bool> {
    let _alone = link.streams.get(wire.side()).lock().await;
    let Some(status) = status(link, wire).await? else { return Ok(false) };
    let filtered = status.filtered(link);
    if status.runs() && filtered {
        return Ok(true);
    }
    if status.apply_errno != 0 && filtered {
        return Err(stopped(
            &format!("read stream `{}`", link.names.connection(wire.side())),
            &status.error,
        ));
    }
    if begun_at(link, wire).await?.is_none() {
        return Ok(false);
    }
    tracing::warn!(
        stream = link.names.connection(wire.side()),
        error = status.error,
        "stream is started again"
    );
    start(link, wire, Deadline::after(Duration::from_secs(3))).await?;
    Ok(true)
}

/// Returns the state of the stream at `replica`, or says why it is of no use.
pub(crate) async fn need_running(link: &Link, wire: &mut Wire, op: &str) -> Outcome<()> {
    let name = link.names.connection(wire.side());
    match status(link, wire).await? {
        Some(status) if status.runs() && status.filtered(link) => Ok(()),
        Some(status) if !status.filtered(link) => Err(Fault::new(
            "SG0212",
            FaultKind::Invalid,
            op,
            format!("stream `{name}` at the {} has lost its filters", wire.side()),
        )
        .hint("the server was restarted; the stream is restored within moments")),
        Some(status) => Err(stopped(op, &status.error)),
        None => Err(Fault::new(
            "SG0212",
            FaultKind::NotFound,
            op,
            format!("there is no stream `{name}` at the {}", wire.side()),
        )
        .hint("run the sync phase first")),
    }
}

/// Stops and forgets the connection.
pub(crate) async fn remove(link: &Link, wire: &mut Wire) -> Outcome<()> {
    let _alone = link.streams.get(wire.side()).lock().await;
    let name = Literal::new(link.names.connection(wire.side()));
    let op = format!("remove stream {name} at the {}", wire.side());
    if status(link, wire).await?.is_some() {
        wire.run(format!("STOP SLAVE {name}")).await.changing(&op)?;
        wire.run(format!("RESET SLAVE {name} ALL")).await.changing(&op)?;
    }
    match wire
        .run(format!("DELETE FROM {} WHERE unit = {}", own("position"), link.names.unit_literal()))
        .await
    {
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => Ok(()),
        other => other.changing(&op),
    }
}
