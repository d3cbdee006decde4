//! A whole plan: its units, how they are grouped, and when they may move.

use crate::event::Actor;
use crate::ids::UnitName;
use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Everything that one run moves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    /// The plan's name, chosen by its author.
    pub name: String,
    /// The units, each with its own policy. The order is that of the plan.
    pub units: Vec<Arc<Plan>>,
    /// Which of them were joined of several, and why.
    pub joints: Vec<Joint>,
    /// In which order units move.
    pub waves: Vec<Wave>,
    /// How the run goes about it.
    pub schedule: Schedule,
    /// Who has a say.
    pub people: People,
}

/// What all of a run's units have in common when it comes to when they move.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// How units follow each other.
    pub strategy: Strategy,
    /// When cutovers may run; none means at any time.
    pub windows: Vec<Window>,
    /// Days on which none may.
    pub freezes: Vec<Freeze>,
    /// How many units a server may be busy with at once.
    pub limits: Limits,
    /// What must have been rehearsed before a cutover.
    pub rehearsal: RehearsalRule,
    /// When the first cutover is meant to begin, wall clock, milliseconds since 1970; what is
    /// due before and after is counted from it.
    pub begins_at_ms: Option<u64>,
    /// What the plan says of its timeline besides what follows from the plan.
    #[serde(default)]
    pub timeline: TimelinePlan,
}

/// What a plan says of its timeline besides what follows from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelinePlan {
    /// Items of the plan's own.
    pub own: Vec<OwnItem>,
    /// Derived items that are left out, by name.
    pub off: Vec<String>,
}

/// An item of a timeline that does not follow from the plan: a person's step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnItem {
    /// Its name.
    pub id: String,
    /// When it is due, seconds from the beginning; negative before it.
    pub at_s: i64,
    /// What there is to do.
    pub what: String,
    /// Whose duty it is.
    pub duty: String,
    /// Whether no cutover begins before it is done.
    pub needed: bool,
}

/// How units follow each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Wave after wave; a wave stops at the first unit that went back.
    #[default]
    Waves,
    /// Every unit in one go, behind stricter gates.
    AllAtOnce,
    /// Everything is held at once, checked inside the pause, and then switched.
    MaintenanceWindow,
}

/// Units of the plan file that became one, because they must switch together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joint {
    /// The unit they became, named after the first of them.
    pub unit: UnitName,
    /// The units of the plan file, in its order; two at least.
    pub members: Vec<UnitName>,
    /// What they share: `zone example.net`, `login shop at 192.0.2.1:3306`.
    pub because: Vec<String>,
}

/// Units that move in the same stretch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// Its name.
    pub name: String,
    /// Its units, canaries first.
    pub units: Vec<UnitName>,
    /// How many of them, from the first on, move alone before the rest starts.
    pub canaries: usize,
}

/// A stretch of time in which cutovers may run, every week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Days, Monday is 1, Sunday is 7; none means every day.
    pub days: Vec<u8>,
    /// Beginning, minutes after midnight.
    pub from_minute: u16,
    /// End, minutes after midnight; before the beginning means on the next day.
    pub to_minute: u16,
    /// Time zone, for example `Europe/Berlin`.
    pub zone: String,
}

/// Days on which no cutover begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// First day, `2026-12-20`.
    pub from: String,
    /// Last day, included.
    pub to: String,
    /// Time zone of these days.
    pub zone: String,
    /// Why, for people.
    pub because: String,
}

/// How many units may be worked on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// First copies at once that touch the same server.
    pub seeds_a_server: usize,
    /// Cutovers at once that touch the same server.
    pub cutovers_a_server: usize,
    /// Cutovers at once in all.
    pub cutovers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { seeds_a_server: 4, cutovers_a_server: 1, cutovers: 8 }
    }
}

/// What must have been rehearsed before a cutover.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RehearsalRule {
    /// Whether every unit must have passed a rehearsal of its very plan.
    pub needed: bool,
    /// Oldest rehearsal that counts, seconds.
    pub within_s: u64,
}

/// Who has a say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    /// Roles that must agree to the plan before a cutover, with the persons who may.
    pub approvals: Vec<Approval>,
    /// Roles that must report ready at the roll-call.
    pub roll_call: Vec<String>,
    /// Duties of the timeline, by role, with the person who has it.
    pub duties: Vec<Duty>,
}

/// An agreement that a plan needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// As what they agree: `owner`, `database`.
    pub role: String,
    /// Who may; none means anybody but the person who started the run.
    pub persons: Vec<String>,
}

/// Who has a duty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duty {
    /// The duty role: `dns`, `mail`, `customer care`.
    pub role: String,
    /// Who has it.
    pub person: String,
}

impl People {
    /// Returns the person who has a duty, if the plan names one.
    pub fn holder(&self, role: &str) -> Option<&str> {
        self.duties.iter().find(|duty| duty.role == role).map(|duty| duty.person.as_str())
    }

    /// Says whether `by` has a duty; one without a person is anybody's.
    pub fn has(&self, role: &str, by: &Actor) -> bool {
        match (self.holder(role), by) {
            (None, _) => true,
            (Some(person), Actor::Person(by)) => person == by,
            (Some(_), _) => false,
        }
    }
}

impl Fleet {
    /// Returns a plan of one unit, in a wave of its own, at any time.
    pub fn of_one(plan: Plan) -> Self {
        let unit = plan.unit.name.clone();
        Self {
            name: plan.name.clone(),
            units: vec![Arc::new(plan)],
            joints: Vec::new(),
            waves: vec![Wave { name: "1".into(), units: vec![unit], canaries: 0 }],
            schedule: Schedule::default(),
            people: People::default(),
        }
    }

    /// Returns the plan of a unit.
    pub fn unit(&self, name: &UnitName) -> Option<&Arc<Plan>> {
        self.units.iter().find(|plan| plan.unit.name == *name)
    }

    /// Returns the place of every unit's wave, from 1: for whoever asks for many of them.
    pub fn wave_places(&self) -> HashMap<&UnitName, u32> {
        let waves = (1..).zip(&self.waves);
        waves.flat_map(|(place, wave)| wave.units.iter().map(move |unit| (unit, place))).collect()
    }

    /// Returns the place of a unit's wave, from 1; 0 if it is in none.
    pub fn wave_of(&self, name: &UnitName) -> u32 {
        let place = self.waves.iter().position(|wave| wave.units.contains(name));
        place.map_or(0, |place| place as u32 + 1)
    }
}
