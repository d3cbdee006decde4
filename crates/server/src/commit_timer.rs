//! The commit timer: unless somebody confirms in time, a unit goes back by itself.
//!
//! It counts by the boot clock, and how much is left stands in the journal, so that another
//! controller goes on counting. **It acts only if it was watched**: a timer that ran out
//! while no controller ran, or while this one slept, asks a person. Nobody wants hundreds of
//! healthy units to go back in the morning because a laptop was closed at night.

use crate::unit::Unit;
use crate::watch;
use segue_model::event::{Actor, Event, Phase};
use segue_model::state::{CommitTimer, Moment, UnitState};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A longer gap between two looks counts as not watched, milliseconds.
const GAP_MS: u64 = 5_000;
/// What is left is written at least so often, milliseconds.
const TELL_MS: u64 = 10_000;
/// And about so often in all.
const TELLS: u64 = 60;

/// What the timer says at one look.
#[derive(Debug, PartialEq, Eq)]
enum Says {
    /// Nothing new.
    Runs,
    /// So much is left, and the journal should know.
    Tell(u64),
    /// It ran out while it was watched.
    RanOut,
    /// It ran out, and nobody can say that it was watched.
    Overdue,
}

/// Looks at the timer of a watched unit; returns whether it acted.
pub(crate) async fn look(unit: &Arc<Unit>, state: &UnitState, since: Moment) -> bool {
    let limit_ms = unit.plan.policy.commit_timer_s * 1_000;
    if limit_ms == 0 {
        return false;
    }
    let now_ms = unit.clock.boot_ms();
    let looked_ms = unit.looked_ms.swap(now_ms, Ordering::Relaxed);
    match says(limit_ms, state.commit_timer, since, looked_ms, now_ms) {
        Says::Runs => false,
        Says::Tell(left_ms) => {
            let told = unit
                .journal
                .append_if(Event::CommitTimerTold { left_ms }, |state| {
                    state.stage == segue_model::state::Stage::Watching && state.open.is_none()
                })
                .await;
            if let Err(fault) = told {
                tracing::error!(%fault, "the commit timer is not in the journal");
            }
            false
        }
        // A failback that withdrew would only withdraw again, for ever.
        Says::RanOut if !failed_back_before(state) => {
            go_back(unit).await;
            true
        }
        says => {
            let why = match says {
                Says::RanOut => "ran out after a failback that withdrew",
                _ => "ran out while no controller watched",
            };
            let because = format!(
                "confirm overdue: the commit timer of {} s {why}; the unit stays at the target",
                limit_ms / 1_000
            );
            let way_out = vec![
                "all is well: `segue confirm`".to_owned(),
                "it shall go back: `segue rollback`".to_owned(),
            ];
            let refused = Event::FailbackRefused { because, way_out };
            if let Err(fault) = unit.journal.append(refused).await {
                tracing::error!(%fault, "cannot record that a person must choose");
            }
            true
        }
    }
}

fn failed_back_before(state: &UnitState) -> bool {
    state.history.last().is_some_and(|past| past.state.attempt.phase == Phase::Failback)
}

async fn go_back(unit: &Arc<Unit>) {
    let Ok(_turn) = unit.take_turn() else { return };
    let because = format!("nobody confirmed within {} s", unit.plan.policy.commit_timer_s);
    if let Some(loss) = watch::loss(unit).await {
        let way_out = vec![
            "bring the target's database back and run `segue resume`: the unit then fails back without loss".to_owned(),
            "or mend the target and leave the unit there: `segue confirm`".to_owned(),
        ];
        let refused = Event::FailbackRefused { because: format!("{because}, but {loss}"), way_out };
        if let Err(fault) = unit.journal.append(refused).await {
            tracing::error!(%fault, "cannot record that a person must choose");
        }
        return;
    }
    // The first of this and a person's confirm wins: the journal decides.
    let by = Actor::Trigger("commit_timer".to_owned());
    let ended = unit.attempt(Phase::Failback, by, because).await;
    tracing::info!(unit = %unit.name(), ?ended, "failback by the commit timer ended");
}

/// `looked_ms` is the last look of this process, 0 for none.
fn says(
    limit_ms: u64,
    timer: Option<CommitTimer>,
    since: Moment,
    looked_ms: u64,
    now_ms: u64,
) -> Says {
    let Some(timer) = timer else {
        // Begun by the end of the cutover, whoever wrote that.
        return Says::Tell(limit_ms.saturating_sub(now_ms.saturating_sub(since.boot_ms)));
    };
    // A boot clock that went back is another boot: how long that took is not known.
    let Some(gone_ms) = now_ms.checked_sub(timer.told.boot_ms) else { return Says::Overdue };
    let left_ms = timer.left_ms.saturating_sub(gone_ms);
    if left_ms > 0 {
        let every = TELL_MS.max(limit_ms / TELLS);
        return if gone_ms >= every { Says::Tell(left_ms) } else { Says::Runs };
    }
    let watched = looked_ms > 0 && now_ms.saturating_sub(looked_ms) <= GAP_MS;
    if watched { Says::RanOut } else { Says::Overdue }
}

#[cfg(test)]
mod tests {
    use super::{Says, says};
    use segue_model::state::{CommitTimer, Moment};

    fn at(boot_ms: u64) -> Moment {
        Moment { seq: 1, at_ms: 0, boot_ms }
    }

    fn timer(left_ms: u64, told_ms: u64) -> Option<CommitTimer> {
        Some(CommitTimer { left_ms, told: at(told_ms) })
    }

    #[test]
    fn it_begins_with_the_end_of_the_cutover_and_is_told_now_and_then() {
        assert_eq!(says(60_000, None, at(1_000), 0, 4_000), Says::Tell(57_000));
        assert_eq!(says(60_000, timer(57_000, 4_000), at(1_000), 4_000, 4_200), Says::Runs);
        let told = says(60_000, timer(57_000, 4_000), at(1_000), 13_900, 14_100);
        assert_eq!(told, Says::Tell(46_900));
    }

    #[test]
    fn watched_to_its_end_it_acts() {
        assert_eq!(says(60_000, timer(1_000, 50_000), at(1), 50_900, 51_100), Says::RanOut);
    }

    #[test]
    fn unwatched_at_its_end_it_asks() {
        let timer = timer(1_000, 50_000);
        assert_eq!(says(60_000, timer, at(1), 0, 90_000), Says::Overdue, "first look after it");
        assert_eq!(says(60_000, timer, at(1), 50_500, 90_000), Says::Overdue, "it slept");
        assert_eq!(says(60_000, timer, at(1), 50_500, 100), Says::Overdue, "another boot");
    }
}
