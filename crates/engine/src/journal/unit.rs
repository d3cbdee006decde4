//! The journal as one unit sees it.

use super::{Journal, closed};
use segue_model::event::{Actor, Attempt, Event, Phase, Record};
use segue_model::state::UnitState;
use segue_model::{Epoch, UnitName};
use segue_port::Outcome;
use std::sync::Arc;

/// A handle to the journal that reads and appends records of one unit only.
#[derive(Clone)]
pub struct UnitJournal {
    journal: Journal,
    unit: UnitName,
}

impl UnitJournal {
    pub(super) fn new(journal: Journal, unit: UnitName) -> Self {
        Self { journal, unit }
    }

    /// Returns the unit.
    pub fn unit(&self) -> &UnitName {
        &self.unit
    }

    /// Returns the whole journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Returns the unit's state after the newest record; a fresh one before the run began.
    pub fn state(&self) -> Arc<UnitState> {
        self.journal.with(|state| state.unit(&self.unit).cloned()).unwrap_or_default()
    }

    /// Returns the newest epoch.
    pub fn epoch(&self) -> Epoch {
        self.journal.epoch()
    }

    /// Appends an event about the unit; it is durable when this returns.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub async fn append(&self, event: Event) -> Outcome<Record> {
        let unit = self.unit.clone();
        let record = self.journal.request(Box::new(move |_| Some((Some(unit), event)))).await?;
        record.ok_or_else(closed)
    }

    /// Appends an event about the unit if `legal` holds in its state right before it; `None`
    /// if not.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub async fn append_if(
        &self,
        event: Event,
        legal: impl FnOnce(&UnitState) -> bool + Send + 'static,
    ) -> Outcome<Option<Record>> {
        let unit = self.unit.clone();
        let make = move |state: &segue_model::state::RunState| {
            let holds = state.unit(&unit).is_some_and(|of_unit| legal(of_unit));
            holds.then_some((Some(unit), event))
        };
        self.journal.request(Box::new(make)).await
    }

    /// Opens the next attempt of `phase`; `None` if the state does not allow one now, for
    /// example because a person confirmed before a trigger's failback.
    ///
    /// # Errors
    /// As [`Journal::append`], except that an attempt that is not allowed is no fault.
    pub async fn begin(
        &self,
        phase: Phase,
        by: Actor,
        because: String,
    ) -> Outcome<Option<Attempt>> {
        let unit = self.unit.clone();
        let make = move |state: &segue_model::state::RunState| {
            let attempt = state.unit(&unit)?.next_attempt(phase);
            let event = Event::AttemptStarted { attempt, by, because };
            state.allows(Some(&unit), &event).then_some((Some(unit), event))
        };
        let record = self.journal.request(Box::new(make)).await?;
        Ok(record.and_then(|record| match record.event {
            Event::AttemptStarted { attempt, .. } => Some(attempt),
            _ => None,
        }))
    }
}
