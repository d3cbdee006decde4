//! How the run stands, for people and machines.

use crate::active::Active;
use crate::conductor::Run;
use segue_migration::fleet::standing;
use segue_model::event::WriteSide;
use segue_model::gate::Standing;
use segue_model::plan::Plan;
use segue_model::state::{RunState, UnitState};
use segue_model::{Side, UnitName, What};
use segue_port::Clock;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Values older than this are shown as unknown, milliseconds.
pub(crate) const FRESH_MS: u64 = 3_000;

/// Values shown in a status, in order.
const SHOWN: [What; 15] = [
    What::DatabaseLagMs(Side::Source),
    What::DatabaseLagMs(Side::Target),
    What::FilesLagMs(Side::Source),
    What::FilesLagMs(Side::Target),
    What::FrontsReady,
    What::RequestsPerSecond(Side::Source),
    What::RequestsPerSecond(Side::Target),
    What::ResponseP95Ms(Side::Source),
    What::ResponseP95Ms(Side::Target),
    What::FailedPerSecond(Side::Source),
    What::FailedPerSecond(Side::Target),
    What::StragglersPerSecond,
    What::ZoneServersEqual,
    What::ZoneTtlMaxS,
    What::DirectRequests,
];

/// Returns the status as JSON: of the run, and of each unit; a run of one unit has what is
/// said of the unit beside what is said of the run.
pub(crate) async fn status(state: &RunState, run: Option<&Run>, clock: &dyn Clock) -> Value {
    let mut all = json!({
        "run": state.run,
        "name": state.name,
        "plan_hash": state.plan_hash,
        "epoch": state.epoch,
        "pid": std::process::id(),
    });
    let Some(run) = run else { return all };
    if let Some((name, unit)) = state.only_unit() {
        let at_work = match run.units.get(name) {
            Some(unit) => unit.active().await,
            None => None,
        };
        let told = of_unit(name, unit, at_work.as_deref(), clock);
        for (key, value) in told.as_object().into_iter().flatten() {
            all[key] = value.clone();
        }
        let own = |plan: &&Arc<Plan>| plan.unit.name == *name;
        let plan = run.fleet.units.iter().find(own);
        if plan.is_some_and(|plan| plan.unit.measures.mirror.is_some()) {
            // Who is not at work is not asked; what was seen before stands in the journal.
            all["mirror"] = match &at_work {
                Some(active) => json!(active.mirrored().await),
                None => Value::Null,
            };
        }
        if let Some(active) = at_work.filter(|_| unit.write_side != WriteSide::At(Side::Source)) {
            all["stragglers"] = json!(active.stragglers().await);
        }
        return all;
    }
    let now_ms = clock.wall_ms();
    let waves = run.fleet.wave_places();
    let brief = |(name, unit): (&UnitName, &Arc<UnitState>)| {
        brief(waves.get(name).copied().unwrap_or(0), name, unit, now_ms)
    };
    all["units"] = state.units.iter().map(brief).collect();
    all["waves"] = (1..)
        .zip(&run.fleet.waves)
        .map(|(number, wave)| {
            let known = state.waves.get(&number).cloned().unwrap_or_default();
            json!({
                "wave": number,
                "name": wave.name,
                "units": wave.units.len(),
                "started": known.started.map(|moment| moment.at_ms),
                "stopped": known.stopped,
                "completed": known.completed.map(|moment| moment.at_ms),
            })
        })
        .collect();
    all
}

/// What a table of many units says of one.
fn brief(wave: u32, name: &UnitName, unit: &UnitState, now_ms: u64) -> Value {
    json!({
        "unit": name,
        "wave": wave,
        "stage": unit.stage,
        "write_side": unit.write_side,
        "standing": format!("{:?}", standing(unit, now_ms)),
        "open": unit.open.as_ref().map(|open| open.attempt.phase),
        "stuck": unit.open.as_ref().and_then(|open| open.stuck.as_ref()),
        "asks": unit.refused,
        "excluded": unit.excluded,
        "deferred": unit.deferred,
        "differences": unit.compared.values().map(|c| c.differences).sum::<u64>(),
    })
}

