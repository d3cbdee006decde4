//! One world on which plans and environments are refused: nothing of it may be touched.

use super::change::{Case, Said};
use super::table::{Kind, Row};
use super::untouched::Trace;
use super::{directories, environments, fleets, names, plans, servers};
use crate::{admin, bin, small_world};
use mysql_async::prelude::Queryable;
use segue_testkit::stage::Segue;
use segue_testkit::world::{Description, Side, World};
use std::process::Command;
use std::time::Instant;
use tokio::runtime::Runtime;

/// The world, and what was seen on it.
pub(super) struct Desk {
    pub(super) world: World,
    pub(super) segue: Segue,
    /// The plan that every case changes.
    pub(super) sound: String,
    pub(super) runtime: Runtime,
    pub(super) dir: tempfile::TempDir,
    before: Trace,
    pub(super) rows: Vec<Row>,
}

/// Plays every plan and environment.
pub(super) fn play() -> Vec<Row> {
    let mut desk = Desk::new();
    plans::play(&mut desk);
    fleets::play(&mut desk);
    environments::play(&mut desk);
    names::play(&mut desk);
    servers::play(&mut desk);
    directories::play(&mut desk);
    desk.rows
}

impl Desk {
    fn new() -> Self {
        let (world, dir) = small_world();
        let runtime = Runtime::new().unwrap();
        let segue = Segue::new(&bin(), &world.description().dir).unwrap();
        let sound = world.plan_toml();
        let before = runtime.block_on(Trace::of(&world, &segue));
        Self { world, segue, sound, runtime, dir, before, rows: Vec::new() }
    }

    pub(super) fn description(&self) -> &Description {
        self.world.description()
    }

    /// Asks `segue plan` about a plan.
    pub(super) fn plan(&self, text: &str, adorn: impl FnOnce(&mut Command)) -> Said {
        std::fs::write(self.segue.plan_file(), text).unwrap();
        let file = self.segue.plan_file().display().to_string();
        let mut command = self.segue.command(&["plan", &file]);
        adorn(&mut command);
        Said::by(&mut command)
    }

    /// Plays cases of a changed plan.
    pub(super) fn changed(&mut self, kind: Kind, cases: Vec<Case>) {
        for (name, change, code) in cases {
            let plan = change.of(&self.sound);
            let done = change.said.clone();
            self.case(kind, name, &done, code, |desk| {
                let said = desk.plan(&plan, |_| ());
                // A secret that stands in the plan must not come back in a message.
                if said.text.contains("hunter2") {
                    return Err("the secret is shown".to_owned());
                }
                said.refuses(1, code)
            });
        }
    }

    /// Plays one case: what it does and takes back leaves the world untouched.
    pub(super) fn case(
        &mut self,
        kind: Kind,
        name: &str,
        done: &str,
        expected: &str,
        play: impl FnOnce(&Self) -> Result<String, String>,
    ) {
        let began = Instant::now();
        let seen = play(self).and_then(|seen| {
            let now = self.runtime.block_on(Trace::of(&self.world, &self.segue));
            now.differs(&self.before).map_or(Ok(seen), Err)
        });
        self.rows.push(Row::new(kind, (name, done, expected), seen, began));
    }

    /// Runs statements at a side as its administrator; they must work.
    pub(super) fn sql(&self, side: Side, statements: &[&str]) {
        self.runtime.block_on(async {
            let mut conn = admin(self.description(), side).await;
            for statement in statements {
                conn.query_drop(*statement).await.expect(statement);
            }
            conn.disconnect().await.unwrap();
        });
    }
}
