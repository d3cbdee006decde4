//! What the conductor knows of phases: their tables, what they remember, how they end.

use crate::active::Active;
use segue_engine::decide::MEASURED;
use segue_engine::{Ended, Table};
use segue_migration::fleet::Meeting;
use segue_migration::tables::{self, Remembered};
use segue_model::event::{Event, Phase};
use segue_model::plan::Plan;
use segue_model::state::UnitState;
use segue_model::{Fault, Side, Way};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) fn prove_triggers(plan: &Plan) -> Result<(), Fault> {
    plan.policy.triggers.iter().try_for_each(segue_engine::triggers::prove)
}

pub(crate) fn table_of(
    phase: Phase,
    active: &Active,
    state: &UnitState,
    meeting: &Arc<Meeting>,
) -> Table {
    let families = &active.families;
    match phase {
        Phase::Cutover if families.plan.policy.maintenance_budget_ms.is_some() => {
            tables::window(families, &remembered(state), meeting)
        }
        Phase::Sync => tables::sync(families),
        Phase::Prepare => tables::prepare(families),
        Phase::Split => tables::split(families),
        Phase::Unsplit => tables::unsplit(families),
        Phase::Drill => tables::drill(families, &remembered(state)),
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
pub(crate) fn output_of(state: &UnitState, step: &str) -> Option<Value> {
    let name = segue_model::StepName::from(step);
    state.history.iter().rev().find_map(|past| past.state.facts().get(&name).cloned())
}

pub(crate) fn remembered(state: &UnitState) -> Remembered {
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

/// Returns the comparisons that the attempt just ended made, as events: one for each kind.
pub(crate) fn comparisons(state: &UnitState) -> Vec<Event> {
    let Some(last) = state.history.last() else { return Vec::new() };
    let facts = last.state.facts();
    ["check", "compare"]
        .iter()
        .find_map(|step| facts.get(&segue_model::StepName::from(*step)))
        .and_then(Value::as_object)
        .map_or_else(Vec::new, compared)
}

/// Joins the parts of a comparison by kind: `files:site` and `files:mail` are `files`.
/// A kind of which one part has no count was not compared: nothing was proven.
pub(crate) fn compared(parts: &Map<String, Value>) -> Vec<Event> {
    let mut kinds: BTreeMap<&str, (Option<u64>, Map<String, Value>)> = BTreeMap::new();
    for (part, detail) in parts {
        let kind = part.split(':').next().unwrap_or(part);
        let (sum, all) = kinds.entry(kind).or_insert_with(|| (Some(0), Map::new()));
        let differences = detail.get("differences").and_then(Value::as_u64);
        *sum = sum.zip(differences).map(|(sum, more)| sum + more);
        all.insert(part.clone(), detail.clone());
    }
    kinds
        .into_iter()
        .filter_map(|(kind, (sum, all))| {
            Some(Event::Compared { what: kind.to_owned(), differences: sum?, detail: all.into() })
        })
        .collect()
}

pub(crate) fn answer(phase: Phase, ended: &Ended, state: &UnitState) -> (u8, String) {
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
                    Phase::Drill => "nothing changed".to_owned(),
                    Phase::Split => format!(
                        "the target has {} % of the visitors who read and is no worse; `segue cutover` takes everything along",
                        state.share
                    ),
                    Phase::Unsplit => "every request goes to the source".to_owned(),
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
        Ended::Withdrawn { because } if phase == Phase::Drill && because == MEASURED => {
            (0, drilled(state))
        }
        Ended::Withdrawn { because } => (5, format!("{name} withdrawn: {because}")),
        Ended::Stuck { because, way_out } => {
            (6, format!("{name} is stuck: {because}\n{}", way_out.join("\n")))
        }
    }
}

/// Says what the drill that just ended measured.
fn drilled(state: &UnitState) -> String {
    let since = state.history.last().map_or(0, |past| past.ended.seq);
    let went_on = "service went on at the source and nothing was switched";
    match &state.drilled {
        Some((at, pause_ms)) if at.seq > since => {
            format!("drill over: writes paused for {pause_ms:.0} ms on the live source; {went_on}")
        }
        _ => format!("drill over, but its pause is unknown: the fronts could not tell; {went_on}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kinds(parts: &Value) -> Vec<(String, u64)> {
        let events = compared(parts.as_object().expect("an object"));
        let kind = |event| match event {
            Event::Compared { what, differences, .. } => (what, differences),
            other => panic!("{other:?}"),
        };
        events.into_iter().map(kind).collect()
    }

    #[test]
    fn a_comparison_of_several_trees_has_the_differences_of_all() {
        let parts = json!({
            "database": { "differences": 0 },
            "files:site": { "differences": 2 },
            "files:uploads": { "differences": 0 },
        });
        assert_eq!(kinds(&parts), [("database".into(), 0), ("files".into(), 2)]);
    }

    #[test]
    fn a_part_without_a_count_proves_nothing() {
        let parts = json!({
            "database": { "differences": null },
            "files:site": { "differences": 0 },
            "files:uploads": {},
        });
        assert_eq!(kinds(&parts), []);
    }
}
