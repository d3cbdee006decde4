//! Sessions that see one moment for as long as they like, and keep nobody waiting.

use crate::fault::Explain;
use crate::link::Wire;
use segue_port::Outcome;

/// Opens a snapshot; the session's isolation keeps it until it ends.
pub(crate) async fn freeze(wire: &mut Wire) -> Outcome<()> {
    wire.run(
        "SET SESSION tx_isolation = 'REPEATABLE-READ', wait_timeout = 28800; \
         START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )
    .await
    .reading(&format!("open a snapshot at the {}", wire.side()))
}

/// Ends a snapshot; the session stays.
pub(crate) async fn thaw(wire: &mut Wire) -> Outcome<()> {
    wire.run("ROLLBACK").await.reading(&format!("give a snapshot up at the {}", wire.side()))
}

/// Begins to read in a snapshot.
///
/// A transaction keeps the definition of whatever it has read until its end: who changes a table
/// would wait for the end of a whole copy, and everybody else behind him. [`look_away`] gives
/// that up; the snapshot stays. The server does it for sessions that write to no binary log only,
/// and would note the savepoint there for others: those keep what they have read.
pub(crate) async fn look(wire: &mut Wire) -> Outcome<()> {
    if wire.logs() {
        return Ok(());
    }
    wire.run("SAVEPOINT segue_look")
        .await
        .reading(&format!("begin to read in a snapshot at the {}", wire.side()))
}

/// Lets go of the tables that were read since [`look`]; does nothing if the session is of no
/// more use.
pub(crate) async fn look_away(wire: &mut Wire) -> Outcome<()> {
    if wire.logs() || wire.is_spoilt() {
        return Ok(());
    }
    wire.run("ROLLBACK TO SAVEPOINT segue_look")
        .await
        .reading(&format!("let go of what was read at the {}", wire.side()))
}
