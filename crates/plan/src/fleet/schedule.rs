//! Windows, freezes, limits: when and how many.

use super::{problem, timeline};
use crate::Problem;
use crate::file::{FreezeFile, LimitsFile, RehearsalFile, StrategyFile, TimelineFile, WindowFile};
use jiff::tz::TimeZone;
use segue_model::fleet::{Freeze, Limits, RehearsalRule, Schedule, Strategy, Window};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_S: u64 = 86_400;

/// What the plan file says of it.
pub(super) struct Said<'a> {
    pub(super) strategy: StrategyFile,
    pub(super) windows: &'a [WindowFile],
    pub(super) freezes: &'a [FreezeFile],
    pub(super) limits: &'a LimitsFile,
    pub(super) rehearsal: &'a RehearsalFile,
    pub(super) begins_at: Option<&'a str>,
    pub(super) timeline: &'a [TimelineFile],
}

/// Returns what must have been rehearsed: by default everything, within two weeks.
pub(crate) fn rehearsal(needed: Option<bool>, within_days: Option<u64>) -> RehearsalRule {
    RehearsalRule { needed: needed.unwrap_or(true), within_s: within_days.unwrap_or(14) * DAY_S }
}

/// Checks and converts it.
pub(super) fn schedule(said: &Said<'_>, problems: &mut Vec<Problem>) -> Schedule {
    let windows = said.windows.iter().filter_map(|file| window(file, problems)).collect();
    let freezes = said.freezes.iter().filter_map(|file| freeze(file, problems)).collect();
    let silent = Limits::default();
    let limits = Limits {
        seeds_a_server: said.limits.seeds_a_server.unwrap_or(silent.seeds_a_server),
        cutovers_a_server: said.limits.cutovers_a_server.unwrap_or(silent.cutovers_a_server),
        cutovers: said.limits.cutovers.unwrap_or(silent.cutovers),
    };
    if [limits.seeds_a_server, limits.cutovers_a_server, limits.cutovers].contains(&0) {
        problems.push(problem("SG0744", "limits", "a limit is 0", "write 1 or more"));
    }
    let begins_at_ms = said.begins_at.and_then(|text| match text.parse::<jiff::Timestamp>() {
        Ok(at) => u64::try_from(at.as_millisecond()).ok(),
        Err(_) => {
            problems.push(problem(
                "SG0744",
                "begins_at",
                format!("`{text}` is not a moment"),
                "write it as `2026-12-01T02:00:00+01:00`",
            ));
            None
        }
    });
    Schedule {
        strategy: match said.strategy {
            StrategyFile::Waves => Strategy::Waves,
            StrategyFile::AllAtOnce => Strategy::AllAtOnce,
            StrategyFile::MaintenanceWindow => Strategy::MaintenanceWindow,
        },
        windows,
        freezes,
        limits,
        rehearsal: rehearsal(said.rehearsal.needed, said.rehearsal.within_days),
        begins_at_ms,
        timeline: timeline::read(said.timeline, problems),
    }
}

fn window(file: &WindowFile, problems: &mut Vec<Problem>) -> Option<Window> {
    let mut refuse = |key: &str, text: String, remedy: &str| {
        problems.push(problem("SG0744", format!("window.{key}"), text, remedy));
    };
    let mut days = Vec::new();
    for day in &file.days {
        match DAYS.iter().position(|known| known == day) {
            Some(at) => days.push(at as u8 + 1),
            None => refuse("days", format!("`{day}` is not a day"), "write `mon` to `sun`"),
        }
    }
    let (from, to) = (minute(&file.from), minute(&file.to));
    for (key, text, minute) in [("from", &file.from, from), ("to", &file.to, to)] {
        if minute.is_none() {
            refuse(key, format!("`{text}` is not a time of day"), "write it as `02:00`");
        }
    }
    zone(&file.zone, "window.zone", problems)?;
    let (from, to) = from.zip(to)?;
    if from == to {
        problems.push(problem(
            "SG0744",
            "window",
            format!("the window from {} to {} has no length", file.from, file.to),
            "write another end; a window of a whole day is `00:00` to `23:59`",
        ));
    }
    Some(Window { days, from_minute: from, to_minute: to, zone: file.zone.clone() })
}

/// Returns the minute after midnight of `02:30`.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

fn freeze(file: &FreezeFile, problems: &mut Vec<Problem>) -> Option<Freeze> {
    let day = |text: &str| text.parse::<jiff::civil::Date>().ok();
    let (Some(from), Some(to)) = (day(&file.from), day(&file.to)) else {
        problems.push(problem(
            "SG0744",
            "freeze",
            format!("`{}` to `{}` are not two days", file.from, file.to),
            "write them as `2026-12-20`",
        ));
        return None;
    };
    if from > to {
        problems.push(problem(
            "SG0744",
            "freeze",
            format!("it ends on {to}, before it begins on {from}"),
            "exchange the two days",
        ));
    }
    zone(&file.zone, "freeze.zone", problems)?;
    Some(Freeze {
        from: from.to_string(),
        to: to.to_string(),
        zone: file.zone.clone(),
        because: file.because.clone(),
    })
}

fn zone(name: &str, key: &str, problems: &mut Vec<Problem>) -> Option<TimeZone> {
    let zone = TimeZone::get(name).ok();
    if zone.is_none() {
        problems.push(problem(
            "SG0744",
            key,
            format!("time zone `{name}` is not known"),
            "write it as `Europe/Berlin` or `UTC`",
        ));
    }
    zone
}
