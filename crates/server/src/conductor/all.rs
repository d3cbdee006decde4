//! Cutovers of every unit: in one go, or together inside one pause.

use super::waves::WAITS;
use super::{Conductor, Run, together};
use crate::api::Pick;
use crate::unit::{Answer, Unit};
use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use segue_migration::fleet::{Meeting, Standing, standing};
use segue_model::event::{Actor, Event};
use segue_model::state::{RunState, Stage};
use segue_model::{Fault, UnitName};
use std::fmt::Write as _;
use std::sync::Arc;

/// The only wave of a strategy without waves.
const WAVE: u32 = 1;
/// So many units are told of one by one.
const TOLD: usize = 10;

impl Conductor {
    /// Every unit of the run in one go, within the servers' limits: nothing starts unless
    /// everything can.
    pub(super) async fn cutover_all(self: &Arc<Self>, run: &Arc<Run>, by: Actor) -> Answer {
        let over = |state: &RunState| state.waves.get(&WAVE).is_some_and(|w| w.completed.is_some());
        if self.journal.with(over) {
            return Ok((0, "every unit has moved".into()));
        }
        let units = self.able(run, run.units.values().cloned().collect(), &[Standing::Ready]);
        let prepared = self.ready_all(run, units, &by).await;
        match prepared {
            Ok(None) => self.wave(run, WAVE, by).await,
            Ok(Some(waits)) => Ok(waits),
            Err(fault) => Err(fault),
        }
    }

    /// Every unit of the run, or those that are named: held together, compared inside the
    /// pause, and switched only if every one is equal.
    pub(super) async fn cutover_together(
        self: &Arc<Self>,
        run: &Arc<Run>,
        pick: &Pick,
        by: Actor,
    ) -> Answer {
        // Whoever asks again means those too that turned round the last time.
        let again = [Standing::Ready, Standing::WentBack];
        let units = self.able(run, self.pick(pick)?, &again);
        let units = match units {
            Ok(units) if units.is_empty() => return Ok((0, "every unit has moved".into())),
            other => other,
        };
        if let Some(waits) = self.ready_all(run, units, &by).await? {
            return Ok(waits);
        }
        // Preparing takes its time, and a window may close meanwhile.
        let chosen = match self.able(run, self.pick(pick)?, &again) {
            Ok(units) => units,
            Err(text) => return Ok((WAITS, format!("nothing starts:\n{text}"))),
        };
        self.begin_round(&by).await?;
        let names: Vec<UnitName> = chosen.iter().map(|unit| unit.name().clone()).collect();
        let meeting = Meeting::of(&self.journal, &names);
        self.shared.meet(Arc::clone(&meeting));
        let mut under_way: FuturesUnordered<_> = chosen
            .iter()
            .map(|unit| {
                let (unit, by) = (Arc::clone(unit), by.clone());
                async move { (unit.name().clone(), unit.cutover(false, by).await) }
            })
            .collect();
        let mut answers = Vec::new();
        while let Some((name, answer)) = under_way.next().await {
            if let Some(why) = failure(&answer) {
                turn_all(&chosen, &meeting, &format!("unit `{name}` did not go on: {why}"));
            }
            answers.push((name, answer));
        }
        self.end_round(run, &meeting, answers).await
    }

    /// Returns the units that stand so that they can move, or what those lack that cannot.
    fn able(
        &self,
        run: &Run,
        units: Vec<Arc<Unit>>,
        fits: &[Standing],
    ) -> Result<Vec<Arc<Unit>>, String> {
        let now_ms = self.clock.wall_ms();
        let mut able = Vec::new();
        let mut behind = Vec::new();
        for unit in units {
            match standing(&unit.state(), now_ms) {
                stands if fits.contains(&stands) => match self.lacking(run, unit.name()) {
                    Some((_, text)) => behind.push(format!("{}: {text}", unit.name())),
                    None => able.push(unit),
                },
                // A unit that went back is left behind once a person let the wave go on; until
                // then the wave stands still by itself.
                Standing::Moved | Standing::Excluded | Standing::Deferred | Standing::WentBack => {}
                Standing::NotSynced => {
                    behind.push(format!("{}: the target does not follow it yet", unit.name()));
                }
                other => behind.push(format!("{}: {other:?}", unit.name())),
            }
        }
        if behind.is_empty() { Ok(able) } else { Err(told(&behind)) }
    }

