//! Snapshots of one moment without a lock.
//!
//! `LOCK TABLES` over several tables would be shorter to write, but a transaction that
//! holds one table and waits for another then meets a deadlock, and the server makes the
//! transaction its victim: a customer would see an error. Here nobody waits and no
//! transaction is touched. A snapshot knows its own place in the binary log
//! (`binlog_snapshot_file`, `binlog_snapshot_position`; MariaDB, "Enhancements for START
//! TRANSACTION WITH CONSISTENT SNAPSHOT"), and the other side is stopped at just that place.

use crate::digest::Snapshots;
use crate::fault::{Deadline, Explain};
use crate::frozen::{freeze, look, look_away, thaw};
use crate::gtid::Position;
use crate::link::{Link, Wire};
use crate::locks::Place;
use crate::stream;
use segue_doors::sql::{Literal, Row, SqlError};
use segue_model::{Fault, FaultKind, Side};
use segue_port::Outcome;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Pause between two looks at the applying thread.
const LOOK: Duration = Duration::from_millis(2);

/// How long the other side may take to come to a snapshot before another one is opened.
const PATIENCE: Duration = Duration::from_secs(1);

/// Opens snapshots on all of `wires`, sessions at one server, at the very same place.
///
/// Between two snapshots another transaction may commit; then all are opened anew. On a
/// busy server that takes some tries of a millisecond each.
///
/// # Errors
/// `SG0216` if no common moment was met until the deadline.
pub(crate) async fn same_moment(wires: &mut [Wire], deadline: Deadline) -> Outcome<Place> {
    loop {
        let mut places = Vec::new();
        for wire in wires.iter_mut() {
            freeze(wire).await?;
            places.push(place_of(wire).await?);
        }
        let Some(first) = places.first() else {
            return Err(Fault::new(
                "SG0216",
                FaultKind::Bug,
                "open snapshots",
                "none was asked for",
            ));
        };
        if places.iter().all(|place| place == first) {
            return named(&mut wires[0], first.clone()).await;
        }
        for wire in wires.iter_mut() {
            thaw(wire).await?;
        }
        if deadline.over() {
            return Err(Fault::new(
                "SG0216",
                FaultKind::Busy,
                "open several snapshots of one moment",
                "other transactions committed between them every time",
            )
            .hint("try again at an hour with fewer writes"));
        }
    }
}

/// Which table each name stands for.
///
/// Two tables that exchange their names while a snapshot is read are read under each other's: the
/// server looks a name up as it is now, and finds rows that are old enough.
#[derive(Debug)]
pub(crate) struct Tables {
    by_name: BTreeMap<String, u64>,
    /// The highest number given; a table made later has a higher one.
    highest: u64,
}

impl Tables {
    /// Reads them; before a snapshot, so that nothing changes unseen.
    pub(crate) async fn read(link: &Link, wire: &mut Wire) -> Outcome<Self> {
        let rows: Vec<(String, u64)> = wire
            .rows("SELECT NAME, TABLE_ID FROM information_schema.INNODB_SYS_TABLES")
            .await
            .reading(&format!("read which tables there are at the {}", wire.side()))?;
        let highest = rows.iter().map(|(_, id)| *id).max().unwrap_or_default();
        let folder = format!("{}/", as_file(&link.names.schema));
        // The server's own: of a change that is under way, and of words that are searched for.
        let own = [format!("{folder}#sql"), format!("{folder}FTS_")];
        let named = |(name, _): &(String, u64)| {
            name.starts_with(&folder) && !own.iter().any(|own| name.starts_with(own))
        };
        let by_name = rows.into_iter().filter(named).collect();
        Ok(Self { by_name, highest })
    }

