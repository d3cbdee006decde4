//! The plan file as it is written, version 1.
//!
//! **Invariant.** These types are for reading only; the rest of Segue sees
//! [`segue_model::plan::Plan`]. Every default is said in the doc comment of its field,
//! which is also the text of the JSON Schema.

mod cdn;
mod fleet;
mod front;
mod gate;
mod measure;
mod moves;
mod policy;
mod secret;
mod split;
mod timeline;
mod unit;
mod zone;

pub use cdn::{BunnyFile, CdnFile, CloudflareOriginFile, FastlyFile};
pub use fleet::{
    ApprovalFile, DutyFile, FleetFile, FreezeFile, JointFile, LimitsFile, PeopleFile,
    RehearsalFile, RehearsalSiteFile, StrategyFile, TrafficFile, UnitRehearsalFile, WaveFile,
    WindowFile,
};
pub use front::{
    AccessLogFile, FrontFile, FrontLimitsFile, HaproxyFile, NginxFile, PortFile, PortKindFile,
};
pub use gate::{
    ActionFile, AgainstFile, BeforeFile, GateFile, GateNoDataFile, Measure, NoDataFile, ScopeFile,
    TriggerFile,
};
pub use measure::{
    ApplicationLogFile, CustomFile, CustomHttpFile, HostFile, MeasureFile, MirrorFile,
    PrometheusFile, ResolversFile, SessionsFile,
};
pub use moves::{MoveFile, MovesFile, ProviderFile, SigningFile};
pub use policy::PolicyFile;
pub use secret::SecretText;
pub use split::SplitFile;
pub use timeline::TimelineFile;
pub use unit::{
    AddressesFile, BackendCheckFile, BackendFile, BackendTlsFile, BackendsFile, CommandsFile,
    DatabaseFile, ProbeFile, ServerFile, SideFile, TreeFile, UnitFile, WorkerFile,
};
pub use zone::{
    AuthorityFile, CloudflareFile, KeyFile, PowerdnsFile, QueryLogFile, QueryLogFormatFile,
    RecordFile, Route53File, UpdateFile, ZoneFile, ZoneFileFile, ZoneGuardFile,
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
    /// CDNs before the sites whose origin is switched with the record sets. Default: none.
    #[serde(default)]
    pub cdn: Vec<CdnFile>,
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
    /// Questions before the steps. Default: those of the plan that names this file among its
    /// `units`, else the set that `segue init` writes into a new plan, as far as the plan has
    /// what they measure; what is written here changes one of them by its name, or adds one.
    pub gate: Option<Vec<GateFile>>,
    /// Conditions that start an action while the unit is watched. Default: the set that
    /// `segue init` writes into a new plan, as far as the plan has what they measure.
    /// An empty list switches every trigger off.
    pub trigger: Option<Vec<TriggerFile>>,
    /// When cutovers may run. Default: at any time. A file that another plan names among its
    /// `units` has none of this key and the ones that follow: they stand in that plan.
    #[serde(default)]
    pub window: Vec<WindowFile>,
    /// Days on which no cutover begins. Default: none.
    #[serde(default)]
    pub freeze: Vec<FreezeFile>,
    /// Who has a say.
    #[serde(default)]
    pub people: PeopleFile,
    /// How it is rehearsed. In a file that another plan names among its `units` only `site`
    /// may stand here.
    #[serde(default)]
    pub rehearsal: UnitRehearsalFile,
    /// When the cutover is meant to begin, as `2026-12-01T02:00:00+01:00`. Default: not set,
    /// and then the timeline has no dates.
    pub begins_at: Option<String>,
    /// Items of the timeline besides those that follow from the plan. Default: none.
    #[serde(default)]
    pub timeline: Vec<TimelineFile>,
}
