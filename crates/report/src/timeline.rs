//! The journal told in sentences.

use crate::Moment;
use segue_model::event::{Actor, Event, Record};

fn who(by: &Actor) -> String {
    match by {
        Actor::Person(name) => name.clone(),
        Actor::Trigger(name) => format!("trigger {name}"),
        Actor::Controller => "controller".into(),
    }
}

/// Returns the moments worth reading: no intents, no plain gate passes.
pub(crate) fn timeline(records: &[Record]) -> Vec<Moment> {
    records
        .iter()
        .filter_map(|record| {
            let (who, text) = sentence(&record.event)?;
            Some(Moment { at_ms: record.at_ms, boot_ms: record.boot_ms, who, text })
        })
        .collect()
}

fn sentence(event: &Event) -> Option<(String, String)> {
    let controller = || "controller".to_owned();
    Some(match event {
        Event::RunStarted { unit, plan_hash, by, .. } => {
            (who(by), format!("run of unit {unit} began, plan {plan_hash}"))
        }
        Event::EpochTaken { epoch, pid } => {
            (controller(), format!("took the lease, epoch {epoch}, process {pid}"))
        }
        Event::AttemptStarted { attempt, by, because } => {
            let why = if because.is_empty() { String::new() } else { format!(": {because}") };
            (who(by), format!("{} {} began{why}", attempt.phase.as_str(), attempt.number))
        }
        Event::StepDone { step, .. } => (controller(), format!("{step} done")),
        Event::StepFailed { step, fault } => (controller(), format!("{step} failed: {fault}")),
        Event::UndoDone { step } => (controller(), format!("{step} undone")),
        Event::UndoFailed { step, fault } => {
            (controller(), format!("undo of {step} failed: {fault}"))
        }
        Event::WithdrawalStarted { by, because } => (who(by), format!("turned round: {because}")),
        Event::AttemptWithdrawn => (controller(), "withdrawn; everything is as before".into()),
        Event::AttemptCompleted => (controller(), "completed".into()),
        Event::AttemptStuck { because, .. } => (controller(), format!("stuck: {because}")),
        Event::AttemptResumed { by } => (who(by), "told it to try again".into()),
        Event::TriggerFired { trigger, because } => {
            (format!("trigger {trigger}"), format!("fired: {because}"))
        }
        Event::TriggerJudged { judged } => {
            let (name, word) = (&judged.trigger, judged.standing.as_str());
            (format!("trigger {name}"), format!("{word}: {}", judged.because))
        }
        Event::FailbackRefused { because, .. } => {
            (controller(), format!("failback refused: {because}"))
        }
        Event::Confirmed { by } => (who(by), "confirmed: no automatic failback any more".into()),
        Event::Compared { what, differences, .. } => {
            (controller(), format!("compared {what}: {differences} differences"))
        }
        Event::Noted { text } => (controller(), text.clone()),
        Event::GateAnswered { .. }
        | Event::TableFixed { .. }
        | Event::StepIntended { .. }
        | Event::UndoIntended { .. }
        | Event::Measured { .. } => return None,
    })
}
