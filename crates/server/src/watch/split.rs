//! The watch over a split: from its first share to its end or the cutover.
//!
//! While its table is executed, harm is a matter of its gates, and triggers step back; once the
//! table is through and the share stands, both are watched here.

use super::Due;
use crate::active::Active;
use crate::unit::Unit;
use segue_engine::triggers::{Position, Split};
use segue_model::event::{Actor, Event, Phase};
use segue_model::plan::SplitPlan;
use segue_model::state::UnitState;
use std::sync::Arc;

/// Returns where a unit stands whose traffic is split.
pub(super) fn position(plan: &SplitPlan, state: &UnitState) -> Position {
    let at = plan.shares.iter().rposition(|share| *share <= state.share && state.share > 0);
    Position { split: Some(Split { steps: plan.shares.clone(), at }), ..Position::default() }
}

/// Returns since when the present share stands, by the boot clock: older samples say nothing
/// of it.
pub(super) fn since(state: &UnitState) -> Option<u64> {
    if state.share == 0 {
        return None;
    }
    let of_split = |phase| matches!(phase, Phase::Split);
    let open = state.open.as_ref().filter(|open| of_split(open.attempt.phase));
    let steps = match open {
        Some(open) => &open.steps,
        None => &state.history.iter().rev().find(|p| of_split(p.state.attempt.phase))?.state.steps,
    };
    steps.values().filter(|step| step.done_at().is_some()).map(|step| step.latest.boot_ms).max()
}

/// Ends a split that stands and does harm.
pub(super) async fn look(unit: &Arc<Unit>, active: &Active, state: &UnitState) {
    let Some(plan) = unit.plan.policy.split.as_ref() else { return };
    if state.share == 0 || state.open.is_some() {
        return;
    }
    let Some(because) = segue_migration::harm_of_split(&active.families, plan).await else {
        return;
    };
    let trigger = "split_harm".to_owned();
    tracing::warn!(unit = %unit.name(), because, "the split does harm");
    let fired = Event::TriggerFired { trigger: trigger.clone(), because: because.clone() };
    let standing = |state: &UnitState| state.share > 0 && state.open.is_none();
    if matches!(unit.journal.append_if(fired, standing).await, Ok(Some(_))) {
        let unit = Arc::clone(unit);
        tokio::spawn(async move { unit.step_back(Actor::Trigger(trigger), because, 0).await });
    }
}

/// Carries out what a trigger made due while the traffic is split.
pub(super) async fn carry_out(unit: &Arc<Unit>, due: Due, to_percent: u8) {
    let fired =
        Event::TriggerFired { trigger: due.trigger.name.clone(), because: due.because.clone() };
    let split = |state: &UnitState| state.is_split();
    if matches!(unit.journal.append_if(fired, split).await, Ok(Some(_))) {
        let by = Actor::Trigger(due.trigger.name);
        unit.step_back(by, due.because, to_percent).await;
    }
}
