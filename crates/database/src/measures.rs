//! Slow measurements: clocks, counts on both sides, and what the last comparison found.

use crate::backoff::Backoff;
use crate::fault::Explain;
use crate::link::Wire;
use crate::logins;
use crate::replica::MariaReplica;
use async_trait::async_trait;
use segue_model::{Fault, FaultKind, Sample, Side, Sides, What};
use segue_port::{Outcome, Sampler, from_side};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Mutex;

/// Longest time one look may take.
const LIMIT: Duration = Duration::from_millis(1500);
/// How often a server's clock is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How often a server's clock is asked in one turn: the quickest answer counts.
const ASKED: usize = 3;
/// Kinds of things that are counted, in the order of the query.
const KINDS: [&str; 7] = ["tables", "views", "routines", "triggers", "events", "logins", "grants"];

/// How far the clock of one server is from this machine's.
pub(crate) struct ClockOffset {
    replica: Arc<MariaReplica>,
    side: Side,
    kept: Mutex<Kept>,
}

/// How long a server that is silent is left alone.
#[derive(Default)]
struct Kept {
    backoff: Backoff,
}

impl Kept {
    /// Takes one of the sessions that all units share, or opens one; it is given back after a
    /// turn that went well.
    async fn wire(&mut self, replica: &MariaReplica, side: Side, op: &str) -> Outcome<Wire> {
        if !self.backoff.is_over(Instant::now()) {
            let cause = "it did not answer in time; it is asked again after a pause";
            return Err(Fault::new("SG0203", FaultKind::Timeout, op, cause));
        }
        match replica.link.pair.take_reader(side) {
            Some(wire) => Ok(wire),
            None => replica.link.admin_within(side, LIMIT).await,
        }
    }

    fn put<T>(&mut self, outcome: &Outcome<T>) {
        match outcome {
            Ok(_) => self.backoff.answered(),
            Err(fault) if fault.kind == FaultKind::Timeout => {
                self.backoff.given_up(Instant::now());
            }
            Err(_) => {}
        }
    }
}

/// One answer of a server: its time, and this machine's before and after, microseconds.
#[derive(Debug, Clone, Copy)]
struct Answer {
    before_us: i64,
    there_us: i64,
    after_us: i64,
}

impl Answer {
    fn took_us(self) -> i64 {
        self.after_us - self.before_us
    }

    /// The server answered in the middle, as far as anybody can tell.
    #[allow(clippy::cast_precision_loss)] // Exact far beyond any offset.
    fn offset_ms(self) -> f64 {
        let middle_us = self.before_us + self.took_us() / 2;
        (self.there_us - middle_us).abs() as f64 / 1000.0
    }
}

/// Returns the offset by the quickest answer: a slow one says the least.
fn offset_ms(answers: &[Answer]) -> Option<f64> {
    answers.iter().min_by_key(|answer| answer.took_us()).map(|answer| answer.offset_ms())
}

impl ClockOffset {
    pub(crate) fn new(replica: Arc<MariaReplica>, side: Side) -> Self {
        Self { replica, side, kept: Mutex::default() }
    }

    /// All units between the same servers share one look at a clock.
    async fn measure(&self, kept: &mut Kept, op: &str) -> Outcome<f64> {
        let mut known = self.replica.link.pair.clocks.get(self.side).lock().await;
        if let Some((_, offset)) = known.filter(|(taken, _)| taken.elapsed() < EVERY) {
            return Ok(offset);
        }
        let mut wire = kept.wire(&self.replica, self.side, op).await?;
        let mut answers = Vec::with_capacity(ASKED);
        for _ in 0..ASKED {
            let (before, begun) = (wall_us(), Instant::now());
            let there_us: i64 = wire
                .one("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)")
                .await
                .reading(op)?;
            // The length by a clock that nobody sets.
            let took_us = i64::try_from(begun.elapsed().as_micros()).unwrap_or(i64::MAX / 2);
            answers.push(Answer { before_us: before, there_us, after_us: before + took_us });
        }
        self.replica.link.pair.keep_reader(wire);
        let offset = offset_ms(&answers)
            .ok_or_else(|| Fault::new("SG0212", FaultKind::Invalid, op, "no answer"))?;
        *known = Some((Instant::now(), offset));
        Ok(offset)
    }
}

fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX / 2)
}

fn late(op: &str) -> Fault {
    Fault::new("SG0203", FaultKind::Timeout, op, format!("no answer within {LIMIT:?}"))
}

#[async_trait]
impl Sampler for ClockOffset {
    fn name(&self) -> String {
        self.replica.origin(&from_side("clock", self.side))
    }

