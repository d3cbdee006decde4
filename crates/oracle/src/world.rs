//! What the oracle needs to know of the world: a reading of `world.json`.

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// One of the two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// Where the shop was at first.
    Source,
    /// Where it moves to.
    Target,
}

impl Side {
    /// Returns the opposite side.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Source { "source" } else { "target" })
    }
}

/// Something that each side has.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Sides<T> {
    source: T,
    target: T,
}

impl<T> Sides<T> {
    /// Returns what `side` has.
    pub(crate) fn of(&self, side: Side) -> &T {
        if side == Side::Source { &self.source } else { &self.target }
    }
}

/// The parts of `world.json` that judging needs.
#[derive(Debug, Deserialize)]
pub(crate) struct World {
    /// Addresses under which the site is published.
    pub(crate) site: Sides<String>,
    /// The database servers.
    pub(crate) database: Database,
    /// The foreign schema at the source's server.
    pub(crate) tenant: Tenant,
    /// Roots of the site's files.
    pub(crate) trees: Sides<PathBuf>,
    /// The zone.
    pub(crate) zone: Zone,
    /// Folder of the ledger.
    pub(crate) ledger_dir: PathBuf,
    /// Rows at the start, if the world tells them.
    pub(crate) rows: Option<Rows>,
}

/// Both database servers.
#[derive(Debug, Deserialize)]
pub(crate) struct Database {
    /// The servers.
    #[serde(flatten)]
    pub(crate) servers: Sides<Server>,
    /// The shop's schema.
    pub(crate) schema: String,
}

/// One database server.
#[derive(Debug, Deserialize)]
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The administrator's login.
    pub(crate) admin: String,
    /// File with the administrator's password.
    pub(crate) admin_password_file: PathBuf,
}

/// The foreign schema.
#[derive(Debug, Deserialize)]
pub(crate) struct Tenant {
    /// Its name.
    pub(crate) schema: String,
    /// Checksum of its table `archive` at the start, if the world tells it.
    pub(crate) archive_checksum: Option<u64>,
}

/// The zone and what of it may change.
#[derive(Debug, Deserialize)]
pub(crate) struct Zone {
    /// Names whose records the migration owns.
    pub(crate) owned: Vec<String>,
    /// File with the zone's lines at the start, if the world keeps one.
    pub(crate) at_start: Option<PathBuf>,
}

/// Rows that the shop started with.
#[derive(Debug, Deserialize)]
pub(crate) struct Rows {
    /// In `orders`.
    pub(crate) orders: u64,
}

impl World {
    /// Reads `world.json`.
    ///
    /// # Errors
    /// If it cannot be read or lacks something.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("read world {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("read world {}", path.display()))
    }

    /// Returns the side that is published under `address`.
    pub(crate) fn side_at(&self, address: &str) -> Option<Side> {
        [Side::Source, Side::Target].into_iter().find(|side| self.site.of(*side) == address)
    }
}
