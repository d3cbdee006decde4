//! The timeline of the run, with what the controller knows beside the journal.

use super::{Conductor, Run, failed};
use crate::api::Line;
use crate::timeline::{shown, told};
use crate::unit::Unit;
use futures_util::StreamExt;
use segue_migration::timeline::{Facts, LateAt, overdue, timeline};
use segue_model::state::{RunState, Stage};
use segue_model::{Side, UnitName};
use segue_traffic::{FrontStragglers, late_at};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Units whose fronts are asked at once.
const ASKED_AT_ONCE: usize = 16;

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
        let settled = run.units.values().all(|unit| {
            let state = unit.state();
            state.excluded.is_some() || state.stage == Stage::Settled
        });
        if settled {
            facts.late = late(run).await;
        }
        facts
    }
}

/// Asks the fronts at every unit's source who still comes. Only at the end, when all units are
/// settled: before that nobody asks whether the source may go.
async fn late(run: &Run) -> BTreeMap<UnitName, Vec<LateAt>> {
    let units: Vec<Arc<Unit>> = run.units.values().cloned().collect();
    let all = units.into_iter().map(late_of);
    futures_util::stream::iter(all).buffer_unordered(ASKED_AT_ONCE).collect().await
}

async fn late_of(unit: Arc<Unit>) -> (UnitName, Vec<LateAt>) {
    let fronts = late_at(&unit.plan.unit, Side::Source).await;
    (unit.name().clone(), fronts.into_iter().map(known).collect())
}

/// Turns the boot clock of a front's machine into how long ago something was.
fn known((front, known): (String, Option<FrontStragglers>)) -> LateAt {
    let Some(known) = known else {
        return LateAt { front, for_ms: None, clients: 0, latest: Vec::new() };
    };
    let ago_ms = |at_ms: u64| known.boot_ms.saturating_sub(at_ms);
    LateAt {
        front,
        for_ms: known.since_ms.map(ago_ms),
        clients: known.count,
        latest: known.latest.iter().map(|one| (one.client, ago_ms(one.last_ms))).collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use segue_front::control::Straggler;
    use segue_model::Sides;

    #[test]
    fn how_long_ago_is_counted_from_when_the_front_was_asked() {
        let late = |last_ms| Straggler {
            unit: "shop".into(),
            client: "192.0.2.7".parse().unwrap(),
            sides: Sides { source: 0, target: 1 },
            last_ms,
        };
        let front = FrontStragglers {
            front: "source".into(),
            count: 9,
            boot_ms: 90_000,
            since_ms: Some(20_000),
            latest: vec![late(85_000)],
        };
        let told = known(("source".into(), Some(front)));
        assert_eq!((told.for_ms, told.clients), (Some(70_000), 9));
        assert_eq!(told.latest, [("192.0.2.7".parse().unwrap(), 5_000)]);
        assert_eq!(known(("source".into(), None)).for_ms, None, "does not answer");
    }
}
