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
pub(crate) fn timeline(records: &[Record], many: bool) -> Vec<Moment> {
    records
        .iter()
        .filter_map(|record| {
            let (who, mut text) = sentence(&record.event)?;
            // Of many units nobody reads every step.
            if many && matches!(record.event, Event::StepDone { .. } | Event::UndoDone { .. }) {
                return None;
            }
            if let (true, Some(unit)) = (many, &record.unit) {
                text = format!("{unit}: {text}");
            }
            Some(Moment { at_ms: record.at_ms, boot_ms: record.boot_ms, who, text })
        })
        .collect()
}

fn sentence(event: &Event) -> Option<(String, String)> {
    let controller = || "controller".to_owned();
    Some(match event {
        Event::RunStarted { name, plan_hash, units, by, .. } => {
            let of = match units.as_slice() {
                [only] => format!("unit {}", only.unit),
                all => format!("{} units", all.len()),
            };
            (who(by), format!("run of {of} began, plan {name} {plan_hash}"))
        }
        Event::Approved { by, role } => (who(by), format!("agreed to the plan as {role}")),
        Event::Acknowledged { item, by, note, held } => {
            let note = if note.is_empty() { String::new() } else { format!(": {note}") };
            let held = held.as_ref().map(|held| format!("; its gate held: {held}"));
            (who(by), format!("acknowledged {item}{note}{}", held.unwrap_or_default()))
        }
        Event::Waived { rule, by, because } => (who(by), format!("waived {rule}: {because}")),
        Event::WaveStarted { wave, by } => (who(by), format!("wave {wave} began")),
        Event::WaveStopped { wave, because } => {
            (controller(), format!("wave {wave} stopped: {because}"))
        }
        Event::WaveResumed { wave, by } => (who(by), format!("let wave {wave} go on")),
        Event::WaveCompleted { wave } => (controller(), format!("wave {wave} is over")),
        Event::UnitExcluded { by, because } => {
            (who(by), format!("taken out of the run: {because}"))
        }
        Event::UnitIncluded { by } => (who(by), "takes part again".into()),
        Event::UnitDeferred { by, because, .. } => (who(by), format!("put off: {because}")),
        Event::UnitRehearsed { passed, pause_ms, .. } => {
            let how = if *passed { "passed" } else { "did not pass" };
            let pause = pause_ms.map_or("unknown".to_owned(), |ms| format!("{ms:.0} ms"));
            (controller(), format!("rehearsal {how}; pause there {pause}, a forecast"))
        }
        Event::UnitDrilled { pause_ms, .. } => {
            (controller(), format!("drill on the live source: pause {pause_ms:.0} ms"))
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
        | Event::CommitTimerTold { .. }
        | Event::Measured { .. } => return None,
    })
}
