//! Retire: the source may go once nobody comes to it any more.
//!
//! There is no table for it: fronts and servers at the source are ended by a person. So the gate
//! stands before that person's word, which does not count while the gate does not hold, unless
//! somebody waives it by name and with a reason. What the gate said when the word was given stands
//! in the journal with it: once the fronts are ended nobody can ask them again.

use super::before::step;
use super::stand::waiver;
use super::{DAY, DNS, Draft, Fact, View};
use segue_model::plan::Plan;
use segue_model::state::{Acknowledged, Stage, UnitState};
use std::net::IpAddr;
use std::sync::Arc;

/// The gate's name: what `segue waive` and `off` take.
const GATE: &str = "no-stragglers";

/// The person's step behind it.
const STEP: &str = "retire";

/// So many clients of a front are named.
const NAMED: usize = 5;

const DAY_MS: u64 = 86_400_000;

/// What a front at the address that a unit has left knows of those who still come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateAt {
    /// Its name.
    pub front: String,
    /// How long ago it began to count, milliseconds, or why it does not count.
    pub for_ms: Result<u64, String>,
    /// How many clients it remembers.
    pub clients: usize,
    /// Requests and streams of the unit that are open there now.
    pub open: usize,
    /// How long ago the last client came that it does not remember any more, milliseconds.
    pub dropped_ms: Option<u64>,
    /// Those that came last, the latest first, and how long ago that was, milliseconds.
    pub latest: Vec<(IpAddr, u64)>,
}

/// Returns the gate that stands before a person's step.
pub(super) fn gate_before(id: &str) -> Option<&'static str> {
    (id == STEP).then_some(GATE)
}

/// Returns gate and step, due two weeks after the last wave.
pub(super) fn items(view: &View<'_>, last_s: i64) -> Vec<Draft> {
    let days = view.fleet.units.iter().map(|plan| plan.policy.straggler_days).max();
    let what = format!(
        "nobody has come to the address that a unit has left for {} d",
        days.unwrap_or_else(segue_model::plan::Policy::usual_straggler_days)
    );
    let mut gate = Draft::gate(GATE, last_s + 14 * DAY, what, quiet(view))
        .duty(DNS)
        .how("the line above names who comes; wait, or segue waive no-stragglers --because TEXT");
    let mut retire = step(
        view,
        STEP,
        last_s + 14 * DAY,
        "the source may go: no record, glue or name server names it",
    )
    .how("look at the zones, then segue ack retire --note TEXT");
    (gate.lead_s, retire.lead_s) = (3 * DAY, 3 * DAY);
    let let_be = waiver(view, GATE).is_some()
        || view.fleet.schedule.timeline.off.iter().any(|off| off == GATE);
    if let Some(said) = view.state.acknowledged.get(STEP) {
        if !let_be {
            retire.fact = word(said, &gate.fact);
        }
        if let (Fact::Unknown(_), Some(held)) = (&gate.fact, &said.held) {
            let text = format!("held when `{STEP}` was acknowledged: {held}");
            gate.fact = Fact::Done(Some(said.at.at_ms), text);
        }
    }
    vec![gate, retire]
}

/// Says whether a person's word counts: the gate held when it was given, or does now.
fn word(said: &Acknowledged, gate: &Fact) -> Fact {
    let at_ms = Some(said.at.at_ms);
    match (&said.held, gate) {
        (Some(held), _) => {
            Fact::Done(at_ms, format!("{}; gate `{GATE}` held then: {held}", said.note))
        }
        (None, Fact::Done(..)) => {
            let again = format!(
                "gate `{GATE}` did not hold then; segue ack {STEP} once more, while its fronts can \
                 be asked"
            );
            Fact::Done(at_ms, format!("{}; {again}", said.note))
        }
        (None, Fact::Not(why) | Fact::Unknown(why)) => {
            Fact::Not(format!("acknowledged, but gate `{GATE}` does not hold: {why}"))
        }
    }
}

