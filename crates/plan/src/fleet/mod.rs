//! A plan of many units: from the texts of its files to units, joints and waves.
//!
//! ```text
//! plan file --head--> unit files --units--> joined by what they share --> waves --> Fleet
//! ```

mod fronts;
mod joined;
mod one;
pub(crate) mod schedule;
mod shared;
mod strategy;
mod stricter;
mod timeline;
mod units;
mod waves;

use crate::file::{ApprovalFile, DutyFile, FleetFile, PeopleFile, StrategyFile};
use crate::read::{Common, unreadable};
use crate::{PlanError, Problem};
use segue_model::Fleet;
use segue_model::fleet::{Approval, Duty, People};
use std::path::{Path, PathBuf};

/// What a plan file is.
pub enum PlanText {
    /// The plan of one unit.
    One(Box<Fleet>),
    /// A plan of many; its units stand in other files.
    Many(Box<FleetHead>),
}

/// The text of a file with units.
pub struct UnitText {
    /// Its name, for messages; one that ends in `.jsonl` has a unit in every line.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// A plan of many units whose units have not been read.
pub struct FleetHead {
    name: String,
    file: FleetFile,
}

/// Reads the text of a plan file, of one unit or of many; `name` stands in messages only.
///
/// # Errors
/// `SG0701` if the text is not a plan file, `SG0702` with every [`Problem`] found if what it
/// says is refused.
pub fn read_plan(text: &str, name: &str) -> Result<PlanText, PlanError> {
    let table: toml::Table = toml::from_str(text).map_err(|e| unreadable(&e, text, name))?;
    if !table.contains_key("units") {
        return one::read(text, name).map(|fleet| PlanText::One(Box::new(fleet)));
    }
    let file: FleetFile = toml::from_str(text).map_err(|e| unreadable(&e, text, name))?;
    Ok(PlanText::Many(Box::new(FleetHead { name: name.to_owned(), file })))
}

impl FleetHead {
    /// Returns the files of the units as the plan names them, relative to the plan's folder.
    pub fn unit_files(&self) -> &[PathBuf] {
        &self.file.units
    }

    /// Says whether `file` is meant by the pattern `wanted`: `*` stands for any part of the
    /// last component.
    pub fn matches(wanted: &Path, file: &Path) -> bool {
        let parts = |path: &Path| {
            let last = path.file_name().map(|name| name.to_string_lossy().into_owned());
            (path.parent().map(Path::to_owned), last.unwrap_or_default())
        };
        let ((folder, pattern), (of_file, name)) = (parts(wanted), parts(file));
        folder == of_file && like(&pattern, &name)
    }

    /// Makes the plan of the units' texts.
    ///
    /// # Errors
    /// `SG0701` for the first text that is no unit, `SG0702` with everything that is refused.
    pub fn compile(self, texts: &[UnitText]) -> Result<Fleet, PlanError> {
        let file = self.file;
        let mut problems = Vec::new();
        let common = Common {
            name: file.name.clone(),
            policy: file.policy,
            gates: file.gate,
            triggers: file.trigger,
        };
        let units = units::read(texts, &common, &mut problems)?;
        if units.is_empty() {
            problems.push(problem(
                "SG0740",
                "units",
                "the plan has no unit",
                "name the files of the units",
            ));
        }
        let shared = shared::join(units, &file.joint, &file.separate_zones, &mut problems);
        let waves = match file.strategy {
            StrategyFile::Waves => waves::assign(file.wave.as_deref(), &shared, &mut problems),
            _ => strategy::one_wave(file.wave.is_some(), &shared, &mut problems),
        };
        let begins_at = file.begins_at.as_deref();
        let schedule = schedule::Said {
            strategy: file.strategy,
            windows: &file.window,
            freezes: &file.freeze,
            limits: &file.limits,
            rehearsal: &file.rehearsal,
            begins_at,
            timeline: &file.timeline,
        };
        let schedule = schedule::schedule(&schedule, &mut problems);
        let mut fleet = Fleet {
            name: file.name,
            units: shared.units,
            joints: shared.joints,
            waves,
            schedule,
            people: people(file.people),
        };
        strategy::apply(&mut fleet);
        if !problems.is_empty() {
            return Err(PlanError::Refused { name: self.name, problems });
        }
        Ok(fleet)
    }
}

fn people(file: PeopleFile) -> People {
    let approval = |file: ApprovalFile| Approval { role: file.role, persons: file.persons };
    let duty = |file: DutyFile| Duty { role: file.role, person: file.person };
    People {
        approvals: file.approval.into_iter().map(approval).collect(),
        roll_call: file.roll_call,
        duties: file.duty.into_iter().map(duty).collect(),
    }
}

/// Says whether `text` fits a pattern in which `*` stands for anything.
fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let middle: Vec<&str> = parts.collect();
    let Some((last, middle)) = middle.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn problem(
    code: &'static str,
    key: impl Into<String>,
    text: impl Into<String>,
    remedy: impl Into<String>,
) -> Problem {
    Problem { code, key: key.into(), text: text.into(), remedy: remedy.into() }
}