    /// Refuses if a name stands for another table that was there before already.
    pub(crate) fn unmoved(&self, now: &Self, op: &str) -> Outcome<()> {
        let moved = now.by_name.iter().find(|(name, id)| {
            **id <= self.highest && self.by_name.get(name.as_str()) != Some(*id)
        });
        let Some((name, _)) = moved else { return Ok(()) };
        let cause = format!("a table got the name `{name}` while the schema was read");
        Err(Fault::new("SG0204", FaultKind::Busy, op, cause)
            .hint("what was read may be another table's: run the step again"))
    }
}

/// Writes a schema's name as the server names its folder.
fn as_file(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars()
        .map(|c| if plain(c) { c.to_string() } else { format!("@{:04x}", u32::from(c)) })
        .collect()
}

/// Returns file and offset of a session's snapshot.
async fn place_of(wire: &mut Wire) -> Outcome<(String, u64)> {
    let op = format!("read the snapshot's place at the {}", wire.side());
    let rows: Vec<Row> = wire.rows("SHOW STATUS LIKE 'binlog_snapshot_%'").await.reading(&op)?;
    let value = |name: &str| {
        rows.iter().find_map(|row| {
            let title: String = row.get(0)?;
            if title.eq_ignore_ascii_case(name) { row.get::<String, _>(1) } else { None }
        })
    };
    let file = value("binlog_snapshot_file").filter(|file| !file.is_empty());
    let offset = value("binlog_snapshot_position").and_then(|text| text.parse().ok());
    file.zip(offset)
        .ok_or_else(|| SqlError::Unexpected("the snapshot has no place".into()))
        .reading(&op)
}

/// Adds the transaction ids to a place.
async fn named(wire: &mut Wire, (file, offset): (String, u64)) -> Outcome<Place> {
    let op = format!("name the snapshot's place at the {}", wire.side());
    let gtid: Option<String> = wire
        .one(format!("SELECT BINLOG_GTID_POS({}, {offset})", Literal::new(file.clone())))
        .await
        .reading(&op)?;
    let gtid = gtid.ok_or_else(|| SqlError::Unexpected(format!("no ids for {file}:{offset}")));
    Ok(Place { gtid: gtid.reading(&op)?, file, offset })
}

/// Opens two snapshots that see one moment without stopping anything: one at the write side, then
/// one at the other side in the instant in which its stream has come to just that place. A copy's
/// position is stored with its rows, so a snapshot shows its own.
///
/// Returns nothing if the stream was never met at the very place until the deadline: it is behind,
/// or each place lasts for less than a question takes.
pub(crate) async fn met(
    written: &mut Wire,
    followed: &mut Wire,
    deadline: Deadline,
) -> Outcome<Option<Place>> {
    loop {
        let place = same_moment(std::slice::from_mut(written), deadline).await?;
        let wanted = stream::parse(&place.gtid, "read the snapshot's place")?;
        let patience = Deadline::after(PATIENCE.min(deadline.left()));
        while !patience.over() {
            freeze(followed).await?;
            let at = position_of(followed).await?;
            if at.covers(&wanted) {
                if wanted.covers(&at.only(&wanted)) {
                    return Ok(Some(place));
                }
                break;
            }
            tokio::time::sleep(LOOK / 2).await;
        }
        if deadline.over() {
            return Ok(None);
        }
    }
}

/// Returns what a session's snapshot has of the streams that its server follows.
async fn position_of(wire: &mut Wire) -> Outcome<Position> {
    look(wire).await?;
    let rows = wire
        .rows::<(u32, u32, u64)>(
            "SELECT domain_id, server_id, seq_no FROM mysql.gtid_slave_pos \
             ORDER BY domain_id, sub_id",
        )
        .await;
    // Whoever sets the server's position needs the table for himself.
    look_away(wire).await?;
    let rows = rows.reading(&format!("read the snapshot's position at the {}", wire.side()))?;
    let mut position = Position::default();
    for (domain, server, sequence) in rows {
        // The last one counts; former ones are removed later.
        position.advance(domain, server, sequence);
    }
    Ok(position)
}

