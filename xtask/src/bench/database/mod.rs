//! Copy and comparison of a schema between two MariaDB servers, beside what people use for it.
//!
//! Everything goes over client connections on loopback, between servers that are set up alike.
//! Rounds are interleaved. Before each copy the target has written all of its pages, so that
//! none pays for the one before; after each both sides must have equal checksums. Ours are the
//! effects of the product, run by `crates/database/benches`; they include schema and login.
//!
//! `SEGUE_BENCH_ROWS` and `SEGUE_BENCH_ROUNDS` make it shorter: the figures of small tables say
//! nothing.

mod data;
mod peers;

use super::mariadb::Pair;
use super::result::Row;
use super::{Scratch, installed, median, program};
use anyhow::{Context, Result, ensure};
use data::{SCHEMA, TABLES};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// Room for all pages of both schemas, and for the log of a copy.
const OPTIONS: &[&str] = &[
    "--innodb-buffer-pool-size=1G",
    "--innodb-log-file-size=512M",
    "--character-set-server=utf8mb4",
    "--max-allowed-packet=64M",
];

/// Ours divided by a peer's, at most.
const GOALS: Goals = Goals { dump: 0.45, mydumper: 0.7, pt: 0.5, lag: 1.2, catch_up: 1.0 / 1.3 };

struct Goals {
    dump: f64,
    mydumper: f64,
    pt: f64,
    /// At the rate of a busy shop.
    lag: f64,
    /// Of the time in which clients wrote it.
    catch_up: f64,
}

/// Runs everything and compares it with the goals.
pub(super) fn run(target: &Path) -> Result<Vec<Row>> {
    let (rows, rounds) = (asked("SEGUE_BENCH_ROWS", 400_000)?, asked("SEGUE_BENCH_ROUNDS", 3)?);
    let scratch = Scratch::new(target, "database")?;
    let pair = Pair::start(scratch.path(), OPTIONS)?;
    let mut bench = Bench { scratch: scratch.path(), pair: &pair, rows, epoch: 0 };
    data::fill(&pair.source, rows)?;
    let mut seconds = Seconds::default();
    for round in 1..=rounds {
        bench.copies(&mut seconds, &format!("round {round}/{rounds}"))?;
    }
    // The comparisons are of what ours has copied.
    bench.copy()?;
    peers::follow(&pair)?;
    for round in 1..=rounds + 2 {
        bench.comparisons(&mut seconds, &format!("round {round}/{}", rounds + 2))?;
    }
    let mut rows = seconds.rows();
    drop(pair);
    rows.extend(followed(&scratch.path().join("tail"))?);
    Ok(rows)
}

/// Measures how a schema follows by its source's log, beside native replication.
fn followed(folder: &Path) -> Result<Vec<Row>> {
    std::fs::create_dir_all(folder)?;
    let pair = Pair::start(folder, OPTIONS)?;
    let native = pair.another(&folder.join("native"), 3, OPTIONS)?;
    let addresses = [&pair.source, &pair.target, &native].map(|server| server.address.to_string());
    let told = program("segue-database", "tail", &addresses.each_ref().map(String::as_str))?;
    let of = |name: &str| told.get(name).copied().with_context(|| format!("`{name}` is missing"));
    let lag = |who: &str, which: &str| -> Result<f64> {
        let round = |round: &str| of(&format!("{who}, lag, {round}, {which}, ms"));
        Ok((round("first")? + round("second")?) / 2.0)
    };
    let name = "native replication";
    let (p50, p99) = ("lag, p50", "lag, p99");
    let caught_up = "caught up with what was produced meanwhile, parts of the producer's time";
    let ratio = |what: &str| of(what).map(|ratio| 1.0 / ratio);
    Ok(vec![
        Row::bound(caught_up, "x", ratio("tail, catch-up over producer's rate")?, GOALS.catch_up),
        Row::shown(
            caught_up,
            "x",
            ratio("tail, catch-up over producer's rate")?,
            name,
            Some(ratio("native, catch-up over producer's rate")?),
        ),
        Row::shown(p50, "ms", lag("tail", "p50")?, name, Some(lag("native", "p50")?)),
        Row::ratio(p99, "ms", lag("tail", "p99")?, name, Some(lag("native", "p99")?), GOALS.lag),
    ])
}

/// Returns a number that the environment may set.
fn asked(name: &str, otherwise: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}: `{text}` is no number")),
        Err(_) => Ok(otherwise),
    }
}

