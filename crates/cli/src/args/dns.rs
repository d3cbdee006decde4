//! Flags of `segue dns`.

use clap::Subcommand;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// What `segue dns` does.
#[derive(Debug, Subcommand)]
pub(crate) enum DnsCommand {
    /// Show what there is to know of a zone before anything of it moves; changes nothing
    ///
    /// TTLs, records that lead to the addresses that will be left, records that lead nowhere,
    /// what every authoritative server and the parent zone say, signatures, SPF, CAA. Exit
    /// code 3 if something is wrong.
    Audit(Box<AuditArgs>),
    /// Show how a published change spreads over resolvers, until all have it
    ///
    /// For each: new, within its TTL, overstaying, other, or failing. Exit code 3 if not all
    /// have the new data when the time is over.
    Watch(WatchArgs),
    /// Show what a plan would change in its zones, set by set; changes nothing
    ///
    /// For every zone at every provider: the sets before and after their TTLs are lowered, and
    /// before and after they are published, with what holds the change back. Exit code 3 if
    /// something does.
    Diff(DiffArgs),
    /// Measure with a throw-away name how fast changes of a plan's zones arrive
    ///
    /// A TXT record is made, changed and taken away in the live zone, at every provider.
    /// Measured is when the provider has it, when each name server answers so, and when each
    /// resolver does. Commands that flush resolvers and query logs of the plan are tried, too.
    Drill(DrillArgs),
    /// Move zones from one DNS provider to another, or sign them or stop that, step by step
    ///
    /// Without a flag: shows where each zone stands and changes nothing. What is Segue's to do
    /// is done with `--go`; what a registrar has to do is told and checked. Exit code 0 if all
    /// is done, 4 if a person or time comes next, 3 if something is wrong.
    Move(MoveArgs),
    /// Show who still asks which name servers, by their query logs
    ///
    /// For every zone of which the plan names query logs: questions and resolvers of the last
    /// minute by authority, and who asked there last. Exit code 3 if a log cannot be read.
    Queries(QueriesArgs),
    /// Show the ways to change a zone's records, and what each of them can promise
    Providers,
}

/// Flags of `segue dns move`.
#[derive(Debug, clap::Args)]
pub(crate) struct MoveArgs {
    /// The file of moving zones
    pub(crate) file: PathBuf,
    /// Only this zone; may be given several times
    #[arg(long = "zone", value_name = "ZONE")]
    pub(crate) zones: Vec<String>,
    /// Make every change that is due
    #[arg(long, conflicts_with = "back")]
    pub(crate) go: bool,
    /// Turn round: make every change that is due on the way back to the source
    #[arg(long)]
    pub(crate) back: bool,
    /// Look again for so long, seconds, until all is done
    #[arg(long, value_name = "SECONDS")]
    pub(crate) wait: Option<u64>,
    /// Print only what a person has to do now
    #[arg(long)]
    pub(crate) tasks: bool,
}

/// Flags of `segue dns diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// The plan file
    pub(crate) plan: PathBuf,
    /// Only this unit's zones
    #[arg(long, value_name = "NAME")]
    pub(crate) unit: Option<String>,
}

/// Flags of `segue dns queries`.
#[derive(Debug, clap::Args)]
pub(crate) struct QueriesArgs {
    /// The plan file
    pub(crate) plan: PathBuf,
    /// Only this unit's zones
    #[arg(long, value_name = "NAME")]
    pub(crate) unit: Option<String>,
    /// Read on for so long before the shares are told, seconds: what a log without times tells
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) time: u64,
}

/// Flags of `segue dns drill`.
#[derive(Debug, clap::Args)]
pub(crate) struct DrillArgs {
    /// The plan file
    pub(crate) plan: PathBuf,
    /// The zone. Default: every zone of the plan
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: Option<String>,
    /// A resolver to watch; may be given several times. Default: those of the plan
    #[arg(long = "resolver", value_name = "SERVER")]
    #[arg(value_parser = crate::commands::dns::server)]
    pub(crate) resolvers: Vec<SocketAddr>,
    /// TTL of the throw-away name, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) ttl: u32,
}

