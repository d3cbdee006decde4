//! Cutovers of many units: wave after wave, within limits, inside windows.

use super::{Conductor, Run, together};
use crate::api::Pick;
use crate::places::Places;
use crate::unit::{Answer, Unit, refuse};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use segue_migration::fleet::{Missing, Turn, missing, missing_for_drill, turn, wave_to_run};
use segue_model::event::{Actor, Event};
use segue_model::fleet::{Fleet, Limits, Strategy};
use segue_model::{Fault, UnitName};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Exit code of a command that waits at a gate.
pub(super) const WAITS: u8 = 4;

impl Conductor {
    /// Cuts over the units that are named, or else the next wave.
    pub(super) async fn cutover(
        self: &Arc<Self>,
        hash: &str,
        prepare_only: bool,
        pick: &Pick,
        by: Actor,
    ) -> Answer {
        self.same_plan(hash)?;
        let run = self.need_run()?;
        let together = run.fleet.schedule.strategy == Strategy::MaintenanceWindow;
        if prepare_only || !pick.units.is_empty() && !together || run.units.len() == 1 && !together
        {
            return self.cutover_named(&run, prepare_only, pick, by).await;
        }
        let _turn = self.turn.try_lock().map_err(|_| busy())?;
        match run.fleet.schedule.strategy {
            Strategy::Waves => {}
            Strategy::AllAtOnce => return self.cutover_all(&run, by).await,
            Strategy::MaintenanceWindow => return self.cutover_together(&run, pick, by).await,
        }
        let wave = pick.wave.or_else(|| wave_to_run(&run.fleet, &self.journal.state()));
        let Some(wave) = wave else { return Ok((0, "every wave is over".into())) };
        self.wave(&run, wave, by).await
    }

    /// Units that a person names start whatever their wave says, but not what is lacking.
    async fn cutover_named(
        self: &Arc<Self>,
        run: &Arc<Run>,
        prepare_only: bool,
        pick: &Pick,
        by: Actor,
    ) -> Answer {
        let places = self.places(&run.fleet, |limits| limits.cutovers_a_server);
        let all = self.pick(pick)?.into_iter().map(|unit| {
            let (by, places) = (by.clone(), Arc::clone(&places));
            async move {
                let name = unit.name().clone();
                if !prepare_only && let Some(answer) = self.lacking(run, &name) {
                    return (name, Ok(answer));
                }
                let _place = places.take(&unit.plan).await;
                (name, unit.cutover(prepare_only, by).await)
            }
        });
        together(futures_util::future::join_all(all).await)
    }

    /// Drills units one after another: each pauses a live site.
    pub(super) async fn drill(self: &Arc<Self>, hash: &str, pick: &Pick, by: Actor) -> Answer {
        self.same_plan(hash)?;
        let run = self.need_run()?;
        if run.units.len() > 1 && *pick == Pick::default() {
            return Err(refuse("drill", "the run has many units, and each drill pauses one live")
                .hint("name them: `--unit U`, or `--wave N`; nothing was touched"));
        }
        let mut answers = Vec::new();
        for unit in self.pick(pick)? {
            let name = unit.name().clone();
            let now_ms = self.clock.wall_ms();
            let lacks =
                self.journal.with(|state| missing_for_drill(&run.fleet, state, &name, now_ms));
            let answer = if lacks.is_empty() {
                unit.drill(by.clone()).await
            } else {
                Ok((WAITS, told(&lacks)))
            };
            answers.push((name, answer));
        }
        together(answers)
    }

    /// Splits the traffic of every unit that may begin, all at the same time: most of it is
    /// waiting. Taking a split back asks for nothing.
    pub(super) async fn split(
        self: &Arc<Self>,
        hash: &str,
        back: bool,
        pick: &Pick,
        by: Actor,
    ) -> Answer {
        self.same_plan(hash)?;
        let run = self.need_run()?;
        let mut units = self.pick(pick)?;
        if units.len() > 1 {
            units.retain(|unit| {
                if back { unit.state().is_split() } else { unit.plan.policy.split.is_some() }
            });
            if units.is_empty() {
                let none = if back { "no traffic is split" } else { "no unit's plan has a split" };
                return Ok((0, none.into()));
            }
        }
        let each = units.into_iter().map(|unit| {
            let by = by.clone();
            let name = unit.name().clone();
            let now_ms = self.clock.wall_ms();
            let lacks =
                self.journal.with(|state| missing_for_drill(&run.fleet, state, &name, now_ms));
            async move {
                let answer = match back {
                    true => unit.unsplit(by).await,
                    false if lacks.is_empty() => unit.split(by).await,
                    false => Ok((WAITS, told(&lacks))),
                };
                (name, answer)
            }
        });
        together(futures_util::future::join_all(each).await)
    }

