//! A run of a small world under visitors.

use crate::{bin, small_world};
use segue_testkit::stage::{Segue, Visitors};
use segue_testkit::world::World;
use serde_json::Value;
use std::time::Duration;

/// A run that stands before its cutover. Dropping it ends controller and fronts.
pub(crate) struct Run {
    pub(crate) segue: Segue,
    pub(crate) hash: String,
    pub(crate) visitors: Option<Visitors>,
    pub(crate) world: World,
    _dir: tempfile::TempDir,
}

impl Run {
    /// A unit that follows, under visitors.
    pub(crate) fn synced() -> Self {
        Self::synced_with(|plan| plan)
    }

    /// The same, of a plan that was changed.
    pub(crate) fn synced_with(change: impl Fn(String) -> String) -> Self {
        Self::synced_with_world(|_, plan| change(plan))
    }

    /// The same, of a plan that was changed for its world.
    pub(crate) fn synced_with_world(change: impl FnOnce(&World, String) -> String) -> Self {
        let (world, dir) = small_world();
        let description = world.description().clone();
        std::fs::create_dir_all(&description.ledger_dir).unwrap();
        let bin = bin();
        let segue = Segue::new(&bin, &description.dir).unwrap();
        std::fs::write(segue.plan_file(), change(&world, world.plan_toml())).unwrap();
        let visitors = Visitors::start(&bin, &description, 60).unwrap();
        visitors.wait_until_busy(Duration::from_secs(15)).unwrap();
        let hash = segue.plan().unwrap();
        segue.must(&["sync", &hash], 0).unwrap();
        Self { segue, hash, visitors: Some(visitors), world, _dir: dir }
    }
}

impl Run {
    /// Returns every record of the journal.
    pub(crate) fn journal(&self) -> Vec<Value> {
        let output = self.segue.command(&["--json", "journal"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Returns the report as a script reads it.
    pub(crate) fn report(&self) -> Value {
        let out = self.world.description().dir.join("report");
        self.segue.must(&["report", "--out", &out.display().to_string()], 0).unwrap();
        serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap()
    }

    /// Returns how often the journal says that a kind was compared in full.
    pub(crate) fn compared(&self, kind: &str) -> usize {
        let output = self.segue.command(&["--json", "journal"]).output().unwrap();
        let wanted = format!("\"event\":\"compared\",\"what\":\"{kind}\"");
        String::from_utf8_lossy(&output.stdout).matches(&wanted).count()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.visitors.take());
        self.segue.end_everything(self.world.description());
    }
}
