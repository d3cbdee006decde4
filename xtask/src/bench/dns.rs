//! DNS at the size of a large move, beside octoDNS.

use super::result::Row;
use super::{Scratch, program};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Runs everything and compares it with the goals.
pub(super) fn run(target: &Path) -> Result<Vec<Row>> {
    let scratch = Scratch::new(target, "dns")?;
    let mut arguments = vec![scratch.path().display().to_string()];
    // `scripts/peers` puts it there.
    let peer = [target.join("peers/bin/octodns-sync"), PathBuf::from("/usr/bin/octodns-sync")];
    let peer = peer.into_iter().find(|program| program.exists());
    arguments.extend(peer.map(|program| program.display().to_string()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let told = program("segue-dns", "dns", &arguments)?;
    let of = |name: &str| told.get(name).copied().with_context(|| format!("`{name}` is missing"));
    Ok(vec![
        Row::bound("audit of 1,000 zones", "s", of("audit all, s")?, 10.0),
        Row::bound("TTLs of 1,000 zones lowered, read back", "s", of("lower all, s")?, 10.0),
        Row::bound("1,000 zones published, read back", "s", of("publish all, s")?, 10.0),
        Row::bound("1,000 zones taken back, read back", "s", of("take back all, s")?, 10.0),
        Row::bound("one zone published, p99", "ms", of("one zone p99, ms")?, 1_000.0),
        Row::ratio(
            "1,000 zones published",
            "s",
            of("publish all, s")?,
            "octodns-sync",
            told.get("publish all by octodns, s").copied(),
            0.2,
        ),
        Row::bound("zone of 100,000 records read", "s", of("read a large zone, s")?, 1.0),
    ])
}
