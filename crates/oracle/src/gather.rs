//! Gathers the evidence.
//!
//! The client's ledger is read before the databases: what it acknowledges must be there
//! then, even while writes go on. What a tenant writes while its table is read is told by
//! a second look at its ledger.

use crate::Question;
use crate::database::{Database, Names};
use crate::judge::{Evidence, Foreign, Held, Tenant, Zone};
use crate::ledger::Ledger;
use crate::trees;
use crate::world::{Side, World};
use anyhow::{Context, Result};
use std::time::Duration;

/// Time within which a tenant's acknowledged write is in its ledger.
const SETTLES: Duration = Duration::from_millis(500);

/// The evidence, and what was noticed on the way.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) evidence: Evidence,
    pub(crate) write_side: Side,
    /// Lines at the end of files that their writer did not finish.
    pub(crate) lines_cut_off: u64,
}

/// Gathers the evidence; `write_side` is the side last published if it is not given.
///
/// # Errors
/// If any part is missing or cannot be read.
pub(crate) async fn gather(
    world: &World,
    ledger: &Ledger,
    write_side: Option<Side>,
    without: &[Question],
) -> Result<Gathered> {
    let asked = |question| !without.contains(&question);
    let mut lines_cut_off = 0;
    let requests = ledger.requests()?;
    let acks = ledger.acks()?;
    lines_cut_off += u64::from(requests.cut) + u64::from(acks.cut);
    let jobs = if asked(Question::Cron) { ledger.cron()? } else { Vec::new() };
    let publish = ledger.publish()?;
    let write_side = match (write_side, &publish) {
        (Some(side), _) => side,
        (None, Some(last)) => world
            .side_at(&last.address)
            .with_context(|| format!("marks.jsonl: no side has address {}", last.address))?,
        (None, None) => Side::Source,
    };
    let clients = || requests.lines.iter().map(|request| &request.client);
    let names = Names(
        clients().min().cloned().unwrap_or_default(),
        clients().max().cloned().unwrap_or_default(),
    );
    let (mut one, mut two) = (
        Database::connect(world, write_side).await?,
        Database::connect(world, write_side.other()).await?,
    );
    let past_orders = match &world.rows {
        Some(rows) => Some((rows.orders, one.past_orders(&names).await?)),
        None => None,
    };
    let root = world.trees.of(write_side);
    let held = Held {
        orders: one.orders(&names).await?,
        past_orders,
        visits: one.visits(&names).await?,
        jobs: one.jobs().await?,
        uploads: trees::uploads(root, &acks.lines)?,
        sessions: trees::sessions(root, &acks.lines)?,
    };
    // The other side may not have the schema at all.
    let elsewhere = two.numbers(&names).await.ok();
    let (source, target) =
        if write_side == Side::Source { (&mut one, &mut two) } else { (&mut two, &mut one) };
    let tenant = match asked(Question::Tenant) {
        true => Some(tenant(world, ledger, source, target).await?),
        false => None,
    };
    let zone = match asked(Question::Zone) {
        true => Some(zone(world, ledger)?),
        false => None,
    };
    one.close().await?;
    two.close().await?;
    let foreign = Foreign { tenant, zone };
    let (requests, acks) = (requests.lines, acks.lines);
    let evidence = Evidence { requests, acks, jobs, publish, held, elsewhere, foreign };
    Ok(Gathered { evidence, write_side, lines_cut_off })
}

async fn tenant(
    world: &World,
    ledger: &Ledger,
    source: &mut Database,
    target: &mut Database,
) -> Result<Tenant> {
    let schema = &world.tenant.schema;
    let sure = ledger.tenant()?.lines.len();
    let rows = source.tenant(schema).await?;
    tokio::time::sleep(SETTLES).await;
    let archive = match world.tenant.archive_checksum {
        Some(start) => Some((start, source.archive_checksum(schema).await?)),
        None => None,
    };
    Ok(Tenant {
        writes: ledger.tenant()?.lines,
        sure,
        rows,
        archive,
        at_target: target.has_schema(schema).await?,
    })
}

fn zone(world: &World, ledger: &Ledger) -> Result<Zone> {
    Ok(Zone {
        before: ledger.zone("before", world.zone.at_start.as_deref())?,
        after: ledger.zone("after", None)?,
        owned: world.zone.owned.clone(),
    })
}