fn of_unit(
    name: &UnitName,
    state: &UnitState,
    active: Option<&Active>,
    clock: &dyn Clock,
) -> Value {
    let mut measured = Map::new();
    let verdicts = active.map(Active::verdicts).unwrap_or_default();
    if let Some(active) = active {
        for what in SHOWN {
            let fresh = active
                .board
                .latest(what)
                .filter(|sample| clock.boot_ms().saturating_sub(sample.taken_at_ms) <= FRESH_MS);
            measured
                .insert(what.to_string(), fresh.map_or(Value::Null, |sample| json!(sample.value)));
        }
    }
    json!({
        "unit": name,
        "stage": state.stage,
        "write_side": state.write_side,
        "share": state.share,
        "open": state.open.as_ref().map(|open| json!({
            "phase": open.attempt.phase,
            "number": open.attempt.number,
            "steps": open.steps.iter().map(|(name, step)| (name.to_string(), json!(step.status))).collect::<Map<_, _>>(),
            "direction": open.direction,
            "stuck": open.stuck,
        })),
        "asks": state.refused,
        "commit_timer": state.commit_timer.map(|timer| timer.left_ms),
        "compared": state.compared.iter().map(|(what, c)| (what.clone(), json!(c.differences))).collect::<Map<_, _>>(),
        "measured": measured,
        "spread": active.and_then(|active| active.watching.told(state, &active.board, clock)),
        "triggers": verdicts.iter().map(|v| (v.trigger.clone(), json!({
            "verdict": v.standing.as_str(),
            "since_boot_ms": match v.standing {
                Standing::Violating { since_boot_ms } => json!(since_boot_ms),
                _ => Value::Null,
            },
            "because": v.because,
        }))).collect::<Map<_, _>>(),
        "rehearsed": state.rehearsed.as_ref().map(|done| json!({
            "at_ms": done.ended.at_ms,
            "age_s": clock.wall_ms().saturating_sub(done.ended.at_ms) / 1_000,
            "passed": done.passed,
            "this_plan": done.plan_hash == state.plan_hash,
            "forecast_pause_ms": done.pause_ms,
            "forecast_took_ms": done.took_ms,
        })),
        "drilled": state.drilled.map(|(at, pause_ms)| json!({
            "at_ms": at.at_ms,
            "age_s": clock.wall_ms().saturating_sub(at.at_ms) / 1_000,
            "pause_ms": pause_ms,
        })),
    })
}

/// Returns the worst exit code of all units.
pub(crate) fn exit_of_run(state: &RunState) -> u8 {
    state.units.values().map(|unit| exit(unit)).max().unwrap_or(0)
}

/// Returns the exit code that fits a unit's state: 6 stuck, 3 differences, else 0.
pub(crate) fn exit(state: &UnitState) -> u8 {
    if state.refused.is_some() || state.open.as_ref().is_some_and(|open| open.stuck.is_some()) {
        6
    } else if state.compared.values().any(|comparison| comparison.differences > 0) {
        3
    } else {
        0
    }
}

/// Returns the command that comes next.
fn next(stage: Option<&str>) -> &'static str {
    match stage {
        Some("fresh") => "segue sync HASH",
        Some("synced" | "prepared") => "segue cutover HASH",
        Some("watching") => "segue confirm, or segue rollback",
        Some("confirmed") => "segue settle HASH, or segue rollback",
        _ => "segue report",
    }
}

/// Adds what is not quiet, and how many triggers are.
fn triggers(text: &mut String, verdicts: &Value) {
    let Some(verdicts) = verdicts.as_object().filter(|all| !all.is_empty()) else { return };
    let word = |verdict: &Value| verdict["verdict"].as_str().unwrap_or("?").to_owned();
    let (mut quiet, mut unknown) = (0, Vec::new());
    for (name, verdict) in verdicts {
        match word(verdict).as_str() {
            "quiet" => quiet += 1,
            "no_data" => unknown.push(name.as_str()),
            loud => {
                let because = verdict["because"].as_str().unwrap_or("?");
                let _ = writeln!(text, "  trigger {name} {loud}: {because}");
            }
        }
    }
    let _ = writeln!(text, "  {quiet} triggers quiet");
    if !unknown.is_empty() {
        let _ = writeln!(text, "  {} triggers without data: {}", unknown.len(), unknown.join(", "));
    }
}

