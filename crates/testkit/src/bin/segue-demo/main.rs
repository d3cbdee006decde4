//! The main job, live: moves a shop that is in use, goes back, moves it again.
//!
//! Everything is real: BIND, MariaDB, nginx and rsync as private instances on loopback,
//! a shop with its cron job, a neighbour in the same server and zone, and visitors who
//! never repeat a request. An oracle that shares no code with Segue judges at the end.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod ending;
mod login;
mod scene;
mod story;

use anyhow::{Context, Result};
use clap::Parser;
use scene::Scene;
use std::path::PathBuf;
use std::process::ExitCode;

/// Moves a live shop from a source to a target under load, back, and again.
#[derive(Debug, Parser)]
#[command(name = "segue-demo")]
struct Args {
    /// Folder of the demo's world
    #[arg(long, default_value = "/var/tmp/segue-demo")]
    dir: PathBuf,
    /// Where the report and the oracle's judgement go
    #[arg(long, default_value = "segue-report")]
    out: PathBuf,
    /// Prepared data is kept here, so that the next demo starts sooner
    #[arg(long)]
    cache: Option<PathBuf>,
    /// A small shop and few visitors: a quick look
    #[arg(long)]
    small: bool,
    /// Requests per second; a quarter of them are orders
    #[arg(long)]
    rate: Option<u32>,
    /// Leave the world up and tell how to drive it by hand
    #[arg(long)]
    keep: bool,
    /// Kill the target's database after the promotion instead: shows `stuck` and the way out
    #[arg(long)]
    stuck: bool,
    /// Block the target's replication instead: shows a cutover that withdraws within its budget
    #[arg(long)]
    withdraw: bool,
    /// Do not show today's practice first
    #[arg(long)]
    no_practice: bool,
}

fn main() -> ExitCode {
    match play(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// Plays the demo; returns whether the oracle found nothing wrong.
fn play(args: &Args) -> Result<bool> {
    let mut scene = Scene::open(args).context("set the scene")?;
    if !args.no_practice && !args.stuck && !args.withdraw {
        story::practice(&scene)?;
    }
    scene.let_visitors_in()?;
    story::plan_and_sync(&scene)?;
    story::prepare(&scene)?;
    if args.stuck {
        story::stuck(&scene)?;
    } else if args.withdraw {
        story::withdraw(&scene)?;
    } else {
        story::there_back_and_there_again(&scene)?;
    }
    let good = ending::judge(&mut scene, args.stuck)?;
    if args.keep {
        scene.leave_up()?;
    }
    Ok(good)
}
