//! The watch over a unit: triggers, their verdicts, and what they start.
//!
//! Alerts are watched for as long as the copies are kept up. What moves something is watched
//! for from the end of the cutover to confirm, and only by what was measured since.

mod split;

use crate::active::Active;
use crate::commit_timer;
use crate::conductor::Conductor;
use crate::rest::{Rest, Round};
use crate::unit::Unit;
use futures_util::future::join_all;
use segue_database::MariaReplica;
use segue_engine::triggers::{
    Judgement, LEVEL_MS, Level, Position, Reaction, judge_on, level_wanted, react,
};
use segue_model::event::{Actor, Event, Phase};
use segue_model::gate::{Judged, Scope, Standing, Trigger, TriggerAction};
use segue_model::state::{Stage, UnitState};
use segue_model::{Side, UnitName, What};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often triggers are asked.
const EVERY: Duration = Duration::from_millis(200);
/// A change between calm and no data is recorded once it lasted so long, milliseconds: a
/// sampler that misses a turn now and then shall not fill the journal.
const LASTS_MS: u64 = 5_000;

/// Units that are followed and cannot go back by themselves are looked at once in so many
/// turns: what they may start is an alert.
const FOLLOWED_EVERY: u64 = 5;

/// Starts the watch; it lasts as long as the controller.
pub(crate) fn start(conductor: &Arc<Conductor>) {
    let conductor = Arc::clone(conductor);
    tokio::spawn(async move {
        let mut watches: BTreeMap<UnitName, Watch> = BTreeMap::new();
        let mut rest = Rest::default();
        for turn in 0_u64.. {
            conductor.clock.sleep(EVERY).await;
            let units = if turn % FOLLOWED_EVERY == 0 {
                let Round { awake, asleep } = rest.round(&conductor);
                for unit in &asleep {
                    // Its next turn counts from its own beginning.
                    watches.entry(unit.clone()).or_default().since = None;
                }
                awake
            } else {
                conductor.units_that(|state| state.stage == Stage::Watching || state.is_split())
            };
            for unit in units {
                let watch = watches.entry(unit.name().clone()).or_default();
                if let Some(due) = watch.look(&unit).await {
                    // A failback takes its time, and the other units are watched meanwhile.
                    tokio::spawn(carry_out(Arc::clone(&conductor), unit, due));
                }
            }
        }
    });
}

/// What a trigger made due, as data. A reaction of the scope `Wave` concerns every unit of
/// the wave; what is carried out here is this unit's part of it.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) trigger: Trigger,
    /// The numbers.
    pub(crate) because: String,
    pub(crate) reaction: Reaction,
}

/// What is remembered between two looks.
#[derive(Default)]
struct Watch {
    /// From when on samples count, by the boot clock, and whether something may move.
    since: Option<(u64, bool)>,
    /// Levels before the cutover.
    levels: BTreeMap<What, Level>,
    recorded: BTreeMap<String, Recorded>,
}

/// The verdict of a trigger that the journal has, and the one that may follow.
struct Recorded {
    kind: Kind,
    /// Another verdict, and since when.
    next: Option<(Kind, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Calm,
    NoData,
    Fired,
}

impl Watch {
    async fn look(&mut self, unit: &Arc<Unit>) -> Option<Due> {
        let active = unit.active().await?;
        let state = unit.journal.state();
        if active.watching.hear(&state) {
            unit.note_spread(&active).await;
        }
        let followed = (Stage::Synced..Stage::Settled).contains(&state.stage);
        if !followed {
            active.judged(Vec::new());
            self.since = None;
            return None;
        }
        let now_ms = unit.clock.boot_ms();
        let split = unit.plan.policy.split.as_ref().filter(|_| state.is_split());
        if split.is_some() {
            split::look(unit, &active, &state).await;
        }
        let moves = watched_since(&state).or_else(|| split.and_then(|_| split::since(&state)));
        if let Some(since) = state.watching_since.filter(|_| moves.is_some() && split.is_none())
            && commit_timer::look(unit, &state, since).await
        {
            return None;
        }
        self.begin(unit, &active, &state, moves, now_ms).await;
        let (since_ms, _) = self.since?;
        let mut verdicts = Vec::new();
        let mut due = None;
        for trigger in &active.families.plan.policy.triggers {
            if moves.is_none() && trigger.action != TriggerAction::Alert {
                continue;
            }
            let judgement = judge_on(trigger, &active.board, &self.levels, now_ms, since_ms);
            let judged = Judged {
                trigger: trigger.name.clone(),
                standing: judgement.standing,
                because: judgement.because.clone(),
            };
            if self.is_news(&judged, now_ms) {
                record(unit, &judged).await;
            }
            verdicts.push(judged);
            if due.is_none() && moves.is_some() {
                let position = split.map(|plan| split::position(plan, &state));
                due = self.due(unit, trigger, judgement, position).await;
            }
        }
        active.judged(verdicts);
        due
    }

