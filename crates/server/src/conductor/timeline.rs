//! The timeline of the run, with what the controller knows beside the journal.

use super::{Conductor, Run, failed};
use crate::api::Line;
use crate::timeline::{shown, told};
use segue_migration::timeline::{Facts, overdue, timeline};
use segue_model::state::RunState;
use serde_json::Value;

impl Conductor {
    /// Returns the line that shows the timeline.
    pub(super) async fn timeline(&self) -> Line {
        let run = match self.need_run() {
            Ok(run) => run,
            Err(fault) => return failed(&fault, Value::Null),
        };
        let facts = self.facts(&run).await;
        let state = self.journal.state();
        let items = timeline(&run.fleet, &state, self.clock.wall_ms(), &facts);
        Line::End { exit: 0, text: told(&run.fleet, &items), result: shown(&run.fleet, &items) }
    }

    /// Returns how many items of the timeline are overdue.
    pub(super) async fn overdue(&self, run: &Run, state: &RunState) -> usize {
        let facts = self.facts(run).await;
        overdue(&timeline(&run.fleet, state, self.clock.wall_ms(), &facts))
    }

    async fn facts(&self, run: &Run) -> Facts {
        let mut facts = Facts::default();
        for (name, unit) in &run.units {
            if let Some(active) = unit.active().await {
                facts.judged.insert(name.clone(), active.verdicts());
            }
        }
        facts
    }
}
