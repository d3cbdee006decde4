//! Kills the controller at every journal write of cutover and failback, under load.
//!
//! After each kill the program is started again as a person would (`segue resume`), and the
//! world is looked at from outside: one side writable, both fronts and both name servers
//! of one mind, nothing open. At the end the oracle judges every acknowledged write.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod look;
mod points;
mod run;

use anyhow::Result;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Kills the controller at every journal write and judges what is left.
#[derive(Debug, Parser)]
#[command(name = "segue-crash")]
struct Args {
    /// Folder of the world
    #[arg(long, default_value = "/var/tmp/segue-crash")]
    dir: PathBuf,
    /// Where the result goes
    #[arg(long, default_value = "target/crash.json")]
    out: PathBuf,
    /// Take only every n-th point
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Requests per second meanwhile
    #[arg(long, default_value_t = 120)]
    rate: u32,
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

fn play(args: &Args) -> Result<bool> {
    run::run(args)
}
