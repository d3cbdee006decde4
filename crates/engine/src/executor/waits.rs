//! Time limits, the pause, and waiting that a wish to turn back ends.

use super::Course;
use crate::decide::Wish;
use futures_util::FutureExt;
use segue_model::state::AttemptState;
use segue_model::table::{Pause, Retry};
use segue_model::{EffectLeft, Fault, FaultKind, StepName};
use segue_port::{Clock, Outcome};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Bounds of the time for `prepare`, `observe`, `quench` and `undo`: a step may be allowed
/// hours or milliseconds to run, what clears up after it is neither.
const CLEAR_UP: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// Time used and allowed in the pause, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PauseUse {
    pub(super) used: u64,
    pub(super) reserve: u64,
    pub(super) limit: u64,
}

impl PauseUse {
    /// Says whether the time used and the reserve fit the budget.
    pub(super) fn fits(self) -> bool {
        self.used + self.reserve <= self.limit
    }

    pub(super) fn numbers(self) -> String {
        let Self { used, reserve, limit } = self;
        format!("{used} ms used, {reserve} ms in reserve, {limit} ms allowed")
    }
}

impl Course<'_> {
    /// Says whether clients wait now and the attempt can still turn round.
    pub(super) fn in_pause(&self, open: &AttemptState) -> bool {
        open.pause.began.is_some() && open.pause.ended.is_none() && !open.crossed()
    }

    /// Returns the use of the budget for the step at `place`; `None` outside the pause or
    /// without a budget. The reserve counts up to the seal, for what follows is what it is for.
    pub(super) fn pause_use(&self, open: &AttemptState, place: usize) -> Option<PauseUse> {
        let budget = self.table.budget.filter(|_| self.in_pause(open))?;
        if *self.wish.borrow() == Wish::Through {
            // What it switches together with has switched: no budget makes it turn round.
            return None;
        }
        let used = self.now_ms().saturating_sub(open.pause.began?.boot_ms);
        let up_to_seal = self.shape.pause(Pause::Seal).is_none_or(|seal| place <= seal);
        let sealed = open.pause.sealed.is_some();
        let reserve = if up_to_seal && !sealed { budget.reserve_ms } else { 0 };
        Some(PauseUse { used, reserve, limit: budget.limit_ms })
    }

    /// Returns the time for one run of the step: its own, cut by what the budget leaves.
    pub(super) fn run_limit(&self, place: usize) -> Outcome<Duration> {
        let open = self.open()?;
        let allowed = self.step(place).time_allowed;
        let left = self.pause_use(&open, place).map(|pause| {
            Duration::from_millis(pause.limit.saturating_sub(pause.used + pause.reserve))
        });
        Ok(left.map_or(allowed, |left| allowed.min(left)))
    }

    /// Returns the time for whatever prepares or clears up.
    pub(super) fn clear_up_limit(&self, place: usize) -> Duration {
        self.step(place).time_allowed.clamp(CLEAR_UP.0, CLEAR_UP.1)
    }

    /// Waits for `work` at most `limit`; a panic inside it becomes a fault.
    pub(super) async fn limited<T>(
        &self,
        verb: &str,
        place: usize,
        limit: Duration,
        work: impl Future<Output = Outcome<T>>,
    ) -> Outcome<T> {
        let op = || format!("{verb} step `{}`", self.step(place).name);
        tokio::select! {
            biased;
            done = AssertUnwindSafe(work).catch_unwind() => done.unwrap_or_else(|_| {
                Err(Fault::new("SG0622", FaultKind::Bug, op(), "it panicked")
                    .leaving(EffectLeft::Maybe))
            }),
            () = self.executor.clock.sleep(limit) => {
                let cause = format!("not done within {} ms", limit.as_millis());
                Err(Fault::new("SG0621", FaultKind::Timeout, op(), cause)
                    .leaving(EffectLeft::Maybe))
            }
        }
    }

    /// Waits for `work`; `None` if a wish to turn back comes first while that is possible.
    pub(super) async fn unless_turned<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Outcome<Option<T>> {
        if self.open()?.crossed() {
            return Ok(Some(work.await));
        }
        Ok(tokio::select! {
            biased;
            () = turned_back(self.wish.clone(), self.steps_back()?) => None,
            done = work => Some(done),
        })
    }

    /// Returns the steps over which the table would step back: those done, with the records
    /// that say so.
    pub(super) fn steps_back(&self) -> Outcome<Vec<(StepName, u64)>> {
        if !self.shape.steps_back() {
            return Ok(Vec::new());
        }
        let open = self.open()?;
        let done =
            open.steps.iter().filter_map(|(name, step)| Some((name.clone(), step.done_at()?)));
        Ok(done.collect())
    }

    /// Waits before another try of the step; a wish to turn back ends it early.
    pub(super) async fn back_off(&self, place: usize, tries: u32) -> Outcome<()> {
        let first = match self.step(place).retry {
            Retry::Until { every } => every,
            Retry::Never => FIRST_BACKOFF,
        };
        let wait = doubled(first, tries);
        self.unless_turned(self.executor.clock.sleep(wait)).await.map(drop)
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.executor.clock)
    }
}

/// Doubles `first` with every try, up to a bound.
pub(super) fn doubled(first: Duration, tries: u32) -> Duration {
    let factor = 2_u32.saturating_pow(tries.saturating_sub(1).min(16));
    first.max(Duration::from_millis(1)).saturating_mul(factor).min(LONGEST_BACKOFF.max(first))
}

/// Waits for a wish to turn back, or to step back over one of these steps that are done.
async fn turned_back(mut wish: watch::Receiver<Wish>, done: Vec<(StepName, u64)>) {
    let turns = |wish: &Wish| match wish {
        Wish::TurnBack { .. } => true,
        Wish::StepBack { step, done: seq } => done.iter().any(|own| own == &(step.clone(), *seq)),
        Wish::Forward | Wish::Through => false,
    };
    let turned = wish.wait_for(turns).await.is_ok();
    if !turned {
        // Nobody is left to wish anything.
        std::future::pending::<()>().await;
    }
}