    /// Counts from a new moment once there is one.
    async fn begin(
        &mut self,
        unit: &Arc<Unit>,
        active: &Active,
        state: &UnitState,
        moves: Option<u64>,
        now_ms: u64,
    ) {
        let since = match (moves, self.since) {
            (Some(since_ms), _) => (since_ms, true),
            (None, Some((since_ms, false))) => (since_ms, false),
            (None, _) => (now_ms, false),
        };
        if self.since == Some(since) {
            return;
        }
        self.since = Some(since);
        self.levels = match moves {
            Some(_) => levels(unit, &active.families.plan.policy.triggers, state).await,
            None => BTreeMap::new(),
        };
    }

    /// Says whether the journal wants to know of a verdict.
    fn is_news(&mut self, judged: &Judged, now_ms: u64) -> bool {
        let kind = match judged.standing {
            Standing::Quiet | Standing::Violating { .. } => Kind::Calm,
            Standing::NoData => Kind::NoData,
            Standing::Fired => Kind::Fired,
        };
        let recorded = self
            .recorded
            .entry(judged.trigger.clone())
            .or_insert(Recorded { kind: Kind::Calm, next: None });
        if recorded.kind == kind {
            recorded.next = None;
            return false;
        }
        let since_ms = match recorded.next {
            Some((next, since_ms)) if next == kind => since_ms,
            _ => now_ms,
        };
        let lasts = now_ms.saturating_sub(since_ms) >= LASTS_MS;
        if kind == Kind::Fired || lasts {
            *recorded = Recorded { kind, next: None };
            return true;
        }
        recorded.next = Some((kind, since_ms));
        false
    }

