//! One measurement of a stream for all units in it.
//!
//! A hundred units that each wrote ten heartbeats a second would be most of what the servers
//! do. The stream carries all of them in order, so the beat of one tells how far it is for
//! each. Whoever asks first measures, on two sessions that all share, and those who ask
//! within the same tenth of a second get the same answer.

use crate::backoff::Backoff;
use crate::link::{Link, Wire};
use crate::own;
use crate::replica::MariaReplica;
use crate::stream::members::Filters;
use crate::stream::{self, Status};
use segue_model::{Fault, FaultKind, Side};
use segue_port::Outcome;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time a call may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(1);

/// How long a measurement answers for, a little less than the time between two.
const FRESH_MS: u64 = 80;

/// How long the shown state of a stream counts whose beats arrive, unless this process
/// changed it meanwhile. With the filters of thousands of units it is a megabyte.
const SHOWN_FOR: Duration = Duration::from_secs(1);

/// Longest time that bringing a stream back may take.
const RESTORE_LIMIT: Duration = Duration::from_secs(8);

/// How long a beat just written is looked for, and how often.
const LOOKS: [Duration; 3] =
    [Duration::from_millis(3), Duration::from_millis(7), Duration::from_millis(15)];

/// Pause between two attempts to bring a stream back.
const AGAIN: Duration = Duration::from_secs(1);

/// What is known of the stream that begins at a server.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    wires: Option<Wires>,
    last: Option<Beat>,
    backoff: Backoff,
    /// When the stream was last brought back.
    restored: Option<Instant>,
}

/// Sessions at the origin and at the other side, of the unit whose beats these are.
#[derive(Debug)]
struct Wires {
    writer: Wire,
    reader: Wire,
    /// The unit's heartbeat table.
    table: String,
    /// What lets its beats through.
    filters: Filters,
    /// The stream's state as it was shown last: when, and after how many changes.
    shown: Option<(Instant, u64, Status)>,
}

/// One measurement.
#[derive(Debug, Clone)]
struct Beat {
    at_ms: u64,
    lag_ms: f64,
    status: Status,
}

impl Pulse {
    /// Returns when the lag was measured, and how much it is, for a unit in the stream.
    ///
    /// # Errors
    /// `SG0203` if a server did not answer, `SG0211`, `SG0212` or `SG0225` if the stream
    /// tells nothing about this unit.
    pub(crate) async fn lag(
        &mut self,
        replica: &Arc<MariaReplica>,
        origin: Side,
        now_ms: u64,
    ) -> Outcome<(u64, f64)> {
        let fresh = |beat: &&Beat| now_ms >= beat.at_ms && now_ms - beat.at_ms < FRESH_MS;
        if let Some(beat) = self.last.as_ref().filter(fresh).cloned() {
            return self.told(replica, origin, beat).await;
        }
        if !self.backoff.is_over(Instant::now()) {
            return Err(late(
                origin,
                "a server did not answer in time; it is asked again after a pause",
            ));
        }
        self.last = None;
        let limit = LIMIT * 2;
        let measured =
            match tokio::time::timeout(limit, self.measure(&replica.link, origin, now_ms)).await {
                Ok(measured) => measured,
                Err(_) => Err(late(origin, &format!("no answer within {limit:?}"))),
            };
        match measured {
            Ok(beat) => {
                self.backoff.answered();
                self.last = Some(beat.clone());
                self.told(replica, origin, beat).await
            }
            Err(fault) => {
                if fault.kind == FaultKind::Timeout {
                    self.backoff.given_up(Instant::now());
                }
                // Sessions that failed are opened anew, for a server may have restarted.
                self.wires = None;
                if replica.link.epoch().is_some() {
                    self.restore(replica, origin.other()).await;
                }
                Err(fault)
            }
        }
    }

    /// Returns a measurement to a unit that it is about.
    async fn told(
        &mut self,
        replica: &Arc<MariaReplica>,
        origin: Side,
        beat: Beat,
    ) -> Outcome<(u64, f64)> {
        if beat.status.carries(&replica.link) {
            return Ok((beat.at_ms, beat.lag_ms));
        }
        if replica.link.epoch().is_some() {
            self.restore(replica, origin.other()).await;
        }
        let op = format!("measure the lag of the {origin}");
        if let Some(wires) = &mut self.wires {
            // It may have been left out, and then says why.
            stream::need_running(&replica.link, &mut wires.reader, &op).await?;
        }
        Err(Fault::new("SG0212", FaultKind::NotFound, op, "the stream does not carry the unit yet"))
    }