    fn every(&self) -> Duration {
        EVERY
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let op = format!("read the clock of the database server of the {}", self.side);
        let mut kept = self.kept.lock().await;
        let measured = tokio::time::timeout(LIMIT, self.measure(&mut kept, &op)).await;
        let measured = measured.unwrap_or_else(|_| Err(late(&op)));
        kept.put(&measured);
        let value = measured?;
        Ok(vec![Sample {
            what: What::ClockOffsetMs(self.side),
            value,
            count: ASKED as u64,
            taken_at_ms: now_boot_ms,
            from: self.name(),
        }])
    }
}

/// How many things of each kind the unit has on either side.
///
/// Rows are not counted here: the server's own number of rows is an estimate that differs
/// between equal tables, and every row is compared by the full comparison.
pub(crate) struct Counts {
    replica: Arc<MariaReplica>,
    kept: Sides<Mutex<Kept>>,
}

impl Counts {
    pub(crate) fn new(replica: Arc<MariaReplica>) -> Self {
        Self { replica, kept: Sides::from_fn(|_| Mutex::default()) }
    }

    async fn at(&self, side: Side) -> Outcome<Vec<u64>> {
        let op =
            format!("count what schema `{}` has at the {side}", self.replica.link.names.schema);
        let mut kept = self.kept.get(side).lock().await;
        let counting = tokio::time::timeout(LIMIT, self.count(&mut kept, side, &op)).await;
        let counted = counting.unwrap_or_else(|_| Err(late(&op)));
        kept.put(&counted);
        counted
    }

    async fn count(&self, kept: &mut Kept, side: Side, op: &str) -> Outcome<Vec<u64>> {
        let link = &self.replica.link;
        let schema = link.names.schema_literal();
        let mut wire = kept.wire(&self.replica, side, op).await?;
        let objects: (u64, u64, u64, u64, u64) = wire
            .one(format!(
                "SELECT \
                 (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema} AND TABLE_TYPE = 'BASE TABLE'), \
                 (SELECT COUNT(*) FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {schema}), \
                 (SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {schema}), \
                 (SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {schema}), \
                 (SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {schema})"
            ))
            .await
            .reading(op)?;
        let accounts = logins::planned(link, &mut wire).await?;
        let mut grants = 0;
        for (account, _) in &accounts {
            grants += logins::define(link, &mut wire, account).await?.grants().len() as u64;
        }
        link.pair.keep_reader(wire);
        let (tables, views, routines, triggers, events) = objects;
        Ok(vec![tables, views, routines, triggers, events, accounts.len() as u64, grants])
    }
}

#[async_trait]
impl Sampler for Counts {
    fn name(&self) -> String {
        self.replica.origin("counts:database")
    }

    fn every(&self) -> Duration {
        Duration::from_secs(10)
    }

    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        let (source, target) = tokio::join!(self.at(Side::Source), self.at(Side::Target));
        let (source, target) = (source?, target?);
        let kinds = KINDS.iter().zip(source.iter().zip(&target));
        Ok(kinds
            .map(|(kind, (source, target))| Sample {
                what: What::CountDifference,
                value: source.abs_diff(*target) as f64,
                count: *source,
                taken_at_ms: now_boot_ms,
                from: format!("{}:{kind}", self.name()),
            })
            .collect())
    }
}

/// What the last full comparison found; it holds until the next.
pub(crate) struct Differences {
    pub(crate) replica: Arc<MariaReplica>,
}

#[async_trait]
impl Sampler for Differences {
    fn name(&self) -> String {
        self.replica.origin("comparison:database")
    }

    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Returns no sample before the first comparison of this process.
    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>> {
        Ok(self
            .replica
            .found()
            .into_iter()
            .map(|differences| Sample {
                what: What::DatabaseDifferences,
                value: differences as f64,
                count: 1,
                taken_at_ms: now_boot_ms,
                from: self.name(),
            })
            .collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Answer, offset_ms};

    #[test]
    fn an_offset_is_told_either_way_and_by_the_quickest_answer() {
        let answer = |took_us: i64, ahead_us: i64| Answer {
            before_us: 1_000_000,
            there_us: 1_000_000 + took_us / 2 + ahead_us,
            after_us: 1_000_000 + took_us,
        };
        assert_eq!(offset_ms(&[answer(400, 250_000)]), Some(250.0));
        assert_eq!(offset_ms(&[answer(400, -250_000)]), Some(250.0));
        let unlucky = Answer { before_us: 0, there_us: 90_000, after_us: 100_000 };
        assert_eq!(offset_ms(&[unlucky, answer(500, 1_000)]), Some(1.0));
        assert_eq!(offset_ms(&[]), None);
    }
}
