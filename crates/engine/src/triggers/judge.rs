//! What a trigger says of samples: a pure function.

use crate::gates::{allowed, keeps};
use segue_model::Sample;
use segue_model::gate::{Against, NoData, Reference, Standing, Trigger, TriggerAction};
use std::collections::BTreeMap;

/// Samples of the two sides that are so close are of the same moment, milliseconds.
const SAME_MOMENT_MS: u64 = 400;
/// Fewest samples of the minute before the cutover that make a level.
const LEVEL_SAMPLES: usize = 5;
/// Standard errors that a mean must be beyond its bound: 97.5 % sure.
const SURE: f64 = 2.0;

/// The level of a measure in the minute before the cutover.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// Mean of the samples.
    pub mean: f64,
    /// How many they were.
    pub samples: usize,
}

impl Level {
    /// Returns the level of these values; none if they are too few to tell.
    pub fn of(values: &[f64]) -> Option<Self> {
        (values.len() >= LEVEL_SAMPLES).then(|| Self { mean: mean(values), samples: values.len() })
    }
}

/// What a trigger is judged by. Samples outside its time are ignored.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// Samples of the trigger's measure.
    pub samples: &'a [Sample],
    /// Where they came from so far: of several, one that fell silent is not calm.
    pub origins: &'a [String],
    /// Samples of the same measure of the other side.
    pub other_side: &'a [Sample],
    /// How many clients either side answered.
    pub clients: &'a [Sample],
    /// The level of the other side before the cutover.
    pub before: Option<Level>,
}

/// A verdict with its numbers, and what it starts now.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub standing: Standing,
    /// The numbers, for people.
    pub because: String,
    /// What is to be started, if anything.
    pub starts: Option<TriggerAction>,
}

/// Judges `trigger` at `now_ms`, watched since `since_ms` (boot clock).
pub fn judge(trigger: &Trigger, evidence: Evidence<'_>, now_ms: u64, since_ms: u64) -> Judgement {
    let since_ms = since_ms.saturating_add(trigger.after_ms);
    if now_ms < since_ms {
        let because = format!("{}: counts in {} s", trigger.bound.what, (since_ms - now_ms) / 1000);
        return Judgement { standing: Standing::NoData, because, starts: None };
    }
    let after_ms = now_ms.saturating_sub(trigger.for_ms);
    let time = Time {
        now_ms,
        full: now_ms - since_ms >= trigger.for_ms,
        after_ms: after_ms.max(since_ms),
    };
    let wanted = trigger.bound.from.as_deref();
    let within = |sample: &&Sample| {
        sample.taken_at_ms > time.after_ms && wanted.is_none_or(|from| sample.from == from)
    };
    let samples: Vec<&Sample> = evidence.samples.iter().filter(within).collect();
    match trigger.against {
        Some(against) => relative(trigger, against, &samples, evidence, &time),
        None => {
            let known = evidence.origins.iter().map(String::as_str);
            absolute(
                trigger,
                &samples,
                known.filter(|from| wanted.is_none_or(|w| w == *from)),
                &time,
            )
        }
    }
}

struct Time {
    now_ms: u64,
    /// Whether the trigger was watched for the whole of its time.
    full: bool,
    after_ms: u64,
}

/// Each origin is judged by itself; the worst counts.
fn absolute<'a>(
    trigger: &Trigger,
    samples: &[&'a Sample],
    known: impl Iterator<Item = &'a str>,
    time: &Time,
) -> Judgement {
    let mut origins: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    if !samples.is_empty() {
        origins.extend(known.map(|from| (from, Vec::new())));
    }
    for sample in samples {
        origins.entry(&sample.from).or_default().push(sample);
    }
    let judged = origins.into_iter().map(|(from, samples)| origin(trigger, from, &samples, time));
    judged.max_by_key(|judgement| weight(judgement.standing)).unwrap_or_else(|| {
        let what = trigger.bound.what;
        missing(trigger, format!("{what}: no sample for {} ms", trigger.for_ms), time.full)
    })
}

fn weight(standing: Standing) -> u8 {
    match standing {
        Standing::Quiet => 0,
        Standing::NoData => 1,
        Standing::Violating { .. } => 2,
        Standing::Fired => 3,
    }
}

