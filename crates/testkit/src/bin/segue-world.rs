//! Starts and stops a world by hand.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use anyhow::Result;
use clap::{Parser, Subcommand};
use segue_testkit::stage::end_segue;
use segue_testkit::world::{self, Description, World, WorldOptions};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(about = "Starts and stops a world: two hosting sides with a live shop, on loopback")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a world and print where its description lies.
    Start {
        /// Folder of the world.
        #[arg(long)]
        dir: PathBuf,
        /// The size of tests: 20,000 orders and 2,000 files.
        #[arg(long)]
        small: bool,
        /// Where prepared data is kept for the next start.
        #[arg(long)]
        cache: Option<PathBuf>,
        /// Leave it running and return.
        #[arg(long)]
        detach: bool,
    },
    /// Stop a world that was left running.
    Stop {
        /// Folder of the world.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Print a plan file that moves the shop of a world.
    Plan {
        /// Folder of the world.
        #[arg(long)]
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("segue-world: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    match Arguments::parse().command {
        Command::Start { dir, small, cache, detach } => {
            let size = if small { WorldOptions::small(dir) } else { WorldOptions::full(dir) };
            start(WorldOptions { cache, detach, ..size })
        }
        Command::Stop { dir } => {
            let ended = end_segue(&dir.canonicalize()?);
            if ended > 0 {
                println!("ended {ended} processes of segue");
            }
            for name in world::stop(&dir)? {
                println!("ended {name}");
            }
            Ok(())
        }
        Command::Plan { dir } => {
            print!("{}", Description::load(&dir.join("world.json"))?.plan_toml());
            Ok(())
        }
    }
}

fn start(options: WorldOptions) -> Result<()> {
    let detach = options.detach;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before the start, so that a signal during it does not end us half way.
    let (mut terminated, mut interrupted) = {
        let _guard = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let world = World::start(options)?;
    println!("{}", world.path().display());
    if detach {
        world.keep()?;
        return Ok(());
    }
    runtime.block_on(async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    });
    Ok(())
}
