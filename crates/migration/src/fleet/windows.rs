//! Windows and freezes: whether a cutover may begin now, and whether it would end in time.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use segue_model::fleet::{Freeze, Schedule, Window};

/// A stretch of time, wall clock, milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Its beginning.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
}

/// Whether cutovers may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowNow {
    /// The plan names no window.
    Always,
    /// Until this moment.
    Open(Opening),
    /// Not now; the next window, if there is one within four weeks.
    Closed {
        /// Why: no window, or the name of the freeze.
        because: String,
        /// The next one.
        next: Option<Opening>,
    },
}

/// How far ahead a next window is looked for, days.
const DAYS_AHEAD: i64 = 28;

/// Returns whether a cutover may begin at `now_ms` by the windows and freezes of a plan.
///
/// A freeze closes every window that begins or would go on during its days.
pub fn window_now(schedule: &Schedule, now_ms: u64) -> WindowNow {
    if let Some(freeze) = schedule.freezes.iter().find(|freeze| covers(freeze, now_ms)) {
        let because = format!("freeze from {} to {}: {}", freeze.from, freeze.to, freeze.because);
        return WindowNow::Closed { because, next: next(schedule, now_ms) };
    }
    if schedule.windows.is_empty() {
        return WindowNow::Always;
    }
    let now = openings(schedule, now_ms, 1)
        .into_iter()
        .filter(|opening| opening.from_ms <= now_ms && now_ms < opening.to_ms)
        .max_by_key(|opening| opening.to_ms);
    match now {
        Some(opening) => WindowNow::Open(opening),
        None => WindowNow::Closed {
            because: "no window is open".to_owned(),
            next: next(schedule, now_ms),
        },
    }
}

fn next(schedule: &Schedule, now_ms: u64) -> Option<Opening> {
    let mut all = openings(schedule, now_ms, DAYS_AHEAD);
    all.retain(|opening| {
        opening.from_ms > now_ms && !schedule.freezes.iter().any(|f| covers(f, opening.from_ms))
    });
    all.into_iter().min_by_key(|opening| opening.from_ms)
}

/// Returns the windows that begin from yesterday to `days` days after `now_ms`.
pub(crate) fn openings(schedule: &Schedule, now_ms: u64, days: i64) -> Vec<Opening> {
    let mut all = Vec::new();
    for window in &schedule.windows {
        let Some(now) = zoned(now_ms, &window.zone) else { continue };
        for day in -1..=days {
            let Ok(date) = now.date().checked_add(day.days()) else { continue };
            let weekday = date.weekday().to_monday_one_offset() as u8;
            if window.days.is_empty() || window.days.contains(&weekday) {
                all.extend(opening(window, date));
            }
        }
    }
    all
}

fn opening(window: &Window, date: Date) -> Option<Opening> {
    let zone = TimeZone::get(&window.zone).ok()?;
    let last = if window.to_minute < window.from_minute { date.tomorrow().ok()? } else { date };
    let at = |date: Date, minute: u16| -> Option<u64> {
        // Times that a change of clocks skips are moved on, as people would.
        let time = date.at(i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?, 0, 0);
        u64::try_from(time.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond()).ok()
    };
    Some(Opening { from_ms: at(date, window.from_minute)?, to_ms: at(last, window.to_minute)? })
}

fn covers(freeze: &Freeze, at_ms: u64) -> bool {
    let days = freeze.from.parse::<Date>().ok().zip(freeze.to.parse::<Date>().ok());
    // A freeze that cannot be read freezes: the plan's checks leave none.
    let Some(((from, to), now)) = days.zip(zoned(at_ms, &freeze.zone)) else { return true };
    (from..=to).contains(&now.date())
}

pub(crate) fn zoned(at_ms: u64, zone: &str) -> Option<Zoned> {
    let stamp = Timestamp::from_millisecond(i64::try_from(at_ms).ok()?).ok()?;
    Some(stamp.to_zoned(TimeZone::get(zone).ok()?))
}
