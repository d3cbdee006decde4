//! A table's digest in one statement, or piece by piece with rests, so that live requests go
//! first.
//!
//! The digest of a table is the sum of those of its pieces. So both ways come to the same, and
//! either side may be digested either way.

use crate::copy::Column;
use crate::difference::TableDigest;
use crate::digest::digest;
use crate::keys::{self, Key, Range};
use crate::link::{Link, Wire};
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use std::time::{Duration, Instant};

/// Time that a piece shall take at the slower side.
const PIECE: Duration = Duration::from_millis(100);
/// Rows of the first piece; the next ones follow from the time that it took.
const FIRST_ROWS: u64 = 20_000;
/// Shortest and longest rest after a piece, in parts of the time that it took.
const REST: (f64, f64) = (0.1, 2.0);

/// How much of a server a comparison takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// All that it gets: users wait for the end.
    Full,
    /// One statement at a time, and a rest after each that grows as the server slows down: users
    /// are served meanwhile.
    Gentle,
    /// The same, and in no more than so many hundredths of the time a statement runs.
    Share(u8),
}

/// Some rows of a table, digested at both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Which.
    pub(crate) range: Range,
    /// At the source.
    pub(crate) source: TableDigest,
    /// At the target.
    pub(crate) target: TableDigest,
}

impl Piece {
    /// Returns whether both sides are the same.
    pub(crate) fn is_equal(&self) -> bool {
        self.source == self.target
    }
}

/// A table, digested at both sides.
#[derive(Debug)]
pub(crate) struct Both {
    /// At the source.
    pub(crate) source: TableDigest,
    /// At the target.
    pub(crate) target: TableDigest,
    /// The pieces that are not the same.
    pub(crate) differing: Vec<Piece>,
}

/// Digests a table at both sides.
pub(crate) async fn both(
    link: &Link,
    source: &mut Wire,
    target: &mut Wire,
    (table, columns): (&str, &[Column]),
    pace: Pace,
) -> Outcome<Both> {
    let key = match pace {
        Pace::Full => None,
        Pace::Gentle | Pace::Share(_) => keys::of(link, source, table).await?,
    };
    let mut walk = Walk::new(key, pace, None);
    let (mut at_source, mut at_target) = (Sum::default(), Sum::default());
    let mut differing = Vec::new();
    while let Some(piece) = walk.next(link, source, target, (table, columns)).await? {
        at_source.add(&piece.source)?;
        at_target.add(&piece.target)?;
        if !piece.is_equal() {
            differing.push(piece);
        }
        walk.rest().await;
    }
    Ok(Both { source: at_source.digest(), target: at_target.digest(), differing })
}

/// Returns whether a digest failed because a column of the source's is not there.
pub(crate) fn lacks_column(fault: &Fault) -> bool {
    fault.cause.contains("1054")
}

/// A way through a table, piece by piece.
#[derive(Debug)]
pub(crate) struct Walk {
    /// By which it is cut; without one it is a single piece.
    pub(crate) key: Option<Key>,
    pace: Pace,
    after: Option<keys::KeyValue>,
    rows: u64,
    /// The fastest piece so far, rows a second.
    best: f64,
    rest: Duration,
    ended: bool,
}

impl Walk {
    /// Begins behind a key, or at the table's beginning.
    pub(crate) fn new(key: Option<Key>, pace: Pace, after: Option<keys::KeyValue>) -> Self {
        let (rows, rest) = (FIRST_ROWS, Duration::ZERO);
        Self { key, pace, after, rows, best: 0.0, rest, ended: false }
    }

    /// Digests the next piece; nothing behind the last one. Where it ends follows from the
    /// source's rows; the last one takes what the target has beyond them.
    pub(crate) async fn next(
        &mut self,
        link: &Link,
        source: &mut Wire,
        target: &mut Wire,
        (table, columns): (&str, &[Column]),
    ) -> Outcome<Option<Piece>> {
        if self.ended {
            return Ok(None);
        }
        let begun = Instant::now();
        let mut range = Range { after: self.after.clone(), to: None };
        let mut of = String::new();
        if let Some(key) = &self.key {
            range.to = keys::boundary(link, source, (table, key), &range, self.rows).await?;
            of = key.within(&range);
        }
        let (at_source, at_target) = tokio::try_join!(
            digest(link, source, table, columns, &of),
            digest(link, target, table, columns, &of)
        )?;
        let took = begun.elapsed();
        self.rest = rest(at_source.rows + at_target.rows, took, &mut self.best, self.pace);
        self.rows = next(self.rows, took);
        self.ended = range.to.is_none();
        self.after.clone_from(&range.to);
        Ok(Some(Piece { range, source: at_source, target: at_target }))
    }

