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
    Audit(AuditArgs),
    /// Show how a published change spreads over resolvers, until all have it
    ///
    /// For each: new, within its TTL, overstaying, other, or failing. Exit code 3 if not all
    /// have the new data when the time is over.
    Watch(WatchArgs),
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
    pub(crate) zone: String,
    /// Transfer it from this server
    #[arg(long, value_name = "SERVER", value_parser = crate::commands::dns::server)]
    #[arg(required_unless_present_any = ["file", "ask"], conflicts_with_all = ["file", "ask"])]
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
