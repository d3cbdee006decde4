//! A plan of many units, as it is written.

use super::{GateFile, PolicyFile, TimelineFile, TriggerFile};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// A migration plan for many units: it names the files of its units.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Segue plan file of many units")]
pub struct FleetFile {
    /// Name of the plan: letters, digits, `-`, `_` and `.`, at most 64.
    pub name: String,
    /// Files of the units, relative to this one: each a plan file of one unit (`.toml`), or
    /// a file with such a unit as JSON in every line (`.jsonl`). `*` stands for any part of a
    /// file's name.
    pub units: Vec<PathBuf>,
    /// What the operator allows, for every unit that has no policy of its own.
    #[serde(default)]
    pub policy: PolicyFile,
    /// Questions before the steps, for every unit that names none of its own. Default: the
    /// set that `segue init` writes into a new plan.
    #[serde(default)]
    pub gate: Vec<GateFile>,
    /// Conditions that start an action, for every unit that names none of its own. Default:
    /// the set that `segue init` writes into a new plan.
    pub trigger: Option<Vec<TriggerFile>>,
    /// How units follow each other. Default: `waves`.
    #[serde(default)]
    pub strategy: StrategyFile,
    /// The waves in order. Default: 10 %, 20 %, 20 % and the rest of the units, those with
    /// the least traffic first; one wave for four units or fewer.
    pub wave: Option<Vec<WaveFile>>,
    /// When cutovers may run. Default: at any time.
    #[serde(default)]
    pub window: Vec<WindowFile>,
    /// Days on which no cutover begins. Default: none.
    #[serde(default)]
    pub freeze: Vec<FreezeFile>,
    /// How many units may be worked on at once.
    #[serde(default)]
    pub limits: LimitsFile,
    /// Units that cut over together besides those that share something. Default: none.
    #[serde(default)]
    pub joint: Vec<JointFile>,
    /// Zones whose units do not cut over together, although they share the zone. Default:
    /// none.
    #[serde(default)]
    pub separate_zones: Vec<String>,
    /// Who has a say.
    #[serde(default)]
    pub people: PeopleFile,
    /// What must have been rehearsed.
    #[serde(default)]
    pub rehearsal: RehearsalFile,
    /// When the first cutover is meant to begin, as `2026-12-01T02:00:00+01:00`. Default: not
    /// set, and then the timeline has no dates.
    pub begins_at: Option<String>,
    /// Items of the timeline besides those that follow from the plan. Default: none.
    #[serde(default)]
    pub timeline: Vec<TimelineFile>,
}

/// How units follow each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StrategyFile {
    /// Wave after wave; a wave stops at the first unit that went back.
    #[default]
    Waves,
    /// Every unit in one go, behind stricter gates.
    AllAtOnce,
    /// Everything is held at once, checked inside the pause, and then switched.
    MaintenanceWindow,
}

/// Units that move in the same stretch. What selects units is joined by *and*; a wave that
/// selects nothing takes the rest.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WaveFile {
    /// Its name. Default: its place.
    pub name: Option<String>,
    /// Units by name; `*` at the end stands for any rest.
    pub units: Option<Vec<String>>,
    /// Share of all units, percent, taken from what earlier waves left.
    pub percent: Option<f64>,
    /// Units of this class of traffic.
    pub traffic: Option<TrafficFile>,
    /// Units whose account was made before this day, `2024-05-31`.
    pub created_before: Option<String>,
    /// Units whose account was made on this day or later.
    pub created_from: Option<String>,
    /// So many units, those with the least traffic, move alone before the rest of the wave.
    /// Default: 1 in the first wave, 0 in the others.
    pub canaries: Option<usize>,
}

/// Classes of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrafficFile {
    /// Fewer than 1,000 requests a day.
    Low,
    /// 1,000 to 49,999 requests a day.
    Medium,
    /// 50,000 requests a day and more.
    High,
}

/// A stretch of time in which cutovers may run, every week.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowFile {
    /// Days as `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`. Default: every day.
    #[serde(default)]
    pub days: Vec<String>,
    /// Beginning, as `02:00`.
    pub from: String,
    /// End, as `05:00`; before the beginning means on the next day.
    pub to: String,
    /// Time zone, as `Europe/Berlin`. Default: `UTC`.
    #[serde(default = "utc")]
    pub zone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// Days on which no cutover begins.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FreezeFile {
    /// First day, as `2026-12-20`.
    pub from: String,
    /// Last day, included.
    pub to: String,
    /// Time zone of these days. Default: `UTC`.
    #[serde(default = "utc")]
    pub zone: String,
    /// Why, for people. Default: empty.
    #[serde(default)]
    pub because: String,
}

/// How many units may be worked on at once.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsFile {
    /// First copies at once that touch the same server. Default: 4.
    pub seeds_a_server: Option<usize>,
    /// Cutovers at once that touch the same server. Default: 1.
    pub cutovers_a_server: Option<usize>,
    /// Cutovers at once in all. Default: 8.
    pub cutovers: Option<usize>,
}

/// Units that cut over together.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JointFile {
    /// Their names, two at least.
    pub units: Vec<String>,
    /// Why, for people. Default: empty.
    #[serde(default)]
    pub because: String,
}

/// Who has a say.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PeopleFile {
    /// Agreements that a cutover needs. Default: none.
    pub approval: Vec<ApprovalFile>,
    /// Duty roles that must report ready before a cutover. Default: none.
    pub roll_call: Vec<String>,
    /// Who has which duty. Default: none.
    pub duty: Vec<DutyFile>,
}

/// An agreement that a cutover needs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalFile {
    /// As what they agree, such as `owner`.
    pub role: String,
    /// Who may. Default: anybody but the person who began the run.
    #[serde(default)]
    pub persons: Vec<String>,
}

/// Who has a duty.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DutyFile {
    /// The duty role, such as `dns`.
    pub role: String,
    /// Who has it.
    pub person: String,
}

/// How a unit is rehearsed. What must have been rehearsed is said by the plan alone, not by a
/// file that another plan names among its `units`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UnitRehearsalFile {
    /// Whether the unit must have passed a rehearsal of its very plan. Default: true.
    pub needed: Option<bool>,
    /// Oldest rehearsal that counts, days. Default: 14.
    pub within_days: Option<u64>,
    /// Commands that start the real application in the rehearsal's closed room, at its usual
    /// address; they stay in the foreground. Default: a small application of Segue's own.
    pub site: Option<RehearsalSiteFile>,
}

/// Commands that start the application of each side.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RehearsalSiteFile {
    /// At the source, program first.
    pub source: Vec<String>,
    /// At the target, program first.
    pub target: Vec<String>,
}

/// What must have been rehearsed before a cutover.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RehearsalFile {
    /// Whether every unit must have passed a rehearsal of its very plan. Default: true.
    pub needed: Option<bool>,
    /// Oldest rehearsal that counts, days. Default: 14.
    pub within_days: Option<u64>,
}
