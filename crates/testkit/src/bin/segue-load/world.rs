//! What the load needs to know of the world: a reading of `world.json`.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The part of `world.json` that a client of the shop could know, plus the place
/// of the static files (a visitor learns their names from pages).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct World {
    /// Name that clients look up and send as `Host`.
    pub(crate) host: String,
    /// Port of the site, the same on every address.
    pub(crate) site_port: u16,
    /// Authoritative name servers.
    pub(crate) zone: Zone,
    /// File trees of the two sides.
    pub(crate) trees: Trees,
    /// Rows at the start, if the world tells them.
    pub(crate) rows: Option<Rows>,
    /// Folder of the ledger if the command line names none.
    pub(crate) ledger_dir: PathBuf,
}

/// Where names are answered.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Zone {
    /// Addresses of all authoritative servers.
    pub(crate) servers: Vec<SocketAddr>,
}

/// How much the shop offers.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Rows {
    /// Products, numbered from 1.
    pub(crate) products: u32,
}

/// Roots of the site's files.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Trees {
    /// Root at the source.
    pub(crate) source: PathBuf,
    /// Root at the target.
    pub(crate) target: PathBuf,
}

impl World {
    /// Reads `world.json`.
    ///
    /// # Errors
    /// If the file cannot be read, is not of the expected form or names no server.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("read world {}", path.display()))?;
        let world: Self = serde_json::from_slice(&text)
            .with_context(|| format!("read world {}", path.display()))?;
        anyhow::ensure!(!world.zone.servers.is_empty(), "the world names no name server");
        Ok(world)
    }

    /// Lists the static files as `NN/NNNNN` (without the ending `.txt`), from the
    /// first side that has any.
    ///
    /// # Errors
    /// If neither side has a static file.
    pub(crate) fn static_files(&self) -> Result<Vec<String>> {
        for root in [&self.trees.source, &self.trees.target] {
            let files = list(&root.join("files")).unwrap_or_default();
            if !files.is_empty() {
                return Ok(files);
            }
        }
        anyhow::bail!("no static file under {}/files", self.trees.source.display())
    }
}

fn list(root: &Path) -> std::io::Result<Vec<String>> {
    let mut files = Vec::new();
    for folder in std::fs::read_dir(root)? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        let above = folder.file_name().to_string_lossy().into_owned();
        for file in std::fs::read_dir(folder.path())? {
            let name = file?.file_name().to_string_lossy().into_owned();
            if let Some(stem) = name.strip_suffix(".txt") {
                files.push(format!("{above}/{stem}"));
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lists_static_files_of_the_first_side_that_has_any() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        std::fs::create_dir_all(target.join("files/03")).unwrap();
        std::fs::write(target.join("files/03/00042.txt"), "file 00042\n").unwrap();
        std::fs::write(target.join("files/03/.rsync-partial"), "").unwrap();
        let world = World {
            host: "shop.example.test".into(),
            site_port: 80,
            zone: Zone { servers: vec!["127.0.0.1:53".parse().unwrap()] },
            trees: Trees { source: dir.path().join("absent"), target },
            rows: None,
            ledger_dir: dir.path().into(),
        };
        assert_eq!(world.static_files().unwrap(), ["03/00042"]);
    }
}
