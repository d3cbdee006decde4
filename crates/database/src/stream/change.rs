//! How a unit comes into the stream, and out of it, and how the stream comes back.
//!
//! **Joining.** A copy ends at a place P of the origin's binary log that the stream has
//! passed long ago. So the stream stands, at Q; the server's position is set back to P; the
//! stream runs for this unit alone, up to Q; then it goes on for all. The others wait
//! meanwhile, [`SLICE`] at most, then go on, and the unit gets its next turn. Each stage is
//! noted before it begins, and the position a server shows belongs to whom the notes say:
//! whoever comes after a crash puts it right first ([`settle`]).
//!
//! Nothing here happens while a unit is in its cutover, but for bringing back a stream that
//! does not run.

use super::members::{self, Filters, Member, Stage, following};
use super::run::{LOOK, alone, change_master, resume, start, stop, stop_applying};
use super::{apart, applied, left_out, parse, status, stopped};
use crate::fault::{Deadline, Explain};
use crate::gtid::Position;
use crate::link::{Link, Wire};
use segue_doors::sql::Literal;
use segue_model::{EffectLeft, Fault, FaultKind, Side};
use segue_port::Outcome;
use std::time::Duration;

/// How long the others may wait for a unit that joins before they go on for a while.
const SLICE: Duration = Duration::from_secs(5);

/// How long they then go on before the unit's next turn.
const BETWEEN: Duration = Duration::from_secs(5);

/// How long a stream may take to connect.
const CONNECTING: Duration = Duration::from_secs(3);

/// How long a unit that leaves waits for another one's cutover.
const LEAVING: Duration = Duration::from_secs(30);