/// Flags of `segue dns watch`.
#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    /// The name, in full
    pub(crate) name: String,
    /// The record type
    #[arg(default_value = "A")]
    pub(crate) rtype: String,
    /// Data after the change, as in a zone file; once for each record
    #[arg(long = "new", value_name = "DATA")]
    pub(crate) wanted: Vec<String>,
    /// Data before it; once for each record
    #[arg(long, value_name = "DATA")]
    pub(crate) former: Vec<String>,
    /// TTL before it, seconds; of negative answers if there was no such record
    #[arg(long, value_name = "SECONDS")]
    pub(crate) former_ttl: u32,
    /// When the last authoritative server had it, as `2026-12-01T02:00:00Z`. Default: now
    #[arg(long, value_name = "MOMENT")]
    pub(crate) published: Option<jiff::Timestamp>,
    /// A resolver to ask; may be given several times
    #[arg(long = "resolver", value_name = "SERVER", required = true)]
    #[arg(value_parser = crate::commands::dns::server)]
    pub(crate) resolvers: Vec<SocketAddr>,
    /// Seconds between two questions to one resolver, at least 1
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub(crate) every: u64,
    /// Longest time to watch, seconds
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 3600)]
    pub(crate) time: u64,
}

/// Flags of `segue dns audit`. Servers are addresses, with a port if it is not 53.
#[derive(Debug, clap::Args)]
pub(crate) struct AuditArgs {
    /// The zone, such as example.com
    #[arg(required_unless_present = "plan")]
    pub(crate) zone: Option<String>,
    /// Read what the providers of this plan file have, each by its own way: its API, its zone
    /// file, its program or a transfer. Servers and sources are the plan's, unless named here
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "file", "ask"])]
    pub(crate) plan: Option<PathBuf>,
    /// Only this zone of the plan
    #[arg(long = "zone", value_name = "ZONE", requires = "plan", conflicts_with = "zone")]
    pub(crate) only: Option<String>,
    /// Only this provider of the plan, by the name of its `[[zone.authority]]`
    #[arg(long, value_name = "NAME", requires = "plan")]
    pub(crate) provider: Option<String>,
    /// Transfer it from this server
    #[arg(long, value_name = "SERVER", value_parser = crate::commands::dns::server)]
    #[arg(required_unless_present_any = ["file", "ask", "plan"])]
    #[arg(conflicts_with_all = ["file", "ask"])]
    pub(crate) from: Option<SocketAddr>,
    /// Read it from this zone file
    #[arg(long, conflicts_with = "ask")]
    pub(crate) file: Option<PathBuf>,
    /// Ask this server for the names that most zones have; the rest stays unknown
    #[arg(long, value_name = "SERVER", value_parser = crate::commands::dns::server)]
    pub(crate) ask: Option<SocketAddr>,
    /// A further name to ask for; may be given several times
    #[arg(long = "name", value_name = "NAME", requires = "ask")]
    pub(crate) names: Vec<String>,
    /// Name of the TSIG key for the transfer
    #[arg(long, value_name = "NAME", requires_all = ["from", "key_secret"])]
    pub(crate) key: Option<String>,
    /// Algorithm of that key
    #[arg(long, value_name = "ALGORITHM", default_value = "hmac-sha256")]
    pub(crate) key_algorithm: String,
    /// Where its secret stands: file:/absolute/path or env:NAME
    #[arg(long, value_name = "WHERE", requires = "key")]
    pub(crate) key_secret: Option<String>,
    /// An address that will be left; may be given several times
    #[arg(long = "source", value_name = "ADDRESS")]
    pub(crate) sources: Vec<IpAddr>,
    /// An authoritative server to compare; may be given several times. Default: those of the
    /// zone's name servers that have an address in it
    #[arg(long = "server", value_name = "SERVER", value_parser = crate::commands::dns::server)]
    pub(crate) servers: Vec<SocketAddr>,
    /// A server of the parent zone; may be given several times
    #[arg(long = "parent", value_name = "SERVER", value_parser = crate::commands::dns::server)]
    pub(crate) parents: Vec<SocketAddr>,
    /// The certificate authority in use, as CAA records name it: letsencrypt.org
    #[arg(long, value_name = "NAME")]
    pub(crate) ca: Option<String>,
}
