//! Where a site keeps the sessions of those who are logged in.

use super::SecretRef;
use crate::ids::UnitName;
use crate::side::Sides;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// The sessions of one site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsPlan {
    /// Name of the unit whose file it stands in.
    pub name: UnitName,
    /// PHP's configuration at each side, in the order in which it counts.
    #[serde(default)]
    pub config: Sides<Vec<PathBuf>>,
    /// Where they are, if the plan says it itself.
    #[serde(default)]
    pub store: Sides<Option<SessionStore>>,
    /// One login of the operator's, to be tried all the while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginPlan>,
}

/// A login that is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginPlan {
    /// Where its `Cookie` header is read from.
    pub cookie: SecretRef,
    /// A page that only those see who are logged in.
    pub path: String,
    /// Text that stands in it for them, and for nobody else.
    pub marker: String,
}

/// A place for sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStore {
    /// A folder with a file for each.
    Files(PathBuf),
    /// Redis, by its address as the application has it.
    Redis(String),
    /// memcached, by its addresses as the application has them.
    Memcached(String),
    /// A table of the site's database.
    Database(String),
    /// The application's own, of which nothing is known.
    Own,
}

impl fmt::Display for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(folder) => write!(f, "files in `{}`", folder.display()),
            Self::Redis(address) => write!(f, "Redis at {address}"),
            Self::Memcached(addresses) => write!(f, "memcached at {addresses}"),
            Self::Database(table) => write!(f, "table `{table}` of the database"),
            Self::Own => f.write_str("a store of the application's own"),
        }
    }
}
