//! The shop of a world: its server, its cron job, and its neighbour.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use anyhow::Result;
use clap::{Parser, Subcommand};
use segue_testkit::shop::{self, CronWord};
use segue_testkit::world::Side;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(about = "The shop of a world: its server, its cron job, and its neighbour")]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
    /// The world's description.
    #[arg(long, global = true, default_value = "world.json")]
    world: PathBuf,
}

#[derive(Subcommand)]
enum Mode {
    /// Serve the shop at one side until SIGTERM.
    Serve {
        /// `source` or `target`.
        #[arg(long)]
        side: Side,
    },
    /// Run the cron job of one side until SIGTERM.
    Cron {
        /// `source` or `target`.
        #[arg(long)]
        side: Side,
    },
    /// Control the cron job of one side; `running` exits 0 or 1.
    CronCtl {
        /// `source` or `target`.
        #[arg(long)]
        side: Side,
        /// `stop`, `start` or `running`.
        word: CronWord,
    },
    /// Write as the neighbour in the source's database server until SIGTERM.
    Tenant,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("segue-shop: {error:#}");
            // Not 1: that is the answer of `cron-ctl running` for no.
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .init();
    let Arguments { mode, world } = Arguments::parse();
    match mode {
        Mode::Serve { side } => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            let served = runtime.block_on(shop::serve(&world, side));
            // A stuck file must not keep the process.
            runtime.shutdown_background();
            served?;
        }
        Mode::Cron { side } => single()?.block_on(shop::cron(&world, side))?,
        Mode::Tenant => single()?.block_on(shop::tenant(&world))?,
        Mode::CronCtl { side, word } => {
            let runs = shop::cron_ctl(&world, side, word)?;
            if word == CronWord::Running {
                println!("{}", if runs { "running" } else { "stopped" });
                return Ok(if runs { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn single() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
