//! What each command of a person does.

use super::{Answer, Conductor, refuse};
use crate::phases::prove_triggers;
use crate::{plans, status};
use segue_engine::Wish;
use segue_model::event::{Actor, Event, Phase};
use segue_model::plan::Plan;
use segue_model::state::Stage;
use segue_model::{Fault, FaultKind, RunId, Severity};
use std::sync::Arc;

impl Conductor {
    pub(super) async fn sync(self: &Arc<Self>, hash: &str, by: Actor) -> Answer {
        let _busy = self.take_turn()?;
        let state = self.journal.state();
        if state.run.is_some() {
            self.same_plan(hash)?;
        } else {
            let (whole, plan) = plans::load(&self.dir, hash)?;
            self.begin_run(&whole, &plan, by.clone()).await?;
        }
        match self.journal.state().stage {
            Stage::Fresh => self.attempt(Phase::Sync, by, String::new()).await,
            Stage::Settled => Ok((0, "the unit is settled: nothing follows any more".into())),
            _ => self.compare_again().await,
        }
    }

    async fn begin_run(self: &Arc<Self>, hash: &str, plan: &Plan, by: Actor) -> Result<(), Fault> {
        let mut findings = crate::doctor::machine();
        findings.extend(crate::doctor::plan(plan));
        findings.extend(crate::doctor::world(plan).await);
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
        prove_triggers(plan)?;
        let run = RunId(uuid::Uuid::now_v7().to_string());
        self.journal
            .append(Event::RunStarted {
                run: run.clone(),
                unit: plan.unit.name.clone(),
                plan_hash: hash.to_owned(),
                plan: segue_plan::canonical(plan),
                by,
            })
            .await?;
        self.activate(plan, &run).await?;
        Ok(())
    }

    pub(super) async fn cutover(
        self: &Arc<Self>,
        hash: &str,
        prepare_only: bool,
        by: Actor,
    ) -> Answer {
        let _busy = self.take_turn()?;
        self.same_plan(hash)?;
        if self.journal.state().stage == Stage::Synced {
            let ended = self.attempt(Phase::Prepare, by.clone(), String::new()).await?;
            if ended.0 != 0 || prepare_only {
                return Ok(ended);
            }
        }
        if prepare_only {
            return Ok((0, "fronts stand and TTLs are low".into()));
        }
        self.attempt(Phase::Cutover, by, String::new()).await
    }

    pub(super) async fn rollback(self: &Arc<Self>, because: String, by: Actor) -> Answer {
        let state = self.journal.state();
        if let Some(open) = &state.open {
            let phase = open.attempt.phase;
            let crossed = open.crossed();
            if phase == Phase::Failback {
                return Ok((0, "a failback is under way already".into()));
            }
            if !crossed {
                self.wish.send_replace(Wish::TurnBack { by: by.clone(), because: because.clone() });
            }
            // Wait for the open table: either it withdraws or it completes and is failed back.
            let _busy = self.busy.lock().await;
            let now = self.journal.state();
            if now.stage < Stage::Watching {
                return Ok((
                    0,
                    format!("{} withdrawn; service goes on at the source", phase.as_str()),
                ));
            }
            return self.attempt(Phase::Failback, by, because).await;
        }
        let _busy = self.take_turn()?;
        match state.stage {
            Stage::Watching | Stage::Confirmed => self.attempt(Phase::Failback, by, because).await,
            Stage::Settled => {
                Err(refuse("roll back", "the unit is settled: the point of no return was passed"))
            }
            _ => Ok((0, "nothing to roll back: the unit is at the source".into())),
        }
    }

    pub(super) async fn confirm(&self, by: Actor) -> Answer {
        // The first of this and a trigger's failback wins: the journal decides.
        let appended = self
            .journal
            .append_if(Event::Confirmed { by }, |state| {
                state.stage == Stage::Watching && state.open.is_none()
            })
            .await?;
        match appended {
            Some(_) => Ok((0, "confirmed: only a person fails it back from now on".into())),
            None => Err(refuse(
                "confirm",
                "the unit is not being watched: a failback began or no cutover ended",
            )),
        }
    }

    pub(super) async fn settle(self: &Arc<Self>, hash: &str, by: Actor) -> Answer {
        let _busy = self.take_turn()?;
        self.same_plan(hash)?;
        if self.journal.state().stage != Stage::Confirmed {
            return Err(
                refuse("settle", "the unit is not confirmed").hint("run `segue confirm` first")
            );
        }
        self.attempt(Phase::Settle, by, String::new()).await
    }

    pub(super) async fn resume(self: &Arc<Self>, by: Actor) -> Answer {
        let state = self.journal.state();
        match &state.open {
            Some(open) if open.stuck.is_some() => {
                let _busy = self.take_turn()?;
                let phase = open.attempt.phase;
                self.journal.append(Event::AttemptResumed { by }).await?;
                self.execute(phase).await
            }
            Some(_) => {
                // The controller took the attempt up when it started; wait for its end.
                let _busy = self.busy.lock().await;
                Ok((status::exit(&self.journal.state()), "the open attempt has ended".into()))
            }
            None if state.refused.is_some() => {
                let _busy = self.take_turn()?;
                self.attempt(Phase::Failback, by, "asked for after a refused failback".into()).await
            }
            None => Ok((0, "nothing is open".into())),
        }
    }

    fn same_plan(&self, hash: &str) -> Result<(), Fault> {
        let state = self.journal.state();
        let Some(own) = &state.plan_hash else {
            return Err(
                refuse("find the run", "no run has begun").hint("`segue sync HASH` begins one")
            );
        };
        if hash.len() >= 8 && own.starts_with(hash) {
            return Ok(());
        }
        Err(Fault::new(
            "SG0814",
            FaultKind::Conflict,
            "compare the plan's hash",
            format!("this run executes plan {own}, not {hash}"),
        )
        .hint("what was approved is what runs; another plan needs a run directory of its own"))
    }
}