    async fn due(
        &self,
        unit: &Arc<Unit>,
        trigger: &Trigger,
        judgement: Judgement,
        split: Option<Position>,
    ) -> Option<Due> {
        let action = judgement.starts?;
        let position = match split {
            Some(position) => position,
            None => {
                let goes_back = action == TriggerAction::FailBack;
                let loss = if goes_back { loss(unit).await } else { None };
                Position { watching: true, loss, ..Position::default() }
            }
        };
        let reaction = react(trigger, action, &position);
        if reaction == Reaction::Tell {
            return None;
        }
        Some(Due { trigger: trigger.clone(), because: judgement.because, reaction })
    }
}

/// Returns since when something may move by itself, if it may.
fn watched_since(state: &UnitState) -> Option<u64> {
    let watched = state.stage == Stage::Watching && state.open.is_none() && state.refused.is_none();
    let since = state.watching_since.filter(|_| watched)?;
    // Only what was measured after the cutover, or after a failback that withdrew, counts.
    let last_ended_ms = state.history.last().map_or(0, |past| past.ended.boot_ms);
    Some(since.boot_ms.max(last_ended_ms))
}

/// Reads the levels of the minute before the last cutover from `samples.db`: the board has
/// forgotten them after a while, and all of them after a restart.
async fn levels(
    unit: &Arc<Unit>,
    triggers: &[Trigger],
    state: &UnitState,
) -> BTreeMap<What, Level> {
    let cutovers = state.history.iter().rev();
    let last = cutovers.map(|past| &past.state).find(|past| past.attempt.phase == Phase::Cutover);
    let Some(until_ms) = last.map(|past| past.started.at_ms) else { return BTreeMap::new() };
    let wanted: Vec<What> = triggers.iter().filter_map(level_wanted).collect();
    let (dir, name) = (unit.shared.dir.clone(), unit.name().clone());
    let reading = tokio::task::spawn_blocking(move || {
        let from_ms = until_ms.saturating_sub(LEVEL_MS);
        let mut levels = BTreeMap::new();
        for what in wanted {
            match segue_engine::board::samples(&dir, Some(what), from_ms, until_ms) {
                Ok(seconds) => {
                    let own = seconds.iter().filter(|second| second.unit == name);
                    let values: Vec<f64> = own.map(|second| second.avg).collect();
                    levels.extend(Level::of(&values).map(|level| (what, level)));
                }
                Err(fault) => tracing::warn!(%what, %fault, "the level before is unknown"),
            }
        }
        levels
    });
    reading.await.unwrap_or_default()
}

async fn record(unit: &Arc<Unit>, judged: &Judged) {
    if judged.standing == Standing::Fired {
        tracing::warn!(trigger = judged.trigger, because = judged.because, "trigger fired");
    }
    let event = Event::TriggerJudged { judged: judged.clone() };
    if let Err(fault) = unit.journal.append(event).await {
        tracing::warn!(%fault, "a trigger's verdict is not in the journal");
    }
}

/// Does what is due: for the unit, and for its wave if the trigger is about that.
async fn carry_out(conductor: Arc<Conductor>, unit: Arc<Unit>, due: Due) {
    let mates = match &due.reaction {
        Reaction::FailBack(Scope::Wave) => conductor.wave_mates(unit.name()),
        _ => Vec::new(),
    };
    let others = mates.into_iter().map(|mate| {
        let due = Due {
            because: format!("unit `{}` of its wave: {}", unit.name(), due.because),
            ..due.clone()
        };
        async move { for_unit(&mate, due).await }
    });
    let others = join_all(others);
    tokio::join!(for_unit(&unit, due.clone()), others);
}

async fn for_unit(unit: &Arc<Unit>, due: Due) {
    if let Reaction::StepBack { to_percent } = due.reaction {
        return split::carry_out(unit, due, to_percent).await;
    }
    let Ok(_turn) = unit.take_turn() else { return };
    let Due { trigger, because, reaction } = due;
    let fired = Event::TriggerFired { trigger: trigger.name.clone(), because: because.clone() };
    let recorded = unit
        .journal
        .append_if(fired, |state| state.stage == Stage::Watching && state.open.is_none())
        .await;
    if !matches!(recorded, Ok(Some(_))) {
        return;
    }
    match reaction {
        Reaction::Tell => {}
        Reaction::Ask { because: why } => ask(unit, &trigger, &because, &why).await,
        // A plan that asks for it is refused; one of a later version stops here. A step back
        // was carried out above.
        Reaction::StepBack { .. } | Reaction::FailBack(Scope::Mail) => {
            ask(unit, &trigger, &because, "this version cannot do what the plan wants").await;
        }
        Reaction::FailBack(Scope::Unit | Scope::Wave) => {
            let by = Actor::Trigger(trigger.name);
            let ended = unit.attempt(Phase::Failback, by, because).await;
            tracing::info!(?ended, "failback ended");
        }
    }
}

/// Returns why going back now would lose acknowledged writes, if it would.
pub(crate) async fn loss(unit: &Arc<Unit>) -> Option<String> {
    let active = unit.active().await?;
    let ways = active.families.named_databases().map(async |(part, database)| {
        let broken = lost(database).await?;
        Some(match part.split_once(':') {
            Some((_, schema)) => format!("schema `{schema}`: {broken}"),
            None => broken,
        })
    });
    let broken: Vec<String> = join_all(ways).await.into_iter().flatten().collect();
    (!broken.is_empty()).then(|| broken.join("; "))
}

async fn lost(database: &MariaReplica) -> Option<String> {
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

async fn ask(unit: &Arc<Unit>, trigger: &Trigger, because: &str, why: &str) {
    let unreadable = trigger.bound.what == What::DatabaseReadable(Side::Target)
        || trigger.action == TriggerAction::FailBack;
    let first = if unreadable {
        "bring the target's database back and run `segue resume`: the unit then fails back without loss"
    } else {
        "look at what the trigger measured; `segue rollback` takes the unit back without loss while the way back is whole"
    };
    let way_out = vec![
        first.to_owned(),
        "or mend the target and leave the unit there: `segue confirm`".to_owned(),
    ];
    let because = format!("{because}; {why}");
    let refused = Event::FailbackRefused { because, way_out };
    if let Err(fault) = unit.journal.append(refused).await {
        tracing::error!(%fault, "cannot record that a person must choose");
    }
}
