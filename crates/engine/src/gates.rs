//! Gates: questions before a step, answered from samples with their numbers.

use crate::board::Board;
use async_trait::async_trait;
use futures_util::future::join_all;
use segue_model::Sample;
use segue_model::gate::{Answer, Bound, GateNoData, GateSpec, Verdict};
use segue_model::state::UnitState;
use segue_port::{Clock, Facts};
use std::sync::Arc;

/// What a gate may look at.
#[derive(Clone)]
pub struct GateContext {
    /// Samples.
    pub board: Board,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Outputs of earlier steps of the attempt.
    pub facts: Arc<Facts>,
    /// What the journal says of the unit.
    pub state: Arc<UnitState>,
}

/// A question before a step. It changes nothing and may be asked again and again.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Its name, unique within its step.
    fn name(&self) -> String;

    /// What it asks, in words: its name with the number that is allowed.
    fn asks(&self) -> String {
        self.name()
    }

    /// Says whether waiting for it is worth the visitors' time: inside the pause any other gate
    /// that does not pass turns its table round. The budget bounds such waiting.
    fn waits_in_pause(&self) -> bool {
        false
    }

    /// Answers with the numbers the verdict rests on.
    async fn ask(&self, context: &GateContext) -> Answer;
}

/// Says whether one sample keeps a bound; `None` if the bound has no limit or the value is
/// no number.
pub(crate) fn keeps(bound: &Bound, value: f64) -> Option<bool> {
    if value.is_nan() || (bound.max.is_none() && bound.min.is_none()) {
        return None;
    }
    let below = bound.max.is_none_or(|max| value <= max);
    let above = bound.min.is_none_or(|min| value >= min);
    Some(below && above)
}

/// Returns a bound in words: `at most 1000`.
pub(crate) fn allowed(bound: &Bound) -> String {
    match (bound.min, bound.max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (None, Some(max)) => format!("at most {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, None) => "nothing".to_owned(),
    }
}

/// Passes while the newest sample of every origin is fresh and keeps the bound, and all
/// samples of a time did, if one is given; waits while one does not; Unknown without a
/// fresh one.
pub struct BoundGate {
    name: String,
    bound: Bound,
    for_ms: u64,
    no_data: GateNoData,
    /// So many origins there must be.
    origins: usize,
}

impl BoundGate {
    /// Builds a gate that looks at the newest samples.
    pub fn new(name: impl Into<String>, bound: Bound) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            bound,
            for_ms: 0,
            no_data: GateNoData::Wait,
            origins: 1,
        })
    }

    /// Builds a gate of the plan.
    pub fn of(spec: &GateSpec) -> Arc<Self> {
        Self::of_several(spec, 1)
    }

    /// Builds a gate of the plan that asks `origins` parts of the unit: one that was never
    /// measured is Unknown, and not forgotten over the others.
    pub fn of_several(spec: &GateSpec, origins: usize) -> Arc<Self> {
        Arc::new(Self {
            origins: if spec.bound.from.is_some() { 1 } else { origins },
            name: spec.name.clone(),
            bound: spec.bound.clone(),
            for_ms: spec.for_ms,
            no_data: spec.no_data,
        })
    }

    fn judge(&self, samples: &[Sample], now_ms: u64) -> (Verdict, String) {
        let what = self.bound.what;
        let allowed = allowed(&self.bound);
        if samples.is_empty() {
            return (Verdict::Unknown, format!("{what}: no sample yet, allowed {allowed}"));
        }
        let mut verdict = Verdict::Pass;
        let mut numbers = Vec::new();
        for sample in samples {
            let age_ms = now_ms.saturating_sub(sample.taken_at_ms);
            numbers.push(format!("{} from {}, {age_ms} ms old", sample.value, sample.from));
            let kept = keeps(&self.bound, sample.value);
            if age_ms > self.bound.fresh_for_ms || kept.is_none() {
                verdict = Verdict::Unknown;
            } else if kept == Some(false) && verdict == Verdict::Pass {
                verdict = Verdict::Wait;
            }
        }
        if samples.len() < self.origins {
            verdict = Verdict::Unknown;
            numbers.push(format!("{} of {} are measured", samples.len(), self.origins));
        }
        let fresh = self.bound.fresh_for_ms;
        let because =
            format!("{what}: {}; allowed {allowed}, fresh for {fresh} ms", numbers.join(", "));
        (verdict, because)
    }

    /// Judges the whole of its time, once the newest samples keep the bound.
    fn judge_time(&self, samples: &[Sample], now_ms: u64) -> (Verdict, String) {
        let what = self.bound.what;
        let for_s = self.for_ms as f64 / 1000.0;
        let broken = samples.iter().filter(|s| keeps(&self.bound, s.value) != Some(true)).count();
        let oldest = samples.iter().map(|s| now_ms.saturating_sub(s.taken_at_ms)).max();
        // The time must be full of samples, less one interval of the sampler.
        let reach_ms = oldest.unwrap_or(0) + self.bound.fresh_for_ms.min(self.for_ms / 2);
        if broken > 0 {
            let n = samples.len();
            let text = format!("{what}: {broken} of {n} samples of the last {for_s} s break it");
            (Verdict::Wait, format!("{text}; allowed {}", allowed(&self.bound)))
        } else if reach_ms < self.for_ms {
            let seen_s = oldest.unwrap_or(0) / 1000;
            (Verdict::Wait, format!("{what}: kept for {seen_s} s, wanted {for_s} s"))
        } else {
            (Verdict::Pass, format!("{what}: kept by {} samples in {for_s} s", samples.len()))
        }
    }
}