/// Says whether nobody came to the source's fronts for the plan's days. What is not known is
/// unknown, however long it was quiet as far as somebody looked.
fn quiet(view: &View<'_>) -> Fact {
    let settled = view.every("are settled", |_, _| true, |_, unit| unit.stage == Stage::Settled);
    if let Fact::Not(_) = settled {
        return settled;
    }
    let units = all(view);
    // Whoever was taken out did not move: its clients belong to the source.
    let stay = units.iter().filter(|(_, unit)| unit.stage != Stage::Settled);
    let stay: Vec<_> =
        stay.map(|(plan, _)| of(plan, "taken out, and still at the source")).collect();
    if !stay.is_empty() {
        return Fact::Not(told(&stay));
    }
    let (mut came, mut unknown, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for (plan, state) in &units {
        // What has no site and no front has no visitors.
        if plan.unit.sites.is_empty() && plan.unit.fronts.is_empty() {
            continue;
        }
        let fronts = view.facts.late.get(&plan.unit.name).map_or(&[][..], Vec::as_slice);
        if fronts.is_empty() {
            unknown.push(of(plan, "no front there was asked"));
        }
        // Before the unit had left, nobody who came was late.
        let left_ms = state.watching_since.map(|moment| view.now_ms.saturating_sub(moment.at_ms));
        for front in fronts {
            match judge(front, plan.policy.straggler_days, left_ms) {
                Fact::Not(text) => came.push(of(plan, &text)),
                Fact::Unknown(text) => unknown.push(of(plan, &text)),
                Fact::Done(_, text) => seen.push(of(plan, &text)),
            }
        }
    }
    match (came.as_slice(), unknown.as_slice()) {
        ([], []) if seen.is_empty() => {
            Fact::Unknown("no unit has a site or a front: nobody counts who comes".to_owned())
        }
        ([], []) => Fact::Done(None, told(&seen)),
        ([], unknown) => Fact::Unknown(told(unknown)),
        (came, _) => Fact::Not(told(came)),
    }
}

/// Returns every unit of the run, also those that a person took out.
fn all<'a>(view: &View<'a>) -> Vec<(&'a Plan, &'a UnitState)> {
    let plans = view.fleet.units.iter();
    let of = |plan: &'a Arc<Plan>| Some((&**plan, &**view.state.unit(&plan.unit.name)?));
    plans.filter_map(of).collect()
}

fn told(all: &[String]) -> String {
    let more = if all.len() > 3 { format!("; and {} more", all.len() - 3) } else { String::new() };
    all.iter().take(3).cloned().collect::<Vec<_>>().join("; ") + &more
}

fn of(plan: &Plan, text: &str) -> String {
    format!("unit `{}`: {text}", plan.unit.name)
}

fn judge(front: &LateAt, days: u64, left_ms: Option<u64>) -> Fact {
    let LateAt { front: name, for_ms, clients, open, dropped_ms, latest } = front;
    let wanted_ms = days.saturating_mul(DAY_MS);
    if *open > 0 {
        return Fact::Not(format!("{open} connections are open at front `{name}`"));
    }
    let recent: Vec<_> = latest.iter().filter(|(_, ago_ms)| *ago_ms < wanted_ms).collect();
    if !recent.is_empty() {
        let told = |(client, ago_ms): &&(IpAddr, u64)| format!("{client} {} ago", long(*ago_ms));
        let named: Vec<String> = recent.iter().take(NAMED).map(told).collect();
        return Fact::Not(format!(
            "at least {} of the {clients} clients that front `{name}` remembers came within {days} d, \
             the last {}; wanted: none",
            recent.len(),
            named.join(", ")
        ));
    }
    if let Some(ago_ms) = dropped_ms.filter(|ago_ms| *ago_ms < wanted_ms) {
        return Fact::Not(format!(
            "more clients came to front `{name}` than it remembers, one {} ago; wanted: none for \
             {days} d",
            long(ago_ms)
        ));
    }
    let for_ms = match (for_ms, left_ms) {
        (Ok(for_ms), Some(left_ms)) => left_ms.min(*for_ms),
        (Err(why), _) => {
            return Fact::Unknown(format!("front `{name}` does not say who came: {why}"));
        }
        (Ok(_), None) => {
            let text = format!("since when who comes to front `{name}` is late is not known");
            return Fact::Unknown(text);
        }
    };
    if for_ms < wanted_ms {
        let text = format!("front `{name}` has counted for {} only, wanted {days} d", long(for_ms));
        return Fact::Unknown(text);
    }
    let last = match latest.first() {
        Some((client, ago_ms)) => format!("the last came {} ago, {client}", long(*ago_ms)),
        None => format!("none came in {}", long(for_ms)),
    };
    Fact::Done(None, format!("front `{name}`: {last}; wanted: none for {days} d"))
}

/// Returns a time in its largest whole measure.
fn long(ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0..60 => format!("{minutes} min"),
        60..2_880 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1_440),
    }
}
