//! Retire: the source may go once nobody comes to it any more.
//!
//! There is no table for it: fronts and servers at the source are ended by a person. So the gate
//! stands before that person's word, which does not count while the gate does not hold, unless
//! somebody waives it by name and with a reason.

use super::before::step;
use super::stand::waiver;
use super::{DAY, DNS, Draft, Fact, View};
use segue_model::UnitName;
use segue_model::plan::Plan;
use segue_model::state::Stage;
use std::net::IpAddr;

/// The gate's name: what `segue waive` and `off` take.
const GATE: &str = "no-stragglers";

/// So many clients of a front are named.
const NAMED: usize = 5;

const DAY_MS: u64 = 86_400_000;

/// What a front at the address that a unit has left knows of those who still come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateAt {
    /// Its name.
    pub front: String,
    /// How long ago it began to count, milliseconds; none if it does not answer, or does not count.
    pub for_ms: Option<u64>,
    /// How many clients came in that time.
    pub clients: usize,
    /// Those that came last, the latest first, and how long ago that was, milliseconds.
    pub latest: Vec<(IpAddr, u64)>,
}

/// Returns gate and step, due two weeks after the last wave.
pub(super) fn items(view: &View<'_>, last_s: i64) -> Vec<Draft> {
    let days = view.fleet.units.iter().map(|plan| plan.policy.straggler_days).max();
    let what = format!(
        "nobody has come to the address that a unit has left for {} d",
        days.unwrap_or_else(segue_model::plan::Policy::usual_straggler_days)
    );
    let mut gate = Draft::gate(GATE, last_s + 14 * DAY, what, quiet(view)).duty(DNS).how(
        "segue status names who comes; wait for them, or segue waive no-stragglers --because TEXT",
    );
    let mut retire = step(
        view,
        "retire",
        last_s + 14 * DAY,
        "the source may go: no record, glue or name server names it",
    )
    .how("look at the zones, then segue ack retire --note TEXT");
    (gate.lead_s, retire.lead_s) = (3 * DAY, 3 * DAY);
    let let_be = waiver(view, GATE).is_some()
        || view.fleet.schedule.timeline.off.iter().any(|off| off == GATE);
    if let (false, Fact::Done(..), Fact::Not(why) | Fact::Unknown(why)) =
        (let_be, &retire.fact, &gate.fact)
    {
        retire.fact = Fact::Not(format!("acknowledged, but gate `{GATE}` does not hold: {why}"));
    }
    vec![gate, retire]
}

/// Says whether nobody came to the source's fronts for the plan's days. What is not known is
/// unknown, however long it was quiet as far as somebody looked.
fn quiet(view: &View<'_>) -> Fact {
    let settled = view.every("are settled", |_, _| true, |_, unit| unit.stage == Stage::Settled);
    if let Fact::Not(_) = settled {
        return settled;
    }
    let (mut came, mut unknown, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for (plan, state) in &view.units {
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
    let told = |all: &[String]| {
        let more =
            if all.len() > 3 { format!("; and {} more", all.len() - 3) } else { String::new() };
        all.iter().take(3).cloned().collect::<Vec<_>>().join("; ") + &more
    };
    match (came.as_slice(), unknown.as_slice()) {
        ([], []) => Fact::Done(None, told(&seen)),
        ([], unknown) => Fact::Unknown(told(unknown)),
        (came, _) => Fact::Not(told(came)),
    }
}

fn of(plan: &Plan, text: &str) -> String {
    let name: &UnitName = &plan.unit.name;
    format!("unit `{name}`: {text}")
}

fn judge(front: &LateAt, days: u64, left_ms: Option<u64>) -> Fact {
    let LateAt { front: name, for_ms, clients, latest } = front;
    let wanted_ms = days.saturating_mul(DAY_MS);
    let Some(for_ms) = for_ms.zip(left_ms).map(|(for_ms, left_ms)| left_ms.min(for_ms)) else {
        return Fact::Unknown(format!("front `{name}` does not say who came"));
    };
    let recent: Vec<_> = latest.iter().filter(|(_, ago_ms)| *ago_ms < wanted_ms).collect();
    if !recent.is_empty() {
        let told = |(client, ago_ms): &&(IpAddr, u64)| format!("{client} {} ago", long(*ago_ms));
        let named: Vec<String> = recent.iter().take(NAMED).map(told).collect();
        return Fact::Not(format!(
            "{clients} clients came to front `{name}`, the last {}; wanted: none for {days} d",
            named.join(", ")
        ));
    }
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
