//! The report of a run: a pure function of the journal and the samples.
//!
//! **Invariant.** Nothing is measured here and nothing is read from the world: what the
//! journal and the samples do not hold is `unknown` in the report, never a zero.

mod build;
mod forecast;
mod html;
mod mirror;
mod spread;
mod svg;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod timeline;
mod units;
mod visitors;

pub use build::build;
pub use forecast::Forecast;
pub use html::html;

use segue_model::sample::What;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One second of one measured value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Boot clock, milliseconds, start of the second.
    pub boot_ms: u64,
    /// Smallest value of the second.
    pub min: f64,
    /// Largest value of the second.
    pub max: f64,
    /// Mean value of the second.
    pub mean: f64,
}

/// One measured value over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What is measured.
    pub what: What,
    /// By which sampler.
    pub from: String,
    /// Seconds in order; a gap means that nothing was measured.
    pub points: Vec<Point>,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// It goes on.
    Running,
    /// It passed the point of no return.
    Settled,
    /// Its last cutover gave up before the promotion.
    Withdrawn,
    /// Its last word was a failback.
    WentBack,
    /// It needs a person.
    Stuck,
}

/// The figures that a script reads; `None` is unknown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Requests of visitors that the fronts answered; the probes' own are not counted.
    pub requests: Option<u64>,
    /// Those that failed in the client's view, counted by the fronts.
    pub failed_requests: Option<u64>,
    /// Longest probe, from the time it should have been sent, milliseconds.
    pub longest_request_ms: Option<f64>,
    /// Longest pause of writes over all cutovers and failbacks, measured by the fronts, milliseconds.
    pub write_pause_ms: Option<f64>,
    /// Longest pause of writes over all drills on the live source, milliseconds; users saw it
    /// too, but nothing was switched.
    pub drill_pause_ms: Option<f64>,
    /// Longest run of failed probes, milliseconds.
    pub interruption_ms: Option<f64>,
}

/// One table's execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// Which unit's.
    pub unit: String,
    /// `sync`, `cutover`, ...
    pub phase: String,
    /// Its number in the run.
    pub number: u32,
    /// `completed`, `withdrawn`, `stuck` or `open`.
    pub ended: String,
    /// Why it began.
    pub because: String,
    /// Why it turned round or stuck; empty if it did not.
    pub reason: String,
    /// Wall clock of its beginning, milliseconds since 1970.
    pub began_at_ms: u64,
    /// From its beginning to its end, milliseconds.
    pub took_ms: Option<u64>,
    /// Pause of writes, from the hold's beginning to the release, milliseconds.
    pub pause_ms: Option<f64>,
    /// Steps with the time each took, milliseconds.
    pub steps: Vec<StepReport>,
}

/// One step of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its name.
    pub name: String,
    /// `done`, `failed`, `undone` or `open`.
    pub ended: String,
    /// From the intent's record to the outcome's, milliseconds.
    pub took_ms: Option<u64>,
    /// Boot clock of the intent.
    pub began_boot_ms: u64,
    /// What the effect returned.
    pub output: Value,
}

/// How one unit of a run stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitReport {
    /// Its name.
    pub unit: String,
    /// Its wave, from 1.
    pub wave: u32,
    /// How it stands.
    pub outcome: RunOutcome,
    /// Where it is: `source` or `target`; `held` while no side takes writes.
    pub at: String,
    /// Why it went back, gave up or is stuck; empty if it did not.
    pub because: String,
    /// Longest pause of writes, milliseconds.
    pub write_pause_ms: Option<f64>,
    /// Differences found by its last comparison; `None` if none ended.
    pub differences: Option<u64>,
}

/// A full comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonReport {
    /// `database` or `files`.
    pub what: String,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// Differences found.
    pub differences: u64,
    /// What was compared.
    pub detail: Value,
}

/// What became of those who were logged in at a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsReport {
    /// Which unit's.
    pub unit: String,
    /// The site.
    pub site: String,
    /// By its configuration: `survive`, `again` or `unknown`.
    pub verdict: String,
    /// Why.
    pub because: String,
    /// What one login of the operator's met; none if none was tried.
    pub tries: Option<LoginTries>,
}

/// One login that was tried all the while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginTries {
    /// How often a page came that could tell, over all fronts.
    pub tried: u64,
    /// How often it did not know the login.
    pub lost: u64,
    /// Whether it was tried before the last cutover sent visitors to the target, and after.
    pub through_switch: bool,
}

/// One line of the journal for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Boot clock, milliseconds.
    pub boot_ms: u64,
    /// Who acted.
    pub who: String,
    /// What happened.
    pub text: String,
}

/// Everything the report says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How the run stands.
    pub outcome: RunOutcome,
    /// The figures.
    pub summary: Summary,
    /// What cannot be proven, in sentences.
    pub not_provable: Vec<String>,
    /// The run's id.
    pub run: String,
    /// The plan's name.
    pub name: String,
    /// The unit; empty for a run of several.
    pub unit: String,
    /// Every unit in the order of the plan.
    pub units: Vec<UnitReport>,
    /// Hash of the plan.
    pub plan_hash: String,
    /// When the run began, milliseconds since 1970.
    pub began_at_ms: u64,
    /// When the last record was written.
    pub last_at_ms: u64,
    /// Tables in order; in a run of several units those of the units that went back, gave up or
    /// are stuck.
    pub attempts: Vec<AttemptReport>,
    /// Comparisons in order.
    pub comparisons: Vec<ComparisonReport>,
    /// What rehearsals measured: forecasts, never among the figures above.
    pub forecasts: Vec<Forecast>,
    /// What the fronts counted last, as they said it.
    pub traffic: Value,
    /// What the probes of all controllers saw; each probe by itself is of the last one.
    pub probe: Value,
    /// How far each publish had come when it was looked at last, in order: at resolvers, in query
    /// logs and at the fronts. What was not measured is null.
    pub spread: Vec<Value>,
    /// What became of those who were logged in, site by site.
    #[serde(default)]
    pub sessions: Vec<SessionsReport>,
    /// Who still came to the former address when it was looked at last, for each unit: the latest
    /// clients of each front, and how many there were.
    #[serde(default)]
    pub stragglers: Vec<Value>,
    /// What copies of users' requests showed, for each unit whose plan asks for them: by front, how
    /// many were compared, were the same and were left out, over all processes of the front, and what
    /// differed, with examples; when it answered last (`at_ms`), and whether it is `silent` since. No
    /// front means that nothing was measured.
    #[serde(default)]
    pub mirror: Vec<Value>,
    /// Who did what, and what happened.
    pub timeline: Vec<Moment>,
    /// Measured values over time.
    pub series: Vec<Series>,
}
