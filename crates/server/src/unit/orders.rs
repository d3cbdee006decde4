//! What each command of a person does to a unit.

use super::{Answer, Came, Unit, refuse};
use crate::status;
use segue_engine::Wish;
use segue_model::event::{Actor, Event, Phase};
use segue_model::state::Stage;
use std::sync::Arc;

impl Unit {
    pub(crate) async fn sync(self: &Arc<Self>, by: Actor) -> Answer {
        let _busy = self.take_turn()?;
        match self.state().stage {
            Stage::Fresh => {
                self.activate().await?;
                self.attempt(Phase::Sync, by, String::new()).await
            }
            Stage::Settled => Ok((0, "the unit is settled: nothing follows any more".into())),
            _ => self.compare_again().await,
        }
    }

    pub(crate) async fn cutover(self: &Arc<Self>, prepare_only: bool, by: Actor) -> Answer {
        let _busy = self.take_turn()?;
        if self.state().stage == Stage::Synced {
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

    /// Gives the target a rising share of the requests that read.
    pub(crate) async fn split(self: &Arc<Self>, by: Actor) -> Answer {
        if self.plan.policy.split.is_none() {
            return Err(refuse("split the traffic", "the plan has no `[policy.split]`")
                .hint("a cutover needs no split; nothing was touched"));
        }
        let _busy = self.take_turn()?;
        if self.state().stage == Stage::Synced {
            let ended = self.attempt(Phase::Prepare, by.clone(), String::new()).await?;
            if ended.0 != 0 {
                return Ok(ended);
            }
        }
        if self.state().share > 0 {
            return Err(refuse("split the traffic", "it is split already")
                .hint("`segue split --back` ends that split; `segue cutover` takes all along"));
        }
        self.attempt(Phase::Split, by, String::new()).await
    }

    /// Sends every request to the source again.
    pub(crate) async fn unsplit(self: &Arc<Self>, by: Actor) -> Answer {
        let because = "asked to end the split";
        if let Some(open) = &self.state().open {
            if open.attempt.phase != Phase::Split {
                return Err(refuse("end the split", "another table is being executed")
                    .hint("`segue watch` shows it; a cutover ends the split by itself"));
            }
            self.wish.send_replace(Wish::TurnBack { by: by.clone(), because: because.into() });
            let _busy = self.busy.lock().await;
            if self.state().share == 0 {
                return Ok((0, "the split is taken back: every request goes to the source".into()));
            }
            // It had ended before it could turn round.
            return self.attempt(Phase::Unsplit, by, because.into()).await;
        }
        let _busy = self.take_turn()?;
        if self.state().share == 0 {
            return Ok((0, "the traffic is not split".into()));
        }
        self.attempt(Phase::Unsplit, by, because.into()).await
    }

    /// Takes the target's share back by itself: all of it, or the last step up.
    pub(crate) async fn step_back(self: &Arc<Self>, by: Actor, because: String, to_percent: u8) {
        let state = self.state();
        let open = state.open.as_ref().filter(|open| open.attempt.phase == Phase::Split);
        let Some(open) = open else {
            let Ok(_busy) = self.take_turn() else { return };
            if self.state().share > 0 {
                let ended = self.attempt(Phase::Unsplit, by, because).await;
                tracing::info!(?ended, "the split was ended");
            }
            return;
        };
        let last = open.table.iter().flat_map(|table| table.steps.iter().rev()).find_map(|step| {
            let done = open.steps.get(&step.name)?.done_at()?;
            Some((step.name.clone(), done))
        });
        let wish = match last {
            Some((step, done)) if to_percent > 0 => Wish::StepBack { step, done },
            _ => Wish::TurnBack { by, because },
        };
        self.wish.send_replace(wish);
    }

    /// Makes its open cutover turn round, if that still can.
    pub(crate) fn turn_round(&self, because: &str) {
        let state = self.state();
        let open = state.open.as_ref().filter(|open| open.attempt.phase == Phase::Cutover);
        if open.is_some_and(|open| !open.crossed()) {
            let (by, because) = (Actor::Controller, because.to_owned());
            self.wish.send_replace(Wish::TurnBack { by, because });
        }
    }

    pub(crate) async fn rollback(self: &Arc<Self>, because: String, by: Actor) -> Answer {
        let state = self.state();
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
            let now = self.state();
            if now.stage < Stage::Watching && now.share > 0 {
                // A split that was through before it could turn round.
                return self.attempt(Phase::Unsplit, by, because).await;
            }
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
            _ if state.share > 0 => self.attempt(Phase::Unsplit, by, because).await,
            _ => Ok((0, "nothing to roll back: the unit is at the source".into())),
        }
    }

    pub(crate) async fn confirm(&self, by: Actor) -> Answer {
        // The first of this, the commit timer and a trigger's failback wins: the journal
        // decides.
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

    pub(crate) async fn settle(self: &Arc<Self>, by: Actor) -> Answer {
        let _busy = self.take_turn()?;
        if self.state().stage != Stage::Confirmed {
            return Err(
                refuse("settle", "the unit is not confirmed").hint("run `segue confirm` first")
            );
        }
        self.attempt(Phase::Settle, by, String::new()).await
    }

    pub(crate) async fn resume(self: &Arc<Self>, by: Actor) -> Answer {
        let state = self.state();
        match &state.open {
            Some(open) if open.stuck.is_some() => {
                let _busy = self.take_turn()?;
                let phase = open.attempt.phase;
                self.journal.append(Event::AttemptResumed { by }).await?;
                self.execute(phase, Came::Later).await
            }
            Some(_) => {
                // The controller took the attempt up when it started; wait for its end.
                let _busy = self.busy.lock().await;
                // One that broke off, for want of a resource, is tried again.
                let now = self.state();
                match now.open.as_ref().filter(|open| open.stuck.is_none()) {
                    Some(open) => self.execute(open.attempt.phase, Came::Later).await,
                    None => Ok((status::exit(&now), "the open attempt has ended".into())),
                }
            }
            None if state.refused.is_some() => {
                let _busy = self.take_turn()?;
                self.attempt(Phase::Failback, by, "asked for after a refused failback".into()).await
            }
            None => Ok((0, "nothing is open".into())),
        }
    }
}
