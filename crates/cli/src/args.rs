//! Every command and flag; help and completions come from here.

mod compare;
mod dns;

use clap::{Parser, Subcommand};
pub(crate) use compare::{CompareArgs, VerifyArgs};
pub(crate) use dns::{
    AuditArgs, DiffArgs, DnsCommand, DrillArgs, MoveArgs, QueriesArgs, WatchArgs,
};
use segue_model::Network;
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
    /// Ask for every URL that the source's log knows, on both sides, and show what differs
    Compare(CompareArgs),
    /// Compare the databases of both sides row by row, and name what differs; reads only
    Verify(VerifyArgs),
    /// Print what the servers around the fronts need in their configuration
    Fragments {
        /// The plan file
        #[arg(default_value = "segue.toml")]
        file: PathBuf,
        /// Write the script and the empty maps for proxies of your own into their folders
        #[arg(long)]
        write: bool,
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
        #[command(flatten)]
        pick: PickArgs,
    },
    /// Show how the run stands
    Status,
    /// Show the run live until it ends or Ctrl-C
    Watch,
    /// Insert fronts, lower TTLs and move the write side to the target: of the units named, or
    /// of the next wave
    Cutover {
        /// Hash of the approved plan, at least eight characters
        hash: String,
        /// Stop after the fronts are inserted and the TTLs lowered
        #[arg(long)]
        prepare_only: bool,
        #[command(flatten)]
        pick: PickArgs,
    },
    /// Give the target a rising share of the visitors who read, each share once the one before
    /// is shown to be no worse; harm takes all of it back
    Split {
        /// Hash of the approved plan, at least eight characters
        hash: String,
        /// Send every request to the source again
        #[arg(long)]
        back: bool,
        #[command(flatten)]
        pick: PickArgs,
    },
    /// Hold, fence and open the live source again without switching: measures the pause
    Drill {
        /// Hash of the approved plan, at least eight characters
        hash: String,
        #[command(flatten)]
        pick: PickArgs,
    },
    /// Run the very same steps in a closed room, against stand-ins on both sides; nothing live
    /// is touched
    Rehearse {
        /// Hash of the approved plan, at least eight characters
        hash: String,
        #[command(flatten)]
        pick: PickArgs,
        /// A trigger whose fault is planted after the cutover: it must fire, and what it starts
        /// must happen; `all` for every one. May be given several times
        #[arg(long = "fault", value_name = "TRIGGER")]
        faults: Vec<String>,
        /// Leave the rehearsal's folder below the run directory
        #[arg(long)]
        keep: bool,
        /// Only show the triggers, and how the fault of each is planted
        #[arg(long)]
        list_faults: bool,
    },
    /// Go back: withdraw an open cutover, or fail the unit back to the source
    Rollback {
        /// Why, for the journal
        #[arg(long, default_value = "asked for by a person")]
        because: String,
        #[command(flatten)]
        pick: PickArgs,
    },
    /// End the automatic failback
    Confirm {
        #[command(flatten)]
        pick: PickArgs,
    },
    /// Pass the point of no return: former TTLs back, reverse stream ended
    Settle {
        /// Hash of the approved plan, at least eight characters
        hash: String,
        #[command(flatten)]
        pick: PickArgs,
    },
    /// After settle: show what was written at the target since, by table and file
    ExportDelta {
        #[command(flatten)]
        pick: PickArgs,
    },
    /// Show what is due when, whose duty it is and how it stands
    Timeline {
        /// Hash of a stored plan, before a run of it begins
        hash: Option<String>,
    },
    /// Agree to the plan in a role that it asks for
    Approve {
        /// The role
        role: String,
    },
    /// Report that an item of the timeline is done, or a role ready: `ready:dns`
    Ack {
        /// The item
        item: String,
        /// What there is to say of it
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Let a rule be broken, by its name and with a reason that the report shows
    Waive {
        /// The rule, as a waiting command names it: `rehearsal`, `window`
        rule: String,
        /// Why
        #[arg(long)]
        because: String,
        /// For this unit only
        #[arg(long)]
        unit: Option<String>,
    },
    /// Take a unit out of the run, bring it back, or put it off
    Unit {
        #[command(subcommand)]
        what: UnitCommand,
    },
    /// Let a wave go on that stopped because a unit went back
    Wave {
        #[command(subcommand)]
        what: WaveCommand,
    },
    /// Write the report: report.html and report.json
    Report {
        /// Folder to write it to
        #[arg(long, default_value = "segue-report")]
        out: PathBuf,
    },
    /// Go on after a crash, or try again what is stuck
    Resume {
        /// End the controller that has the run directory, and go on in its place: for one that
        /// hangs or sleeps
        #[arg(long)]
        take_over: bool,
        #[command(flatten)]
        pick: PickArgs,
    },
    /// Print the journal
    Journal {
        /// Only records after this sequence number
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// Run a front: the reverse proxy that stands on a site's address
    Front(FrontArgs),
    /// Look at DNS zones
    Dns {
        #[command(subcommand)]
        what: Box<DnsCommand>,
    },
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
    Controller {
        /// End the one that has the run directory first
        #[arg(long)]
        take_over: bool,
        /// Readings of the room that it runs in
        #[arg(long, hide = true, conflicts_with = "take_over")]
        readings: Option<PathBuf>,
    },
    /// A process in the room of a rehearsal
    #[command(hide = true)]
    Room {
        /// Which: the first one of the room, the one that rehearses, or an application
        role: RoomRole,
        /// The rehearsal's folder
        #[arg(long)]
        home: PathBuf,
        /// The application's place among those of the room
        #[arg(long)]
        place: Option<usize>,
    },
    /// End the controller; fronts and replication go on
    Stop,
}

/// What a process of a room is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RoomRole {
    /// Closes the room and takes the end of what lost its parent.
    First,
    /// Rehearses.
    Second,
    /// Is an application.
    Site,
}

