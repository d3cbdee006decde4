//! Repository work: `cargo xtask tidy | codegen | bench NAME`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod codegen;
mod tidy;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask tidy | codegen | bench NAME";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<()> {
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => tidy::run(&root()?),
        ["codegen"] => codegen::write(&root()?),
        ["bench", name] => bench::run(name),
        _ => bail!(USAGE),
    }
}

/// Returns the repository's root: the folder above this crate.
fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask stands at the root of the disk")?.to_owned())
}
