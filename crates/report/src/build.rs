//! Folds the journal into a report.

use crate::forecast::forecasts;
use crate::timeline::timeline;
use crate::units::together;
use crate::{AttemptReport, ComparisonReport, Report, RunOutcome, Series, StepReport, Summary};
use segue_model::UnitName;
use segue_model::event::{Event, Phase, Record};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// Builds the report of everything recorded so far.
///
/// Returns `None` for a journal in which no run has begun.
pub fn build(records: &[Record], series: Vec<Series>) -> Option<Report> {
    let begun = records.iter().find_map(|record| match &record.event {
        Event::RunStarted { run, name, plan_hash, units, .. } => {
            Some((record, run, name, plan_hash, units))
        }
        _ => None,
    });
    let (began, run, name, plan_hash, units) = begun?;
    let mut of_unit: HashMap<&UnitName, Vec<&Record>> = HashMap::new();
    for record in records {
        if let Some(unit) = &record.unit {
            of_unit.entry(unit).or_default().push(record);
        }
    }
    let reports = units.iter().map(|entry| {
        let own = of_unit.remove(&entry.unit).unwrap_or_default();
        (entry, of_one(began, run.as_str(), entry.unit.as_str(), plan_hash, &own))
    });
    let mut report = together(reports.collect())?;
    report.name.clone_from(name);
    report.last_at_ms = records.last().map_or(began.at_ms, |record| record.at_ms);
    report.timeline = timeline(records, units.len() > 1);
    report.forecasts = forecasts(records);
    report.series = series;
    Some(report)
}

/// Builds the report of one unit from its own records.
fn of_one(began: &Record, run: &str, unit: &str, plan_hash: &str, records: &[&Record]) -> Report {
    let mut report = empty(began, run, unit, plan_hash);
    for record in records {
        take(&mut report, record);
        report.outcome = outcome_after(report.outcome, &report, &record.event);
    }
    report.probe = probes(records);
    report.sessions = crate::visitors::sessions(unit, records);
    report.mirror = crate::mirror::fold(unit, records);
    add_pauses(&mut report);
    report.summary = summary(&report);
    report.not_provable = not_provable(&report);
    report
}

fn empty(record: &Record, run: &str, unit: &str, plan_hash: &str) -> Report {
    Report {
        outcome: RunOutcome::Running,
        summary: Summary {
            requests: None,
            failed_requests: None,
            longest_request_ms: None,
            write_pause_ms: None,
            drill_pause_ms: None,
            interruption_ms: None,
        },
        not_provable: Vec::new(),
        run: run.to_owned(),
        unit: unit.to_owned(),
        plan_hash: plan_hash.to_owned(),
        name: String::new(),
        units: Vec::new(),
        began_at_ms: record.at_ms,
        last_at_ms: record.at_ms,
        attempts: Vec::new(),
        comparisons: Vec::new(),
        forecasts: Vec::new(),
        traffic: Value::Null,
        probe: Value::Null,
        spread: Vec::new(),
        sessions: Vec::new(),
        stragglers: Vec::new(),
        mirror: Vec::new(),
        timeline: Vec::new(),
        series: Vec::new(),
    }
}

fn take(report: &mut Report, record: &Record) {
    match &record.event {
        Event::AttemptStarted { attempt, because, .. } => report.attempts.push(AttemptReport {
            unit: report.unit.clone(),
            phase: attempt.phase.as_str().to_owned(),
            number: attempt.number,
            ended: "open".into(),
            because: because.clone(),
            reason: String::new(),
            began_at_ms: record.at_ms,
            took_ms: None,
            pause_ms: None,
            steps: Vec::new(),
        }),
        Event::Compared { what, differences, detail } => {
            report.comparisons.push(ComparisonReport {
                what: what.clone(),
                at_ms: record.at_ms,
                differences: *differences,
                detail: detail.clone(),
            });
        }
        Event::Measured { what, detail } if what == "traffic" => report.traffic = detail.clone(),
        Event::Measured { what, detail } if what == "spread" => {
            crate::spread::take(&mut report.spread, &report.unit, detail);
        }
        Event::Measured { what, detail } if what == "stragglers" => {
            let mut look = detail.clone();
            look["unit"] = report.unit.as_str().into();
            report.stragglers = vec![look];
        }
        event => {
            if let Some(attempt) = report.attempts.last_mut() {
                take_in_attempt(attempt, record, event);
            }
        }
    }
}

fn take_in_attempt(attempt: &mut AttemptReport, record: &Record, event: &Event) {
    let mut end = |how: &str| {
        attempt.ended = how.to_owned();
        attempt.took_ms = Some(record.at_ms.saturating_sub(attempt.began_at_ms));
    };
    match event {
        Event::AttemptCompleted => end("completed"),
        Event::AttemptWithdrawn => end("withdrawn"),
        Event::AttemptStuck { because, .. } => {
            end("stuck");
            attempt.reason.clone_from(because);
        }
        Event::AttemptResumed { .. } => attempt.ended = "open".into(),
        Event::WithdrawalStarted { because, .. } => attempt.reason.clone_from(because),
        Event::StepIntended { step, .. } => attempt.steps.push(StepReport {
            name: step.to_string(),
            ended: "open".into(),
            took_ms: None,
            began_boot_ms: record.boot_ms,
            output: Value::Null,
        }),
        Event::StepDone { step, output } => {
            if let Some(known) = find(attempt, step.as_str()) {
                known.ended = "done".into();
                known.took_ms = Some(record.boot_ms.saturating_sub(known.began_boot_ms));
                known.output = output.clone();
            }
        }
        Event::StepFailed { step, .. } => {
            if let Some(known) = find(attempt, step.as_str()) {
                known.ended = "failed".into();
                known.took_ms = Some(record.boot_ms.saturating_sub(known.began_boot_ms));
            }
        }
        Event::UndoDone { step } => {
            if let Some(known) = find(attempt, step.as_str()) {
                known.ended = "undone".into();
            }
        }
        _ => {}
    }
}

