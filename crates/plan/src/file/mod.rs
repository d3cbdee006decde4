//! The plan file as it is written, version 1.
//!
//! **Invariant.** These types are for reading only; the rest of Segue sees
//! [`segue_model::plan::Plan`]. Every default is said in the doc comment of its field,
//! which is also the text of the JSON Schema.

mod fleet;
mod gate;
mod measure;
mod policy;
mod secret;
mod unit;

pub use fleet::{
    ApprovalFile, DutyFile, FleetFile, FreezeFile, JointFile, LimitsFile, PeopleFile,
    RehearsalFile, RehearsalSiteFile, StrategyFile, TrafficFile, UnitRehearsalFile, WaveFile,
    WindowFile,
};
pub use gate::{
    ActionFile, AgainstFile, BeforeFile, GateFile, GateNoDataFile, Measure, NoDataFile, ScopeFile,
    TriggerFile,
};
pub use measure::{
    ApplicationLogFile, CustomFile, CustomHttpFile, HostFile, MeasureFile, PrometheusFile,
    ResolversFile,
};
pub use policy::PolicyFile;
pub use secret::SecretText;
pub use unit::{
    BackendFile, BackendsFile, CommandsFile, DatabaseFile, FrontFile, KeyFile, ProbeFile,
    RecordFile, ServerFile, SideFile, TreeFile, UnitFile, WorkerFile, ZoneFile,
};

use schemars::JsonSchema;
use serde::Deserialize;

/// A migration plan for Segue.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Segue plan file")]
pub struct PlanFile {
    /// Name of the plan: letters, digits, `-`, `_` and `.`, at most 64. A file that another
    /// plan names among its `units` needs none. Default: empty.
    #[serde(default)]
    pub name: String,
    /// What moves.
    pub unit: UnitFile,
    /// The web servers behind the fronts. Default: none, for a unit that has no site.
    pub backend: Option<BackendsFile>,
    /// The fronts, one for every address that DNS names or will name. Default: none.
    #[serde(default)]
    pub front: Vec<FrontFile>,
    /// The database. Default: none.
    pub database: Option<DatabaseFile>,
    /// Directory trees. Default: none.
    #[serde(default)]
    pub tree: Vec<TreeFile>,
    /// DNS zones and the record sets that the unit owns in them. Default: none, which
    /// means that DNS is changed by hand.
    #[serde(default)]
    pub zone: Vec<ZoneFile>,
    /// Cron jobs and queue workers, which write without passing a front. Default: none.
    #[serde(default)]
    pub worker: Vec<WorkerFile>,
    /// What the probes ask for. Default: no probes, and then no word on failed requests.
    pub probe: Option<ProbeFile>,
    /// What is measured besides, for gates and triggers. Default: nothing.
    #[serde(default)]
    pub measure: MeasureFile,
    /// What the operator allows. Default: that of the plan that names this file among its
    /// `units`, else every field has its own.
    pub policy: Option<PolicyFile>,
    /// How it is rehearsed.
    #[serde(default)]
    pub rehearsal: UnitRehearsalFile,
    /// Questions before the steps. Default: those of the plan that names this file among its
    /// `units`, else the set that `segue init` writes into a new plan, as far as the plan has
    /// what they measure; what is written here changes one of them by its name, or adds one.
    pub gate: Option<Vec<GateFile>>,
    /// Conditions that start an action while the unit is watched. Default: the set that
    /// `segue init` writes into a new plan, as far as the plan has what they measure.
    /// An empty list switches every trigger off.
    pub trigger: Option<Vec<TriggerFile>>,
}