#[async_trait]
impl Gate for BoundGate {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn asks(&self) -> String {
        let time = if self.for_ms == 0 {
            String::new()
        } else {
            format!(" for {} s", self.for_ms as f64 / 1000.0)
        };
        let from =
            self.bound.from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
        format!("{}: {}{from} {}{time}", self.name, self.bound.what, allowed(&self.bound))
    }

    async fn ask(&self, context: &GateContext) -> Answer {
        let now_ms = context.clock.boot_ms();
        let from = self.bound.from.as_deref();
        let ours = |sample: &Sample| from.is_none_or(|from| sample.from == from);
        let mut newest = context.board.latest_of_each(self.bound.what);
        newest.retain(ours);
        let (mut verdict, mut because) = self.judge(&newest, now_ms);
        if verdict == Verdict::Pass && self.for_ms > 0 {
            let mut samples = context.board.window(self.bound.what, self.for_ms);
            samples.retain(ours);
            (verdict, because) = self.judge_time(&samples, now_ms);
        }
        if verdict == Verdict::Unknown && self.no_data == GateNoData::Fail {
            verdict = Verdict::Fail;
            because += "; the plan does not wait for it";
        }
        Answer { gate: self.name.clone(), verdict, because }
    }
}

type Judge = dyn Fn(&GateContext) -> (Verdict, String) + Send + Sync;

/// A gate that is a function of its context.
pub struct FnGate {
    name: String,
    judge: Box<Judge>,
}

impl FnGate {
    /// Builds the gate; `judge` returns the verdict with its numbers and must not block.
    pub fn new(
        name: impl Into<String>,
        judge: impl Fn(&GateContext) -> (Verdict, String) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { name: name.into(), judge: Box::new(judge) })
    }
}

#[async_trait]
impl Gate for FnGate {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn ask(&self, context: &GateContext) -> Answer {
        let (verdict, because) = (self.judge)(context);
        Answer { gate: self.name.clone(), verdict, because }
    }
}

/// Several gates as one: the worst verdict counts, with the reasons of all that did not pass.
pub struct AllOf {
    name: String,
    gates: Vec<Arc<dyn Gate>>,
}

/// Returns one gate that passes when every one of `gates` does.
pub fn all_of(name: impl Into<String>, gates: Vec<Arc<dyn Gate>>) -> Arc<AllOf> {
    Arc::new(AllOf { name: name.into(), gates })
}

fn weight(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Wait => 1,
        Verdict::Unknown => 2,
        Verdict::Fail => 3,
    }
}

#[async_trait]
impl Gate for AllOf {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn ask(&self, context: &GateContext) -> Answer {
        let answers = join_all(self.gates.iter().map(|gate| gate.ask(context))).await;
        let worst = answers.iter().map(|answer| &answer.verdict).max_by_key(|v| weight(v));
        let verdict = worst.cloned().unwrap_or(Verdict::Pass);
        let shown = answers
            .iter()
            .filter(|answer| verdict == Verdict::Pass || answer.verdict != Verdict::Pass);
        let because = shown
            .map(|answer| format!("{}: {}", answer.gate, answer.because))
            .collect::<Vec<_>>()
            .join("; ");
        Answer { gate: self.name.clone(), verdict, because }
    }
}
