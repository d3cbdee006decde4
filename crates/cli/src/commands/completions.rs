//! `segue completions`: a script for the shell.

use crate::args::Args;
use anyhow::Result;
use clap::CommandFactory;

/// Prints the script.
///
/// # Errors
/// None at present.
pub(crate) fn run(shell: clap_complete::Shell) -> Result<u8> {
    clap_complete::generate(shell, &mut Args::command(), "segue", &mut std::io::stdout());
    Ok(0)
}
