//! Stored samples as the report wants them.

use segue_engine::board::samples;
use segue_model::Fault;
use segue_report::{Point, Series};
use std::collections::BTreeMap;
use std::path::Path;

/// Reads every roll-up of `dir`; an absent file gives no series.
///
/// # Errors
/// If the file exists and cannot be read.
pub fn series(dir: &Path) -> Result<Vec<Series>, Fault> {
    let mut all: BTreeMap<(String, String), Series> = BTreeMap::new();
    if !dir.join("samples.db").exists() {
        return Ok(Vec::new());
    }
    for row in samples(dir, None, 0, u64::MAX)? {
        all.entry((row.what.to_string(), row.from.clone()))
            .or_insert_with(|| Series {
                what: row.what,
                from: row.from.clone(),
                points: Vec::new(),
            })
            .points
            .push(Point { boot_ms: row.boot_ms, min: row.min, max: row.max, mean: row.avg });
    }
    Ok(all.into_values().collect())
}
