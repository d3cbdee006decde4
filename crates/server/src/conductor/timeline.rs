//! The timeline of the run, with what the controller knows beside the journal.
//!
//! Who still comes to the source is asked at its fronts: anew for whoever looks at the timeline or
//! says something of it, and once a minute for the count of what is overdue, which every status
//! shows.

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
use tokio::sync::Mutex;

/// Units whose fronts are asked at once.
const ASKED_AT_ONCE: usize = 16;

/// How long an answer of the fronts does for the count of what is overdue, milliseconds.
const KEPT_MS: u64 = 60_000;

type Late = BTreeMap<UnitName, Vec<LateAt>>;

/// What the fronts at the source said last of those who still come, and when, by the boot clock.
#[derive(Debug, Default)]
pub(super) struct LateKept(Mutex<Option<(u64, Late)>>);

impl LateKept {
    /// Returns what was said at most `for_ms` ago, or asks. Whoever comes meanwhile waits for the
    /// answer, and does not ask as well.
    async fn at_most(&self, for_ms: u64, now_ms: u64, ask: impl Future<Output = Late>) -> Late {
        let mut kept = self.0.lock().await;
        if let Some((at_ms, late)) = &*kept
            && now_ms.saturating_sub(*at_ms) < for_ms
        {
            return late.clone();
        }
        let late = ask.await;
        *kept = Some((now_ms, late.clone()));
        late
    }
}

impl Conductor {
    /// Returns the line that shows the timeline.
    pub(super) async fn timeline(&self) -> Line {
        let run = match self.need_run() {
            Ok(run) => run,
            Err(fault) => return failed(&fault, Value::Null),
        };
        let facts = self.facts(&run, 0).await;
        let state = self.journal.state();
        let items = timeline(&run.fleet, &state, self.clock.wall_ms(), &facts);
        Line::End { exit: 0, text: told(&run.fleet, &items), result: shown(&run.fleet, &items) }
    }

    /// Returns how many items of the timeline are overdue.
    pub(super) async fn overdue(&self, run: &Run, state: &RunState) -> usize {
        let facts = self.facts(run, KEPT_MS).await;
        overdue(&timeline(&run.fleet, state, self.clock.wall_ms(), &facts))
    }

    /// Returns what the timeline rests on beside the journal; what fronts said is at most `for_ms`
    /// old.
    pub(super) async fn facts(&self, run: &Run, for_ms: u64) -> Facts {
        let mut facts = Facts::default();
        for (name, unit) in &run.units {
            if let Some(active) = unit.active().await {
                facts.judged.insert(name.clone(), active.verdicts());
            }
        }
        if run.units.values().all(|unit| unit.state().stage == Stage::Settled) {
            let now_ms = self.clock.boot_ms();
            facts.late = self.late.at_most(for_ms, now_ms, late(run)).await;
        }
        facts
    }
}

/// Asks the fronts at every unit's source who still comes. Only at the end, when all units are
/// settled: before that nobody asks whether the source may go.
async fn late(run: &Run) -> Late {
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
        let for_ms = Err("it does not answer".to_owned());
        return LateAt { front, for_ms, clients: 0, open: 0, dropped_ms: None, latest: Vec::new() };
    };
    let ago_ms = |at_ms: u64| known.boot_ms.saturating_sub(at_ms);
    let why = || known.uncounted.clone().unwrap_or_else(|| "it does not say since when".to_owned());
    LateAt {
        front,
        for_ms: known.since_ms.map(ago_ms).ok_or_else(why),
        clients: known.count,
        open: known.open,
        dropped_ms: known.dropped_ms.map(ago_ms),
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
            uncounted: None,
            open: 3,
            dropped_ms: Some(30_000),
            latest: vec![late(85_000)],
        };
        let told = known(("source".into(), Some(front.clone())));
        assert_eq!((told.for_ms, told.clients, told.open), (Ok(70_000), 9, 3));
        assert_eq!(told.dropped_ms, Some(60_000));
        assert_eq!(told.latest, [("192.0.2.7".parse().unwrap(), 5_000)]);
        assert_eq!(known(("source".into(), None)).for_ms, Err("it does not answer".into()));
        let why = Some("it takes no connections".to_owned());
        let closed = FrontStragglers { since_ms: None, uncounted: why.clone(), ..front };
        assert_eq!(known(("source".into(), Some(closed))).for_ms.err(), why);
    }

    #[tokio::test]
    async fn fronts_are_asked_once_a_minute_and_whenever_somebody_wants_it_anew() {
        let kept = LateKept::default();
        let look = async |for_ms: u64, now_ms: u64, name: &str| {
            let says = Late::from([(UnitName::from(name), Vec::new())]);
            let late = kept.at_most(for_ms, now_ms, std::future::ready(says)).await;
            late.into_keys().next().unwrap().to_string()
        };
        assert_eq!(look(KEPT_MS, 1_000, "first").await, "first");
        assert_eq!(look(KEPT_MS, 60_999, "second").await, "first", "a minute is not over");
        assert_eq!(look(KEPT_MS, 61_000, "third").await, "third");
        assert_eq!(look(0, 61_000, "fourth").await, "fourth", "anew");
        assert_eq!(look(KEPT_MS, 61_001, "fifth").await, "fourth", "and that is kept as well");
    }
}
