//! What copies of users' requests showed: folded and shown.

use crate::Report;
use crate::html::escape;
use serde_json::Value;
use std::fmt::Write as _;

/// Examples of each difference that a page shows.
const EXAMPLES: usize = 3;

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn compared(look: &Value) -> u64 {
    list(&look["fronts"]).iter().filter_map(|front| front["compared"]["asked"].as_u64()).sum()
}

/// Takes a look at a unit's copies. A front's process counts from its own beginning, so a look that
/// saw fewer comes after a restart: the one before it stays.
pub(crate) fn take(looks: &mut Vec<Value>, unit: &str, detail: &Value) {
    let mut look = detail.clone();
    look["unit"] = unit.into();
    match looks.first_mut() {
        None => looks.push(look),
        Some(known) if compared(&look) >= compared(known) => *known = look,
        Some(_) => {}
    }
}

/// Says of which units nobody knows what copies would have shown.
pub(crate) fn not_provable(report: &Report) -> Vec<String> {
    let unseen = report.mirror.iter().filter(|look| compared(look) == 0);
    unseen
        .map(|look| {
            let unit = look["unit"].as_str().unwrap_or("?");
            format!(
                "that the target answers users' requests of `{unit}` as the source does: no copy was compared"
            )
        })
        .collect()
}

/// Shows them.
pub(crate) fn page(page: &mut String, report: &Report, time: &dyn Fn(u64) -> String) {
    if report.mirror.is_empty() {
        return;
    }
    page.push_str("<h2>Copies of users' requests, asked at the target</h2>");
    for look in &report.mirror {
        let unit = escape(look["unit"].as_str().unwrap_or("?"));
        if compared(look) == 0 {
            let _ = write!(
                page,
                "<p>{unit}: <span class=\"unknown\">unknown</span>, none was compared</p>"
            );
            continue;
        }
        let at = look["at_ms"].as_u64().map_or_else(|| "unknown".to_owned(), time);
        let _ = write!(
            page,
            "<p>{unit}, seen last {}</p><table><tr><th>front<th class=\"n\">compared<th class=\"n\">the same<th class=\"n\">different<th class=\"n\">noisy<th class=\"n\">left out: no room<th class=\"n\">left out: a hold<th class=\"n\">time, of the source's</tr>",
            escape(&at)
        );
        for front in list(&look["fronts"]) {
            row(page, front);
        }
        page.push_str("</table>");
        let all =
            list(&look["fronts"]).iter().flat_map(|front| list(&front["compared"]["differences"]));
        differences(page, all);
    }
}

fn row(page: &mut String, front: &Value) {
    let number =
        |value: &Value| value.as_u64().map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    let all = &front["compared"];
    let different = all["asked"].as_u64().zip(all["same"].as_u64());
    let different = different.map(|(asked, same)| asked.saturating_sub(same));
    let class = if different == Some(0) { "n good" } else { "n bad" };
    let ratio = all["time_ratio"].as_f64();
    let _ = write!(
        page,
        "<tr><td>{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"{class}\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}</tr>",
        escape(front["front"].as_str().unwrap_or("?")),
        number(&all["asked"]),
        number(&all["same"]),
        different.map_or_else(|| "unknown".to_owned(), |n| n.to_string()),
        number(&all["noisy"]),
        number(&front["dropped"]),
        number(&front["ended"]),
        ratio.map_or_else(|| "unknown".to_owned(), |ratio| format!("{ratio:.2}")),
    );
}

fn differences<'a>(page: &mut String, all: impl Iterator<Item = &'a Value>) {
    let mut rows = String::new();
    for one in all {
        let examples = list(&one["examples"]).iter().filter_map(Value::as_str).take(EXAMPLES);
        let examples: Vec<String> = examples.map(escape).collect();
        let _ = write!(
            rows,
            "<tr><td>{}<td class=\"n\">{}<td>{}</tr>",
            escape(one["text"].as_str().unwrap_or("?")),
            one["count"].as_u64().unwrap_or_default(),
            examples.join("<br>")
        );
    }
    if !rows.is_empty() {
        let _ = write!(
            page,
            "<table><tr><th>what differs<th class=\"n\">requests<th>such as</tr>{rows}</table>"
        );
    }
}
