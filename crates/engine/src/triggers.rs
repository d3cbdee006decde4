//! Triggers: conditions over the board that start an action while a unit is watched.
//!
//! ```text
//! board -> judge: quiet | violating | no data | fired -> react: tell | step back | fail back | ask
//! ```
//!
//! A trigger that cannot fire is worse than none, so each one is proved at start-up: fed
//! with violating samples it must fire, fed with healthy ones it must not. No data is a
//! verdict of its own and never counts as quiet.

mod judge;
mod prove;
mod react;

pub use judge::{Evidence, Judgement, Level, judge};
pub use prove::prove;
pub use react::{Position, Reaction, Split, react};

use crate::board::Board;
use segue_model::gate::{Judged, Reference, Standing, Trigger, TriggerAction};
use segue_model::{Sample, Side, What};
use segue_port::{Clock, Outcome};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long before the cutover the level is taken that some triggers compare with.
pub const LEVEL_MS: u64 = 60_000;

/// A trigger that fired, with the numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Fired {
    /// Which.
    pub trigger: Trigger,
    /// What is due: its action, or asking because there is no data.
    pub action: TriggerAction,
    /// The numbers, for people.
    pub because: String,
}

/// Evaluates triggers over the board from one moment on.
pub struct TriggerWatch {
    triggers: Vec<Trigger>,
    board: Board,
    clock: Arc<dyn Clock>,
    since_boot_ms: u64,
    /// Levels before the cutover, by the measure they were taken of.
    levels: BTreeMap<What, Level>,
    /// The last verdict of each, and whether it was started: once until it was healthy.
    last: BTreeMap<String, (Judged, bool)>,
}

impl TriggerWatch {
    /// Proves every trigger and watches from `since_boot_ms` on; older samples do not count,
    /// except as the level before it, as far as the board remembers.
    ///
    /// # Errors
    /// `SG0640` with the first trigger that cannot fire or cannot be quiet.
    pub fn new(
        triggers: Vec<Trigger>,
        board: Board,
        clock: Arc<dyn Clock>,
        since_boot_ms: u64,
    ) -> Outcome<Self> {
        let mut levels = BTreeMap::new();
        for trigger in &triggers {
            prove(trigger)?;
            if let Some(what) = level_wanted(trigger) {
                let samples = board.window(what, crate::board::REMEMBERED_MS);
                levels.extend(level(&samples, since_boot_ms).map(|level| (what, level)));
            }
        }
        let last = BTreeMap::new();
        Ok(Self { triggers, board, clock, since_boot_ms, levels, last })
    }

    /// Takes levels that are known from elsewhere, such as from `samples.db` after a restart.
    #[must_use]
    pub fn with_levels(mut self, levels: BTreeMap<What, Level>) -> Self {
        self.levels.extend(levels);
        self
    }

    /// Returns the triggers that fire now and did not at the last look.
    pub fn look(&mut self) -> Vec<Fired> {
        let now_ms = self.clock.boot_ms();
        let mut all = Vec::new();
        for trigger in &self.triggers {
            let judgement =
                judge_on(trigger, &self.board, &self.levels, now_ms, self.since_boot_ms);
            let Judgement { standing, because, starts } = judgement;
            let told = self.last.get(&trigger.name).is_some_and(|(_, told)| *told);
            // Told once until it was healthy again: silence after an alarm is no health.
            let told_now = match standing {
                Standing::Quiet | Standing::Violating { .. } => false,
                _ => told || starts.is_some(),
            };
            let judged =
                Judged { trigger: trigger.name.clone(), standing, because: because.clone() };
            self.last.insert(trigger.name.clone(), (judged, told_now));
            if let (Some(action), false) = (starts, told) {
                all.push(Fired { trigger: trigger.clone(), action, because });
            }
        }
        all
    }

    /// Returns the verdict of every trigger at the last look, by name.
    pub fn verdicts(&self) -> Vec<Judged> {
        self.last.values().map(|(judged, _)| judged.clone()).collect()
    }

    /// Waits until a trigger fires; each is told once until it was healthy again.
    pub async fn next(&mut self) -> Vec<Fired> {
        loop {
            let fired = self.look();
            if !fired.is_empty() {
                return fired;
            }
            self.clock.sleep(LOOK_EVERY).await;
        }
    }
}

/// Returns the measure whose level before the cutover `trigger` compares with.
pub fn level_wanted(trigger: &Trigger) -> Option<What> {
    let before = trigger.against.is_some_and(|against| against.with == Reference::Before);
    if before { trigger.reference() } else { None }
}

/// Returns the level in the minute before `until_ms`, by the boot clock.
pub fn level(samples: &[Sample], until_ms: u64) -> Option<Level> {
    let from_ms = until_ms.saturating_sub(LEVEL_MS);
    let values: Vec<f64> = samples
        .iter()
        .filter(|sample| (from_ms..=until_ms).contains(&sample.taken_at_ms))
        .map(|sample| sample.value)
        .collect();
    Level::of(&values)
}

/// Judges `trigger` by what the board holds.
pub fn judge_on(
    trigger: &Trigger,
    board: &Board,
    levels: &BTreeMap<What, Level>,
    now_ms: u64,
    since_ms: u64,
) -> Judgement {
    let samples = board.window(trigger.bound.what, trigger.for_ms);
    let origins = board.origins(trigger.bound.what);
    let (mut other_side, mut clients) = (Vec::new(), Vec::new());
    let reference = trigger.reference();
    if let (Some(against), Some(reference)) = (trigger.against, reference) {
        if against.with == Reference::OtherSide {
            other_side = board.window(reference, trigger.for_ms);
        }
        if against.min_clients > 0 {
            for side in [Side::Source, Side::Target] {
                clients.extend(board.window(What::ClientsPerSecond(side), trigger.for_ms));
            }
        }
    }
    let before = reference.and_then(|reference| levels.get(&reference).copied());
    let evidence = Evidence {
        samples: &samples,
        origins: &origins,
        other_side: &other_side,
        clients: &clients,
        before,
    };
    judge(trigger, evidence, now_ms, since_ms)
}

/// Returns the numbers if `trigger` fires over `samples` at `now_ms`, watched since
/// `since_ms` (boot clock). Each origin is judged by itself; one that violates is enough.
pub fn fires(trigger: &Trigger, samples: &[Sample], now_ms: u64, since_ms: u64) -> Option<String> {
    let mut samples = samples.to_vec();
    samples.sort_by_key(|sample| sample.taken_at_ms);
    let evidence = Evidence { samples: &samples, ..Evidence::default() };
    let judgement = judge(trigger, evidence, now_ms, since_ms);
    (judgement.standing == Standing::Fired).then_some(judgement.because)
}