/// Which units a command is about.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PickArgs {
    /// This unit only; may be given several times
    #[arg(long = "unit", value_name = "UNIT")]
    pub(crate) units: Vec<String>,
    /// The units of this wave only
    #[arg(long, conflicts_with = "units")]
    pub(crate) wave: Option<u32>,
}

/// What `segue unit` does.
#[derive(Debug, Subcommand)]
pub(crate) enum UnitCommand {
    /// Take a unit out of the run
    Exclude {
        /// The unit
        unit: String,
        /// Why
        #[arg(long)]
        because: String,
    },
    /// Take it back in
    Include {
        /// The unit
        unit: String,
    },
    /// Put it off: it does not start before the moment
    Defer {
        /// The unit
        unit: String,
        /// The moment, as `2026-12-01T02:00:00+01:00`
        #[arg(long)]
        until: jiff::Timestamp,
        /// Why
        #[arg(long)]
        because: String,
    },
}

/// What `segue wave` does.
#[derive(Debug, Subcommand)]
pub(crate) enum WaveCommand {
    /// Let it go on without the unit that stopped it
    Resume {
        /// Its number, from 1
        wave: u32,
    },
}

/// Flags of `segue front`: a file with all that a front has to know, as the controller writes
/// it, or what a front at one port for HTTP needs.
#[derive(Debug, clap::Args)]
pub(crate) struct FrontArgs {
    /// File with the front's options in JSON; nothing else is said then
    #[arg(long, conflicts_with_all = [
        "name", "side", "listen", "take_over", "egress", "control", "state", "default_backend",
    ])]
    pub(crate) options: Option<PathBuf>,
    /// Its name
    #[arg(long, required_unless_present = "options")]
    pub(crate) name: Option<String>,
    /// On whose address it stands: source or target
    #[arg(long, required_unless_present = "options")]
    pub(crate) side: Option<String>,
    /// Address to serve
    #[arg(long, required_unless_present = "options")]
    pub(crate) listen: Option<SocketAddr>,
    /// Take the port over from the live server that listens there
    #[arg(long)]
    pub(crate) take_over: bool,
    /// Address that its own connections to the backends come from
    #[arg(long)]
    pub(crate) egress: Option<IpAddr>,
    /// Control socket
    #[arg(long, required_unless_present = "options")]
    pub(crate) control: Option<PathBuf>,
    /// File that keeps the last routes
    #[arg(long, required_unless_present = "options")]
    pub(crate) state: Option<PathBuf>,
    /// Where requests for hosts outside the plan go
    #[arg(long, required_unless_present = "options")]
    pub(crate) default_backend: Option<SocketAddr>,
    /// Where its figures are shown in the form that Prometheus reads
    #[arg(long)]
    pub(crate) metrics: Option<SocketAddr>,
    /// Network of proxies that are believed about who a client is; may be named several times
    #[arg(long)]
    pub(crate) trusted: Vec<Network>,
    /// Most connections of one client at once
    #[arg(long)]
    pub(crate) connections_per_client: Option<usize>,
    /// Serve in this process, with nobody who starts it again
    #[arg(long)]
    pub(crate) alone: bool,
    /// Serve with the sockets of the process that started this one
    #[arg(long, hide = true, conflicts_with = "alone")]
    pub(crate) worker: bool,
}