/// Brings the unit into the stream that `replica` reads.
///
/// `from` is where the copied state ends in the origin's binary log. It counts once, from
/// then on the notes do: beginning again behind what was applied would apply it twice.
pub(crate) async fn establish(
    link: &Link,
    replica: Side,
    from: &str,
    deadline: Deadline,
) -> Outcome<()> {
    let mut wire = link.open(replica).await?;
    let op = format!(
        "bring unit `{}` into stream `{}` at the {replica}",
        link.names.unit,
        link.names.connection(replica)
    );
    members::add(link, &mut wire, from, &op).await?;
    loop {
        let standstill = link.pair.standstill(deadline.left(), &op).await?;
        let alone = alone(link, &mut wire, deadline, &op).await?;
        let joined = join(link, &mut wire, deadline, &op).await;
        alone.end(&mut wire).await?;
        drop(standstill);
        if joined? {
            wire.close().await;
            return Ok(());
        }
        if deadline.left() < BETWEEN {
            return Err(Fault::new("SG0216", FaultKind::Timeout, op, "it has not caught up yet")
                .leaving(EffectLeft::Maybe)
                .hint("what was caught up stays: run the step again, with more time"));
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

/// Gives the unit one turn; returns whether it follows.
async fn join(link: &Link, wire: &mut Wire, deadline: Deadline, op: &str) -> Outcome<bool> {
    let origin = wire.side().other();
    match status(link, wire).await? {
        None => change_master(link, wire, op).await?,
        Some(status) if !status.reads_from(link, origin) => {
            return Err(Fault::new(
                "SG0212",
                FaultKind::Conflict,
                op,
                format!("the connection reads from {}:{}", status.host, status.port),
            )
            .hint("see SHOW ALL SLAVES STATUS; remove the connection if it is a leftover"));
        }
        Some(_) => {}
    }
    settle(link, wire, op).await?;
    let all = members::all(link, wire).await?;
    let Some(mut own) = all.iter().find(|member| member.unit == link.names.unit).cloned() else {
        return Err(Fault::new("SG0212", FaultKind::NotFound, op, "the unit's note is gone")
            .hint("somebody removed it meanwhile; begin the step anew"));
    };
    match own.stage {
        Stage::Out => return Err(left_out(op, &own.why)),
        Stage::Following => {
            resume(link, wire, &all, deadline).await?;
            return Ok(true);
        }
        _ => {}
    }
    let begin = parse(&own.gtid, op)?;
    if following(&all).next().is_none() {
        stop(link, wire, op).await?;
        rewind(link, wire, &mut own, &begin, None, op).await?;
        own.stage = Stage::Following;
        members::set(link, wire, &own, op).await?;
        start(link, wire, &Filters::of(link), None, deadline).await?;
        return Ok(true);
    }
    // The copy may end ahead of the stream: what lies between is not the unit's to miss.
    resume(link, wire, &all, deadline).await?;
    let slice = Deadline::after(deadline.left().min(SLICE));
    while !applied(wire).await?.covers(&begin) {
        if slice.over() {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
    let caught = if origin == Side::Target {
        // What the unit's copy there is written from is not in that server's log, and
        // nobody else may write to it yet: a later beginning is as right.
        own.stage = Stage::Following;
        members::set(link, wire, &own, op).await
    } else {
        catch_up(link, wire, own, &begin, slice, op).await
    };
    settle(link, wire, op).await?;
    let all = members::all(link, wire).await?;
    // The others go on, whatever became of this one.
    let resumed = resume(link, wire, &all, Deadline::after(CONNECTING)).await;
    caught?;
    resumed?;
    Ok(following(&all).any(|member| member.unit == link.names.unit))
}

/// Runs the stream for one unit from `begin` to where the others stand; they wait.
async fn catch_up(
    link: &Link,
    wire: &mut Wire,
    mut own: Member,
    begin: &Position,
    slice: Deadline,
    op: &str,
) -> Outcome<()> {
    stop(link, wire, op).await?;
    let others = applied(wire).await?;
    rewind(link, wire, &mut own, begin, Some(&others), op).await?;
    own.stage = Stage::Catching;
    members::set(link, wire, &own, op).await?;
    let until = others.only(&origin_position(link, wire.side().other(), op).await?);
    if begin.covers(&until) {
        return Ok(());
    }
    start(link, wire, &Filters::of(link), Some(&until), Deadline::after(CONNECTING)).await?;
    while !slice.over() {
        match status(link, wire).await? {
            Some(status) if status.apply_errno != 0 => return Err(stopped(op, &status.error)),
            Some(status) if status.received && !status.applying => return Ok(()),
            _ => tokio::time::sleep(LOOK).await,
        }
    }
    Ok(())
}

/// Sets the server's position to the unit's, noting first where the others stand.
async fn rewind(
    link: &Link,
    wire: &mut Wire,
    own: &mut Member,
    begin: &Position,
    others: Option<&Position>,
    op: &str,
) -> Outcome<()> {
    let is = applied(wire).await?;
    own.stage = Stage::Rewinding;
    own.others = others.map(Position::to_string).unwrap_or_default();
    members::set(link, wire, own, op).await?;
    // A domain that the copy does not know began after it: all of it is still to come.
    let origin = origin_position(link, wire.side().other(), op).await?;
    set_position(wire, &is.without(&origin).with(begin), op).await
}

async fn origin_position(link: &Link, origin: Side, op: &str) -> Outcome<Position> {
    let mut there = link.take(origin).await?;
    let text: String = there.one("SELECT @@GLOBAL.gtid_binlog_pos").await.reading(op)?;
    there.close().await;
    parse(&text, op)
}

async fn set_position(wire: &mut Wire, position: &Position, op: &str) -> Outcome<()> {
    wire.run(format!("SET GLOBAL gtid_slave_pos = {}", Literal::new(position.to_string())))
        .await
        .changing(op)
}

/// Ends what a former turn left half done: the server's position is the others' again, and
/// the unit's own is noted.
async fn settle(link: &Link, wire: &mut Wire, op: &str) -> Outcome<()> {
    for mut member in members::all(link, wire).await? {
        if !member.stage.is_pending() {
            continue;
        }
        stop(link, wire, op).await?;
        let others = parse(&member.others, op)?;
        if member.stage == Stage::Catching {
            let reached = applied(wire).await?;
            member.gtid = reached.to_string();
            if reached.covers(&others) {
                member.stage = Stage::Following;
                members::set(link, wire, &member, op).await?;
                continue;
            }
            // Behind this note the server's position is nobody's.
            member.stage = Stage::Returning;
            members::set(link, wire, &member, op).await?;
        }
        if !member.others.is_empty() {
            set_position(wire, &others, op).await?;
        }
        member.stage = Stage::Waiting;
        member.others.clear();
        members::set(link, wire, &member, op).await?;
    }
    Ok(())
}

/// Brings the stream of a server back after a server, the network or a controller failed.
///
/// Leaves alone a unit that was never in it, and what runs. Where rows could not be applied,
/// the unit they belong to is left out, if that is known and there are others. Returns
/// whether the stream runs and carries the unit.
pub(crate) async fn restore(link: &Link, wire: &mut Wire) -> Outcome<bool> {
    let name = link.names.connection(wire.side());
    let op = format!("bring stream `{name}` back at the {}", wire.side());
    let alone = alone(link, wire, Deadline::after(Duration::from_secs(1)), &op).await?;
    let restored = restore_alone(link, wire, &op).await;
    alone.end(wire).await?;
    restored
}

async fn restore_alone(link: &Link, wire: &mut Wire, op: &str) -> Outcome<bool> {
    let Some(is) = status(link, wire).await? else { return Ok(false) };
    settle(link, wire, op).await?;
    let mut all = members::all(link, wire).await?;
    let wanted = Filters::all(following(&all));
    if is.apply_errno != 0 && *is.filters == wanted {
        if !apart::leave_out(link, wire, &is, &all, op).await? {
            return Err(stopped(op, &is.error));
        }
        all = members::all(link, wire).await?;
    }
    if !(is.runs() && *is.filters == wanted) && following(&all).next().is_some() {
        tracing::warn!(
            stream = link.names.connection(wire.side()),
            error = is.error,
            "stream is started again"
        );
    }
    resume(link, wire, &all, Deadline::after(CONNECTING)).await?;
    Ok(following(&all).any(|member| member.unit == link.names.unit))
}

/// Takes the unit out of the stream; the last one takes the connection and its login along.
pub(crate) async fn remove(link: &Link, wire: &mut Wire) -> Outcome<()> {
    let side = wire.side();
    let name = Literal::new(link.names.connection(side));
    let op = format!("take unit `{}` out of stream {name} at the {side}", link.names.unit);
    let deadline = Deadline::after(LEAVING);
    let standstill = link.pair.standstill(deadline.left(), &op).await?;
    let alone = alone(link, wire, deadline, &op).await?;
    settle(link, wire, &op).await?;
    let mut all = members::all(link, wire).await?;
    let own = all.iter().position(|member| member.unit == link.names.unit);
    let carried = own.map(|at| all.remove(at)).is_some_and(|own| own.stage == Stage::Following);
    let others = following(&all).next().is_some();
    if carried && others {
        stop_applying(link, wire, &op).await?;
    }
    if !others && status(link, wire).await?.is_some() {
        stop(link, wire, &op).await?;
        wire.run(format!("RESET SLAVE {name} ALL")).await.changing(&op)?;
    }
    members::remove(link, wire, &op).await?;
    if !others {
        let reader = Literal::new(link.names.reader());
        let mut there = link.admin(side.other()).await?;
        there
            .run(format!("DROP USER IF EXISTS {reader}@'%', {reader}@'localhost'"))
            .await
            .changing(&op)?;
        there.close().await;
    } else if carried {
        resume(link, wire, &all, Deadline::after(CONNECTING)).await?;
    }
    alone.end(wire).await?;
    drop(standstill);
    Ok(())
}