fn origin(trigger: &Trigger, from: &str, samples: &[&Sample], time: &Time) -> Judgement {
    let bound = &trigger.bound;
    let counted: Vec<(&Sample, bool)> = samples
        .iter()
        .filter(|sample| sample.count >= trigger.min_count)
        .filter_map(|sample| Some((*sample, keeps(bound, sample.value)?)))
        .collect();
    let because = |note: &str| {
        let values = counted.iter().map(|(sample, _)| sample.value);
        let (what, allowed, for_ms) = (bound.what, allowed(bound), trigger.for_ms);
        let numbers = range(values);
        format!("{what} from {from}: {numbers} over {for_ms} ms, allowed {allowed}{note}")
    };
    let never_kept = counted.iter().all(|(_, kept)| !kept);
    let stale =
        |newest: &Sample| time.now_ms.saturating_sub(newest.taken_at_ms) > bound.fresh_for_ms;
    match counted.last() {
        None => missing(trigger, because(""), time.full),
        Some((newest, _)) if stale(newest) => {
            let age_ms = time.now_ms.saturating_sub(newest.taken_at_ms);
            missing(
                trigger,
                because(&format!("; the last is {age_ms} ms old")),
                time.full && never_kept,
            )
        }
        Some((_, true)) => calm(because("")),
        Some(_) => {
            let enough = counted.len() >= trigger.min_samples.max(1);
            if time.full && never_kept {
                if enough {
                    return fired(trigger, because(""));
                }
                let note = format!("; {} samples are wanted", trigger.min_samples);
                return missing(trigger, because(&note), true);
            }
            let run = counted.iter().rev().take_while(|(_, kept)| !kept);
            let since_boot_ms = run.last().map_or(time.now_ms, |(first, _)| first.taken_at_ms);
            let standing = Standing::Violating { since_boot_ms };
            Judgement { standing, because: because(""), starts: None }
        }
    }
}

/// Judges the mean difference from the reference, and whether it is beyond chance.
fn relative(
    trigger: &Trigger,
    against: Against,
    samples: &[&Sample],
    evidence: Evidence<'_>,
    time: &Time,
) -> Judgement {
    let what = trigger.bound.what;
    let crowd = Crowd { clients: evidence.clients, least: against.min_clients };
    let pairs: Vec<(&Sample, f64)> = samples
        .iter()
        .filter(|sample| sample.count >= trigger.min_count && crowd.is_behind(sample))
        .filter_map(|sample| {
            Some((*sample, reference(trigger, against, sample, evidence, &crowd)?))
        })
        .collect();
    let wanted = trigger.min_samples.max(2);
    let Some((newest, _)) = pairs.last().filter(|_| pairs.len() >= wanted) else {
        let because = match (against.with, evidence.before) {
            (Reference::Before, None) => {
                format!("{what}: the level of the other side before the cutover is unknown")
            }
            _ => format!(
                "{what}: {} comparable samples over {} ms, {wanted} are wanted",
                pairs.len(),
                trigger.for_ms
            ),
        };
        return missing(trigger, because, time.full);
    };
    let age_ms = time.now_ms.saturating_sub(newest.taken_at_ms);
    if age_ms > trigger.bound.fresh_for_ms {
        let because = format!("{what}: the last comparable sample is {age_ms} ms old");
        return missing(trigger, because, time.full);
    }
    let excess: Vec<f64> =
        pairs.iter().map(|(sample, of)| beyond(trigger, against, sample.value, *of)).collect();
    let (worse, error) = (mean(&excess), standard_error(&excess));
    let because = told(trigger, against, &pairs);
    if worse <= 0.0 {
        calm(because)
    } else if time.full && worse - SURE * error > 0.0 {
        fired(trigger, because)
    } else {
        let since_boot_ms = pairs.first().map_or(time.now_ms, |(first, _)| first.taken_at_ms);
        let because = format!("{because}; may be chance");
        Judgement { standing: Standing::Violating { since_boot_ms }, because, starts: None }
    }
}

/// How many clients must stand behind a value.
struct Crowd<'a> {
    clients: &'a [Sample],
    least: u64,
}

