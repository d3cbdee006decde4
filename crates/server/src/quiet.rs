//! The hour with the least traffic, from the access logs that a plan names.

use segue_migration::fleet::{Quietest, Traffic, quietest};
use segue_model::{Fleet, Side};
use segue_probe::request_times;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Most bytes read of all logs together, from their ends; an older part says less about now.
const READ_MAX: u64 = 256 << 20;
/// And of one.
const READ_OF_ONE: u64 = 32 << 20;

/// Returns the quietest hour by the access logs of every unit's source. Reads files: blocks.
///
/// # Errors
/// Says why it is unknown.
pub fn of(fleet: &Fleet, now_ms: u64) -> Result<Quietest, String> {
    let logs: BTreeSet<PathBuf> = fleet
        .units
        .iter()
        .flat_map(|plan| plan.unit.backends(Side::Source))
        .filter_map(|web| web.access_log.clone())
        .collect();
    if logs.is_empty() {
        return Err("the plan names no access log of the source".to_owned());
    }
    let share = (READ_MAX / logs.len() as u64).min(READ_OF_ONE);
    let (mut traffic, mut wrong) = (Traffic::default(), Vec::new());
    for log in logs {
        match request_times(&log, share) {
            Ok(times) => {
                let first = times.moments.iter().copied().min();
                if let (true, Some(first)) = (times.cut, first) {
                    let from = traffic.whole_from_ms.map_or(first, |known| known.max(first));
                    traffic.whole_from_ms = Some(from);
                }
                traffic.moments.extend(times.moments);
            }
            Err(error) => wrong.push(format!("`{}`: {error}", log.display())),
        }
    }
    match wrong.first() {
        // What is missing may be the busiest of all.
        Some(first) => Err(format!("an access log cannot be read: {first}")),
        None => quietest(&fleet.schedule, &traffic, now_ms),
    }
}

/// Returns the sentence about it.
pub fn told(quiet: &Result<Quietest, String>) -> String {
    let found = match quiet {
        Err(why) => return format!("quietest hour: unknown ({why})"),
        Ok(found) => found,
    };
    let window = match found.in_window {
        None => "; the plan has no window",
        Some(true) => "; a window of the plan contains it",
        Some(false) => "; NO WINDOW OF THE PLAN CONTAINS IT",
    };
    format!(
        "quietest hour: {:02}:00 to {:02}:00 ({}), {:.1} requests an hour; the whole day has {:.1} ({} requests in {} h of logs){window}",
        found.hour,
        (found.hour + 1) % 24,
        found.zone,
        found.requests_an_hour,
        found.mean_an_hour,
        found.requests,
        found.hours
    )
}