fn find<'a>(attempt: &'a mut AttemptReport, step: &str) -> Option<&'a mut StepReport> {
    attempt.steps.iter_mut().rev().find(|known| known.name == step)
}

fn outcome_after(before: RunOutcome, report: &Report, event: &Event) -> RunOutcome {
    let phase = report.attempts.last().map_or("", |attempt| attempt.phase.as_str());
    match event {
        // A drill moves nothing.
        Event::AttemptStarted { attempt, .. } if attempt.phase == Phase::Drill => before,
        Event::AttemptStarted { .. } | Event::AttemptResumed { .. } => RunOutcome::Running,
        Event::AttemptStuck { .. } | Event::FailbackRefused { .. } => RunOutcome::Stuck,
        Event::AttemptWithdrawn if phase == Phase::Cutover.as_str() => RunOutcome::Withdrawn,
        Event::AttemptCompleted if phase == Phase::Failback.as_str() => RunOutcome::WentBack,
        Event::AttemptCompleted if phase == Phase::Settle.as_str() => RunOutcome::Settled,
        _ => before,
    }
}

/// Joins what the probes of every controller of the run saw: a new controller counts
/// from zero.
fn probes(records: &[&Record]) -> Value {
    let mut controllers = BTreeMap::new();
    for record in records {
        if let Event::Measured { what, detail } = &record.event
            && what == "probe"
        {
            controllers.insert(detail.get("since").and_then(Value::as_u64), detail);
        }
    }
    let Some((_, last)) = controllers.last_key_value() else { return Value::Null };
    let mut all = (*last).clone();
    for key in ["sent", "failed"] {
        let sum: u64 = controllers.values().filter_map(|seen| seen.get(key)?.as_u64()).sum();
        all[key] = sum.into();
    }
    for key in ["longest_ms", "longest_interruption_ms"] {
        let longest = controllers.values().filter_map(|seen| seen.get(key)?.as_f64());
        if let Some(longest) = longest.reduce(f64::max) {
            all[key] = longest.into();
        }
    }
    all
}

/// Joins the fronts' own history of holds with the attempts they belong to.
fn add_pauses(report: &mut Report) {
    let holds = report.traffic.get("holds").and_then(Value::as_array).cloned().unwrap_or_default();
    for attempt in &mut report.attempts {
        let own = format!("-{}-{}", attempt.phase, attempt.number);
        attempt.pause_ms = holds
            .iter()
            .filter(|hold| {
                hold.get("hold_id").and_then(Value::as_str).is_some_and(|id| id.ends_with(&own))
            })
            .filter_map(|hold| {
                let began = hold.get("began_ms")?.as_f64()?;
                let released = hold.get("released_ms")?.as_f64()?;
                Some(released - began)
            })
            .reduce(f64::max);
    }
}

fn summary(report: &Report) -> Summary {
    let count = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64);
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_f64);
    // The fronts count the probes too, and say how many they were; what is left are the
    // visitors'.
    let visitors = |key: &str| {
        let own = report.traffic.get("probes").and_then(|own| count(own, key)).unwrap_or(0);
        count(&report.traffic, key).map(|all| all.saturating_sub(own))
    };
    let longest = |drills: bool| {
        let of = report.attempts.iter().filter(|a| (a.phase == Phase::Drill.as_str()) == drills);
        of.filter_map(|attempt| attempt.pause_ms).reduce(f64::max)
    };
    Summary {
        requests: visitors("requests"),
        failed_requests: visitors("failed"),
        longest_request_ms: number(&report.probe, "longest_ms"),
        write_pause_ms: longest(false),
        drill_pause_ms: longest(true),
        interruption_ms: number(&report.probe, "longest_interruption_ms"),
    }
}

fn not_provable(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for attempt in &report.attempts {
        for step in &attempt.steps {
            collect_not_provable(&step.output, &mut lines);
        }
    }
    if report.summary.requests.is_none() {
        lines.push("how many requests there were: the fronts' counters were never read".into());
    }
    if report.summary.interruption_ms.is_none() {
        lines.push("whether users were interrupted: no probe ran".into());
    }
    if !report.comparisons.iter().any(|c| c.what == "database") {
        lines.push("equality of the databases: no full comparison ended".into());
    }
    if !report.comparisons.iter().any(|c| c.what == "files") {
        lines.push("equality of the files: no full comparison ended".into());
    }
    lines.extend(crate::spread::not_provable(report));
    lines.extend(crate::visitors::not_provable(report));
    lines.extend(crate::visitors::unasked(report));
    lines.extend(crate::mirror::not_provable(report));
    lines.push("resolvers that keep an answer beyond its TTL: their number has no bound".into());
    lines.dedup();
    let mut seen = std::collections::BTreeSet::new();
    lines.retain(|line| seen.insert(line.clone()));
    lines
}

/// Gathers every `not_provable` sentence that an effect put into its output.
fn collect_not_provable(value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                if key == "not_provable" {
                    match inner {
                        Value::String(line) => lines.push(line.clone()),
                        Value::Array(all) => {
                            lines.extend(all.iter().filter_map(Value::as_str).map(str::to_owned));
                        }
                        _ => {}
                    }
                } else {
                    collect_not_provable(inner, lines);
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|inner| collect_not_provable(inner, lines)),
        _ => {}
    }
}