impl Crowd<'_> {
    #[allow(clippy::cast_precision_loss)] // At most 64.
    fn is_behind(&self, sample: &Sample) -> bool {
        let side = sample.what.side();
        self.least == 0
            || self.clients.iter().any(|clients| {
                clients.what.side() == side
                    && same_moment(clients, sample)
                    && clients.value >= self.least as f64
            })
    }
}

fn same_moment(a: &Sample, b: &Sample) -> bool {
    a.taken_at_ms.abs_diff(b.taken_at_ms) <= SAME_MOMENT_MS
}

/// Says whether two origins are the two sides of one thing: `app-log:source:shop` and
/// `app-log:target:shop`.
fn same_part(one: &str, other: &str) -> bool {
    let words = |from| str::split(from, ':').filter(|word| *word != "source" && *word != "target");
    words(one).eq(words(other))
}

fn reference(
    trigger: &Trigger,
    against: Against,
    sample: &Sample,
    evidence: Evidence<'_>,
    crowd: &Crowd<'_>,
) -> Option<f64> {
    match against.with {
        Reference::Before => evidence.before.map(|level| level.mean),
        Reference::OtherSide => evidence
            .other_side
            .iter()
            .filter(|other| other.count >= trigger.min_count && crowd.is_behind(other))
            .filter(|other| same_moment(other, sample) && same_part(&other.from, &sample.from))
            .min_by_key(|other| other.taken_at_ms.abs_diff(sample.taken_at_ms))
            .map(|other| other.value),
    }
}

/// Returns how far a value is beyond what is allowed; 0 or less if it is not.
fn beyond(trigger: &Trigger, against: Against, value: f64, reference: f64) -> f64 {
    let above = trigger.bound.max.map(|max| value - (max * reference + against.slack));
    let below = trigger.bound.min.map(|min| (min * reference - against.slack) - value);
    above.into_iter().chain(below).fold(f64::NEG_INFINITY, f64::max)
}

fn told(trigger: &Trigger, against: Against, pairs: &[(&Sample, f64)]) -> String {
    let values: Vec<f64> = pairs.iter().map(|(sample, _)| sample.value).collect();
    let references: Vec<f64> = pairs.iter().map(|(_, of)| *of).collect();
    let with = match against.with {
        Reference::OtherSide => "on the other side at the same moments",
        Reference::Before => "on the other side before the cutover",
    };
    format!(
        "{}: {:.2} in the mean of {} samples over {} ms, {:.2} {with}; allowed {} times that, give or take {}",
        trigger.bound.what,
        mean(&values),
        pairs.len(),
        trigger.for_ms,
        mean(&references),
        allowed(&trigger.bound),
        against.slack
    )
}

fn calm(because: String) -> Judgement {
    Judgement { standing: Standing::Quiet, because, starts: None }
}

fn fired(trigger: &Trigger, because: String) -> Judgement {
    Judgement { standing: Standing::Fired, because, starts: Some(trigger.action) }
}

/// The verdict without data. `all_of_it`: there was none in the whole of its time.
fn missing(trigger: &Trigger, because: String, all_of_it: bool) -> Judgement {
    match trigger.no_data {
        NoData::Violates if all_of_it => fired(trigger, because),
        NoData::Ask if all_of_it => {
            let starts = Some(TriggerAction::HoldAndAsk);
            Judgement { standing: Standing::NoData, because, starts }
        }
        _ => Judgement { standing: Standing::NoData, because, starts: None },
    }
}

fn range(values: impl Iterator<Item = f64>) -> String {
    let (mut n, mut low, mut high) = (0, f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        (n, low, high) = (n + 1, low.min(value), high.max(value));
    }
    match n {
        0 => "no sample with enough observations".to_owned(),
        1 => format!("{low} in one sample"),
        n => format!("{low} to {high} in {n} samples"),
    }
}

#[allow(clippy::cast_precision_loss)] // Samples of two minutes.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[allow(clippy::cast_precision_loss)] // Samples of two minutes.
fn standard_error(values: &[f64]) -> f64 {
    let (n, centre) = (values.len() as f64, mean(values));
    let squares = values.iter().map(|value| (value - centre).powi(2)).sum::<f64>();
    (squares / (n - 1.0).max(1.0) / n.max(1.0)).sqrt()
}
