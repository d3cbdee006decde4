//! The hour of the day with the least traffic, from what access logs show.

use super::windows::{openings, zoned};
use segue_model::fleet::Schedule;
use serde::Serialize;

const HOUR_MS: u64 = 3_600_000;
/// Logs of a shorter time say nothing about the hours of a day, milliseconds.
const DAY_MS: u64 = 24 * HOUR_MS;
/// Zone of a plan without windows.
const UTC: &str = "UTC";
/// Days ahead in which a window is looked for that contains the hour.
const DAYS_AHEAD: i64 = 8;

/// Requests as access logs show them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Moments of requests, wall clock, milliseconds since 1970, in any order.
    pub moments: Vec<u64>,
    /// From when on every log was read, if one was too long to be read whole.
    pub whole_from_ms: Option<u64>,
}

/// The quietest hour of the day, with the numbers it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quietest {
    /// It begins at this hour, 0 to 23.
    pub hour: u8,
    /// In this time zone: that of the plan's first window.
    pub zone: String,
    /// Requests in that hour, as a mean over the days.
    pub requests_an_hour: f64,
    /// Requests in an hour of the whole day, as a mean.
    pub mean_an_hour: f64,
    /// Requests that were counted.
    pub requests: u64,
    /// Hours that the logs cover.
    pub hours: u64,
    /// Whether a window of the plan contains the hour; `None` if the plan has no window.
    pub in_window: Option<bool>,
}

/// Returns the hour with the fewest requests, in the zone of the plan's first window.
///
/// # Errors
/// Says why it is unknown.
pub fn quietest(schedule: &Schedule, traffic: &Traffic, now_ms: u64) -> Result<Quietest, String> {
    let zone = schedule.windows.first().map_or(UTC, |window| window.zone.as_str());
    let from = traffic.whole_from_ms.or_else(|| traffic.moments.iter().copied().min());
    let last = traffic.moments.iter().copied().max();
    let (Some(from), Some(last)) = (from, last) else {
        return Err("the logs show no request".to_owned());
    };
    // Whole hours only: a part of one would look quiet.
    let (first, end) = (from.div_ceil(HOUR_MS), last / HOUR_MS);
    if last.saturating_sub(from) < DAY_MS || end < first + 24 {
        let hours = last.saturating_sub(from) / HOUR_MS;
        return Err(format!("the logs cover {hours} h, and a day has 24"));
    }
    let of_day = |ms: u64| -> Option<usize> { usize::try_from(zoned(ms, zone)?.hour()).ok() };
    let (mut requests, mut covered) = ([0_u64; 24], [0_u64; 24]);
    for hour in first..end {
        covered[of_day(hour * HOUR_MS).unwrap_or(0)] += 1;
    }
    for moment in traffic.moments.iter().filter(|ms| (first..end).contains(&(**ms / HOUR_MS))) {
        requests[of_day(*moment).unwrap_or(0)] += 1;
    }
    #[allow(clippy::cast_precision_loss)] // Counts of requests.
    let mean = |hour: usize| requests[hour] as f64 / covered[hour].max(1) as f64;
    let seen = (0..24).filter(|hour| covered[*hour] > 0);
    let hour = seen.min_by(|a, b| mean(*a).total_cmp(&mean(*b))).unwrap_or(0);
    let (all, hours) = (requests.iter().sum::<u64>(), covered.iter().sum::<u64>());
    #[allow(clippy::cast_precision_loss)]
    let mean_an_hour = all as f64 / hours.max(1) as f64;
    Ok(Quietest {
        hour: hour as u8,
        zone: zone.to_owned(),
        requests_an_hour: mean(hour),
        mean_an_hour,
        requests: all,
        hours,
        in_window: in_window(schedule, hour, zone, now_ms),
    })
}

/// Says whether the hour lies whole in a window of the coming days.
fn in_window(schedule: &Schedule, hour: usize, zone: &str, now_ms: u64) -> Option<bool> {
    if schedule.windows.is_empty() {
        return None;
    }
    let openings = openings(schedule, now_ms, DAYS_AHEAD);
    let begins = |ms: &u64| zoned(*ms, zone).is_some_and(|z| usize::try_from(z.hour()) == Ok(hour));
    let next = now_ms.div_ceil(HOUR_MS);
    let mut hours = (next..next + 7 * 24).map(|hour| hour * HOUR_MS).filter(begins);
    Some(hours.any(|ms| openings.iter().any(|o| o.from_ms <= ms && ms + HOUR_MS <= o.to_ms)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use segue_model::fleet::Window;

    /// 2026-06-01 00:00 UTC.
    const MONDAY: u64 = 1_780_272_000_000;

    /// Three days with ten requests an hour, and two at 03:00 UTC.
    fn traffic() -> Traffic {
        let mut moments = Vec::new();
        for hour in 0..72 {
            let requests = if hour % 24 == 3 { 2 } else { 10 };
            moments.extend((0..requests).map(|n| MONDAY + hour * HOUR_MS + n));
        }
        moments.push(MONDAY + 72 * HOUR_MS);
        Traffic { moments, whole_from_ms: None }
    }

    fn night(from_hour: u16, zone: &str) -> Schedule {
        let window = Window {
            days: vec![],
            from_minute: from_hour * 60,
            to_minute: (from_hour + 2) * 60,
            zone: zone.into(),
        };
        Schedule { windows: vec![window], ..Schedule::default() }
    }

    #[test]
    fn the_quietest_hour_is_told_with_its_numbers() {
        let found = quietest(&Schedule::default(), &traffic(), MONDAY).unwrap();
        assert_eq!((found.hour, found.zone.as_str()), (3, "UTC"));
        assert_eq!((found.requests, found.hours), (696, 72));
        assert!((found.requests_an_hour - 2.0).abs() < 1e-9);
        assert_eq!(found.in_window, None);
    }

    #[test]
    fn it_is_told_in_the_zone_of_the_first_window_and_whether_that_contains_it() {
        let found = quietest(&night(4, "Europe/Berlin"), &traffic(), MONDAY).unwrap();
        assert_eq!((found.hour, found.zone.as_str()), (5, "Europe/Berlin"));
        assert_eq!(found.in_window, Some(true));
        let found = quietest(&night(1, "Europe/Berlin"), &traffic(), MONDAY).unwrap();
        assert_eq!(found.in_window, Some(false));
    }

    #[test]
    fn logs_of_less_than_a_day_make_it_unknown() {
        assert!(quietest(&Schedule::default(), &Traffic::default(), MONDAY).is_err());
        let mut short = traffic();
        short.moments.retain(|ms| *ms < MONDAY + 20 * HOUR_MS);
        assert!(quietest(&Schedule::default(), &short, MONDAY).unwrap_err().contains("19 h"));
        let cut = Traffic { whole_from_ms: Some(MONDAY + 60 * HOUR_MS), ..traffic() };
        assert!(quietest(&Schedule::default(), &cut, MONDAY).is_err());
    }
}