/// So many kinds of differences are named, each with so many examples.
const DIFFERENCES_SHOWN: usize = 5;
const EXAMPLES_SHOWN: usize = 2;

/// Adds what copies of users' requests showed, where the plan asks for them.
fn copies(text: &mut String, fronts: Option<&Value>) {
    let Some(fronts) = fronts else { return };
    let Some(fronts) = fronts.as_array() else {
        text.push_str("  copies of users' requests: not asked now; see segue report\n");
        return;
    };
    if fronts.is_empty() {
        text.push_str("  copies of users' requests: unknown, no front makes any\n");
    }
    for front in fronts {
        let (all, count) = (&front["compared"], |value: &Value| value.as_u64().unwrap_or_default());
        let _ = write!(text, "  copies at front {}: ", front["front"].as_str().unwrap_or("?"));
        if front["silent"] == true {
            text.push_str("unknown, it does not answer\n");
            continue;
        }
        let (asked, same) = (count(&all["asked"]), count(&all["same"]));
        let _ = match asked {
            0 => write!(text, "unknown, none was compared"),
            _ => write!(
                text,
                "{asked} compared, {same} the same, {} different, {} noisy",
                asked.saturating_sub(same),
                count(&all["noisy"]),
            ),
        };
        let (room, hold) = (count(&front["dropped"]), count(&front["ended"]));
        let _ = writeln!(text, "; left out: {room} without room, {hold} at a hold");
        for one in all["differences"].as_array().into_iter().flatten().take(DIFFERENCES_SHOWN) {
            let examples = one["examples"].as_array().into_iter().flatten();
            let examples: Vec<_> =
                examples.filter_map(Value::as_str).take(EXAMPLES_SHOWN).collect();
            let what = one["text"].as_str().unwrap_or("?");
            let _ =
                writeln!(text, "    {} x {what}: {}", count(&one["count"]), examples.join(", "));
        }
    }
}

/// Adds how many items of the timeline are overdue.
fn overdue(text: &mut String, status: &Value) {
    if let Some(late @ 1..) = status["overdue"].as_u64() {
        let _ = writeln!(text, "  {late} items of the timeline are overdue: segue timeline");
    }
}

/// Returns the status as text.
pub(crate) fn text(status: &Value) -> String {
    if status["run"].is_null() {
        return "no run has begun here; next: segue plan, then segue sync HASH".into();
    }
    if status["units"].is_array() {
        return fleet_text(status);
    }
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let side = status["write_side"]["at"].as_str().unwrap_or("held");
    let mut text = format!(
        "unit {}: {}, writes at {side}; plan {}\n",
        word(&status["unit"]),
        word(&status["stage"]),
        word(&status["plan_hash"])
    );
    if let Some(share) = status["share"].as_u64().filter(|share| *share > 0) {
        let _ = writeln!(text, "  split: {share} % of the visitors who read are at the target");
    }
    if let Some(open) = status["open"].as_object() {
        let _ = writeln!(text, "  open: {} {}", word(&open["phase"]), open["number"]);
        if let Some(stuck) = open["stuck"].as_object() {
            let _ = writeln!(text, "  STUCK: {}", word(&stuck["because"]));
        }
    }
    if let Some(asks) = status["asks"].as_object() {
        let _ = writeln!(text, "  A PERSON MUST CHOOSE: {}", word(&asks["because"]));
        for line in asks["way_out"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "    {}", word(line));
        }
    }
    if let (Some(ms), Some(age)) =
        (status["drilled"]["pause_ms"].as_f64(), status["drilled"]["age_s"].as_u64())
    {
        let _ = writeln!(text, "  last drill: pause {ms:.0} ms, measured live {age} s ago");
    }
    rehearsed(&mut text, &status["rehearsed"]);
    for (what, value) in status["measured"].as_object().into_iter().flatten() {
        match value.as_f64() {
            Some(value) => {
                let _ = writeln!(text, "  {what:<30} {value:>10.1}");
            }
            None => {
                let _ = writeln!(text, "  {what:<30}    unknown");
            }
        }
    }
    text.push_str(&crate::spread::text(&status["spread"]));
    copies(&mut text, status.get("mirror"));
    triggers(&mut text, &status["triggers"]);
    overdue(&mut text, status);
    let _ = write!(text, "next: {}", next(status["stage"].as_str()));
    text
}

