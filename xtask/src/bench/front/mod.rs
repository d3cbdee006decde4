//! The front beside nginx and HAProxy.
//!
//! The proxy under test has CPU 0 to itself; load and upstream share CPU 1. Rounds are
//! interleaved, so that whatever else the machine does meets all alike. Counted is the
//! processor time of all the proxy's threads, not throughput: it does not depend on how
//! busy the other CPU is. Latency is that of an open loop at a fixed rate, measured from
//! the moment a request should have been sent ([`pace`]); the percentiles of a closed loop
//! leave out just the requests that a slow proxy kept from being sent.
//!
//! Over TLS all show one certificate, and HTTP/2 is spoken up to the proxy only.
//!
//! The front has every rule on: those of its wire, of its limits and of its times cannot be
//! switched off, a network of trusted proxies is named, and its figures are shown.

mod held;
mod kinds;
mod load;
mod own;
mod pace;
mod peers;
mod process;
mod secure;

use super::Scratch;
use super::result::Row;
use super::{installed, median, program};
use anyhow::{Context, Result, ensure};
use kinds::{KINDS, Kind, Talk};
use pace::Paced;
use process::{Process, cpu_ns};
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Name of the host that every request asks for.
const HOST: &str = "bench.example.test";

/// Rounds in which latency is measured.
const PACE_ROUNDS: usize = 3;

/// A plain request that waits may take so much memory, KiB.
const HELD_KIB: f64 = 20.0;

/// Runs everything and compares it with the goals.
pub(super) fn run(target: &Path) -> Result<Vec<Row>> {
    let binary = target.join("release/segue");
    ensure!(binary.exists(), "`{}` is missing: cargo build --release", binary.display());
    for program in ["wrk", "openssl", "taskset", "prlimit", "nginx"] {
        ensure!(installed(program), "`{program}` is needed: scripts/setup");
    }
    ensure!(std::thread::available_parallelism()?.get() > 1, "two processors are needed");
    process::settle()?;
    let scratch = Scratch::new(target, "front")?;
    let folder = scratch.path();
    let (upstream, _upstream) = peers::upstream(folder)?;
    let pair = secure::pair(folder)?;
    let front = own::Front::start(&binary, &folder.join("front"), upstream, &pair)?;
    let own::Front { process, listen: at, secure, .. } = front;
    let mut subjects = vec![Subject { name: "front", process, at, secure }];
    subjects.push(peers::nginx(folder, upstream, &pair)?);
    if installed("haproxy") {
        subjects.push(peers::haproxy(folder, upstream, &pair)?);
    }
    let mut rows = Vec::new();
    for kind in KINDS {
        rows.extend(measure(kind, &subjects)?);
    }
    let tls = secure::client(&pair)?;
    for kind in KINDS {
        rows.extend(latency(kind, &subjects, &tls, folder)?);
    }
    drop(subjects);
    rows.push(held(&binary, &folder.join("held"), upstream, &pair)?);
    rows.extend(routes(folder)?);
    Ok(rows)
}

/// Measures what ten thousand sites cost.
fn routes(folder: &Path) -> Result<Vec<Row>> {
    let told = program("segue-front", "routes", &[&folder.display().to_string()])?;
    let of = |name: &str| told.get(name).copied().with_context(|| format!("`{name}` is missing"));
    Ok(vec![
        Row::bound(
            "route of a unit with 10,000 sites swapped",
            "ms",
            of("10,000 sites swapped, ms")?,
            5.0,
        ),
        Row::bound(
            "a unit with 10,000 sites at the other side, each looked up",
            "ms",
            of("unit of 10,000 sites switched, ms")?,
            5.0,
        ),
        Row::bound(
            "one of 10,000 sites' routes swapped",
            "ms",
            of("one of 10,000 sites swapped, ms")?,
            0.1,
        ),
        Row::bound(
            "started with 10,000 units on disk",
            "s",
            of("started with 10,000 units, s")?,
            5.0,
        ),
        Row::bound(
            "one of 10,000 units changed, on disk",
            "ms",
            of("one of 10,000 units changed on disk, ms")?,
            20.0,
        ),
    ])
}

/// A proxy under test.
struct Subject {
    name: &'static str,
    process: Process,
    at: SocketAddr,
    /// Where it speaks TLS.
    secure: SocketAddr,
}