/// Opens pairs of snapshots in which the side that is not written to stands exactly where
/// `write_side` stands. Its stream pauses meanwhile, some tens of milliseconds.
///
/// # Errors
/// `SG0216` if that takes longer than until the deadline; the stream goes on in any case.
pub(crate) async fn aligned(
    link: &Link,
    write_side: Side,
    deadline: Deadline,
) -> Outcome<Snapshots> {
    let other = write_side.other();
    let name = Literal::new(link.names.connection(other));
    let op = format!("bring the {other} to a moment of the {write_side}");
    let mut applier = link.take(other).await?;
    // Whoever restores streams waits until this one goes on, and so does a cutover.
    let standstill = link.pair.standstill(deadline.left(), &op).await?;
    let alone = stream::alone(link, &mut applier, deadline, &op).await?;
    let begun = Instant::now();
    applier.run(format!("STOP SLAVE {name} SQL_THREAD")).await.changing(&op)?;
    let opened = pairs(link, &mut applier, write_side, deadline, &op).await;
    applier.run(format!("START SLAVE {name} SQL_THREAD")).await.changing(&op)?;
    alone.end(&mut applier).await?;
    drop(standstill);
    applier.close().await;
    tracing::debug!(paused = ?begun.elapsed(), "both sides aligned for a comparison");
    Ok(Snapshots::of(opened?))
}

async fn pairs(
    link: &Link,
    applier: &mut Wire,
    write_side: Side,
    deadline: Deadline,
    op: &str,
) -> Outcome<Vec<(Wire, Wire)>> {
    let other = write_side.other();
    let mut written = [link.take(write_side).await?, link.take(write_side).await?];
    let place = same_moment(&mut written, deadline).await?;
    let name = Literal::new(link.names.connection(other));
    applier
        .run(format!(
            "START SLAVE {name} SQL_THREAD UNTIL MASTER_LOG_FILE = {}, MASTER_LOG_POS = {}",
            Literal::new(place.file.clone()),
            place.offset
        ))
        .await
        .changing(op)?;
    let wanted = stream::parse(&place.gtid, op)?;
    loop {
        let applying = stream::status(link, applier).await?.is_some_and(|status| status.applying);
        let reached = stream::applied(applier).await?;
        if !applying && reached.covers(&wanted) {
            break;
        }
        if deadline.over() {
            return Err(Fault::new(
                "SG0216",
                FaultKind::Timeout,
                op,
                format!("it is at {} by now", reached.only(&wanted)),
            )
            .hint("see the lag before the next attempt; a long transaction delays the stream"));
        }
        tokio::time::sleep(LOOK).await;
    }
    let mut followed = [link.take(other).await?, link.take(other).await?];
    for wire in &mut followed {
        freeze(wire).await?;
    }
    let pair = |(written, followed)| match write_side {
        Side::Source => (written, followed),
        Side::Target => (followed, written),
    };
    Ok(written.into_iter().zip(followed).map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(named: &[(&str, u64)]) -> Tables {
        let by_name = named.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect();
        Tables { by_name, highest: 10 }
    }

    #[test]
    fn a_table_that_took_the_name_of_another_is_noticed() {
        let before = tables(&[("shop/a", 5), ("shop/b", 6)]);
        let same = |now: &[(&str, u64)]| before.unmoved(&tables(now), "copy").is_ok();
        assert!(same(&[("shop/a", 5), ("shop/b", 6)]));
        assert!(same(&[("shop/a", 11)]), "made anew, the other one dropped");
        assert!(!same(&[("shop/a", 6), ("shop/b", 5)]));
        assert!(!same(&[("shop/c", 5), ("shop/b", 6)]));
        assert!(!same(&[("shop/a", 3), ("shop/b", 6)]), "from another schema");
    }

    #[test]
    fn a_schemas_folder_has_plain_letters_only() {
        assert_eq!(as_file("my_shop-1$"), "my_shop@002d1@0024");
    }
}
