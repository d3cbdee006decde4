//! Native replication between two servers: one connection in each direction, which carries
//! all units between them.
//!
//! **One connection.** A second one to the same server is refused (1934), and under another
//! spelling of its address the two end each other for ever, for both read under the server's
//! one `server_id`. So the units share it, in order, and its position is right for each of
//! them: a unit has everything up to P when the stream has. How a unit comes into it and
//! out of it stands in [`change`], which units it carries in [`members`].
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

use crate::fault::Explain;
use crate::gtid::Position;
use crate::link::{Link, Wire};
use segue_doors::sql::{Literal, Row};
use segue_model::{Fault, FaultKind, Side};
use segue_port::Outcome;
use std::sync::Arc;

mod apart;
mod change;
pub(crate) mod members;
mod run;

pub(crate) use change::{establish, remove, restore};
use members::{Filters, Stage};
pub(crate) use run::{alone, shut_left_door};

/// State of a replication connection as its server shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// Whether the receiving thread is connected.
    pub(crate) receiving: bool,
    /// Whether the applying thread runs.
    pub(crate) applying: bool,
    /// Whether the receiving thread has ended.
    pub(crate) received: bool,
    /// The last error of either thread; empty if none.
    pub(crate) error: String,
    /// Error number of the applying thread; it does not go away by itself.
    pub(crate) apply_errno: u64,
    /// Where in the origin's binary log everything before is applied.
    place: (String, u64),
    filters: Arc<Filters>,
    host: String,
    port: u64,
}

impl Status {
    /// Returns whether both threads run.
    pub(crate) fn runs(&self) -> bool {
        self.receiving && self.applying
    }

    /// Returns whether it lets everything of the unit through; never true without filters.
    pub(crate) fn carries(&self, link: &Link) -> bool {
        self.lets(&Filters::of(link))
    }

    /// Returns whether it lets everything through that these filters do.
    pub(crate) fn lets(&self, filters: &Filters) -> bool {
        self.filters.include(filters)
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
    let shown = link.pair.filters_shown.get(wire.side()).read().await;
    let row = match wire.first::<Row>(format!("SHOW SLAVE {} STATUS", Literal::new(name))).await {
        // 1617: there is no such connection.
        Err(error) if error.code() == Some(1617) => return Ok(None),
        other => other.reading(&op)?,
    };
    drop(shown);
    let Some(row) = row else { return Ok(None) };
    let text = |title: &str| -> String {
        row.get_opt::<Option<String>, _>(title).and_then(Result::ok).flatten().unwrap_or_default()
    };
    let number = |title: &str| text(title).parse().unwrap_or(0);
    let error = match (text("Last_SQL_Error"), text("Last_IO_Error")) {
        (apply, _) if !apply.is_empty() => apply,
        (_, receive) => receive,
    };
    let receiver = text("Slave_IO_Running");
    Ok(Some(Status {
        receiving: receiver == "Yes",
        applying: text("Slave_SQL_Running") == "Yes",
        received: receiver == "No",
        error,
        apply_errno: number("Last_SQL_Errno"),
        place: (text("Relay_Master_Log_File"), number("Exec_Master_Log_Pos")),
        filters: link.pair.filters(
            wire.side(),
            text("Replicate_Do_DB"),
            text("Replicate_Wild_Do_Table"),
        ),
        host: text("Master_Host"),
        port: number("Master_Port"),
    }))
}

/// Returns what the server applied so far of every unit that follows. Never more than
/// that: while a unit catches up, it is that unit's position, behind the others'.
pub(crate) async fn applied(wire: &mut Wire) -> Outcome<Position> {
    let op = format!("read the applied position at the {}", wire.side());
    let text: String = wire.one("SELECT @@GLOBAL.gtid_slave_pos").await.reading(&op)?;
    parse(&text, &op)
}

/// Reads a position that a server or an earlier step wrote.
pub(crate) fn parse(text: &str, op: &str) -> Outcome<Position> {
    text.parse().map_err(|cause: String| Fault::new("SG0204", FaultKind::Invalid, op, cause))
}

/// Says that the stream does not run.
fn stopped(op: &str, cause: &str) -> Fault {
    let cause = if cause.is_empty() { "it does not run, and names no error" } else { cause };
    Fault::new("SG0211", FaultKind::Invalid, op, cause)
        .hint("see SHOW ALL SLAVES STATUS; when rows differ, the target must be seeded again")
}

/// Says that the unit was left out.
fn left_out(op: &str, why: &str) -> Fault {
    Fault::new("SG0225", FaultKind::Conflict, op, format!("the unit was left out of it: {why}"))
        .hint("its copy stands since then, the other units go on; mend the cause, then undo the sync of this unit and sync it again")
}

/// Returns if the stream runs and carries the unit, or says why it is of no use.
pub(crate) async fn need_running(link: &Link, wire: &mut Wire, op: &str) -> Outcome<()> {
    let name = link.names.connection(wire.side());
    match status(link, wire).await? {
        Some(status) if status.runs() && status.carries(link) => Ok(()),
        Some(status) if !status.carries(link) => {
            match members::of(link, wire).await? {
                Some(member) if member.stage == Stage::Out => {
                    return Err(left_out(op, &member.why));
                }
                _ => {}
            }
            Err(Fault::new(
                "SG0212",
                FaultKind::Invalid,
                op,
                format!("stream `{name}` at the {} does not carry the unit now", wire.side()),
            )
            .hint("the server was restarted, or another unit comes into the stream; it is back within moments"))
        }
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
