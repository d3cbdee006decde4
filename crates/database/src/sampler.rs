//! Measurements: how far each direction lags and whether each side can be read.

use crate::backoff::Backoff;
use crate::fault::Explain;
use crate::link::{Link, Wire};
use crate::pulse::LIMIT;
use crate::replica::MariaReplica;
use async_trait::async_trait;
use segue_model::{Fault, FaultKind, Sample, Side, What};
use segue_port::{Outcome, Sampler, from_side};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How far the other side is behind what is written at one side.
pub(crate) struct Lag {
    replica: Arc<MariaReplica>,
    origin: Side,
}

impl Lag {
    pub(crate) fn new(replica: Arc<MariaReplica>, origin: Side) -> Self {
        Self { replica, origin }
    }
}

#[async_trait]
impl Sampler for Lag {
    fn name(&self) -> String {
        self.replica.origin(&from_side("database-lag", self.origin))
    }

    fn every(&self) -> Duration {
        Duration::from_millis(100)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let mut pulse = self.replica.link.pair.pulses.get(self.origin).lock().await;
        let (taken_at_ms, value) = pulse.lag(&self.replica, self.origin, now_boot_ms).await?;
        Ok(vec![Sample {
            what: What::DatabaseLagMs(self.origin),
            value,
            count: 1,
            taken_at_ms,
            from: self.name(),
        }])
    }
}

/// Reads a row of the unit's data at one side.
pub(crate) struct Readable {
    replica: Arc<MariaReplica>,
    side: Side,
    state: Mutex<ReadState>,
}

#[derive(Default)]
struct ReadState {
    /// A table that was read.
    table: Option<String>,
    backoff: Backoff,
}

impl Readable {
    pub(crate) fn new(replica: Arc<MariaReplica>, side: Side) -> Self {
        Self { replica, side, state: Mutex::default() }
    }

    /// Reads on a session that all units share: one of its own for each would use up the
    /// connections of a server. It is the administrator's, for an epoch's login sees its own
    /// unit only.
    async fn read(&self, table: &mut Option<String>) -> Outcome<()> {
        let link = &self.replica.link;
        if let Some(mut wire) = link.pair.take_reader(self.side)
            && read_row(link, &mut wire, table).await.is_ok()
        {
            link.pair.keep_reader(wire);
            return Ok(());
        }
        // A session that waited may have ended, and a table's name is read again.
        *table = None;
        let mut wire = link.admin_within(self.side, LIMIT).await?;
        wire.set_limit(LIMIT);
        read_row(link, &mut wire, table).await?;
        link.pair.keep_reader(wire);
        Ok(())
    }
}

/// Reads a row of one table of the schema: the server, its files and the schema are there.
pub(crate) async fn read_one_row(link: &Link, wire: &mut Wire) -> Outcome<()> {
    read_row(link, wire, &mut None).await
}

/// Reads a row of the table whose name is kept, or of any, whose name is kept from then on.
async fn read_row(link: &Link, wire: &mut Wire, kept: &mut Option<String>) -> Outcome<()> {
    let op = format!("read schema `{}` at the {}", link.names.schema, wire.side());
    let table = match kept.take() {
        Some(table) => table,
        None => wire
            .first::<String>(format!(
                "SELECT TABLE_NAME FROM information_schema.TABLES \
                 WHERE TABLE_SCHEMA = {} AND TABLE_TYPE = 'BASE TABLE' LIMIT 1",
                link.names.schema_literal()
            ))
            .await
            .reading(&op)?
            .ok_or_else(|| {
                Fault::new("SG0204", FaultKind::NotFound, op.clone(), "it has no table")
            })?,
    };
    let _row: Option<u64> = wire
        .first(format!("SELECT 1 FROM {} LIMIT 1", link.names.table(&table)))
        .await
        .reading(&op)?;
    *kept = Some(table);
    Ok(())
}

#[async_trait]
impl Sampler for Readable {
    fn name(&self) -> String {
        self.replica.origin(&from_side("database", self.side))
    }

    fn every(&self) -> Duration {
        Duration::from_millis(500)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        if self.replica.link.epoch().is_none() {
            return Err(Fault::new(
                "SG0205",
                FaultKind::LeaseLost,
                format!("read the database of the {}", self.side),
                "no epoch was taken there",
            ));
        }
        if self.side == Side::Target && self.replica.is_loading() {
            return Ok(Vec::new());
        }
        let mut state = self.state.lock().await;
        let readable = state.backoff.is_over(Instant::now()) && {
            let answer = tokio::time::timeout(LIMIT, self.read(&mut state.table)).await;
            match &answer {
                Ok(Ok(())) => state.backoff.answered(),
                Ok(Err(fault)) if fault.kind != FaultKind::Timeout => {}
                Ok(Err(_)) | Err(_) => state.backoff.given_up(Instant::now()),
            }
            matches!(answer, Ok(Ok(())))
        };
        Ok(vec![Sample {
            what: What::DatabaseReadable(self.side),
            value: if readable { 1.0 } else { 0.0 },
            count: 1,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        }])
    }
}
