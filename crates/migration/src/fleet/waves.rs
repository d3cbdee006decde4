//! Waves: canaries first, the rest after them, and a stop at the first unit that went back.

use segue_model::UnitName;
use segue_model::fleet::Fleet;
use segue_model::state::{RunState, Stage, UnitState};
use std::collections::BTreeSet;

/// How a unit stands in its wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is at the target.
    Moved,
    /// A person took it out.
    Excluded,
    /// A person put it off to a later time.
    Deferred,
    /// It went back, or gave its cutover up.
    WentBack,
    /// Its cutover or failback is under way.
    Open,
    /// It needs a person.
    Stuck,
    /// It can be cut over.
    Ready,
    /// The target does not follow it yet.
    NotSynced,
}

/// Returns how a unit stands at `now_ms` (wall clock).
pub fn standing(unit: &UnitState, now_ms: u64) -> Standing {
    if unit.excluded.is_some() {
        return Standing::Excluded;
    }
    if unit.refused.is_some() || unit.open.as_ref().is_some_and(|open| open.stuck.is_some()) {
        return Standing::Stuck;
    }
    if unit.open.is_some() && unit.stage >= Stage::Synced {
        return Standing::Open;
    }
    match unit.stage {
        Stage::Watching | Stage::Confirmed | Stage::Settled => Standing::Moved,
        _ if unit.went_back() => Standing::WentBack,
        Stage::Fresh => Standing::NotSynced,
        Stage::Synced | Stage::Prepared => match &unit.deferred {
            Some(deferred) if deferred.not_before_ms > now_ms => Standing::Deferred,
            _ => Standing::Ready,
        },
    }
}

/// What a wave does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// These may start, as far as windows and limits let them.
    Start(Vec<UnitName>),
    /// What runs must end first.
    Wait,
    /// No further unit starts.
    Stop(String),
    /// Every unit moved, was taken out, put off, or was left behind by a person.
    Done,
}

/// Returns the first wave, from 1, that is not over.
pub fn wave_to_run(fleet: &Fleet, state: &RunState) -> Option<u32> {
    let over = |wave: &u32| state.waves.get(wave).is_some_and(|known| known.completed.is_some());
    (1..=fleet.waves.len() as u32).find(|wave| !over(wave))
}

/// Returns what `wave` (from 1) does next, while `running` are being cut over.
pub fn turn(
    fleet: &Fleet,
    state: &RunState,
    wave: u32,
    running: &BTreeSet<UnitName>,
    now_ms: u64,
) -> Turn {
    let Some(plan) = fleet.waves.get(wave.saturating_sub(1) as usize) else { return Turn::Done };
    let known = state.waves.get(&wave);
    if let Some(because) = known.and_then(|known| known.stopped.clone()) {
        return if running.is_empty() { Turn::Stop(because) } else { Turn::Wait };
    }
    let since = known.and_then(|known| known.since).map_or(0, |since| since.seq);
    let of = |unit: &UnitName| state.unit(unit).map(|of| standing(of, now_ms));
    for unit in &plan.units {
        if let Some(because) = state.unit(unit).and_then(|of| stops(unit, of, since, now_ms)) {
            return Turn::Stop(because);
        }
    }
    let (canaries, rest) = plan.units.split_at(plan.canaries.min(plan.units.len()));
    for stretch in [canaries, rest] {
        let ready: Vec<UnitName> = stretch
            .iter()
            .filter(|unit| of(unit) == Some(Standing::Ready) && !running.contains(*unit))
            .cloned()
            .collect();
        let busy =
            stretch.iter().any(|unit| running.contains(unit) || of(unit) == Some(Standing::Open));
        if !ready.is_empty() {
            return Turn::Start(ready);
        }
        if busy {
            return Turn::Wait;
        }
    }
    let behind: Vec<&str> = plan
        .units
        .iter()
        .filter(|unit| of(unit) == Some(Standing::NotSynced))
        .map(UnitName::as_str)
        .collect();
    if !behind.is_empty() {
        return Turn::Stop(format!("the target does not follow yet: {}", some(&behind)));
    }
    Turn::Done
}

/// Returns why a unit stops its wave, if it went back or is stuck since the wave began or a
/// person last let it go on.
fn stops(name: &UnitName, unit: &UnitState, since: u64, now_ms: u64) -> Option<String> {
    let why = match standing(unit, now_ms) {
        Standing::Stuck => "is stuck",
        Standing::WentBack => "went back",
        _ => return None,
    };
    let last = unit.history.last();
    let at = unit.open.as_ref().map(|open| open.started.seq);
    let seq = at.or(last.map(|past| past.ended.seq)).unwrap_or(0);
    let cause = match last.map(|past| &past.state.direction) {
        Some(segue_model::state::Direction::Back { because, .. }) => because.clone(),
        _ => last.map(|past| past.state.because.clone()).unwrap_or_default(),
    };
    (seq > since).then(|| format!("unit `{name}` {why}: {cause}"))
}

/// Returns the first names of a list, and how many there are.
fn some(names: &[&str]) -> String {
    let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{shown} and {} more", names.len() - 5) } else { shown }
}
