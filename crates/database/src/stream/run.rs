//! The connection itself: made, started behind its filters, stopped, and by one at a time.

use super::members::{Filters, Member, following, listed};
use super::{Status, status, stopped};
use crate::epoch::{random_password, stored_form};
use crate::fault::{Deadline, Explain};
use crate::gtid::Position;
use crate::link::{Link, Wire};
use crate::pair;
use secrecy::ExposeSecret;
use segue_doors::sql::Literal;
use segue_model::{EffectLeft, Side};
use segue_port::Outcome;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// Pause between two looks at the threads.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// The right to change the stream of one server: in this process and among all others.
#[derive(Debug)]
pub(crate) struct Alone {
    _here: OwnedMutexGuard<()>,
    lock: Literal,
}

impl Alone {
    /// Gives it back. A session that ends does the same.
    pub(crate) async fn end(self, wire: &mut Wire) -> Outcome<()> {
        let _freed: Option<i64> = wire
            .one(format!("SELECT RELEASE_LOCK({})", self.lock))
            .await
            .reading(&format!("let others change the stream at the {}", wire.side()))?;
        Ok(())
    }
}

/// Waits for the right to change the stream that this server reads.
///
/// # Errors
/// `SG0226` if somebody else changes it until the deadline.
pub(crate) async fn alone(
    link: &Link,
    wire: &mut Wire,
    deadline: Deadline,
    op: &str,
) -> Outcome<Alone> {
    let cause = "it is being changed for another unit";
    let changes = Arc::clone(link.pair.changes.get(wire.side()));
    let here = tokio::time::timeout(deadline.left(), changes.lock_owned())
        .await
        .map_err(|_| pair::busy(op, cause))?;
    let lock = Literal::new(link.names.connection(wire.side()));
    let seconds = deadline.left().as_secs_f64().clamp(0.0, 5.0);
    let got: Option<i64> =
        wire.one(format!("SELECT GET_LOCK({lock}, {seconds:.1})")).await.reading(op)?;
    if got == Some(1) { Ok(Alone { _here: here, lock }) } else { Err(pair::busy(op, cause)) }
}

/// Lets the stream run for all that follow, if it does not.
pub(super) async fn resume(
    link: &Link,
    wire: &mut Wire,
    all: &[Member],
    deadline: Deadline,
) -> Outcome<()> {
    let wanted = Filters::all(following(all));
    match status(link, wire).await? {
        Some(status) if status.runs() && *status.filters == wanted => Ok(()),
        _ if wanted == Filters::default() => Ok(()),
        // What is received is filtered when it is applied: the connection can stay.
        Some(status) if status.receiving && *status.filters != Filters::default() => {
            refilter(link, wire, &wanted, deadline).await
        }
        _ => start(link, wire, &wanted, None, deadline).await,
    }
}

/// Sets the filters of a stream that stays connected.
async fn refilter(
    link: &Link,
    wire: &mut Wire,
    filters: &Filters,
    deadline: Deadline,
) -> Outcome<()> {
    let name = Literal::new(link.names.connection(wire.side()));
    let op = format!("let stream {name} at the {} carry other units", wire.side());
    stop_applying(link, wire, &op).await?;
    set_filters(link, wire, filters, &op).await?;
    wire.run(format!("START SLAVE {name} SQL_THREAD")).await.changing(&op)?;
    wait_until(link, wire, deadline, &op, |status| status.runs() && *status.filters == *filters)
        .await
}

pub(super) async fn stop_applying(link: &Link, wire: &mut Wire, op: &str) -> Outcome<()> {
    let name = Literal::new(link.names.connection(wire.side()));
    link.pair.touch(wire.side());
    wire.run(format!("STOP SLAVE {name} SQL_THREAD")).await.changing(op)
}

/// Sets the filters; the applying thread must stand.
async fn set_filters(link: &Link, wire: &mut Wire, filters: &Filters, op: &str) -> Outcome<()> {
    let name = Literal::new(link.names.connection(wire.side()));
    link.pair.touch(wire.side());
    wire.run(format!("SET @@default_master_connection = {name}")).await.changing(op)?;
    let _alone = link.pair.filters_shown.get(wire.side()).write().await;
    for (variable, values) in
        [("replicate_do_db", &filters.schemas), ("replicate_wild_do_table", &filters.patterns)]
    {
        wire.run(format!("SET GLOBAL {variable} = {}", Literal::new(listed(values))))
            .await
            .changing(op)?;
    }
    Ok(())
}

