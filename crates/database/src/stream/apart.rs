//! One unit's trouble is not the others': what cannot be applied leaves the stream.

use super::members::{self, Member, Stage, following};
use super::{Status, applied};
use crate::effects::seal;
use crate::fault::Explain;
use crate::link::{Link, Wire};
use segue_doors::sql::{Literal, Row};
use segue_port::Outcome;

/// Errors about rows and definitions: they come again however often the stream is started.
/// Any other may be the server's own trouble, which no unit is to blame for.
const OF_DATA: [u64; 28] = [
    1007, 1008, 1032, 1049, 1050, 1051, 1054, 1060, 1061, 1062, 1064, 1091, 1146, 1264, 1304, 1305,
    1359, 1360, 1366, 1396, 1406, 1449, 1451, 1452, 1537, 1539, 1677, 4025,
];

/// Events of one transaction that are looked at.
const LOOKED_AT: u32 = 500;

/// Leaves out the units that the transaction belongs to at which the stream stopped.
///
/// Returns false, and changes nothing, if that is not known for certain, if the error is
/// none of data, or if no other unit would be left.
pub(super) async fn leave_out(
    link: &Link,
    wire: &mut Wire,
    is: &Status,
    all: &[Member],
    op: &str,
) -> Outcome<bool> {
    if !OF_DATA.contains(&is.apply_errno) || following(all).count() < 2 {
        return Ok(false);
    }
    let events = transaction(link, wire, is, op).await?;
    let guilty: Vec<&Member> =
        following(all).filter(|member| events.iter().any(|event| touches(member, event))).collect();
    if guilty.is_empty() || guilty.len() == following(all).count() {
        return Ok(false);
    }
    let reached = applied(wire).await?;
    for member in guilty {
        tracing::error!(unit = member.unit, error = is.error, "unit is left out of the stream");
        let mut out = member.clone();
        out.stage = Stage::Out;
        out.gtid = reached.to_string();
        out.why.clone_from(&is.error);
        members::set(link, wire, &out, op).await?;
    }
    Ok(true)
}

/// An event of the binary log: its kind and what the server says of it.
type Event = (String, String);

fn touches(member: &Member, (kind, info): &Event) -> bool {
    seal::touches(member.schema(), kind, info)
        || (kind == "Table_map"
            && member.own_tables().any(|table| info.contains(&format!("({table})"))))
}

/// Reads the transaction at which the stream stopped, where it was written.
async fn transaction(link: &Link, wire: &Wire, is: &Status, op: &str) -> Outcome<Vec<Event>> {
    let (file, offset) = &is.place;
    let mut there = link.take(wire.side().other()).await?;
    let rows: Vec<Row> = there
        .rows(format!(
            "SHOW BINLOG EVENTS IN {} FROM {offset} LIMIT {LOOKED_AT}",
            Literal::new(file.as_str())
        ))
        .await
        .reading(op)?;
    there.close().await;
    let column = |row: &Row, title: &str| {
        row.get_opt::<String, _>(title).and_then(Result::ok).unwrap_or_default()
    };
    let mut events: Vec<Event> = Vec::new();
    for row in &rows {
        let event = (column(row, "Event_type"), column(row, "Info"));
        if event.0 == "Gtid" && !events.is_empty() {
            break;
        }
        events.push(event);
    }
    Ok(events)
}
