//! Triggers: conditions over the board that start an action while a unit is watched.
//!
//! A trigger that cannot fire is worse than none, so each one is proved at start-up: fed
//! with violating samples it must fire, fed with healthy ones it must not.

use crate::board::{Board, REMEMBERED_MS};
use crate::gates::{allowed, keeps};
use segue_model::gate::{NoData, Trigger};
use segue_model::{Fault, FaultKind, Sample, What};
use segue_port::{Clock, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A trigger that fired, with the numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Fired {
    /// Which.
    pub trigger: Trigger,
    /// The numbers, for people.
    pub because: String,
}

/// Evaluates triggers over the board from one moment on.
pub struct TriggerWatch {
    triggers: Vec<Trigger>,
    board: Board,
    clock: Arc<dyn Clock>,
    since_boot_ms: u64,
    /// Fired and not healthy since: told once.
    told: BTreeSet<String>,
}

impl TriggerWatch {
    /// Proves every trigger and watches from `since_boot_ms` on; older samples do not count.
    ///
    /// # Errors
    /// `SG0640` with the first trigger that cannot fire or cannot be quiet.
    pub fn new(
        triggers: Vec<Trigger>,
        board: Board,
        clock: Arc<dyn Clock>,
        since_boot_ms: u64,
    ) -> Outcome<Self> {
        for trigger in &triggers {
            prove(trigger)?;
        }
        Ok(Self { triggers, board, clock, since_boot_ms, told: BTreeSet::new() })
    }

    /// Returns the triggers that fire now and did not at the last look.
    pub fn look(&mut self) -> Vec<Fired> {
        let now_ms = self.clock.boot_ms();
        let mut fired = Vec::new();
        for trigger in &self.triggers {
            let samples = self.board.window(trigger.bound.what, trigger.for_ms);
            match fires(trigger, &samples, now_ms, self.since_boot_ms) {
                Some(because) if self.told.insert(trigger.name.clone()) => {
                    fired.push(Fired { trigger: trigger.clone(), because });
                }
                Some(_) => {}
                None => {
                    self.told.remove(&trigger.name);
                }
            }
        }
        fired
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

/// Returns the numbers if `trigger` fires over `samples` at `now_ms`, watched since
/// `since_ms` (boot clock). Each origin is judged by itself; one that violates is enough.
pub fn fires(trigger: &Trigger, samples: &[Sample], now_ms: u64, since_ms: u64) -> Option<String> {
    if now_ms.saturating_sub(since_ms) < trigger.for_ms {
        return None;
    }
    let after = now_ms.saturating_sub(trigger.for_ms);
    let mut origins: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.taken_at_ms > after) {
        origins.entry(&sample.from).or_default().push(sample);
    }
    let what = trigger.bound.what;
    if origins.is_empty() && trigger.no_data == NoData::Violates {
        return Some(format!("{what}: no sample for {} ms", trigger.for_ms));
    }
    origins.into_iter().find_map(|(from, samples)| fires_for(trigger, from, &samples))
}

fn fires_for(trigger: &Trigger, from: &str, samples: &[&Sample]) -> Option<String> {
    let counted: Vec<f64> = samples
        .iter()
        .filter(|sample| sample.count >= trigger.min_count)
        .map(|sample| sample.value)
        .collect();
    if counted.iter().any(|value| keeps(&trigger.bound, *value) == Some(true)) {
        return None;
    }
    let enough = counted.len() >= trigger.min_samples.max(1);
    if !enough && trigger.no_data == NoData::Ignore {
        return None;
    }
    let what = trigger.bound.what;
    let low = counted.iter().copied().fold(f64::INFINITY, f64::min);
    let high = counted.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let numbers = match counted.len() {
        0 => "no sample with enough observations".to_owned(),
        1 => format!("{low} in one sample"),
        n => format!("{low} to {high} in {n} samples"),
    };
    let (allowed, for_ms) = (allowed(&trigger.bound), trigger.for_ms);
    Some(format!("{what} from {from}: {numbers} over {for_ms} ms, allowed {allowed}"))
}

/// Proves that `trigger` fires over violating samples and stays quiet over healthy ones.
///
/// # Errors
/// `SG0640` if no value can violate or keep its bound, or if its rules contradict.
pub fn prove(trigger: &Trigger) -> Outcome<()> {
    let refuse = |cause: &str| {
        let op = format!("prove trigger `{}`", trigger.name);
        Err(Fault::new("SG0640", FaultKind::Invalid, op, cause)
            .hint("change the trigger in the plan file"))
    };
    if trigger.for_ms == 0 || trigger.for_ms > REMEMBERED_MS {
        return refuse(&format!("`for_ms` must be 1 to {REMEMBERED_MS}"));
    }
    let (bad, good) = (violating(trigger), healthy(trigger));
    let Some(bad) = bad else {
        return refuse("no possible value violates its bound: it can never fire");
    };
    let Some(good) = good else {
        return refuse("no possible value keeps its bound: it would always fire");
    };
    let now_ms = trigger.for_ms * 2;
    let wanted = trigger.min_samples.max(1) as u64;
    if wanted > trigger.for_ms {
        return refuse("more samples are asked for than fit in its time");
    }
    let series = |value: f64| -> Vec<Sample> {
        let step = |n: u64| Sample {
            what: trigger.bound.what,
            value,
            count: trigger.min_count.max(1),
            taken_at_ms: now_ms - n * trigger.for_ms / wanted,
            from: "proof".into(),
        };
        (0..wanted).map(step).collect()
    };
    if fires(trigger, &series(bad), now_ms, 0).is_none() {
        return refuse("it does not fire over samples that violate its bound");
    }
    if fires(trigger, &series(good), now_ms, 0).is_some() {
        return refuse("it fires over samples that keep its bound");
    }
    let silent = fires(trigger, &[], now_ms, 0).is_some();
    if silent != (trigger.no_data == NoData::Violates) {
        return refuse("without data it does not do what `no_data` says");
    }
    Ok(())
}

/// Returns the largest value the measurement can have; all are at least 0.
fn most(what: What) -> f64 {
    match what {
        What::FrontsReady
        | What::BackendHealthy(_)
        | What::DatabaseReadable(_)
        | What::ZoneServersEqual => 1.0,
        _ => f64::MAX,
    }
}

fn candidates(trigger: &Trigger) -> impl Iterator<Item = f64> {
    let most = most(trigger.bound.what);
    let ends = [trigger.bound.min, trigger.bound.max].into_iter().flatten();
    let around = ends.flat_map(|end| [end, end / 2.0, end * 2.0 + 1.0]);
    around.chain([0.0, 1.0, most]).filter(move |value| (0.0..=most).contains(value))
}

fn violating(trigger: &Trigger) -> Option<f64> {
    candidates(trigger).find(|value| keeps(&trigger.bound, *value) == Some(false))
}

fn healthy(trigger: &Trigger) -> Option<f64> {
    candidates(trigger).find(|value| keeps(&trigger.bound, *value) == Some(true))
}