/// Waits until the threads are as wanted.
async fn wait_until(
    link: &Link,
    wire: &mut Wire,
    deadline: Deadline,
    op: &str,
    well: impl Fn(&Status) -> bool,
) -> Outcome<()> {
    loop {
        let status = status(link, wire).await?;
        if status.as_ref().is_some_and(&well) {
            return Ok(());
        }
        if deadline.over() {
            let cause = status.map(|status| status.error).unwrap_or_default();
            return Err(stopped(op, &cause).leaving(EffectLeft::Maybe));
        }
        tokio::time::sleep(LOOK).await;
    }
}

pub(super) async fn stop(link: &Link, wire: &mut Wire, op: &str) -> Outcome<()> {
    let name = Literal::new(link.names.connection(wire.side()));
    link.pair.touch(wire.side());
    match wire.run(format!("STOP SLAVE {name}")).await {
        // 1617: there is no such connection.
        Err(error) if error.code() == Some(1617) => Ok(()),
        other => other.changing(op),
    }
}

/// Makes the connection, and the login it reads under.
pub(super) async fn change_master(link: &Link, wire: &mut Wire, op: &str) -> Outcome<()> {
    let origin = wire.side().other();
    let address = link.settings.plan.servers.get(origin).address;
    let password = random_password();
    let reader = Literal::new(link.names.reader());
    let stored = Literal::new(stored_form(&password));
    let mut there = link.admin(origin).await?;
    for host in ["%", "localhost"] {
        let account = format!("{reader}@{}", Literal::new(host));
        let known = format!("{account} IDENTIFIED VIA mysql_native_password USING {stored}");
        for statement in [
            format!("CREATE USER IF NOT EXISTS {known} ACCOUNT LOCK"),
            format!("ALTER USER {known} ACCOUNT LOCK"),
            format!("GRANT REPLICATION SLAVE ON *.* TO {account}"),
        ] {
            there.run(statement).await.changing(op)?;
        }
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

/// Sets the filters and starts the connection, its reader's door open for that moment.
pub(super) async fn start(
    link: &Link,
    wire: &mut Wire,
    filters: &Filters,
    until: Option<&Position>,
    deadline: Deadline,
) -> Outcome<()> {
    let replica = wire.side();
    let origin = replica.other();
    let name = Literal::new(link.names.connection(replica));
    let op = format!("start stream {name} at the {replica}");
    // Filters of a running connection cannot be changed.
    stop(link, wire, &op).await?;
    set_filters(link, wire, filters, &op).await?;
    let until = until
        .map(|place| format!(" UNTIL master_gtid_pos = {}", Literal::new(place.to_string())))
        .unwrap_or_default();
    door(link, origin, false).await?;
    let started = async {
        wire.run(format!("START SLAVE {name}{until}")).await.changing(&op)?;
        wait_until(link, wire, deadline, &op, |status| {
            let ended = !until.is_empty() && status.received && status.error.is_empty();
            *status.filters == *filters && (status.runs() || ended)
        })
        .await
    }
    .await;
    door(link, origin, true).await?;
    started
}

/// Opens or shuts the reader's login at the origin.
async fn door(link: &Link, origin: Side, shut: bool) -> Outcome<()> {
    let mut wire = link.take(origin).await?;
    set_door(link, &mut wire, shut).await?;
    wire.close().await;
    Ok(())
}

async fn set_door(link: &Link, wire: &mut Wire, shut: bool) -> Outcome<()> {
    let word = if shut { "LOCK" } else { "UNLOCK" };
    let reader = Literal::new(link.names.reader());
    wire.run(format!("ALTER USER IF EXISTS {reader}@'%', {reader}@'localhost' ACCOUNT {word}"))
        .await
        .changing(&format!("{} the reader's login at the {}", word.to_lowercase(), wire.side()))
}

/// Shuts a door that a controller left open when it died while a stream connected.
///
/// `origin` is a session where the login is, `replica` one where the stream is read. Whoever
/// changes the stream just now shuts the door himself.
pub(crate) async fn shut_left_door(
    link: &Link,
    origin: &mut Wire,
    replica: &mut Wire,
) -> Outcome<()> {
    let op = "see whether a stream connects just now";
    let at_once = Deadline::after(Duration::ZERO);
    match alone(link, replica, at_once, op).await {
        Ok(alone) => {
            set_door(link, origin, true).await?;
            alone.end(replica).await
        }
        Err(fault) if fault.code == "SG0226" => Ok(()),
        Err(fault) => Err(fault),
    }
}
