//! Every command and flag; help and completions come from here.

use clap::{Parser, Subcommand};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Moves live hosting from one set of servers to another while it stays in service.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 3 differences found, 4 waiting at a gate,
/// 5 went back, 6 stuck.
#[derive(Debug, Parser)]
#[command(name = "segue", version, propagate_version = true)]
pub(crate) struct Args {
    /// Run directory: journal, samples, plans, control socket and logs
    #[arg(long, global = true, default_value = "./segue-run", env = "SEGUE_DIR")]
    pub(crate) dir: PathBuf,
    /// Print JSON lines instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands, in the order of a migration.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented plan file to fill in
    Init {
        /// Where to write it
        #[arg(default_value = "segue.toml")]
        file: PathBuf,
    },
    /// Check this machine, the plan and both sides; touch nothing
    Doctor {
        /// The plan file
        #[arg(default_value = "segue.toml")]
        file: PathBuf,
    },
    /// Show what will happen, in order, and approve it by its hash
    Plan {
        /// The plan file
        #[arg(default_value = "segue.toml")]
        file: PathBuf,
        /// Print the by-hand undo of every step, to be kept elsewhere
        #[arg(long)]
        sheet: bool,
        /// Do not look at the servers
        #[arg(long)]
        offline: bool,
        /// Print the plan file's JSON Schema and stop
        #[arg(long)]
        schema: bool,
    },
    /// Copy everything and keep the target up with the source; later, compare both again
    Sync {
        /// Hash of the approved plan, at least eight characters
        hash: String,
    },
    /// Show how the run stands
    Status,
    /// Show the run live until it ends or Ctrl-C
    Watch,
    /// Insert fronts, lower TTLs and move the write side to the target
    Cutover {
        /// Hash of the approved plan, at least eight characters
        hash: String,
        /// Stop after the fronts are inserted and the TTLs lowered
        #[arg(long)]
        prepare_only: bool,
    },
    /// Go back: withdraw an open cutover, or fail the unit back to the source
    Rollback {
        /// Why, for the journal
        #[arg(long, default_value = "asked for by a person")]
        because: String,
    },
    /// End the automatic failback
    Confirm,
    /// Pass the point of no return: former TTLs back, reverse stream ended
    Settle {
        /// Hash of the approved plan, at least eight characters
        hash: String,
    },
    /// Write the report: report.html and report.json
    Report {
        /// Folder to write it to
        #[arg(long, default_value = "segue-report")]
        out: PathBuf,
    },
    /// Go on after a crash, or try again what is stuck
    Resume,
    /// Print the journal
    Journal {
        /// Only records after this sequence number
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// Run a front: the reverse proxy that stands on a site's address
    Front(FrontArgs),
    /// Explain an error code
    Explain {
        /// The code, such as SG0203
        code: String,
    },
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Run the controller in the foreground (other commands start it when needed)
    Controller,
    /// End the controller; fronts and replication go on
    Stop,
}

/// Flags of `segue front`.
#[derive(Debug, clap::Args)]
pub(crate) struct FrontArgs {
    /// Its name
    #[arg(long)]
    pub(crate) name: String,
    /// On whose address it stands: source or target
    #[arg(long)]
    pub(crate) side: String,
    /// Address to serve
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Take the port over from the live server that listens there
    #[arg(long)]
    pub(crate) take_over: bool,
    /// Address that its own connections to the backends come from
    #[arg(long)]
    pub(crate) egress: Option<IpAddr>,
    /// Control socket
    #[arg(long)]
    pub(crate) control: PathBuf,
    /// File that keeps the last routes
    #[arg(long)]
    pub(crate) state: PathBuf,
    /// Where requests for hosts outside the plan go
    #[arg(long)]
    pub(crate) default_backend: SocketAddr,
}
