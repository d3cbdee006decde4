//! What each command of a person does to the run.

use super::{Conductor, together};
use crate::api::Pick;
use crate::phases::prove_triggers;
use crate::plans;
use crate::unit::{Answer, Unit};
use futures_util::future::join_all;
use segue_model::event::{Actor, Event, UnitEntry};
use segue_model::fleet::Fleet;
use segue_model::state::Stage;
use segue_model::{Fault, FaultKind, RunId, Severity};
use std::sync::Arc;

impl Conductor {
    pub(super) async fn sync(self: &Arc<Self>, hash: &str, pick: &Pick, by: Actor) -> Answer {
        if self.journal.with(|state| state.run.is_some()) {
            self.same_plan(hash)?;
        } else {
            let _turn = self.turn.lock().await;
            let (whole, fleet) = plans::load(&self.dir, hash)?;
            self.begin_run(&whole, fleet, by.clone()).await?;
        }
        let run = self.need_run()?;
        let places = self.places(&run.fleet, |limits| limits.seeds_a_server);
        let all = self.pick(pick)?.into_iter().map(|unit| {
            let (by, places) = (by.clone(), Arc::clone(&places));
            async move {
                if unit.state().excluded.is_some() {
                    return (unit.name().clone(), Ok((0, "excluded".to_owned())));
                }
                let _place = places.take(&unit.plan).await;
                let answer = unit.sync(by).await;
                (unit.name().clone(), answer)
            }
        });
        together(join_all(all).await)
    }

    pub(super) async fn begin_run(&self, hash: &str, fleet: Fleet, by: Actor) -> Result<(), Fault> {
        let mut findings = crate::doctor::machine();
        findings.extend(crate::doctor::plan(&fleet));
        findings.extend(crate::doctor::world(&fleet).await);
        let refusing: Vec<String> = findings
            .iter()
            .filter(|finding| finding.severity == Severity::Refuse)
            .map(ToString::to_string)
            .collect();
        if !refusing.is_empty() {
            return Err(Fault::new(
                "SG0812",
                FaultKind::Invalid,
                "begin the run",
                refusing.join("\n"),
            )
            .hint("nothing was touched; `segue doctor` shows every finding"));
        }
        for plan in &fleet.units {
            prove_triggers(plan)?;
        }
        let run = RunId(uuid::Uuid::now_v7().to_string());
        let waves = fleet.wave_places();
        let entry = |plan: &Arc<segue_model::plan::Plan>| UnitEntry {
            unit: plan.unit.name.clone(),
            plan_hash: segue_plan::hash(plan),
            wave: waves.get(&plan.unit.name).copied().unwrap_or(0),
        };
        self.journal
            .append(Event::RunStarted {
                run: run.clone(),
                name: fleet.name.clone(),
                plan_hash: hash.to_owned(),
                units: fleet.units.iter().map(entry).collect(),
                by,
            })
            .await?;
        self.set_run(fleet, &run);
        Ok(())
    }

    pub(super) async fn rollback(
        self: &Arc<Self>,
        because: String,
        pick: &Pick,
        by: Actor,
    ) -> Answer {
        let mut units = self.pick(pick)?;
        if units.len() > 1 {
            // Only what moved or moves: the rest is where it should be.
            units.retain(|unit| {
                let state = unit.state();
                let moves = matches!(state.stage, Stage::Watching | Stage::Confirmed);
                moves || state.open.is_some() || state.share > 0
            });
        }
        let each = |unit: Arc<Unit>| {
            let (because, by) = (because.clone(), by.clone());
            async move { (unit.name().clone(), unit.rollback(because, by).await) }
        };
        together(join_all(units.into_iter().map(each)).await)
    }

    pub(super) async fn confirm(&self, pick: &Pick, by: Actor) -> Answer {
        let mut units = self.pick(pick)?;
        if units.len() > 1 {
            units.retain(|unit| unit.state().stage == Stage::Watching);
        }
        let mut answers = Vec::new();
        for unit in units {
            answers.push((unit.name().clone(), unit.confirm(by.clone()).await));
        }
        together(answers)
    }

    pub(super) async fn settle(self: &Arc<Self>, hash: &str, pick: &Pick, by: Actor) -> Answer {
        self.same_plan(hash)?;
        let mut units = self.pick(pick)?;
        if units.len() > 1 {
            units.retain(|unit| unit.state().stage == Stage::Confirmed);
        }
        let mut answers = Vec::new();
        for unit in units {
            answers.push((unit.name().clone(), unit.settle(by.clone()).await));
        }
        together(answers)
    }

    pub(super) async fn resume(self: &Arc<Self>, pick: &Pick, by: Actor) -> Answer {
        let mut units = self.pick(pick)?;
        if units.len() > 1 {
            units.retain(|unit| {
                let state = unit.state();
                state.open.is_some() || state.refused.is_some()
            });
            if units.is_empty() {
                return Ok((0, "nothing is open".into()));
            }
        }
        let each = |unit: Arc<Unit>| {
            let by = by.clone();
            async move { (unit.name().clone(), unit.resume(by).await) }
        };
        together(join_all(units.into_iter().map(each)).await)
    }
}