    async fn measure(&mut self, link: &Link, origin: Side, now_ms: u64) -> Outcome<Beat> {
        if let Some(mut wires) = self.wires.take() {
            // Another unit's sessions end with that unit: then this one's own are opened.
            if let Ok(beat) = wires.measure(link, origin, now_ms).await {
                self.wires = Some(wires);
                return Ok(beat);
            }
        }
        let mut wires = Wires::open(link, origin).await?;
        let beat = wires.measure(link, origin, now_ms).await?;
        self.wires = Some(wires);
        Ok(beat)
    }

    /// Brings the stream back if it stands; at most once a second.
    async fn restore(&mut self, replica: &Arc<MariaReplica>, side: Side) {
        if self.restored.is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        self.restored = Some(Instant::now());
        let replica = Arc::clone(replica);
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

impl Wires {
    async fn open(link: &Link, origin: Side) -> Outcome<Self> {
        let mut writer = link.open_within(origin, LIMIT).await?;
        own::travelling(&mut writer).await?;
        writer.set_limit(LIMIT);
        let mut reader = link.open_within(origin.other(), LIMIT).await?;
        reader.set_limit(LIMIT);
        Ok(Self {
            writer,
            reader,
            table: link.names.heartbeat(),
            filters: Filters::of(link),
            shown: None,
        })
    }

    /// Writes a beat and returns the age of the newest one seen at the other side.
    async fn measure(&mut self, link: &Link, origin: Side, now_ms: u64) -> Outcome<Beat> {
        let op = format!("measure the lag of the {origin}");
        let begun = Instant::now();
        let now = || now_ms * 1000 + u64::try_from(begun.elapsed().as_micros()).unwrap_or(0);
        let written = now();
        own::beat(&self.table, &mut self.writer, written).await?;
        let mut seen = own::beat_of(&self.table, &mut self.reader, origin).await?;
        for look in LOOKS {
            if seen >= written {
                break;
            }
            tokio::time::sleep(look).await;
            seen = own::beat_of(&self.table, &mut self.reader, origin).await?;
        }
        let age = if seen >= written { now() - written } else { now().saturating_sub(seen) };
        // A beat that is still there although the stream stands would tell nothing.
        let status = self.state(link, seen >= written).await?;
        let runs = |status: &Status| status.runs() && status.lets(&self.filters);
        let Some(status) = status.filter(runs) else {
            stream::need_running(link, &mut self.reader, &op).await?;
            return Err(Fault::new("SG0212", FaultKind::Busy, op, "its beats come no more"));
        };
        if seen == 0 || seen > now() {
            return Err(Fault::new(
                "SG0212",
                FaultKind::Invalid,
                op,
                "no beat of this boot has arrived yet",
            ));
        }
        #[allow(clippy::cast_precision_loss)] // Exact far beyond any lag.
        Ok(Beat { at_ms: now_ms, lag_ms: age as f64 / 1000.0, status })
    }
}

impl Wires {
    /// Returns the stream's state. One that was read a moment ago counts if this very beat
    /// came through and nobody here changed the stream since; another process that changes
    /// it ended these sessions first.
    async fn state(&mut self, link: &Link, came_through: bool) -> Outcome<Option<Status>> {
        let touched = link.pair.touched(self.reader.side());
        if let Some((at, of, status)) = &self.shown
            && came_through
            && *of == touched
            && at.elapsed() < SHOWN_FOR
        {
            return Ok(Some(status.clone()));
        }
        let status = stream::status(link, &mut self.reader).await?;
        let running = status.clone().filter(Status::runs);
        self.shown = running.map(|status| (Instant::now(), touched, status));
        Ok(status)
    }
}

fn late(origin: Side, cause: &str) -> Fault {
    Fault::new("SG0203", FaultKind::Timeout, format!("measure the lag of the {origin}"), cause)
}
