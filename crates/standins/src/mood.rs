//! How a stand-in application behaves: well, or as an asked fault wants it.
//!
//! It stands in a file of the room, so that a person can look at it and the application need
//! not be asked.

use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// What is wrong with an application; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mood {
    /// Every page but the health path is answered so.
    pub status: Option<u16>,
    /// Every page but the health path and the probe's is answered so.
    pub others: Option<u16>,
    /// The health path is answered so.
    pub health: Option<u16>,
    /// Every page but the health path takes so much longer, milliseconds.
    pub slow_ms: u64,
    /// The probe's page lacks its marker.
    pub no_marker: bool,
    /// Nothing is written into the access log.
    pub unlogged: bool,
    /// Pages are answered without the database.
    pub no_database: bool,
}

impl Mood {
    /// Reads how it is now; an application without a file behaves well.
    pub fn read(file: &Path) -> Self {
        let text = std::fs::read(file).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Makes it so.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        let draft: PathBuf = file.with_extension("draft");
        std::fs::write(&draft, serde_json::to_vec(self)?)?;
        std::fs::rename(draft, file)
    }
}
