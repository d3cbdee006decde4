//! What rehearsals measured: in a place of its own, and never among what was proven.

use crate::Report;
use crate::html::escape;
use crate::svg::figure;
use segue_model::event::{Event, Record};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Write as _;

/// A rehearsal of a unit, in a closed room against stand-ins: a forecast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The unit.
    pub unit: String,
    /// When it ended, milliseconds since 1970.
    pub at_ms: u64,
    /// Whether the cutover, the way back and the asked faults went through.
    pub passed: bool,
    /// Hash of the unit's plan that was rehearsed.
    pub plan_hash: String,
    /// Longest pause of writes there, milliseconds.
    pub pause_ms: Option<f64>,
    /// How long the cutover took there with its preparation, milliseconds.
    pub took_ms: u64,
    /// What else was measured, and what was not rehearsed.
    pub detail: Value,
}

/// Returns the rehearsals of a journal, in order.
pub(crate) fn forecasts(records: &[Record]) -> Vec<Forecast> {
    let rehearsed = records.iter().filter_map(|record| match &record.event {
        Event::UnitRehearsed { plan_hash, passed, pause_ms, took_ms, detail } => Some(Forecast {
            unit: record.unit.as_ref().map(ToString::to_string).unwrap_or_default(),
            at_ms: record.at_ms,
            passed: *passed,
            plan_hash: plan_hash.clone(),
            pause_ms: *pause_ms,
            took_ms: *took_ms,
            detail: detail.clone(),
        }),
        _ => None,
    });
    rehearsed.collect()
}

/// Adds them to the page.
pub(crate) fn page(page: &mut String, report: &Report, time: &dyn Fn(u64) -> String) {
    if report.forecasts.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Forecast by rehearsal</h2><p>Measured in a closed room against stand-ins. Nothing \
         here is a proof of what users saw.</p><table><tr><th>When<th>Unit<th>Passed\
         <th class=\"n\">Pause, ms<th class=\"n\">Cutover, s<th>Not rehearsed</tr>",
    );
    for forecast in &report.forecasts {
        let skipped = forecast.detail["not_rehearsed"].as_array().into_iter().flatten();
        let skipped: Vec<&str> = skipped.filter_map(Value::as_str).collect();
        #[allow(clippy::cast_precision_loss)] // Milliseconds of a cutover.
        let took_s = forecast.took_ms as f64 / 1_000.0;
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td class=\"{}\">{}<td class=\"n\">{}<td class=\"n\">{}<td>{}</tr>",
            escape(&time(forecast.at_ms)),
            escape(&forecast.unit),
            if forecast.passed { "good" } else { "bad" },
            if forecast.passed { "yes" } else { "no" },
            forecast.pause_ms.map_or_else(|| "unknown".to_owned(), figure),
            figure(took_s),
            escape(&skipped.join("; ")),
        );
    }
    page.push_str("</table>");
}