/// Adds what the last rehearsal says: a forecast.
fn rehearsed(text: &mut String, status: &Value) {
    let Some(age_s) = status["age_s"].as_u64() else { return };
    let how = match (status["passed"] == true, status["this_plan"] == true) {
        (true, true) => "passed",
        (true, false) => "passed with another plan",
        (false, _) => "DID NOT PASS",
    };
    let forecast = |key: &str| {
        status[key].as_f64().map_or_else(|| "unknown".to_owned(), |ms| format!("{ms:.0} ms"))
    };
    let _ = writeln!(
        text,
        "  rehearsal {how} {age_s} s ago; forecast: pause {}, cutover {}",
        forecast("forecast_pause_ms"),
        forecast("forecast_took_ms")
    );
}

/// So many units are named one by one.
const UNITS_SHOWN: usize = 40;

/// Returns the status of many units as text: how many stand how, the waves, and the units
/// that need a look.
fn fleet_text(status: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let units = status["units"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for unit in units {
        *counts.entry(word(&unit["standing"])).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(how, n)| format!("{n} {how}")).collect();
    let mut text = format!(
        "run of plan {}: {} units: {}\n",
        word(&status["plan_hash"]),
        units.len(),
        counts.join(", ")
    );
    for wave in status["waves"].as_array().into_iter().flatten() {
        let how = match (&wave["stopped"], &wave["completed"], &wave["started"]) {
            (Value::String(because), ..) => format!("STOPPED: {because}"),
            (_, Value::Number(_), _) => "over".to_owned(),
            (.., Value::Number(_)) => "under way".to_owned(),
            _ => "not begun".to_owned(),
        };
        let _ = writeln!(text, "  wave {} ({} units): {how}", wave["wave"], wave["units"]);
    }
    let looks = |unit: &&Value| !matches!(word(&unit["standing"]).as_str(), "Moved" | "Ready");
    for unit in units.iter().filter(looks).take(UNITS_SHOWN) {
        let (name, stage) = (word(&unit["unit"]), word(&unit["stage"]));
        let _ = writeln!(text, "  {name:<30} {stage:<10} {}", word(&unit["standing"]));
    }
    overdue(&mut text, status);
    text.push_str("next: segue cutover HASH for the next wave, segue report");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_told_by_front_and_as_unknown_where_none_was_compared() {
        let told = |fronts: Value| {
            let mut text = String::new();
            copies(&mut text, Some(&fronts));
            text
        };
        let mut text = String::new();
        copies(&mut text, json!({ "unit": "shop" }).get("mirror"));
        assert_eq!(text, "", "nobody asked for any");
        let asleep = "  copies of users' requests: not asked now; see segue report\n";
        assert_eq!(told(Value::Null), asleep, "it is not at work, whatever was compared before");
        let none = "  copies of users' requests: unknown, no front makes any\n";
        assert_eq!(told(json!([])), none);
        let silent = "  copies at front source: unknown, it does not answer\n";
        assert_eq!(told(json!([{ "front": "source", "silent": true }])), silent);
        let front = |asked: u64, same: u64| {
            json!([{
                "front": "source", "dropped": 31, "ended": 2,
                "compared": { "asked": asked, "same": same, "noisy": 17, "differences": [
                    { "text": "200 at the source, 404 at the target", "count": 5,
                      "examples": ["/a/1", "/a/2", "/a/3"] },
                ] },
            }])
        };
        let unknown = "  copies at front source: unknown, none was compared; left out: 31 without \
                       room, 2 at a hold\n";
        assert!(told(front(0, 0)).starts_with(unknown), "{}", told(front(0, 0)));
        assert_eq!(
            told(front(120, 115)),
            "  copies at front source: 120 compared, 115 the same, 5 different, 17 noisy; left out: \
             31 without room, 2 at a hold\n    5 x 200 at the source, 404 at the target: /a/1, /a/2\n"
        );
    }
}
