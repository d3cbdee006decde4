//! How the run stands, for people and machines.

use crate::active::Active;
use segue_model::gate::Standing;
use segue_model::state::RunState;
use segue_model::{Side, What};
use segue_port::Clock;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Values older than this are shown as unknown, milliseconds.
const FRESH_MS: u64 = 3_000;

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

/// Returns the status as JSON.
pub(crate) fn status(state: &RunState, active: Option<&Active>, clock: &dyn Clock) -> Value {
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
        "run": state.run,
        "unit": state.unit,
        "plan_hash": state.plan_hash,
        "stage": state.stage,
        "write_side": state.write_side,
        "epoch": state.epoch,
        "open": state.open.as_ref().map(|open| json!({
            "phase": open.attempt.phase,
            "number": open.attempt.number,
            "steps": open.steps.iter().map(|(name, step)| (name.to_string(), json!(step.status))).collect::<Map<_, _>>(),
            "direction": open.direction,
            "stuck": open.stuck,
        })),
        "asks": state.refused,
        "compared": state.compared.iter().map(|(what, c)| (what.clone(), json!(c.differences))).collect::<Map<_, _>>(),
        "measured": measured,
        "triggers": verdicts.iter().map(|v| (v.trigger.clone(), json!({
            "verdict": v.standing.as_str(),
            "since_boot_ms": match v.standing {
                Standing::Violating { since_boot_ms } => json!(since_boot_ms),
                _ => Value::Null,
            },
            "because": v.because,
        }))).collect::<Map<_, _>>(),
        "pid": std::process::id(),
    })
}

/// Returns the exit code that fits a state: 6 stuck, 3 differences, else 0.
pub(crate) fn exit(state: &RunState) -> u8 {
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

/// Returns the status as text.
pub(crate) fn text(status: &Value) -> String {
    if status["run"].is_null() {
        return "no run has begun here; next: segue plan, then segue sync HASH".into();
    }
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let side = status["write_side"]["at"].as_str().unwrap_or("held");
    let mut text = format!(
        "unit {}: {}, writes at {side}; plan {}\n",
        word(&status["unit"]),
        word(&status["stage"]),
        word(&status["plan_hash"])
    );
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
    triggers(&mut text, &status["triggers"]);
    let _ = write!(text, "next: {}", next(status["stage"].as_str()));
    text
}