    /// Rests after a piece, as the pace says; not behind the last one.
    pub(crate) async fn rest(&self) {
        if !self.ended {
            tokio::time::sleep(self.rest).await;
        }
    }
}

/// Returns how long to rest after a piece of so many rows. One that went as fast as the fastest
/// had the server for itself; a slower one shared it with those who are to go first.
#[allow(clippy::cast_precision_loss)] // Rows of a piece.
fn rest(rows: u64, took: Duration, best: &mut f64, pace: Pace) -> Duration {
    let speed = rows as f64 / took.as_secs_f64().max(1e-6);
    *best = best.max(speed);
    let slower = *best / speed.max(1.0) - 1.0;
    let rest = took.mul_f64(slower.clamp(REST.0, REST.1)).min(PIECE * 10);
    match pace {
        Pace::Full => Duration::ZERO,
        Pace::Gentle => rest,
        Pace::Share(hundredths) => {
            let share = f64::from(hundredths.clamp(1, 100)) / 100.0;
            rest.max(took.mul_f64(1.0 / share - 1.0))
        }
    }
}

/// Returns how many rows the next piece has: so many that it takes its time, and at most four
/// times as many as this one, because rows may be short here and long there.
fn next(rows: u64, took: Duration) -> u64 {
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let wanted_us = u64::try_from(PIECE.as_micros()).unwrap_or(1);
    (rows.saturating_mul(wanted_us) / took_us).clamp(rows / 4, rows.saturating_mul(4)).max(1)
}

/// The digest of the pieces so far.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    rows: u64,
    sum: u128,
}

impl Sum {
    pub(crate) fn add(&mut self, piece: &TableDigest) -> Outcome<()> {
        let sum = piece.sum.parse::<u128>().map_err(|_| {
            let cause = format!("sum `{}`", piece.sum);
            Fault::new("SG0219", FaultKind::Bug, "add the digests of a table's pieces", cause)
        })?;
        self.rows += piece.rows;
        self.sum += sum;
        Ok(())
    }

    pub(crate) fn digest(&self) -> TableDigest {
        TableDigest { rows: self.rows, sum: self.sum.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_and_shrink_with_the_time_they_take() {
        assert_eq!(next(1000, PIECE), 1000);
        assert_eq!(next(1000, PIECE / 2), 2000);
        assert_eq!(next(1000, PIECE / 100), 4000);
        assert_eq!(next(1000, PIECE * 100), 250);
        assert_eq!(next(1, PIECE * 100), 1);
        assert_eq!(next(u64::MAX, Duration::ZERO), u64::MAX);
    }

    #[test]
    fn a_rest_is_the_longer_the_slower_a_piece_was() {
        let mut best = 0.0;
        let mut rest = |rows, took| rest(rows, took, &mut best, Pace::Gentle);
        assert_eq!(rest(1000, PIECE), PIECE / 10);
        assert_eq!(rest(500, PIECE), PIECE);
        assert_eq!(rest(1, PIECE), PIECE * 2);
        assert_eq!(rest(2000, PIECE), PIECE / 10);
        assert_eq!(rest(0, PIECE * 100), PIECE * 10);
    }

    #[test]
    fn a_share_of_the_time_is_kept_however_fast_the_server_is() {
        let mut best = 0.0;
        assert_eq!(rest(1000, PIECE, &mut best, Pace::Share(25)), PIECE * 3);
        assert_eq!(rest(1000, PIECE, &mut best, Pace::Share(100)), PIECE / 10);
        assert_eq!(rest(1000, PIECE, &mut best, Pace::Full), Duration::ZERO);
    }

    #[test]
    fn pieces_add_up_to_the_digest_of_the_whole() {
        let one = |rows, sum: &str| TableDigest { rows, sum: sum.into() };
        let mut sum = Sum::default();
        for piece in [one(2, "18446744073709551615"), one(1, "18446744073709551615")] {
            assert!(sum.add(&piece).is_ok());
        }
        assert_eq!(sum.digest(), one(3, "36893488147419103230"));
        assert!(sum.add(&one(1, "x")).is_err());
    }
}
