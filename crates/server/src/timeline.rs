//! The timeline where no controller runs: of a plan that is only stored, or by the journal
//! alone.

use crate::plans;
use segue_engine::Journal;
use segue_migration::timeline::{Facts, Item, overdue, text, timeline};
use segue_model::state::RunState;
use segue_model::{Fault, FaultKind, Fleet};
use serde_json::{Value, json};
use std::path::Path;

/// A timeline as text and as data.
#[derive(Debug)]
pub struct Timeline {
    /// For people.
    pub text: String,
    /// For machines.
    pub result: Value,
}

/// Returns the timeline of the run of `dir`, or of the stored plan with `hash` before a run
/// began.
///
/// # Errors
/// `SG0815` if there is neither, `SG0814` if the run executes another plan; those of
/// [`plans::load`] and of the journal.
pub fn of(dir: &Path, hash: Option<&str>, now_ms: u64) -> Result<Timeline, Fault> {
    let state = match dir.join("journal.db").exists() {
        true => Journal::fold_all(dir)?,
        false => RunState::default(),
    };
    let own = state.plan_hash.as_deref();
    let wanted = match (own, hash) {
        (Some(own), None) => own,
        (Some(own), Some(hash)) if own.starts_with(hash) => own,
        (Some(own), Some(hash)) => {
            let cause = format!("this run executes plan {own}, not {hash}");
            return Err(Fault::new(
                "SG0814",
                FaultKind::Conflict,
                "compare the plan's hash",
                cause,
            )
            .hint("name another run directory with --dir"));
        }
        (None, Some(hash)) => hash,
        (None, None) => {
            let op = "show the timeline";
            return Err(Fault::new("SG0815", FaultKind::Invalid, op, "no run has begun")
                .hint("`segue timeline HASH` shows that of a plan"));
        }
    };
    let (_, fleet) = plans::load(dir, wanted)?;
    let items = timeline(&fleet, &state, now_ms, &Facts::default());
    Ok(Timeline { text: told(&fleet, &items), result: shown(&fleet, &items) })
}

pub(crate) fn told(fleet: &Fleet, items: &[Item]) -> String {
    text(fleet, items)
}

pub(crate) fn shown(fleet: &Fleet, items: &[Item]) -> Value {
    json!({
        "begins_at_ms": fleet.schedule.begins_at_ms,
        "overdue": overdue(items),
        "items": items,
    })
}

/// Returns the duty roles of a plan's timeline that nobody has.
pub fn duties_without_person(fleet: &Fleet) -> Vec<String> {
    segue_migration::timeline::duties_without_person(fleet)
}
