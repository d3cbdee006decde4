//! From the reports of units to the report of a run.

use crate::{Report, RunOutcome, Summary, UnitReport};
use segue_model::event::{Phase, UnitEntry};

/// Joins the reports of every unit; that of an only unit stays as it is.
///
/// Returns `None` for a run without units.
pub(crate) fn together(reports: Vec<(&UnitEntry, Report)>) -> Option<Report> {
    let units: Vec<UnitReport> =
        reports.iter().map(|(entry, report)| brief(entry, report)).collect();
    let mut reports = reports.into_iter().map(|(_, report)| report);
    let mut all = reports.next()?;
    if units.len() == 1 {
        all.units = units;
        return Some(all);
    }
    let rest: Vec<Report> = reports.collect();
    all.unit = String::new();
    all.outcome = outcome(&units);
    all.attempts.retain(|_| looked_at(&units[0]));
    let mut summaries = vec![std::mem::replace(&mut all.summary, NOTHING)];
    for (report, unit) in rest.into_iter().zip(&units[1..]) {
        summaries.push(report.summary);
        if looked_at(unit) {
            all.attempts.extend(report.attempts);
        }
        all.spread.extend(report.spread);
        all.sessions.extend(report.sessions);
        all.stragglers.extend(report.stragglers);
        all.mirror.extend(report.mirror);
        all.comparisons.extend(report.comparisons.into_iter().filter(|c| c.differences > 0));
        for line in report.not_provable {
            if !all.not_provable.contains(&line) {
                all.not_provable.push(line);
            }
        }
    }
    all.summary = Summary {
        requests: sum(&summaries, |s| s.requests),
        failed_requests: sum(&summaries, |s| s.failed_requests),
        longest_request_ms: longest(&summaries, |s| s.longest_request_ms),
        write_pause_ms: longest(&summaries, |s| s.write_pause_ms),
        drill_pause_ms: longest(&summaries, |s| s.drill_pause_ms),
        interruption_ms: longest(&summaries, |s| s.interruption_ms),
    };
    all.units = units;
    Some(all)
}

const NOTHING: Summary = Summary {
    requests: None,
    failed_requests: None,
    longest_request_ms: None,
    write_pause_ms: None,
    drill_pause_ms: None,
    interruption_ms: None,
};

/// Units whose attempts a person wants to read.
fn looked_at(unit: &UnitReport) -> bool {
    matches!(unit.outcome, RunOutcome::Withdrawn | RunOutcome::WentBack | RunOutcome::Stuck)
}

fn brief(entry: &UnitEntry, report: &Report) -> UnitReport {
    let moved = report.attempts.iter().rev().find(|attempt| {
        let moves = [Phase::Cutover.as_str(), Phase::Failback.as_str()];
        moves.contains(&attempt.phase.as_str())
    });
    let at = match moved.map(|attempt| (attempt.phase.as_str(), attempt.ended.as_str())) {
        Some(("cutover", "completed")) | Some(("failback", "withdrawn")) => "target",
        Some((_, "open" | "stuck")) => "held",
        _ => "source",
    };
    let why = moved.filter(|_| {
        matches!(report.outcome, RunOutcome::Withdrawn | RunOutcome::WentBack | RunOutcome::Stuck)
    });
    let because = why.map(|attempt| {
        if attempt.reason.is_empty() { attempt.because.clone() } else { attempt.reason.clone() }
    });
    UnitReport {
        unit: report.unit.clone(),
        wave: entry.wave,
        outcome: report.outcome,
        at: at.to_owned(),
        because: because.unwrap_or_default(),
        write_pause_ms: report.summary.write_pause_ms,
        differences: report.comparisons.last().map(|last| last.differences),
    }
}

/// The run is stuck with one unit; it went back if one did; it is settled when all are.
fn outcome(units: &[UnitReport]) -> RunOutcome {
    let any = |outcome| units.iter().any(|unit| unit.outcome == outcome);
    if any(RunOutcome::Stuck) {
        RunOutcome::Stuck
    } else if any(RunOutcome::WentBack) {
        RunOutcome::WentBack
    } else if any(RunOutcome::Withdrawn) {
        RunOutcome::Withdrawn
    } else if any(RunOutcome::Running) {
        RunOutcome::Running
    } else {
        RunOutcome::Settled
    }
}

/// Adds up what is known of every unit; `None` if nothing is.
fn sum(all: &[Summary], of: impl Fn(&Summary) -> Option<u64>) -> Option<u64> {
    all.iter().filter_map(of).reduce(|sum, more| sum + more)
}

fn longest(all: &[Summary], of: impl Fn(&Summary) -> Option<f64>) -> Option<f64> {
    all.iter().filter_map(of).reduce(f64::max)
}
