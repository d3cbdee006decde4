//! Traits only: what the engine needs of the families and of time.
//!
//! **Invariant.** No implementation lives here, except for values that carry data.

use async_trait::async_trait;
use segue_model::event::Attempt;
use segue_model::{Epoch, Fault, RunId, Sample, Side, StepName, UnitName, Way};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Result of an operation of a family.
pub type Outcome<T> = Result<T, Fault>;

/// Who acts, on what, under which lease. Every changing call carries one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The run.
    pub run: RunId,
    /// The unit.
    pub unit: UnitName,
    /// The step.
    pub step: StepName,
    /// The table's execution.
    pub attempt: Attempt,
    /// The lease's number.
    pub epoch: Epoch,
}

impl Authority {
    /// Returns the direction of the table.
    pub fn way(&self) -> Way {
        self.attempt.phase.way()
    }

    /// Returns the mark that is left at resources: `run/unit/step/epoch`.
    pub fn mark(&self) -> String {
        format!("{}/{}/{}/{}", self.run, self.unit, self.step, self.epoch)
    }
}

/// Outputs of the steps already done in this attempt, by step name.
pub type Facts = BTreeMap<StepName, Value>;

/// How far a long effect is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is being done: ``copy table `orders` ``.
    pub what: String,
    /// Amount done.
    pub done: u64,
    /// Amount in all, as far as known; 0 if unknown.
    pub total: u64,
    /// Unit of both: `rows`, `files`, `bytes`.
    pub unit: &'static str,
}

/// Takes progress reports; dropping them must be harmless.
pub trait ProgressSink: Send + Sync {
    /// Takes one report. Must not block.
    fn report(&self, progress: Progress);
}

/// Drops every report.
pub struct NoProgress;

impl ProgressSink for NoProgress {
    fn report(&self, _progress: Progress) {}
}

/// Everything an effect is told.
#[derive(Clone)]
pub struct Call {
    /// Where progress of long work is reported.
    pub progress: Arc<dyn ProgressSink>,
    /// Who acts.
    pub authority: Authority,
    /// What `prepare` returned; it stands in the journal since before the first `run`.
    pub prepared: Value,
    /// Recorded outputs of earlier steps: the only way data passes between steps.
    pub facts: Arc<Facts>,
    /// The time allowed for this call; a driver gives up by itself when it is over.
    pub time_allowed: Duration,
}

/// What the world says about an effect.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// It happened; the output as `run` would have returned it.
    Applied(Value),
    /// It did not happen and, after `quench`, will not.
    NotApplied,
    /// It cannot be told; says why.
    Unknown(String),
}

/// One change to the outside world.
///
/// The executor keeps this order: `prepare` -> intent in the journal -> `run` ->
/// outcome in the journal. After a crash, takeover or time-out it calls `quench`,
/// then `observe`, and only then `run` or `undo`.
#[async_trait]
pub trait Effect: Send + Sync {
    /// One line for people: what it changes.
    fn what(&self) -> String;

    /// One line for people: how a person undoes it by hand.
    fn by_hand(&self) -> String;

    /// Reads what `run` and `undo` will need, the exact inverse included. Changes nothing.
    async fn prepare(&self, _call: &Call) -> Outcome<Value> {
        Ok(Value::Null)
    }

    /// Makes the change. Safe to repeat.
    async fn run(&self, call: &Call) -> Outcome<Value>;

    /// Asks the world whether the change is in force. Changes nothing.
    async fn observe(&self, call: &Call) -> Outcome<Observed>;

    /// Takes the change back. Safe to repeat, and safe when it never happened.
    async fn undo(&self, call: &Call) -> Outcome<()>;

    /// Ends whatever a former attempt sent and that may still happen.
    async fn quench(&self, call: &Call) -> Outcome<()>;
}

/// Measures something again and again. Only the board calls it.
#[async_trait]
pub trait Sampler: Send + Sync {
    /// Its name: `front:source`, `database`.
    fn name(&self) -> String;

    /// Time between two samples.
    fn every(&self) -> Duration;

    /// Takes the samples. A fault makes every dependent gate Unknown.
    async fn sample(&self, now_boot_ms: u64) -> Outcome<Vec<Sample>>;
}

/// The only time there is.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Milliseconds of the boot clock (`CLOCK_BOOTTIME`): durations.
    fn boot_ms(&self) -> u64;

    /// Milliseconds since 1970: what people read.
    fn wall_ms(&self) -> u64;

    /// Waits.
    async fn sleep(&self, how_long: Duration);
}

/// A replica of state, as the steps of a table see it.
///
/// The effects a family offers for one replicated thing, by the step that uses
/// them. `None` where the family has nothing to do at that step.
#[derive(Clone, Default)]
pub struct ReplicaEffects {
    /// Claim the resource for this run.
    pub claim: Option<Arc<dyn Effect>>,
    /// First copy.
    pub seed: Option<Arc<dyn Effect>>,
    /// Keep the target up with the source.
    pub follow: Option<Arc<dyn Effect>>,
    /// Keep the source up with the target: the way back.
    pub reverse: Option<Arc<dyn Effect>>,
    /// Prove the way back.
    pub arm: Option<Arc<dyn Effect>>,
    /// Refuse writes at the side that `Way::from` names; ends with its lease.
    pub fence: Option<Arc<dyn Effect>>,
    /// The other side has applied everything up to the fence.
    pub drain: Option<Arc<dyn Effect>>,
    /// Compare what changed, or open snapshots to compare after route.
    pub verify: Option<Arc<dyn Effect>>,
    /// Make the fence last.
    pub seal: Option<Arc<dyn Effect>>,
    /// Make the side that `Way::to` names writable.
    pub promote: Option<Arc<dyn Effect>>,
    /// Compare the snapshots that `verify` opened.
    pub compare: Option<Arc<dyn Effect>>,
    /// End the reverse stream and everything left at the resources.
    pub end: Option<Arc<dyn Effect>>,
}

/// Returns the name under which a family reports samples of one side.
pub fn from_side(family: &str, side: Side) -> String {
    format!("{family}:{side}")
}
