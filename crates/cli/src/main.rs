//! `segue`: moves live hosting from one set of servers to another.
#![allow(clippy::print_stdout, clippy::print_stderr)] // The only crate that prints.

mod args;
mod commands;
mod drive;
mod output;

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::run(args) {
        Ok(exit) => ExitCode::from(exit),
        Err(error) => {
            output::error(&error);
            ExitCode::from(1)
        }
    }
}
