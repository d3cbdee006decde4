//! Which event may follow in which state.

use super::{AttemptState, Direction, Stage, StepStatus, UnitState};
use crate::event::{Actor, Attempt, Event, Phase};
use crate::ids::{Epoch, StepName};
use crate::table::TableShape;

type Legal = Result<(), String>;

fn need(holds: bool, why: &str) -> Legal {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

impl UnitState {
    /// Returns the rule that `event` would break as the unit's next record under `epoch`.
    pub(super) fn legal(&self, event: &Event, epoch: Epoch) -> Legal {
        use Event as E;
        let watched = matches!(self.stage, Stage::Watching | Stage::Confirmed);
        match (event, &self.open) {
            (E::Noted { .. } | E::Compared { .. } | E::Measured { .. }, _) => Ok(()),
            (E::TriggerJudged { .. } | E::UnitRehearsed { .. } | E::UnitDrilled { .. }, _) => {
                Ok(())
            }
            (E::UnitDeferred { .. }, _) => need(self.stage < Stage::Watching, "the unit has moved"),
            (E::UnitExcluded { .. }, open) => self.may_exclude(open.is_some()),
            (E::UnitIncluded { .. }, _) => need(self.excluded.is_some(), "the unit takes part"),
            (E::TriggerFired { .. }, _) => {
                need(watched || self.is_split(), "the unit is not watched")
            }
            (E::FailbackRefused { .. }, None) => need(watched, "the unit is not watched"),
            (E::CommitTimerTold { .. }, None) | (E::Confirmed { .. }, None) => {
                need(self.stage == Stage::Watching, "the unit is not being watched")
            }
            (E::AttemptStarted { attempt, by, .. }, None) => self.may_start(*attempt, by),
            (
                E::FailbackRefused { .. }
                | E::CommitTimerTold { .. }
                | E::Confirmed { .. }
                | E::AttemptStarted { .. },
                Some(_),
            ) => need(false, "an attempt is open"),
            (_, None) => need(false, "no attempt is open"),

            (E::AttemptResumed { .. }, Some(open)) => {
                need(open.stuck.is_some(), "the attempt is not stuck")
            }
            (_, Some(open)) if open.stuck.is_some() => need(false, "the attempt is stuck"),
            (event, Some(open)) => open.legal(event, epoch),
        }
    }

    fn may_exclude(&self, open: bool) -> Legal {
        need(!open, "an attempt is open")?;
        need(self.stage < Stage::Watching, "the unit has moved: fail it back first")?;
        need(self.excluded.is_none(), "the unit is excluded")
    }

    /// A trigger fails back only what is watched; from `Confirmed` on it takes a person.
    fn may_start(&self, attempt: Attempt, by: &Actor) -> Legal {
        need(attempt == self.next_attempt(attempt.phase), "attempts are numbered without gaps")?;
        need(self.excluded.is_none(), "the unit is excluded from the run")?;
        let fits = match (attempt.phase, self.stage) {
            (Phase::Sync, Stage::Fresh)
            | (Phase::Prepare, Stage::Synced)
            | (Phase::Drill, Stage::Synced | Stage::Prepared)
            | (Phase::Cutover, Stage::Prepared)
            | (Phase::Unsplit, Stage::Prepared)
            | (Phase::Failback, Stage::Watching)
            | (Phase::Settle, Stage::Confirmed) => true,
            (Phase::Split, Stage::Prepared) => {
                return need(self.share == 0, "the traffic is split already");
            }
            (Phase::Failback, Stage::Confirmed) => matches!(by, Actor::Person(_)),
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(format!("`{}` does not follow stage {:?}", attempt.phase.as_str(), self.stage))
    }
}

fn current(of_event: Epoch, epoch: Epoch) -> Legal {
    need(of_event == epoch, "the epoch is not the current one")
}

impl AttemptState {
    /// Returns the rule that `event` would break as the next record of this attempt, which
    /// is open and not stuck.
    fn legal(&self, event: &Event, now: Epoch) -> Legal {
        use Event as E;
        if self.table.is_none() && !matches!(event, E::AttemptStuck { .. } | E::TableFixed { .. }) {
            return need(false, "the table is not fixed");
        }
        match event {
            E::AttemptStuck { .. } => Ok(()),
            E::TableFixed { table } => self.may_fix(table),
            E::WithdrawalStarted { .. } => {
                self.forward()?;
                need(!self.crossed(), "the point of no return was passed")
            }
            E::AttemptWithdrawn => self.may_end_withdrawn(),
            E::AttemptCompleted => self.may_complete(),
            E::GateAnswered { step, .. } => {
                self.forward()?;
                self.place(step).map(|_| ())
            }
            E::StepIntended { step, epoch, .. } => {
                current(*epoch, now)?;
                self.may_intend(step)
            }
            E::StepDone { step, .. } | E::StepFailed { step, .. } => {
                self.forward()?;
                self.is_at(step, |status| {
                    matches!(status, StepStatus::Intended | StepStatus::Failed { .. })
                })
            }
            E::UndoIntended { step, epoch } => {
                current(*epoch, now)?;
                self.may_undo(step)
            }
            E::UndoDone { step } | E::UndoFailed { step, .. } => self.is_at(step, |status| {
                matches!(status, StepStatus::Undoing | StepStatus::UndoFailed { .. })
            }),
            _ => need(false, "it is not a record of a unit"),
        }
    }

    fn forward(&self) -> Legal {
        need(self.direction == Direction::Forward, "the attempt is being withdrawn")
    }

    fn place(&self, step: &StepName) -> Result<usize, String> {
        let table = self.table.as_ref().ok_or("the table is not fixed")?;
        table.position(step).ok_or_else(|| format!("the table has no step `{step}`"))
    }

    fn is_at(&self, step: &StepName, fits: impl Fn(&StepStatus) -> bool) -> Legal {
        match self.status(step) {
            Some(status) if fits(status) => Ok(()),
            status => Err(format!("step `{step}` stands at {status:?}")),
        }
    }

    fn may_fix(&self, table: &TableShape) -> Legal {
        need(self.table.is_none(), "the table is fixed")?;
        need(table.phase == self.attempt.phase, "the table is of another phase")?;
        table.check()
    }

    /// The steps before it are done, and it has no intent that still stands.
    fn may_intend(&self, step: &StepName) -> Legal {
        self.forward()?;
        let place = self.place(step)?;
        let before = self.table.iter().flat_map(|table| &table.steps[..place]);
        for earlier in before {
            if self.status(&earlier.name) != Some(&StepStatus::Done) {
                return Err(format!("step `{}` before it is not done", earlier.name));
            }
        }
        match self.status(step) {
            None | Some(StepStatus::Undone) => Ok(()),
            Some(status) => Err(format!("step `{step}` stands at {status:?}")),
        }
    }

    /// The steps after it are undone. A table that can turn round undoes only after it did;
    /// one without a point of no return may undo its open step to run it afresh, and a split
    /// its last share to wait for its gates again.
    fn may_undo(&self, step: &StepName) -> Legal {
        let place = self.place(step)?;
        let table = self.table.as_ref().ok_or("the table is not fixed")?;
        if self.direction == Direction::Forward {
            need(!table.goes_back_whole(), "the attempt is not being withdrawn")?;
            let done = self.status(step) == Some(&StepStatus::Done);
            need(!done || table.steps_back(), "the step is done")?;
        }
        for later in &table.steps[place + 1..] {
            if !matches!(self.status(&later.name), None | Some(StepStatus::Undone)) {
                return Err(format!("step `{}` after it is not undone", later.name));
            }
        }
        self.is_at(step, |status| {
            matches!(status, StepStatus::Intended | StepStatus::Done | StepStatus::Failed { .. })
        })
    }

    fn may_end_withdrawn(&self) -> Legal {
        need(self.direction != Direction::Forward, "the attempt is not being withdrawn")?;
        match self.steps.iter().find(|(_, step)| step.status != StepStatus::Undone) {
            Some((name, _)) => Err(format!("step `{name}` is not undone")),
            None => Ok(()),
        }
    }

    fn may_complete(&self) -> Legal {
        self.forward()?;
        let measures = self.table.as_ref().is_some_and(TableShape::only_measures);
        need(!measures, "a drill ends with everything undone")?;
        let steps = self.table.iter().flat_map(|table| &table.steps);
        for step in steps {
            if self.status(&step.name) != Some(&StepStatus::Done) {
                return Err(format!("step `{}` is not done", step.name));
            }
        }
        Ok(())
    }
}
