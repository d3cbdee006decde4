//! Open-loop load on the shop, as a crowd of visitors makes it.
//!
//! Requests are sent at times fixed beforehand; a slow answer does not slow the schedule,
//! and latency counts from the intended time. Nothing is ever repeated. Every request and
//! every acknowledged write goes to the ledger; judging is the oracle's part, so the exit
//! code says only whether the load itself ran.

mod clients;
mod conn;
mod events;
mod fail;
mod ledger;
mod mix;
mod requests;
mod resolver;
mod run;
mod site;
#[cfg(test)]
mod standin;
mod stats;
mod wire;
mod world;

use anyhow::{Context, Result};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Puts open-loop load on the shop of a world and keeps a ledger.
#[derive(Debug, Parser)]
#[command(name = "segue-load")]
struct Args {
    /// Description of the world.
    #[arg(long, value_name = "FILE")]
    world: PathBuf,
    /// Requests a second, all kinds together.
    #[arg(long, default_value_t = 600.0)]
    rate: f64,
    /// Orders a second, part of the rate.
    #[arg(long, default_value_t = 150.0)]
    orders: f64,
    /// Logical clients.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// Ends after so many seconds; without it, at SIGTERM.
    #[arg(long)]
    seconds: Option<f64>,
    /// Folder of the ledger; the world's own if not given.
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
}

// One thread carries the load: it leaves the rest of a small machine to the world.
#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stderr)]
async fn main() -> ExitCode {
    match load(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("segue-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn load(args: Args) -> Result<()> {
    raise_file_limit().context("raise the limit of open files")?;
    let world = world::World::read(&args.world)?;
    let folder = args.ledger.unwrap_or_else(|| world.ledger_dir.clone());
    let mix = mix::Mix::new(args.rate, args.orders, u64::from(args.clients))?;
    let past = ledger::Past::read(&folder)?;
    let (ledger, writer) = ledger::Ledger::open(&folder)?;
    let site = run::site(&world, &past, ledger, args.clients as usize, args.rate)?;
    let stop = CancellationToken::new();
    stop_at_signal(stop.clone())?;
    if let Some(seconds) = args.seconds {
        let stop = stop.clone();
        let after = std::time::Duration::try_from_secs_f64(seconds).context("--seconds")?;
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            stop.cancel();
        });
    }
    run::run(site, mix, stop, &writer).await?;
    match writer.join() {
        Ok(written) => written.context("the ledger could not be written"),
        Err(_) => anyhow::bail!("the ledger's thread ended unexpectedly"),
    }
}

fn stop_at_signal(stop: CancellationToken) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}

/// A held site has every request of some seconds waiting, each with its connection.
fn raise_file_limit() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