/// Measures processor time a request of every proxy, in turns.
fn measure(kind: &Kind, subjects: &[Subject]) -> Result<Vec<Row>> {
    let what = format!("cpu per request, {}", kind.name);
    if kind.talk == Talk::Http2 && !installed("h2load") {
        let why = "h2load is not installed: scripts/setup";
        return Ok(vec![Row::missing(&what, "us", kind.goal, why)]);
    }
    for subject in subjects {
        load::run(subject, kind, 1)?;
    }
    let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); subjects.len()];
    let mut failed = 0;
    for round in 1..=kind.rounds {
        let mut line = String::new();
        for (subject, rounds) in subjects.iter().zip(&mut rounds) {
            let before = subject.process.threads()?;
            let load = load::run(subject, kind, kind.seconds)?;
            let spent = cpu_ns(&before, &subject.process.threads()?);
            ensure!(load.requests > 0, "{}: no request was answered", subject.name);
            let us = spent as f64 / 1_000.0 / load.requests as f64;
            if subject.name == "front" {
                failed += load.failed;
            }
            line += &format!("  {} {us:.2}", subject.name);
            rounds.push(us);
        }
        println!("{}, round {round}/{}: us/request{line}", kind.name, kind.rounds);
    }
    let medians: Vec<_> = rounds.into_iter().map(median).collect();
    let of = |name| subjects.iter().position(|s| s.name == name).map(|at| medians[at]);
    let ours = of("front").unwrap_or(f64::INFINITY);
    let failures = format!("failed requests of the front, {}", kind.name);
    Ok(vec![
        Row::ratio(&what, "us", ours, "nginx", of("nginx"), kind.goal),
        Row::ratio(&what, "us", ours, "haproxy", of("haproxy"), kind.goal),
        Row::bound(&failures, "requests", failed as f64, 0.0),
    ])
}

/// Measures latency at a fixed rate of every proxy, in turns.
fn latency(
    kind: &Kind,
    subjects: &[Subject],
    tls: &Arc<ClientConfig>,
    folder: &Path,
) -> Result<Vec<Row>> {
    let Kind { name, pace, .. } = kind;
    let mut all: Vec<Vec<Paced>> = subjects.iter().map(|_| Vec::new()).collect();
    let mut failed = 0;
    for round in 1..=PACE_ROUNDS {
        let mut line = String::new();
        for (subject, all) in subjects.iter().zip(&mut all) {
            let paced = match kind.talk {
                Talk::Http2 if !installed("h2load") => return Ok(Vec::new()),
                Talk::Http2 => load::paced(subject, kind, folder)?,
                Talk::Clear | Talk::Tls => pace::run(subject, kind, tls)?,
            };
            if subject.name == "front" {
                failed += paced.failed;
            }
            line += &format!("  {} {:.0}/{:.0}", subject.name, paced.at(0.5), paced.at(0.99));
            all.push(paced);
        }
        println!("{name}, {pace}/s, round {round}/{PACE_ROUNDS}: p50/p99 us{line}");
    }
    let at = |name, q| {
        let rounds = subjects.iter().position(|s| s.name == name).map(|at| &all[at])?;
        Some(median(rounds.iter().map(|paced| paced.at(q)).collect()))
    };
    let mut rows = Vec::new();
    for (label, q) in [("p50", 0.5), ("p99", 0.99)] {
        let what = format!("{label} at {pace}/s, {name}");
        let ours = at("front", q).unwrap_or(f64::INFINITY);
        rows.push(Row::shown(&what, "us", ours, "nginx", at("nginx", q)));
        rows.push(Row::shown(&what, "us", ours, "haproxy", at("haproxy", q)));
    }
    let what = format!("failed requests of the front at {pace}/s, {name}");
    rows.push(Row::bound(&what, "requests", failed as f64, 0.0));
    Ok(rows)
}

/// Measures what a request takes that waits.
fn held(binary: &Path, folder: &Path, upstream: SocketAddr, pair: &secure::Pair) -> Result<Row> {
    let mut front = own::Front::start(binary, folder, upstream, pair)?;
    let kib = held::kib_a_request(&mut front)?;
    Ok(Row::bound("memory of a plain held request", "KiB", kib, HELD_KIB))
}
