//! `segue journal`: prints the records.

use crate::output;
use anyhow::Result;
use std::path::Path;

/// Prints every record after `after`; checks each one's checksum on the way.
///
/// # Errors
/// If the journal cannot be read or is damaged.
pub(crate) fn run(dir: &Path, after: u64, json: bool) -> Result<u8> {
    for record in segue_engine::Journal::read_all(dir)?.iter().filter(|r| r.seq > after) {
        if json {
            println!("{}", serde_json::to_string(record)?);
        } else if let Some(text) = output::sentence(record) {
            println!("{:>5} {} {text}", record.seq, output::clock_time(record.at_ms));
        }
    }
    Ok(0)
}
