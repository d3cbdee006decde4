//! The controller's end: outside a pause, and with its files closed.

use super::Conductor;
use segue_model::state::{AttemptState, Direction};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Longest wait for a pause that is under way: its budget, its way back, and workers that are
/// started again fit into it.
const PAUSE_MOST: Duration = Duration::from_secs(20);
/// How often it is looked whether the pause is over.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Longest time for what runs for the units, and for each file.
const CLOSE_MOST: Duration = Duration::from_secs(2);

impl Conductor {
    /// Returns once somebody asked for the controller's end.
    pub(crate) async fn told_to_stop(&self) {
        self.stop.notified().await;
    }

    /// Ends the controller. Called once the answer to the command is on its way: the
    /// process does not wait for its views.
    pub(crate) fn stop(&self) {
        self.stop.notify_one();
    }

    /// Waits until no unit is in its pause, and says what the end leaves.
    ///
    /// Users wait while a pause lasts, and without a controller nobody ends one that was
    /// sealed. So it is over first, at the other side or back where it began.
    pub(crate) async fn ready_to_stop(&self) -> String {
        let until = Instant::now() + PAUSE_MOST;
        let over = async {
            while self.paused() {
                sleep(LOOK_EVERY).await;
            }
        };
        if timeout_at(until, over).await.is_err() {
            tracing::warn!("the controller ends in the middle of a pause");
        }
        let open = |state: &segue_model::state::RunState| {
            let open = state.units.iter().filter(|(_, unit)| unit.open.is_some());
            open.map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>()
        };
        let open = self.journal.with(open);
        if open.is_empty() {
            return "the controller ends; fronts and replication go on".into();
        }
        format!(
            "the controller ends with an open attempt of {}; fronts and replication go on, `segue resume` ends it",
            open.join(", ")
        )
    }

    /// Says whether users of a unit wait now, or what made them wait is being taken back.
    fn paused(&self) -> bool {
        self.journal.with(|state| {
            state.units.values().any(|unit| unit.open.as_ref().is_some_and(is_paused))
        })
    }

    /// Ends everything this process runs, then closes its files: nothing is appended any more.
    pub(crate) async fn close(&self) {
        let units = self.run().map(|run| run.units.values().cloned().collect::<Vec<_>>());
        let closing = units.into_iter().flatten().map(|unit| async move { unit.close().await });
        for (what, done) in [
            ("units", timeout(CLOSE_MOST, futures_util::future::join_all(closing)).await.is_ok()),
            ("samples", timeout(CLOSE_MOST, self.shared.samples.close()).await.is_ok()),
            ("journal", timeout(CLOSE_MOST, self.journal.close()).await.is_ok()),
        ] {
            if !done {
                tracing::warn!(what, "not closed in time");
            }
        }
    }
}

fn is_paused(open: &AttemptState) -> bool {
    let waits = open.pause.ended.is_none() || matches!(open.direction, Direction::Back { .. });
    open.pause.began.is_some() && open.stuck.is_none() && waits
}