    /// Prepares every unit, a few at a time, or answers why nothing starts.
    async fn ready_all(
        self: &Arc<Self>,
        run: &Run,
        units: Result<Vec<Arc<Unit>>, String>,
        by: &Actor,
    ) -> Result<Option<(u8, String)>, Fault> {
        let units = match units {
            Ok(units) => units,
            Err(text) => return Ok(Some((WAITS, format!("nothing starts:\n{text}")))),
        };
        let fresh = units.into_iter().filter(|unit| unit.state().stage == Stage::Synced);
        let preparing = fresh.map(|unit| {
            let by = by.clone();
            async move { (unit.name().clone(), unit.cutover(true, by).await) }
        });
        let at_once = run.fleet.schedule.limits.cutovers.max(1);
        let answers: Vec<_> = stream::iter(preparing).buffer_unordered(at_once).collect().await;
        if answers.is_empty() {
            return Ok(None);
        }
        let (exit, text) = together(answers)?;
        Ok((exit != 0).then_some((exit, text)))
    }

    /// Says in the journal that the units begin, once more if they turned round before.
    async fn begin_round(&self, by: &Actor) -> Result<(), Fault> {
        for event in [
            Event::WaveStarted { wave: WAVE, by: by.clone() },
            Event::WaveResumed { wave: WAVE, by: by.clone() },
        ] {
            let known = event.clone();
            self.journal.append_if(event, move |state| state.allows(None, &known)).await?;
        }
        Ok(())
    }

    async fn end_round(
        &self,
        run: &Run,
        meeting: &Meeting,
        answers: Vec<(UnitName, Answer)>,
    ) -> Answer {
        let failed: Vec<String> = answers
            .iter()
            .filter_map(|(name, answer)| Some(format!("{name}: {}", failure(answer)?)))
            .collect();
        let moved = answers.len() - failed.len();
        if failed.is_empty() {
            let waits = |unit: &Arc<Unit>| unit.state().stage < Stage::Watching;
            if !run.units.values().any(waits) {
                let over = Event::WaveCompleted { wave: WAVE };
                let known = over.clone();
                self.journal.append_if(over, move |state| state.allows(None, &known)).await?;
            }
            return Ok((
                0,
                format!("{moved} units are at the target together; watched until `segue confirm`"),
            ));
        }
        // The one that began it says more than those that turned round because of it.
        let began = failed.iter().find(|line| !line.contains("turned round"));
        let because = began.or(failed.first()).cloned().unwrap_or_default();
        self.stop_wave(WAVE, because).await?;
        let lines = told(&failed);
        if meeting.decided() {
            return Ok((
                6,
                format!(
                    "{moved} units are at the target, and others stayed behind:\n{lines}\n`segue rollback` brings those home that moved; `segue cutover` again moves the rest"
                ),
            ));
        }
        Ok((
            5,
            format!(
                "no unit was switched, and service goes on at the source:\n{lines}\n`segue cutover` again begins another pause"
            ),
        ))
    }
}

/// Returns why a unit did not get to the target, if it did not.
fn failure(answer: &Answer) -> Option<String> {
    match answer {
        Ok((0 | 3, _)) => None,
        Ok((_, text)) => Some(text.clone()),
        Err(fault) => Some(fault.to_string()),
    }
}

fn turn_all(units: &[Arc<Unit>], meeting: &Meeting, because: &str) {
    if meeting.decided() {
        return;
    }
    meeting.call_off(because);
    for unit in units {
        unit.turn_round(because);
    }
}

fn told(lines: &[String]) -> String {
    let mut text = lines.iter().take(TOLD).cloned().collect::<Vec<_>>().join("\n");
    if lines.len() > TOLD {
        let _ = write!(text, "\nand {} more", lines.len() - TOLD);
    }
    text
}
