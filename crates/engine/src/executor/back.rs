//! Undoing a step.

use super::Course;
use super::waits::doubled;
use crate::crashpoint;
use segue_model::Fault;
use segue_model::event::Event;
use segue_model::state::StepStatus;
use segue_port::Outcome;
use std::time::Duration;

/// Tries of one undo before a person is asked.
const MOST_UNDOS: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_millis(100);

impl Course<'_> {
    /// Announces the undo, quenches what may still happen, and undoes; tries again for a
    /// while, then asks a person.
    pub(super) async fn undo(&mut self, place: usize) -> Outcome<()> {
        let step = self.step(place).name.clone();
        let status = self.open()?.status(&step).cloned();
        if !matches!(status, Some(StepStatus::Undoing | StepStatus::UndoFailed { .. })) {
            let epoch = self.executor.epoch;
            crashpoint::hit("undo.intent.before", step.as_str());
            self.append(Event::UndoIntended { step: step.clone(), epoch }).await?;
            crashpoint::hit("undo.intent.durable", step.as_str());
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let result = self.undo_once(place).await;
            crashpoint::hit("undo.after", step.as_str());
            let fault = match result {
                Ok(()) => break,
                Err(fault) => fault,
            };
            tracing::warn!(%fault, tries, "undo failed");
            if tries == 1 || tries == MOST_UNDOS {
                let event = Event::UndoFailed { step: step.clone(), fault: fault.clone() };
                self.append(event).await?;
            }
            if tries == MOST_UNDOS {
                return self.undo_stuck(&fault).await;
            }
            self.executor.clock.sleep(doubled(FIRST_WAIT, tries)).await;
        }
        self.append(Event::UndoDone { step: step.clone() }).await?;
        crashpoint::hit("undo.outcome.durable", step.as_str());
        Ok(())
    }

    async fn undo_once(&self, place: usize) -> Outcome<()> {
        let limit = self.clear_up_limit(place);
        let call = self.call(place, self.prepared(place)?, limit)?;
        let effect = &self.step(place).effect;
        self.limited("quench", place, limit, effect.quench(&call)).await?;
        self.limited("undo", place, limit, effect.undo(&call)).await
    }

    /// Names, in the order of undoing, what a person can undo by hand.
    async fn undo_stuck(&mut self, fault: &Fault) -> Outcome<()> {
        let open = self.open()?;
        let mut way_out = vec!["mend the cause, then let the attempt try again".to_owned()];
        if !fault.hint.is_empty() {
            way_out.insert(0, fault.hint.clone());
        }
        for step in self.table.steps.iter().rev() {
            if !matches!(open.status(&step.name), None | Some(StepStatus::Undone)) {
                way_out.push(format!("{}: {}", step.name, step.effect.by_hand()));
            }
        }
        self.append(Event::AttemptStuck { because: fault.to_string(), way_out }).await.map(drop)
    }
}