    /// Returns the answer for a unit that lacks something.
    pub(super) fn lacking(&self, run: &Run, unit: &UnitName) -> Option<(u8, String)> {
        let now_ms = self.clock.wall_ms();
        let lacks = self.journal.with(|state| missing(&run.fleet, state, unit, now_ms));
        (!lacks.is_empty()).then(|| (WAITS, told(&lacks)))
    }

    pub(super) async fn wave(self: &Arc<Self>, run: &Arc<Run>, wave: u32, by: Actor) -> Answer {
        let begun = self
            .journal
            .with(|state| state.waves.get(&wave).is_some_and(|known| known.started.is_some()));
        if !begun {
            self.journal.append(Event::WaveStarted { wave, by: by.clone() }).await?;
        }
        let places = self.places(&run.fleet, |limits| limits.cutovers_a_server);
        let mut running: BTreeSet<UnitName> = BTreeSet::new();
        let mut cutovers = FuturesUnordered::new();
        let mut waits: Option<(u8, String)> = None;
        let mut moved = 0_usize;
        loop {
            let state = self.journal.state();
            let next = turn(&run.fleet, &state, wave, &running, self.clock.wall_ms());
            match next {
                Turn::Start(units) if waits.is_none() => {
                    let room = run.fleet.schedule.limits.cutovers.saturating_sub(running.len());
                    for name in units.into_iter().take(room) {
                        if let Some(answer) = self.lacking(run, &name) {
                            waits = Some((answer.0, format!("{name}: {}", answer.1)));
                            break;
                        }
                        let Some(unit) = run.units.get(&name).cloned() else { continue };
                        running.insert(name);
                        cutovers.push(start(unit, Arc::clone(&places), by.clone()));
                    }
                }
                Turn::Stop(because) if cutovers.is_empty() => {
                    return self.stopped(wave, because).await;
                }
                Turn::Stop(because) => self.stop_wave(wave, because).await?,
                Turn::Done if cutovers.is_empty() => {
                    return self.completed(run, wave, moved).await;
                }
                Turn::Start(_) | Turn::Wait | Turn::Done => {}
            }
            let Some((name, answer)) = cutovers.next().await else {
                return Ok(waits.unwrap_or_else(|| {
                    (WAITS, format!("wave {wave} waits for units that others are moving"))
                }));
            };
            running.remove(&name);
            match answer {
                Ok((0 | 3, _)) => moved += 1,
                Ok((_, text)) => tracing::warn!(unit = %name, text, "cutover did not complete"),
                Err(fault) => {
                    // Its attempt did not even begin: the wave must not try it for ever.
                    let because = format!("unit `{name}`: {fault}");
                    self.stop_wave(wave, because).await?;
                }
            }
        }
    }

    pub(super) async fn stop_wave(&self, wave: u32, because: String) -> Result<(), Fault> {
        let event = Event::WaveStopped { wave, because };
        let known = event.clone();
        self.journal.append_if(event, move |state| state.allows(None, &known)).await.map(drop)
    }

    async fn stopped(&self, wave: u32, because: String) -> Answer {
        self.stop_wave(wave, because.clone()).await?;
        let text = format!(
            "wave {wave} stopped: {because}\nits other units stay where they are; `segue wave resume {wave}` lets it go on without that unit"
        );
        Ok((5, text))
    }

    async fn completed(&self, run: &Run, wave: u32, moved: usize) -> Answer {
        self.journal.append(Event::WaveCompleted { wave }).await?;
        let next = wave_to_run(&run.fleet, &self.journal.state());
        let next = next.map_or_else(
            || "it was the last one".to_owned(),
            |next| format!("next: wave {next}, with `segue cutover` again"),
        );
        Ok((0, format!("wave {wave} is over, {moved} units moved just now; {next}")))
    }

    /// Returns the places that servers have for units, by a limit of the plan.
    pub(super) fn places(&self, fleet: &Fleet, limit: fn(&Limits) -> usize) -> Arc<Places> {
        Arc::new(Places::new(limit(&fleet.schedule.limits)))
    }
}

async fn start(unit: Arc<Unit>, places: Arc<Places>, by: Actor) -> (UnitName, Answer) {
    let _place = places.take(&unit.plan).await;
    (unit.name().clone(), unit.cutover(false, by).await)
}

fn told(lacks: &[Missing]) -> String {
    let line = |m: &Missing| format!("{}: {}; {}", m.rule, m.text, m.remedy);
    format!("waits: {}", lacks.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn busy() -> Fault {
    Fault::new("SG0813", segue_model::FaultKind::Busy, "begin", "another wave is under way")
        .hint("`segue watch` shows it; `segue rollback` turns its units round")
}
