//! What passes between the controller and the room: orders in, words and a result out.

use segue_model::Side;
use segue_model::event::Record;
use segue_model::plan::{DatabasePlan, DatabaseServer, Plan, SecretRef};
use segue_standins::ledger::Kept;
use segue_standins::load::{Seen, Visitors};
use segue_standins::mariadb::Server;
use segue_standins::named::{Key, NameServer};
use segue_standins::room::Walls;
use segue_standins::site::SitePlan;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Everything that the room is told. Holds no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The room itself.
    pub(crate) walls: Walls,
    /// The plan that is executed in it; see [`super::plan`].
    pub(crate) plan: Plan,
    /// Stand-ins of the database servers.
    pub(crate) databases: Vec<(Side, Server)>,
    /// Name servers and resolvers.
    pub(crate) names: Vec<NameServer>,
    /// Keys of the zones, and where their secrets are.
    pub(crate) keys: Vec<(Key, SecretRef)>,
    /// The applications.
    pub(crate) sites: Vec<Application>,
    /// The visitors, if the unit has a site.
    pub(crate) visitors: Option<Visitors>,
    /// Triggers that shall fire, by name.
    pub(crate) faults: Vec<String>,
    /// Readings that the room gives, because nothing in it measures them.
    pub(crate) readings: super::Readings,
    /// Addresses that answer outside, and must not inside.
    pub(crate) outside: Vec<SocketAddr>,
}

/// What answers for a side.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Application {
    pub(crate) plan: SitePlan,
    /// The real application's command, if the plan names one.
    pub(crate) command: Option<Vec<String>>,
}

impl Spec {
    /// Returns the database that visitors write to, its stand-in at a side, and the
    /// administrator's place there. It is the first of the unit.
    pub(crate) fn database(&self, side: Side) -> Option<(&DatabasePlan, &Server, &DatabaseServer)> {
        let plan = self.plan.unit.databases.first()?;
        let of = plan.servers.get(side);
        let own = |(at, server): &&(Side, Server)| *at == side && server.address == of.address;
        self.databases.iter().find(own).map(|(_, server)| (plan, server, of))
    }

    /// Returns the administrator's place at a stand-in.
    pub(crate) fn admin(&self, side: Side, server: &Server) -> Option<&DatabaseServer> {
        let mut all = self.plan.unit.databases.iter().map(|plan| plan.servers.get(side));
        all.find(|of| of.address == server.address)
    }

    /// Returns the run directory of the room's controller.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.walls.home.join("run")
    }

    /// Returns where the readings of the room stand.
    pub(crate) fn readings_file(&self) -> PathBuf {
        self.walls.home.join("readings.json")
    }
}

/// Returns where a room's orders stand.
pub(crate) fn spec_file(home: &Path) -> PathBuf {
    home.join("room.json")
}

/// Returns where a room's result stands.
pub(crate) fn result_file(home: &Path) -> PathBuf {
    home.join("result.json")
}

/// A word from the room, one JSON object a line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
pub enum Said {
    /// A step of the rehearsal begins.
    Step {
        /// Which.
        what: String,
        /// Its place.
        number: u64,
        /// Of how many.
        of: u64,
    },
    /// The room's controller wrote a record.
    Record {
        /// The record.
        record: Box<Record>,
    },
}

/// What became of a trigger that was asked to fire.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FaultResult {
    /// The trigger.
    pub(crate) trigger: String,
    /// What it starts by the plan.
    pub(crate) action: String,
    /// How the anomaly was planted: `in the world: ...` or `in the samples: ...`.
    pub(crate) planted: String,
    /// Whether it fired, and after how long, milliseconds.
    pub(crate) fired_ms: Option<u64>,
    /// What followed, in words.
    pub(crate) followed: String,
    /// From the firing to what followed, milliseconds.
    pub(crate) followed_ms: Option<u64>,
    /// Whether all of that is as it should be.
    pub(crate) right: bool,
}

/// What a room says at its end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct RoomResult {
    /// Whether everything went through.
    pub(crate) passed: bool,
    /// What did not.
    pub(crate) problems: Vec<String>,
    /// Longest pause of writes, measured by the room's fronts, milliseconds.
    pub(crate) pause_ms: Option<f64>,
    /// From the beginning of the preparation to the end of the first cutover, milliseconds.
    pub(crate) took_ms: u64,
    /// What visitors saw.
    pub(crate) seen: Option<Seen>,
    /// The ledger's word after each way: `target`, `source`, `end`.
    pub(crate) kept: Vec<(String, Kept)>,
    /// Differences found by the comparisons in full.
    pub(crate) differences: u64,
    /// Attempts with their pauses.
    pub(crate) attempts: Value,
    /// Asked faults.
    pub(crate) faults: Vec<FaultResult>,
    /// Addresses that were tried from inside, and those that answered.
    pub(crate) egress_tried: Vec<SocketAddr>,
    /// See `egress_tried`.
    pub(crate) egress_reached: Vec<SocketAddr>,
}
