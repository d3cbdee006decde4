//! A plan of one unit, which may say when and by whom as a plan of many does.

use super::schedule::{Said, schedule};
use super::{people, problem, strategy};
use crate::file::{LimitsFile, PlanFile, RehearsalFile, StrategyFile, UnitRehearsalFile};
use crate::read::{plan, unreadable};
use crate::{PlanError, Problem, check};
use segue_model::Fleet;
use std::mem::take;

/// Reads and checks the plan of one unit.
pub(super) fn read(text: &str, name: &str) -> Result<Fleet, PlanError> {
    let mut file: PlanFile = toml::from_str(text).map_err(|e| unreadable(&e, text, name))?;
    let mut problems = Vec::new();
    let begins_at = take(&mut file.begins_at);
    let said = Said {
        strategy: StrategyFile::Waves,
        windows: &take(&mut file.window),
        freezes: &take(&mut file.freeze),
        limits: &LimitsFile::default(),
        rehearsal: &RehearsalFile {
            needed: file.rehearsal.needed,
            within_days: file.rehearsal.within_days,
        },
        begins_at: begins_at.as_deref(),
        timeline: &take(&mut file.timeline),
    };
    let schedule = schedule(&said, &mut problems);
    let people = people(take(&mut file.people));
    let plan = plan(file, None, &mut problems);
    problems.extend(check(&plan));
    let mut fleet = Fleet { schedule, people, ..Fleet::of_one(plan) };
    strategy::apply(&mut fleet);
    if problems.is_empty() {
        return Ok(fleet);
    }
    Err(PlanError::Refused { name: name.to_owned(), problems })
}

/// Says whether nothing is asked for; how the site is started asks for nothing.
fn is_silent(rehearsal: &UnitRehearsalFile) -> bool {
    rehearsal.needed.is_none() && rehearsal.within_days.is_none()
}

/// Refuses in the file of one unit of many what stands in the plan that names it.
pub(super) fn belongs_elsewhere(file: &PlanFile, problems: &mut Vec<Problem>) {
    let people = &file.people;
    let said = [
        ("window", !file.window.is_empty()),
        ("freeze", !file.freeze.is_empty()),
        ("timeline", !file.timeline.is_empty()),
        ("begins_at", file.begins_at.is_some()),
        ("rehearsal", !is_silent(&file.rehearsal)),
        (
            "people",
            !(people.approval.is_empty() && people.roll_call.is_empty() && people.duty.is_empty()),
        ),
    ];
    for (key, _) in said.into_iter().filter(|(_, said)| *said) {
        problems.push(problem(
            "SG0748",
            key,
            "it is said for all units together",
            "write it into the plan that names this file among its `units`",
        ));
    }
}
