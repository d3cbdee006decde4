//! A table's digest in one statement, or piece by piece with rests, so that live requests go
//! first.
//!
//! The digest of a table is the sum of those of its pieces. So both ways come to the same, and
//! either side may be digested either way.

use crate::copy::{self, Column};
use crate::digest::{TableDigest, digest};
use crate::frozen::{look, look_away};
use crate::link::{Link, Wire};
use segue_doors::sql::Ident;
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use std::time::{Duration, Instant};

/// Time that a piece shall take at the slower side.
const PIECE: Duration = Duration::from_millis(100);
/// Keys of the first piece; the next ones follow from the time that it took.
const FIRST_KEYS: i128 = 20_000;
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
}

/// Digests a table at both sides.
pub(crate) async fn both(
    link: &Link,
    source: &mut Wire,
    target: &mut Wire,
    (table, columns): (&str, &[Column]),
    pace: Pace,
) -> (Outcome<TableDigest>, Outcome<TableDigest>) {
    let range = match pace {
        Pace::Gentle => range(link, source, target, table).await,
        Pace::Full => None,
    };
    let Some((key, low, high)) = range else {
        return tokio::join!(
            digest(link, source, table, columns, ""),
            digest(link, target, table, columns, "")
        );
    };
    let (mut at_source, mut at_target) = (Sum::default(), Sum::default());
    let (mut from, mut keys) = (low, FIRST_KEYS);
    let mut best = 0.0;
    while from <= high {
        let begun = Instant::now();
        let rows = at_source.rows + at_target.rows;
        let of = format!(" WHERE {key} >= {from} AND {key} < {}", from + keys);
        let (here, there) = tokio::join!(
            digest(link, source, table, columns, &of),
            digest(link, target, table, columns, &of)
        );
        let (here, there) =
            (here.and_then(|d| at_source.add(&d)), there.and_then(|d| at_target.add(&d)));
        match (here, there) {
            (Ok(()), Ok(())) => {}
            (here, there) => {
                return (here.map(|()| at_source.digest()), there.map(|()| at_target.digest()));
            }
        }
        let took = begun.elapsed();
        from += keys;
        keys = next(keys, took);
        if from <= high {
            let rows = at_source.rows + at_target.rows - rows;
            tokio::time::sleep(rest(rows, took, &mut best)).await;
        }
    }
    (Ok(at_source.digest()), Ok(at_target.digest()))
}

/// Returns the key of a table and its range over both sides; none where it cannot be cut.
async fn range(
    link: &Link,
    source: &mut Wire,
    target: &mut Wire,
    table: &str,
) -> Option<(Ident, i128, i128)> {
    // What cannot be read here fails where the digest is asked for, with its reason.
    let key = copy::whole_key(link, source, table).await.ok()??;
    let here = ends(link, source, table, &key).await.ok()?;
    let there = ends(link, target, table, &key).await.ok()?;
    let low = here.0.into_iter().chain(there.0).min()?;
    let high = here.1.into_iter().chain(there.1).max()?;
    Some((key, low, high))
}

async fn ends(
    link: &Link,
    wire: &mut Wire,
    table: &str,
    key: &Ident,
) -> Outcome<(Option<i128>, Option<i128>)> {
    look(wire).await?;
    let ends = copy::bounds(link, wire, table, key).await;
    look_away(wire).await?;
    ends
}

/// Returns how long to rest after a piece of so many rows. One that went as fast as the fastest
/// had the server for itself; a slower one shared it with those who are to go first.
#[allow(clippy::cast_precision_loss)] // Rows of a piece.
fn rest(rows: u64, took: Duration, best: &mut f64) -> Duration {
    let speed = rows as f64 / took.as_secs_f64().max(1e-6);
    *best = best.max(speed);
    let slower = *best / speed.max(1.0) - 1.0;
    took.mul_f64(slower.clamp(REST.0, REST.1)).min(PIECE * 10)
}

/// Returns how many keys the next piece has: so many that it takes its time, and at most four
/// times as many as this one, because keys may be sparse here and dense there.
fn next(keys: i128, took: Duration) -> i128 {
    let took_us = i128::try_from(took.as_micros()).unwrap_or(i128::MAX).max(1);
    let wanted_us = i128::try_from(PIECE.as_micros()).unwrap_or(1);
    (keys.saturating_mul(wanted_us) / took_us).clamp(keys / 4, keys.saturating_mul(4)).max(1)
}

/// The digest of the pieces so far.
#[derive(Debug, Default)]
struct Sum {
    rows: u64,
    sum: u128,
}

impl Sum {
    fn add(&mut self, piece: &TableDigest) -> Outcome<()> {
        let sum = piece.sum.parse::<u128>().map_err(|_| {
            let cause = format!("sum `{}`", piece.sum);
            Fault::new("SG0219", FaultKind::Bug, "add the digests of a table's pieces", cause)
        })?;
        self.rows += piece.rows;
        self.sum += sum;
        Ok(())
    }

    fn digest(&self) -> TableDigest {
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
        assert_eq!(next(i128::MAX / 2, Duration::ZERO), i128::MAX);
    }

    #[test]
    fn a_rest_is_the_longer_the_slower_a_piece_was() {
        let mut best = 0.0;
        assert_eq!(rest(1000, PIECE, &mut best), PIECE / 10);
        assert_eq!(rest(500, PIECE, &mut best), PIECE);
        assert_eq!(rest(1, PIECE, &mut best), PIECE * 2);
        assert_eq!(rest(2000, PIECE, &mut best), PIECE / 10);
        assert_eq!(rest(0, PIECE * 100, &mut best), PIECE * 10);
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
