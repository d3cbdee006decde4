//! Kills, stops, overtakes and turns back the controller at every journal write of cutover,
//! failback and split, under load.
//!
//! After each fault the program is used as a person would (`segue resume`), and the world is
//! looked at from outside: one side writable, both fronts and both name servers of one mind,
//! nothing open, and as many visitors at the target as the journal says. No request may fail by a
//! fault in a split. At the end the oracle judges every acknowledged write.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod faults;
mod look;
mod points;
mod result;
mod run;

use anyhow::Result;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Disturbs the controller everywhere and judges what is left.
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
    /// Only in this table (cutover, failback, split, unsplit); may be given several times
    #[arg(long)]
    phase: Vec<String>,
    /// Kill at points
    #[arg(long)]
    kill: bool,
    /// Ask for a way back at points
    #[arg(long)]
    abort: bool,
    /// Take over from a controller that sleeps at points
    #[arg(long)]
    takeover: bool,
    /// End the controller at points, as `segue stop` does
    #[arg(long)]
    stop: bool,
    /// Let the journal's disk be full for some seconds at points
    #[arg(long)]
    full: bool,
    /// Kill at so many random moments
    #[arg(long, default_value_t = 0)]
    random: usize,
    /// Kill the source's database while the target follows, and start it again
    #[arg(long)]
    restart_source: bool,
    /// Everything: at points, 30 random moments, the source restarted
    #[arg(long)]
    all: bool,
    /// Requests per second meanwhile
    #[arg(long, default_value_t = 120)]
    rate: u32,
    /// Lines that the engine's matrix told, to be part of the result
    #[arg(long)]
    matrix: Option<PathBuf>,
    /// Mutants and who caught them, to be part of the result
    #[arg(long)]
    mutants: Option<PathBuf>,
}

impl Args {
    /// Without any kind it is the kills.
    fn settle(mut self) -> Self {
        let none = !(self.abort || self.takeover || self.stop || self.full || self.restart_source);
        self.kill |= self.all || none && self.random == 0;
        self.abort |= self.all;
        self.takeover |= self.all;
        self.stop |= self.all;
        self.full |= self.all;
        self.restart_source |= self.all;
        if self.all && self.random == 0 {
            self.random = 30;
        }
        self
    }
}

fn main() -> ExitCode {
    match play(&Args::parse().settle()) {
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
