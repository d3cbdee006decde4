//! Measurements: how far each direction lags and whether each side can be read.

use crate::backoff::Backoff;
use crate::fault::Explain;
use crate::link::{Link, Wire};
use crate::replica::MariaReplica;
use crate::{own, stream};
use async_trait::async_trait;
use segue_model::{Fault, FaultKind, Sample, Side, What};
use segue_port::{Outcome, Sampler, from_side};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Longest time a sample may take.
const LIMIT: Duration = Duration::from_secs(1);

/// Longest time that bringing a stream back may take.
const RESTORE_LIMIT: Duration = Duration::from_secs(5);

/// How long a beat just written is looked for, and how often.
const LOOKS: [Duration; 3] =
    [Duration::from_millis(3), Duration::from_millis(7), Duration::from_millis(15)];

/// Pause between two attempts to bring a stream back.
const AGAIN: Duration = Duration::from_secs(1);

/// Writes a heartbeat at one side and sees when it arrives at the other.
pub(crate) struct Lag {
    replica: Arc<MariaReplica>,
    origin: Side,
    state: Mutex<LagState>,
}

#[derive(Default)]
struct LagState {
    /// Sessions at the origin and at the other side.
    writer: Option<Wire>,
    reader: Option<Wire>,
    backoff: Backoff,
    /// When a stream was last brought back.
    restored: Option<Instant>,
}

impl Lag {
    pub(crate) fn new(replica: Arc<MariaReplica>, origin: Side) -> Self {
        Self { replica, origin, state: Mutex::default() }
    }

    /// Returns the age of the newest beat seen at the other side, milliseconds.
    async fn measure(&self, state: &mut LagState, now_boot_ms: u64) -> Outcome<f64> {
        let link = &self.replica.link;
        let begun = Instant::now();
        let now = || now_boot_ms * 1000 + u64::try_from(begun.elapsed().as_micros()).unwrap_or(0);
        let writer = match &mut state.writer {
            Some(wire) => wire,
            empty => {
                let mut wire = link.open_within(self.origin, LIMIT).await?;
                own::travelling(&mut wire).await?;
                wire.set_limit(LIMIT);
                empty.insert(wire)
            }
        };
        let written = now();
        own::beat(link, writer, written).await?;
        let reader = match &mut state.reader {
            Some(wire) => wire,
            empty => {
                let mut wire = link.open_within(self.origin.other(), LIMIT).await?;
                wire.set_limit(LIMIT);
                empty.insert(wire)
            }
        };
        let mut seen = own::beat_of(link, reader, self.origin).await?;
        for look in LOOKS {
            if seen >= written {
                break;
            }
            tokio::time::sleep(look).await;
            seen = own::beat_of(link, reader, self.origin).await?;
        }
        // A beat that is still there although the stream stands would tell nothing.
        stream::need_running(link, reader, &format!("measure the lag of the {}", self.origin))
            .await?;
        let age = if seen >= written { now() - written } else { now().saturating_sub(seen) };
        if seen == 0 || seen > now() {
            return Err(Fault::new(
                "SG0212",
                FaultKind::Invalid,
                format!("measure the lag of the {}", self.origin),
                "no beat of this boot has arrived yet",
            ));
        }
        #[allow(clippy::cast_precision_loss)] // Exact far beyond any lag.
        Ok(age as f64 / 1000.0)
    }

    /// Brings the stream back if it was established and stands; at most once a second.
    async fn restore(&self, state: &mut LagState) {
        if state.restored.is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        state.restored = Some(Instant::now());
        let replica = Arc::clone(&self.replica);
        let side = self.origin.other();
        // A task of its own: given up half-way, it would leave the reader's door open.
        let restoring = tokio::spawn(async move {
            let mut wire = replica.link.open_within(side, LIMIT).await?;
            let answer = stream::restore(&replica.link, &mut wire).await;
            wire.close().await;
            answer
        });
        match tokio::time::timeout(RESTORE_LIMIT, restoring).await {
            Ok(Ok(Ok(_))) => {}
            Ok(Ok(Err(fault))) => tracing::debug!(%fault, "stream is not restored"),
            Ok(Err(_)) | Err(_) => tracing::debug!("stream is not restored in time"),
        }
    }
}

#[async_trait]
impl Sampler for Lag {
    fn name(&self) -> String {
        from_side("database-lag", self.origin)
    }

    fn every(&self) -> Duration {
        Duration::from_millis(100)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let mut state = self.state.lock().await;
        if !state.backoff.is_over(Instant::now()) {
            return Err(Fault::new(
                "SG0203",
                FaultKind::Timeout,
                format!("measure the lag of the {}", self.origin),
                "a server did not answer in time; it is asked again after a pause",
            ));
        }
        let limit = LIMIT * 2;
        let measured =
            match tokio::time::timeout(limit, self.measure(&mut state, now_boot_ms)).await {
                Ok(measured) => measured,
                Err(_) => Err(Fault::new(
                    "SG0203",
                    FaultKind::Timeout,
                    format!("measure the lag of the {}", self.origin),
                    format!("no answer within {limit:?}"),
                )),
            };
        match measured {
            Ok(value) => {
                state.backoff.answered();
                Ok(vec![Sample {
                    what: What::DatabaseLagMs(self.origin),
                    value,
                    count: 1,
                    taken_at_ms: now_boot_ms,
                    from: self.name(),
                }])
            }
            Err(fault) => {
                if fault.kind == FaultKind::Timeout {
                    state.backoff.given_up(Instant::now());
                }
                // Sessions that failed are opened anew, for a server may have restarted.
                state.writer = None;
                state.reader = None;
                if self.replica.link.epoch().is_some() {
                    self.restore(&mut state).await;
                }
                Err(fault)
            }
        }
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
    wire: Option<Wire>,
    backoff: Backoff,
}

impl Readable {
    pub(crate) fn new(replica: Arc<MariaReplica>, side: Side) -> Self {
        Self { replica, side, state: Mutex::default() }
    }

    async fn read(&self, kept: &mut Option<Wire>) -> Outcome<()> {
        let mut wire = match kept.take() {
            Some(wire) => wire,
            None => self.replica.link.open_within(self.side, LIMIT).await?,
        };
        read_one_row(&self.replica.link, &mut wire).await?;
        *kept = Some(wire);
        Ok(())
    }
}

/// Reads a row of one table of the schema: the server, its files and the schema are there.
pub(crate) async fn read_one_row(link: &Link, wire: &mut Wire) -> Outcome<()> {
    let op = format!("read schema `{}` at the {}", link.names.schema, wire.side());
    let table: Option<String> = wire
        .first(format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = {} AND TABLE_TYPE = 'BASE TABLE' LIMIT 1",
            link.names.schema_literal()
        ))
        .await
        .reading(&op)?;
    let Some(table) = table else {
        return Err(Fault::new("SG0204", FaultKind::NotFound, op, "it has no table"));
    };
    let _row: Option<u64> = wire
        .first(format!("SELECT 1 FROM {} LIMIT 1", link.names.table(&table)))
        .await
        .reading(&op)?;
    Ok(())
}

#[async_trait]
impl Sampler for Readable {
    fn name(&self) -> String {
        from_side("database", self.side)
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
        let mut state = self.state.lock().await;
        let readable = state.backoff.is_over(Instant::now()) && {
            let answer = tokio::time::timeout(LIMIT, self.read(&mut state.wire)).await;
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
