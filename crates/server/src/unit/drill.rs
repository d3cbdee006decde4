//! A drill: hold, fence and open the live source again, to know the pause beforehand.

use super::{Answer, Unit, refuse};
use segue_engine::decide::MEASURED;
use segue_model::event::{Actor, Event, Phase};
use segue_model::state::{Direction, PastAttempt, Stage};
use segue_model::{Epoch, Fault, StepName};
use segue_traffic::TrafficTotals;
use serde_json::{Map, Value, json};
use std::sync::Arc;

impl Unit {
    /// Drills the unit; its stage stays what it is.
    pub(crate) async fn drill(self: &Arc<Self>, by: Actor) -> Answer {
        let _busy = self.take_turn()?;
        let stage = self.state().stage;
        if stage < Stage::Prepared && !self.plan.unit.fronts.is_empty() {
            let cause = "its fronts do not stand yet, so nothing would hold its requests";
            return Err(refuse(&format!("drill unit `{}`", self.name()), cause)
                .hint("`segue cutover HASH --prepare-only` first; nothing was touched"));
        }
        self.attempt(Phase::Drill, by, String::new()).await
    }

    /// Puts what the drill that just ended measured into the journal.
    pub(super) async fn note_drilled(&self, totals: Option<&TrafficTotals>) -> Result<(), Fault> {
        let state = self.state();
        let Some(past) = state.history.last() else { return Ok(()) };
        if let Some(event) = measured(past, self.epoch, totals) {
            self.journal.append(event).await?;
        }
        Ok(())
    }
}

/// Returns the drill's result, if it reached its last step, and if nothing but its own undo
/// ended its pause. `totals` are those of the fronts; none for a unit without.
fn measured(past: &PastAttempt, epoch: Epoch, totals: Option<&TrafficTotals>) -> Option<Event> {
    let open = &past.state;
    let over = matches!(&open.direction, Direction::Back { because, .. } if because == MEASURED);
    if open.attempt.phase != Phase::Drill || !over {
        return None;
    }
    // Another controller took the drill up: what it measured includes the time without one.
    if open.steps.values().any(|step| step.epoch != epoch) {
        return None;
    }
    let began = open.pause.began?.boot_ms;
    let after = |name: &StepName, boot_ms: u64| (name.to_string(), json!(boot_ms - began));
    let inside = open.steps.iter().filter(|(_, step)| step.intended.boot_ms >= began);
    let begins: Map<String, Value> =
        inside.clone().map(|(name, step)| after(name, step.intended.boot_ms)).collect();
    let ends: Map<String, Value> =
        inside.map(|(name, step)| after(name, step.latest.boot_ms)).collect();
    let mut detail = json!({ "begins_ms": begins, "undone_ms": ends });
    let own = format!("-{}-{}", Phase::Drill.as_str(), open.attempt.number);
    let pause_ms = match totals {
        Some(totals) => {
            let holds: Vec<_> =
                totals.holds.iter().filter(|hold| hold.hold_id.0.ends_with(&own)).collect();
            if holds.is_empty() || holds.iter().any(|hold| hold.lapsed) {
                return None;
            }
            detail["measured_by"] = json!("fronts");
            detail["held"] = holds.iter().map(|hold| hold.held_count).sum::<u64>().into();
            detail["refused_503"] = holds.iter().map(|hold| hold.refused_503).sum::<u64>().into();
            let longest = holds.iter().map(|hold| hold.held_max_ms).fold(0.0, f64::max);
            detail["longest_wait_ms"] = longest.into();
            let paused = holds.iter().map(|hold| Some(hold.released_ms? - hold.began_ms));
            paused.collect::<Option<Vec<u64>>>()?.into_iter().max()?
        }
        None => {
            let fence = open.steps.get(&StepName::from("fence"))?;
            detail["measured_by"] = json!("fence");
            fence.latest.boot_ms.saturating_sub(fence.intended.boot_ms)
        }
    };
    #[allow(clippy::cast_precision_loss)] // Milliseconds of a pause.
    Some(Event::UnitDrilled { pause_ms: pause_ms as f64, detail })
}
