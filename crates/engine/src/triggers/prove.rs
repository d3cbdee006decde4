//! The proof at start-up that a trigger fires on bad values and is quiet on good ones.

use super::judge::{Evidence, Judgement, Level, judge};
use crate::board::REMEMBERED_MS;
use crate::gates::keeps;
use segue_model::gate::{NoData, Reference, Standing, Trigger, TriggerAction};
use segue_model::{Fault, FaultKind, Sample, Side, What};
use segue_port::Outcome;

/// Proves that `trigger` fires over violating samples, stays quiet over healthy ones, and
/// does without samples what its `no_data` says.
///
/// # Errors
/// `SG0640` if no value can violate or keep its bound, or if its rules contradict.
pub fn prove(trigger: &Trigger) -> Outcome<()> {
    contradiction(trigger).map_or(Ok(()), |cause| {
        let op = format!("prove trigger `{}`", trigger.name);
        Err(Fault::new("SG0640", FaultKind::Invalid, op, cause)
            .hint("change the trigger in the plan file"))
    })
}

fn contradiction(trigger: &Trigger) -> Option<String> {
    if trigger.for_ms == 0 || trigger.for_ms > REMEMBERED_MS {
        return Some(format!("`for_ms` must be 1 to {REMEMBERED_MS}"));
    }
    let wanted = trigger.min_samples.max(1) as u64;
    if wanted > trigger.for_ms {
        return Some("more samples are asked for than fit in its time".into());
    }
    if trigger.against.is_some() && trigger.reference().is_none() {
        return Some(format!("{} has no other side to compare with", trigger.bound.what));
    }
    let trial = Trial::new(trigger);
    let Some(bad) = trial.values(false) else {
        return Some("no possible value violates its bound: it can never fire".into());
    };
    let Some(good) = trial.values(true) else {
        return Some("no possible value keeps its bound: it would always fire".into());
    };
    if trial.over(Some(bad)).standing != Standing::Fired {
        return Some("it does not fire over samples that violate its bound".into());
    }
    if trial.over(Some(bad)).starts != Some(trigger.action) {
        return Some("it does not start its action over samples that violate its bound".into());
    }
    if trial.over(Some(good)).standing != Standing::Quiet {
        return Some("it is not quiet over samples that keep its bound".into());
    }
    let silent = trial.over(None);
    let expected = match trigger.no_data {
        NoData::Ignore => (Standing::NoData, None),
        NoData::Ask => (Standing::NoData, Some(TriggerAction::HoldAndAsk)),
        NoData::Violates => (Standing::Fired, Some(trigger.action)),
    };
    ((silent.standing, silent.starts) != expected)
        .then(|| "without data it does not do what `no_data` says".into())
}

/// Made-up samples for one trigger.
struct Trial<'a> {
    trigger: &'a Trigger,
    /// What the other side shows, where the trigger compares.
    reference: f64,
}

impl<'a> Trial<'a> {
    fn new(trigger: &'a Trigger) -> Self {
        // In the middle of what the measure can be, and far from the allowed difference.
        let slack = trigger.against.map_or(0.0, |against| against.slack);
        let reference = (slack * 10.0 + 100.0).min(trigger.bound.what.most() / 4.0);
        Self { trigger, reference }
    }

    /// Returns a possible value that keeps the bound, or one that violates it.
    fn values(&self, keeping: bool) -> Option<f64> {
        let bound = &self.trigger.bound;
        let (most, least) =
            (bound.what.most(), if bound.what == What::Custom { f64::MIN } else { 0.0 });
        let ends = [bound.min, bound.max].into_iter().flatten();
        let (factor, slack) = match self.trigger.against {
            Some(against) => (self.reference, against.slack),
            None => (1.0, 0.0),
        };
        let around = ends.flat_map(|end| {
            let end = end * factor;
            [end, end / 2.0, end * 2.0 + 1.0, end - slack - 1.0, end + slack * 2.0 + 1.0]
        });
        let possible = around.chain([factor, 0.0, 1.0, most, least]);
        possible.filter(|value| (least..=most).contains(value)).find(|value| {
            let (low, high) = (
                bound.min.map(|min| min * factor - slack),
                bound.max.map(|max| max * factor + slack),
            );
            let shifted = segue_model::gate::Bound { min: low, max: high, ..bound.clone() };
            keeps(&shifted, *value) == Some(keeping)
        })
    }

    fn over(&self, value: Option<f64>) -> Judgement {
        let trigger = self.trigger;
        let now_ms = trigger.for_ms * 2 + trigger.after_ms;
        let wanted = match trigger.against {
            Some(_) => trigger.min_samples.max(2) as u64,
            None => trigger.min_samples.max(1) as u64,
        };
        let series = |what: What, value: f64| -> Vec<Sample> {
            let step = |n: u64| Sample {
                what,
                value,
                count: trigger.min_count.max(1),
                taken_at_ms: now_ms - n * trigger.for_ms / wanted,
                from: trigger.bound.from.clone().unwrap_or_else(|| "proof".into()),
            };
            // Oldest first, as the board gives them.
            (0..wanted).rev().map(step).collect()
        };
        let Some(value) = value else { return judge(trigger, Evidence::default(), now_ms, 0) };
        let samples = series(trigger.bound.what, value);
        let mut evidence = Evidence { samples: &samples, ..Evidence::default() };
        let Some(against) = trigger.against else { return judge(trigger, evidence, now_ms, 0) };
        let other = trigger.reference().map_or_else(Vec::new, |what| series(what, self.reference));
        let mut clients = Vec::new();
        for side in [Side::Source, Side::Target] {
            clients.extend(series(What::ClientsPerSecond(side), against.min_clients as f64));
        }
        evidence.clients = &clients;
        match against.with {
            Reference::OtherSide => evidence.other_side = &other,
            Reference::Before => {
                evidence.before = Some(Level { mean: self.reference, samples: 60 })
            }
        }
        judge(trigger, evidence, now_ms, 0)
    }
}
