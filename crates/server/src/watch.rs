//! The watch over a promoted unit: triggers, and what they start.

use crate::commit_timer;
use crate::conductor::Conductor;
use crate::unit::Unit;
use segue_engine::triggers::fires;
use segue_model::event::{Actor, Event, Phase};
use segue_model::gate::{Trigger, TriggerAction};
use segue_model::state::Stage;
use std::sync::Arc;
use std::time::Duration;

/// How often triggers are asked.
const EVERY: Duration = Duration::from_millis(200);

/// Starts the watch; it lasts as long as the controller.
pub(crate) fn start(conductor: &Arc<Conductor>) {
    let conductor = Arc::clone(conductor);
    tokio::spawn(async move {
        loop {
            conductor.clock.sleep(EVERY).await;
            for unit in conductor.watched() {
                look(&unit).await;
            }
        }
    });
}

async fn look(unit: &Arc<Unit>) {
    let state = unit.state();
    let watched = state.stage == Stage::Watching && state.open.is_none() && state.refused.is_none();
    let (true, Some(since), Some(active)) = (watched, state.watching_since, unit.active().await)
    else {
        return;
    };
    if commit_timer::look(unit, &state, since).await {
        return;
    }
    let now_ms = unit.clock.boot_ms();
    // Only what was measured after the cutover, or after a failback that withdrew, counts.
    let last_ended_ms = state.history.last().map_or(0, |past| past.ended.boot_ms);
    let since_ms = since.boot_ms.max(last_ended_ms);
    for trigger in &active.families.plan.policy.triggers {
        let samples = active.board.window(trigger.bound.what, trigger.for_ms);
        if let Some(because) = fires(trigger, &samples, now_ms, since_ms) {
            fire(unit, trigger, because).await;
            return;
        }
    }
}

async fn fire(unit: &Arc<Unit>, trigger: &Trigger, because: String) {
    let Ok(_turn) = unit.take_turn() else { return };
    tracing::warn!(trigger = trigger.name, because, "trigger fired");
    let fired = Event::TriggerFired { trigger: trigger.name.clone(), because: because.clone() };
    let recorded = unit
        .journal
        .append_if(fired, |state| state.stage == Stage::Watching && state.open.is_none())
        .await;
    if !matches!(recorded, Ok(Some(_))) {
        return;
    }
    match trigger.action {
        TriggerAction::HoldAndAsk => ask(unit, because).await,
        TriggerAction::FailBack => {
            if let Some(loss) = loss(unit).await {
                ask(unit, loss).await;
                return;
            }
            let by = Actor::Trigger(trigger.name.clone());
            let ended = unit.attempt(Phase::Failback, by, because).await;
            tracing::info!(?ended, "failback ended");
        }
    }
}

/// Returns why going back now would lose acknowledged writes, if it would.
pub(crate) async fn loss(unit: &Arc<Unit>) -> Option<String> {
    let active = unit.active().await?;
    let database = active.families.database.as_ref()?;
    match database.way_back().await {
        Ok(way_back) if way_back.is_whole() => None,
        Ok(way_back) => Some(format!(
            "the way back is not whole, so what was written at the target and has not come back would be lost ({}); last position that came back: {}",
            if way_back.target_readable {
                "the stream back does not run"
            } else {
                &way_back.because
            },
            way_back.reached
        )),
        Err(fault) => Some(format!("it is unknown what has come back from the target: {fault}")),
    }
}

pub(crate) async fn ask(unit: &Arc<Unit>, because: String) {
    let way_out = vec![
        "bring the target's database back and run `segue resume`: the unit then fails back without loss".to_owned(),
        "or mend the target and leave the unit there: `segue confirm`".to_owned(),
    ];
    let refused = Event::FailbackRefused { because, way_out };
    if let Err(fault) = unit.journal.append(refused).await {
        tracing::error!(%fault, "cannot record that a person must choose");
    }
}
