//! Counters of `AUTO_INCREMENT`, which no row event carries.
//!
//! A row that was stored has raised the counter at both sides, also if it is gone again. What
//! raises it at one side only: an insert that failed, or was rolled back, and whoever sets it by
//! hand. The side that comes to be written to must not give a number a second time.

use crate::effects::drain;
use crate::fault::{Deadline, Explain};
use crate::link::{Link, Wire};
use crate::stream;
use segue_doors::sql::Ident;
use segue_port::Outcome;
use std::collections::BTreeMap;

/// The next number of each table that counts.
type Counters = BTreeMap<String, u64>;

/// Reads the counters of a side's tables.
pub(crate) async fn read(link: &Link, wire: &mut Wire) -> Outcome<Counters> {
    let rows: Vec<(String, u64)> = wire
        .rows(format!(
            "SELECT TABLE_NAME, AUTO_INCREMENT FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = {} AND AUTO_INCREMENT IS NOT NULL",
            link.names.schema_literal()
        ))
        .await
        .reading(&format!("read the counters of the tables at the {}", wire.side()))?;
    Ok(rows.into_iter().collect())
}

/// Raises the counters of `there` to those of `here`, the side that is written to; returns what
/// was raised. Takes its time outside the pause, and is content with less if `there` does not
/// come to where `here` stands in time.
pub(crate) async fn level(
    link: &Link,
    here: &mut Wire,
    there: &mut Wire,
    deadline: Deadline,
) -> Outcome<Counters> {
    let wanted = read(link, here).await?;
    let op = format!("raise the counters of the tables at the {}", there.side());
    // What is on its way raises them by itself.
    let position: String = here.one("SELECT @@GLOBAL.gtid_binlog_pos").await.reading(&op)?;
    let position = stream::parse(&position, &op)?;
    match drain::reach(link, there.side(), &position, deadline).await {
        Ok(_) => {}
        Err(fault) if fault.code == "SG0216" => return Ok(Counters::new()),
        Err(fault) => return Err(fault),
    }
    let known = read(link, there).await?;
    let mut raised = Counters::new();
    for (table, next) in wanted {
        if known.get(&table).is_some_and(|is| *is < next) {
            let name = link.names.table(&table);
            there
                .run(format!("ALTER TABLE {name} AUTO_INCREMENT = {next}"))
                .await
                .changing(&format!("{op}: {}", Ident::new(table.as_str())))?;
            raised.insert(table, next);
        }
    }
    Ok(raised)
}
