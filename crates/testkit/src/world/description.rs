//! `world.json`: what a tool needs to know of a world.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// One of the two hosting sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Where the shop lives at the start.
    Source,
    /// Where it shall live.
    Target,
}

impl Side {
    /// Both sides.
    pub const BOTH: [Self; 2] = [Self::Source, Self::Target];

    /// Returns `source` or `target`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Side {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "source" => Ok(Self::Source),
            "target" => Ok(Self::Target),
            _ => anyhow::bail!("side `{text}` is neither `source` nor `target`"),
        }
    }
}

/// The same kind of thing at both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerSide<T> {
    /// The thing at the source.
    pub source: T,
    /// The thing at the target.
    pub target: T,
}

impl<T> PerSide<T> {
    /// Builds both sides from one function.
    pub fn from_fn(mut make: impl FnMut(Side) -> T) -> Self {
        Self { source: make(Side::Source), target: make(Side::Target) }
    }

    /// Returns the thing at `side`.
    pub fn get(&self, side: Side) -> &T {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

/// A database server and its administrator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// The administrator's login.
    pub admin: String,
    /// File with the administrator's password.
    pub admin_password_file: PathBuf,
}

/// Both database servers and the shop's schema.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerPair {
    /// The server at the source.
    pub source: Server,
    /// The server at the target.
    pub target: Server,
    /// The shop's schema.
    pub schema: String,
    /// The shop's login.
    pub user: String,
    /// File with the password of the shop's login.
    pub password_file: PathBuf,
}

impl ServerPair {
    /// Returns the server of `side`.
    pub fn server(&self, side: Side) -> &Server {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

/// The neighbour: a foreign customer in the same server and zone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tenant {
    /// Its schema, at the source's server.
    pub schema: String,
    /// Its login.
    pub user: String,
    /// File with its password.
    pub password_file: PathBuf,
    /// `CHECKSUM TABLE` of its table `archive`, which nobody writes after the start.
    pub archive_checksum: u64,
}

/// The zone and the key that may change it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Zone {
    /// The zone's name without trailing dot.
    pub name: String,
    /// The server that takes updates.
    pub primary: SocketAddr,
    /// All authoritative servers, the primary first.
    pub servers: Vec<SocketAddr>,
    /// TSIG key name.
    pub key_name: String,
    /// TSIG algorithm.
    pub key_algorithm: String,
    /// File with the key's secret in base64.
    pub key_secret_file: PathBuf,
    /// Names whose records belong to the shop; everything else is foreign.
    pub owned: Vec<String>,
    /// The zone at the start as sorted lines in canonical form.
    pub at_start: PathBuf,
}

/// The static files of the site.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Static {
    /// How many there are: numbers 0 to count - 1, see `static_path`.
    pub count: u32,
    /// Over how many folders: number `n` lies in folder `n % folders`.
    pub folders: u32,
}

/// How many rows the shop started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rows {
    /// Rows in `orders`.
    pub orders: u64,
    /// Rows in `order_lines`.
    pub order_lines: u64,
    /// Rows in `products`: ids 1 to this.
    pub products: u64,
}

/// Everything in `world.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Description {
    /// The world's folder.
    pub dir: PathBuf,
    /// Name under which clients ask for the shop.
    pub host: String,
    /// Port of the site, the same on both sides.
    pub site_port: u16,
    /// Addresses that the zone names, or will name, with the site's port.
    pub site: PerSide<SocketAddr>,
    /// Where the web server of each side listens.
    pub backend: PerSide<SocketAddr>,
    /// Where the shop's own server of each side listens, behind the web server.
    pub shop: PerSide<SocketAddr>,
    /// Databases.
    pub database: ServerPair,
    /// The neighbour.
    pub tenant: Tenant,
    /// Root of the site's files on each side.
    pub trees: PerSide<PathBuf>,
    /// The zone.
    pub zone: Zone,
    /// Access logs of the web servers, combined format.
    pub access_log: PerSide<PathBuf>,
    /// Folder of the shop's switches on each side.
    pub shop_dir: PerSide<PathBuf>,
    /// Folder of the ledgers.
    pub ledger_dir: PathBuf,
    /// The program `segue-shop`.
    pub shop_program: PathBuf,
    /// Static files.
    #[serde(rename = "static")]
    pub files: Static,
    /// Rows at the start.
    pub rows: Rows,
    /// Process ids by name; empty while the world starts.
    pub pids: BTreeMap<String, i32>,
}

impl Description {
    /// Reads the description of the world in file `path`.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read(path)
            .with_context(|| format!("read the world's description `{}`", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("understand the world's description `{}`", path.display()))
    }

    /// Writes it to `world.json` in its folder, whole or not at all.
    pub(crate) fn save(&self) -> Result<()> {
        let path = self.path();
        let part = self.dir.join("world.json.part");
        let text = serde_json::to_vec_pretty(self)?;
        std::fs::write(&part, text).with_context(|| format!("write `{}`", part.display()))?;
        std::fs::rename(&part, &path).with_context(|| format!("write `{}`", path.display()))
    }

    /// Returns where its file lies.
    pub fn path(&self) -> PathBuf {
        self.dir.join("world.json")
    }

    /// Reads a secret of this world, without the newline at its end.
    pub fn secret(path: &Path) -> Result<String> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("read secret `{}`", path.display()))?;
        Ok(text.trim_end().to_owned())
    }
}

/// Returns the wall clock in milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