/// Seconds of every round, by what took them.
#[derive(Default)]
struct Seconds(BTreeMap<&'static str, Vec<f64>>);

impl Seconds {
    fn add(&mut self, what: &'static str, seconds: f64, round: &str) {
        println!("{round}: {what} {seconds:.2} s");
        self.0.entry(what).or_default().push(seconds);
    }

    /// Returns the median, if it was measured at all.
    fn of(&self, what: &str) -> Option<f64> {
        self.0.get(what).map(|all| median(all.clone()))
    }

    fn rows(&self) -> Vec<Row> {
        let ours = |what: &str| self.of(what).unwrap_or(f64::INFINITY);
        let copied =
            |peer, goal| Row::ratio("schema copied", "s", ours("copy"), peer, self.of(peer), goal);
        let compared = |what: &str, peer| (format!("both sides compared, {what}"), self.of(peer));
        let (pt, pt_time) = compared("its replica too", peers::PT);
        let (alone, alone_time) = compared("its source alone", peers::PT_ALONE);
        let (checksum, checksum_time) = compared("in pairs", peers::CHECKSUM);
        let ours_compared = ours("compare");
        vec![
            copied(peers::DUMP, GOALS.dump),
            copied(peers::MYDUMPER, GOALS.mydumper),
            Row::ratio(&pt, "s", ours_compared, peers::PT, pt_time, GOALS.pt),
            Row::shown(&alone, "s", ours_compared, peers::PT_ALONE, alone_time),
            Row::shown(&checksum, "s", ours_compared, peers::CHECKSUM, checksum_time),
        ]
    }
}

struct Bench<'a> {
    scratch: &'a Path,
    pair: &'a Pair,
    /// Rows of a table.
    rows: u64,
    /// Rises with every program of ours.
    epoch: u64,
}

impl Bench<'_> {
    /// Runs a verb of our program.
    fn ours(&mut self, verb: &str) -> Result<BTreeMap<String, f64>> {
        self.epoch += 1;
        let Pair { source, target, secret, .. } = self.pair;
        let arguments: [&str; 6] = [
            verb,
            &source.address.to_string(),
            &target.address.to_string(),
            SCHEMA,
            &secret.display().to_string(),
            &self.epoch.to_string(),
        ];
        program("segue-database", "database", &arguments)
    }

    /// Copies the schema, makes sure of it, and leaves it.
    fn copy(&mut self) -> Result<f64> {
        data::settle(&self.pair.target)?;
        let told = self.ours("copy")?;
        let rows = told.get("rows copied").copied();
        ensure!(rows == Some((self.rows * TABLES) as f64), "{rows:?} rows copied");
        data::equal(self.pair, "ours")?;
        told.get("copy, s").copied().context("the copy told no time")
    }

    /// Copies the schema by all means in turn.
    fn copies(&mut self, seconds: &mut Seconds, round: &str) -> Result<()> {
        seconds.add("copy", self.copy()?, round);
        self.ours("clear")?;
        if installed("mariadb-dump") {
            let took = self.peer("mariadb-dump", peers::dump)?;
            seconds.add(peers::DUMP, took, round);
        }
        if installed("mydumper") {
            let took = self.peer("mydumper", peers::mydumper)?;
            seconds.add(peers::MYDUMPER, took, round);
        }
        Ok(())
    }

    /// Copies the schema into an empty one by a peer, makes sure of it, and removes it.
    fn peer(&self, name: &str, copy: fn(&Pair, &Path) -> Result<()>) -> Result<f64> {
        let target = &self.pair.target;
        target.sql(&format!("CREATE SCHEMA {SCHEMA}"))?;
        data::settle(target)?;
        let began = Instant::now();
        copy(self.pair, self.scratch)?;
        let took = began.elapsed().as_secs_f64();
        data::equal(self.pair, name)?;
        target.sql(&format!("DROP SCHEMA {SCHEMA}"))?;
        Ok(took)
    }

    /// Compares both sides by all means in turn.
    fn comparisons(&mut self, seconds: &mut Seconds, round: &str) -> Result<()> {
        let told = self.ours("compare")?;
        let rows = told.get("rows compared").copied();
        ensure!(rows == Some((self.rows * TABLES) as f64), "{rows:?} rows compared");
        ensure!(told.get("differences") == Some(&0.0), "the comparison found differences");
        let took = told.get("compare, s").copied().context("the comparison told no time")?;
        seconds.add("compare", took, round);
        if installed("pt-table-checksum") {
            seconds.add(peers::PT, timed(|| peers::pt(self.pair, true))?, round);
            seconds.add(peers::PT_ALONE, timed(|| peers::pt(self.pair, false))?, round);
        }
        seconds.add(peers::CHECKSUM, timed(|| data::equal(self.pair, "the copy"))?, round);
        Ok(())
    }
}

fn timed(what: impl FnOnce() -> Result<()>) -> Result<f64> {
    let began = Instant::now();
    what()?;
    Ok(began.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_held_against_the_peers_median_and_a_missing_peer_fails() {
        let mut seconds = Seconds::default();
        for took in [4.0, 40.0, 4.4] {
            seconds.add("copy", took, "test");
        }
        seconds.add(peers::DUMP, 10.0, "test");
        seconds.add("compare", 1.0, "test");
        seconds.add(peers::PT, 1.9, "test");
        let rows = seconds.rows();
        assert!(rows[0].pass && rows[0].ratio.is_some_and(|ratio| (ratio - 0.44).abs() < 1e-9));
        assert!(rows[1].peer_missing && !rows[1].pass);
        assert!(!rows[2].pass, "more than half of the peer's time");
    }
}
