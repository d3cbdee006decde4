//! The last routes and holds on disk: what a front knows after a restart.

use crate::control::{HoldId, SiteRoute};
use crate::options::replace;
use segue_model::{Epoch, Fault, FaultKind, RunId, Side, Sides, UnitName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Form of the state file.
const VERSION: u32 = 2;

/// Everything that outlives the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    version: u32,
    /// The run that claimed the front.
    pub(crate) claim: Option<RunId>,
    /// Highest epoch seen.
    pub(crate) epoch: Epoch,
    /// Highest generation in force.
    pub(crate) generation: u64,
    /// Units that left, with their last generation: nothing of theirs may land later.
    pub(crate) left: BTreeMap<UnitName, u64>,
    /// Routes.
    pub(crate) units: BTreeMap<UnitName, SavedUnit>,
}

/// A unit's route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedUnit {
    /// Last generation in force.
    pub(crate) generation: u64,
    pub(crate) sites: Vec<SiteRoute>,
    pub(crate) write_side: Side,
    pub(crate) concurrency: Sides<usize>,
    /// The latest hold, unless it was released.
    pub(crate) hold: Option<SavedHold>,
}

/// A hold. Only a sealed one is in force after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedHold {
    pub(crate) id: HoldId,
    pub(crate) sealed: bool,
    pub(crate) lease_ms: u64,
    pub(crate) age_max_ms: u64,
    pub(crate) count_max: usize,
    pub(crate) began_ms: u64,
}

impl Default for Saved {
    fn default() -> Self {
        Self {
            version: VERSION,
            claim: None,
            epoch: Epoch(0),
            generation: 0,
            left: BTreeMap::new(),
            units: BTreeMap::new(),
        }
    }
}

impl Saved {
    /// Returns the last generation of a unit, or of the whole front.
    pub(crate) fn last_generation(&self, unit: Option<&UnitName>) -> u64 {
        match unit {
            None => self.generation,
            Some(unit) => {
                let routed = self.units.get(unit).map(|unit| unit.generation);
                routed.or_else(|| self.left.get(unit).copied()).unwrap_or(0)
            }
        }
    }
}

impl SavedUnit {
    /// Returns every host name.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &String> {
        self.sites.iter().flat_map(|site| &site.hosts)
    }
}

/// Says whether the front with this state file has a route of a unit; if it does not run, it
/// should. A file that cannot be read says so itself when the front is started.
pub fn has_route(state: &Path, unit: &UnitName) -> bool {
    match Store::new(state.to_owned()).read() {
        Ok(saved) => saved.units.contains_key(unit),
        Err(_) => true,
    }
}

/// The state file.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    path: PathBuf,
}

impl Store {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads the file; a missing one is an empty state. A damaged one is never taken for
    /// empty, because it may say that a unit is sealed.
    pub(crate) fn read(&self) -> Result<Saved, Fault> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Saved::default()),
            Err(e) => return Err(self.fault("read", &e)),
        };
        let saved: Saved = serde_json::from_slice(&text).map_err(|e| self.fault("read", &e))?;
        if saved.version != VERSION {
            let cause = format!("form {} is not known, only {VERSION}", saved.version);
            return Err(self.fault("read", &cause));
        }
        Ok(saved)
    }

    /// Writes the file so that after a crash either the former or this content is there.
    pub(crate) async fn write(&self, saved: &Saved) -> Result<(), Fault> {
        let text = serde_json::to_vec(saved).map_err(|e| self.fault("write", &e))?;
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || replace(&path, &text)).await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(self.fault("write", &e)),
            Err(e) => Err(self.fault("write", &e)),
        }
    }

    fn fault(&self, verb: &str, cause: &dyn std::fmt::Display) -> Fault {
        let op = format!("{verb} state of front `{}`", self.path.display());
        Fault::new("SG0120", FaultKind::Invalid, op, cause).hint(
            "make room and rights on the disk of the state file; never delete it during a cutover",
        )
    }
}
