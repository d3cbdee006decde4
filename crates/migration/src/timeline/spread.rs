//! When each wave begins: the first at T, the others behind it, inside windows.

use crate::fleet::{WindowNow, forecast_ms, window_now};
use segue_model::fleet::{Fleet, Schedule, Strategy};
use segue_model::state::RunState;

/// A wave is watched for so long before the next one begins, milliseconds.
const WATCHED_MS: u64 = 3_600_000;
/// Windows that are looked through for a wave before its time counts as unknown.
const LOOKS: usize = 60;

/// Beginning and end of a wave, seconds from the beginning of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) from_s: i64,
    pub(super) to_s: i64,
}

/// Returns the stretch of every wave. Without `begins_at` no window is known, and waves follow
/// each other directly.
pub(super) fn stretches(fleet: &Fleet, state: &RunState) -> Vec<Stretch> {
    let schedule = &fleet.schedule;
    let begins_ms = schedule.begins_at_ms;
    let mut next_ms = begins_ms.unwrap_or(0);
    let mut all = Vec::with_capacity(fleet.waves.len());
    for (place, wave) in fleet.waves.iter().enumerate() {
        let took_ms = length_ms(fleet, state, &wave.units);
        // The plan says when the first one begins.
        if place > 0 && begins_ms.is_some() {
            next_ms = fits(schedule, next_ms, took_ms);
        }
        let from_ms = next_ms - begins_ms.unwrap_or(0);
        all.push(Stretch { from_s: seconds(from_ms), to_s: seconds(from_ms + took_ms) });
        next_ms += took_ms + WATCHED_MS;
    }
    all
}

fn seconds(ms: u64) -> i64 {
    i64::try_from(ms / 1_000).unwrap_or(i64::MAX)
}

/// Returns how long the units of a wave take by their forecasts, as if all stood on the same
/// servers.
fn length_ms(fleet: &Fleet, state: &RunState, units: &[segue_model::UnitName]) -> u64 {
    if fleet.schedule.strategy == Strategy::MaintenanceWindow {
        let first = units.first();
        return first.map_or(0, |unit| forecast_ms(fleet, state, unit).0);
    }
    let each = units.iter().map(|unit| forecast_ms(fleet, state, unit).0);
    let limits = fleet.schedule.limits;
    let at_once = limits.cutovers.min(limits.cutovers_a_server).max(1) as u64;
    each.sum::<u64>() / at_once
}

/// Returns the first moment from `from_ms` on at which a window has room for `took_ms`; a wave
/// that is longer than every window begins with the next one.
fn fits(schedule: &Schedule, from_ms: u64, took_ms: u64) -> u64 {
    let mut at_ms = from_ms;
    let mut first = None;
    for _ in 0..LOOKS {
        match window_now(schedule, at_ms) {
            WindowNow::Always => return at_ms,
            WindowNow::Open(opening) if at_ms + took_ms <= opening.to_ms => return at_ms,
            WindowNow::Open(opening) => {
                if at_ms == opening.from_ms {
                    first.get_or_insert(at_ms);
                }
                at_ms = opening.to_ms;
            }
            WindowNow::Closed { next: Some(next), .. } => at_ms = next.from_ms,
            WindowNow::Closed { next: None, .. } => break,
        }
    }
    first.unwrap_or(at_ms)
}
