//! Items from the beginning on: waves, what arrives, confirm, settle.

use super::before::step;
use super::spread::{Stretch, stretches};
use super::{DAY, DNS, Draft, Fact, HOUR, MINUTE, View};
use crate::fleet::{Standing as Stands, standing};
use segue_model::UnitName;
use segue_model::fleet::Wave;
use segue_model::gate::Standing;
use segue_model::plan::Plan;
use segue_model::state::{Stage, UnitState};
use std::collections::HashSet;
use std::sync::Arc;

type Members<'a> = HashSet<&'a UnitName>;

/// Triggers that tell whether traffic arrives, with the minutes after which they count.
const ARRIVALS: [(&str, &[&str], i64); 2] = [
    ("arrivals", &["arrivals_slow"], 5),
    ("arrivals-late", &["arrivals_late", "resolvers_late"], 15),
];

pub(super) fn items(view: &View<'_>) -> Vec<Draft> {
    let stretches = stretches(view.fleet, view.state);
    let mut items = Vec::new();
    for (number, (wave, stretch)) in (1_u32..).zip(view.fleet.waves.iter().zip(&stretches)) {
        items.extend(of_wave(view, number, wave, *stretch));
    }
    let last_s = stretches.last().map_or(0, |stretch| stretch.to_s);
    items.extend(super::retire::items(view, last_s));
    items
}

fn of_wave(view: &View<'_>, number: u32, wave: &Wave, stretch: Stretch) -> Vec<Draft> {
    let members: Members<'_> = wave.units.iter().collect();
    let of_wave = |plan: &Plan, _: &UnitState| members.contains(&plan.unit.name);
    let every = |verb: &str, fits: &dyn Fn(&UnitState) -> bool| {
        view.every(verb, of_wave, |_, unit| put_off(view, unit) || fits(unit))
    };
    let known = view.state.waves.get(&number);
    let started = known.and_then(|known| known.started);
    let begun = match (started, known.and_then(|known| known.stopped.clone())) {
        (Some(at), None) => Fact::Done(Some(at.at_ms), String::new()),
        (Some(_), Some(because)) => Fact::Not(format!("it stopped: {because}")),
        // A run of one unit has no wave of its own in the journal.
        (None, _) => match every("have moved", &|unit| unit.stage >= Stage::Watching) {
            Fact::Not(_) => Fact::Not("it has not begun".to_owned()),
            moved => moved,
        },
    };
    let settle_s = HOUR + i64::try_from(settle_after_s(view, &members)).unwrap_or(0);
    let confirm_s = confirm_after_s(view, &members);
    let moved_s = stretch.to_s;
    let mut items = vec![
        Draft::gate(
            format!("wave:{number}"),
            stretch.from_s,
            format!("wave `{}` begins", wave.name),
            begun,
        )
        .how("segue cutover HASH"),
        Draft::gate(
            format!("moved:{number}"),
            moved_s,
            "every unit of the wave is at the target",
            every("are at the target", &|unit| unit.stage >= Stage::Watching),
        )
        .how("segue status"),
        Draft::gate(
            format!("confirm:{number}"),
            moved_s + confirm_s,
            "every unit of the wave is confirmed",
            every("are confirmed", &|unit| unit.stage >= Stage::Confirmed),
        )
        .how(format!("segue confirm --wave {number}")),
        step(
            view,
            &format!("stragglers:{number}"),
            moved_s + DAY,
            "who still asks the source is looked at",
        )
        .duty(DNS),
        Draft::gate(
            format!("settle:{number}"),
            moved_s + settle_s,
            "every unit of the wave is settled",
            every("are settled", &|unit| unit.stage == Stage::Settled),
        )
        .how(format!("segue settle HASH --wave {number}")),
    ];
    for (id, triggers, minutes) in ARRIVALS {
        items.extend(arrivals(view, &members, triggers).map(|fact| {
            let id = format!("{id}:{number}");
            let what =
                format!("traffic and resolvers arrive at the target, {minutes} min after it");
            Draft::gate(id, moved_s + minutes * MINUTE, what, fact).duty(DNS).how("segue status")
        }));
    }
    for item in &mut items {
        item.about = format!("wave {number}");
        // Counted from the wave's own beginning.
        item.lead_s = ((item.due_s - stretch.from_s).abs() / 4).max(5 * MINUTE);
    }
    items
}

fn put_off(view: &View<'_>, unit: &UnitState) -> bool {
    standing(unit, view.now_ms) == Stands::Deferred
}

fn settle_after_s(view: &View<'_>, members: &Members<'_>) -> u64 {
    let of = |plan: &&Arc<Plan>| members.contains(&plan.unit.name);
    view.fleet.units.iter().filter(of).map(|plan| plan.policy.stable_for_s).max().unwrap_or(0)
}

/// An hour, or less if a unit would go back by itself before.
fn confirm_after_s(view: &View<'_>, members: &Members<'_>) -> i64 {
    let of = |plan: &&Arc<Plan>| members.contains(&plan.unit.name);
    let timers = view.fleet.units.iter().filter(of).map(|plan| plan.policy.commit_timer_s);
    let shortest = timers.filter(|seconds| *seconds > 0).min();
    shortest.and_then(|s| i64::try_from(s).ok()).map_or(HOUR, |seconds| seconds.min(HOUR))
}

/// Returns what the triggers about arrivals say of a wave's units that moved; `None` if no
/// unit has one.
fn arrivals(view: &View<'_>, members: &Members<'_>, triggers: &[&str]) -> Option<Fact> {
    let watches =
        |plan: &Plan| plan.policy.triggers.iter().any(|t| triggers.contains(&t.name.as_str()));
    let mut units: Vec<&Plan> = view.fleet.units.iter().map(|plan| &**plan).collect();
    units.retain(|plan| members.contains(&plan.unit.name) && watches(plan));
    if units.is_empty() {
        return None;
    }
    let (mut quiet, mut silent) = (0, 0);
    for plan in &units {
        let name = &plan.unit.name;
        let unit = view.state.unit(name);
        let moved =
            unit.is_some_and(|unit| unit.stage >= Stage::Watching || unit.excluded.is_some());
        if !moved {
            return Some(Fact::Not(format!("unit `{name}` has not moved")));
        }
        if unit.is_some_and(|unit| unit.stage == Stage::Settled || unit.excluded.is_some()) {
            quiet += 1;
            continue;
        }
        let judged = view.facts.judged.get(name).into_iter().flatten();
        let judged: Vec<_> = judged.filter(|j| triggers.contains(&j.trigger.as_str())).collect();
        if let Some(fired) = judged.iter().find(|j| j.standing == Standing::Fired) {
            return Some(Fact::Not(format!("unit `{name}`: {}", fired.because)));
        }
        let known = !judged.is_empty() && judged.iter().all(|j| j.standing == Standing::Quiet);
        if known { quiet += 1 } else { silent += 1 }
    }
    let text = format!("{quiet} of {} units arrive, {silent} unknown", units.len());
    Some(if silent > 0 { Fact::Unknown(text) } else { Fact::Done(None, text) })
}
