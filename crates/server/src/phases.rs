//! What the conductor knows of phases: their tables, what they remember, how they end.

use crate::active::Active;
use segue_engine::{Ended, Table};
use segue_migration::tables::{self, Remembered};
use segue_model::event::{Event, Phase};
use segue_model::plan::Plan;
use segue_model::state::RunState;
use segue_model::{Fault, Side, Way};
use serde_json::Value;

pub(crate) fn prove_triggers(plan: &Plan) -> Result<(), Fault> {
    plan.policy.triggers.iter().try_for_each(segue_engine::triggers::prove)
}

pub(crate) fn table_of(phase: Phase, active: &Active, state: &RunState) -> Table {
    let families = &active.families;
    match phase {
        Phase::Sync => tables::sync(families),
        Phase::Prepare => tables::prepare(families),
        Phase::Cutover => tables::cutover(families, Way::Forward, &remembered(state)),
        Phase::Failback => tables::cutover(families, Way::Back, &remembered(state)),
        Phase::Settle => tables::settle(
            families,
            &output_of(state, "lower_ttls").unwrap_or(Value::Null),
            state.confirmed.map(|moment| moment.boot_ms),
        ),
    }
}

/// Returns the newest recorded output of a step in any attempt of the run.
pub(crate) fn output_of(state: &RunState, step: &str) -> Option<Value> {
    let name = segue_model::StepName::from(step);
    state.history.iter().rev().find_map(|past| past.state.facts().get(&name).cloned())
}

pub(crate) fn remembered(state: &RunState) -> Remembered {
    let lowered = output_of(state, "lower_ttls");
    let safe_after = lowered.as_ref().and_then(Value::as_object).map(|zones| {
        zones.values().filter_map(segue_dns::safe_after_gate_value).max().unwrap_or(0)
    });
    Remembered {
        safe_after_wall_ms: safe_after,
        compared: state
            .compared
            .iter()
            .map(|(what, comparison)| {
                (what.clone(), comparison.ended.boot_ms, comparison.differences)
            })
            .collect(),
    }
}

/// Returns the comparisons that the attempt just ended made, as events.
pub(crate) fn comparisons(state: &RunState) -> Vec<Event> {
    let Some(last) = state.history.last() else { return Vec::new() };
    let facts = last.state.facts();
    let output =
        ["check", "compare"].iter().find_map(|step| facts.get(&segue_model::StepName::from(*step)));
    let Some(parts) = output.and_then(Value::as_object) else { return Vec::new() };
    parts
        .iter()
        .filter_map(|(part, detail)| {
            // Without a count nothing was proven, so nothing is recorded as compared.
            let listed =
                detail.get("differences").and_then(Value::as_array).map(|all| all.len() as u64);
            let differences = detail.get("differing").and_then(Value::as_u64).or(listed)?;
            let what = part.split(':').next().unwrap_or(part).to_owned();
            Some(Event::Compared { what, differences, detail: detail.clone() })
        })
        .collect()
}

pub(crate) fn answer(phase: Phase, ended: &Ended, state: &RunState) -> (u8, String) {
    let name = phase.as_str();
    match ended {
        Ended::Completed => {
            let different: u64 =
                state.compared.values().map(|comparison| comparison.differences).sum();
            if different > 0 {
                return (
                    3,
                    format!(
                        "{name} completed, but {different} differences were found: look before you confirm"
                    ),
                );
            }
            (
                0,
                match phase {
                    Phase::Sync => "in step: the target follows the source".to_owned(),
                    Phase::Prepare => "fronts stand and TTLs are low".to_owned(),
                    Phase::Cutover => format!(
                        "the unit is at the {}; watched until `segue confirm`",
                        Side::Target
                    ),
                    Phase::Failback => format!(
                        "the unit is back at the {}; the next cutover needs no new seed",
                        Side::Source
                    ),
                    Phase::Settle => {
                        "settled: former TTLs are back, the way back is closed".to_owned()
                    }
                },
            )
        }
        Ended::Withdrawn { because } => (5, format!("{name} withdrawn: {because}")),
        Ended::Stuck { because, way_out } => {
            (6, format!("{name} is stuck: {because}\n{}", way_out.join("\n")))
        }
    }
}
