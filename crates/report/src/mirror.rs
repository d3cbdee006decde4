//! What copies of users' requests showed: folded and shown.

use crate::Report;
use crate::html::escape;
use segue_model::event::{Event, Record};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::fmt::Write as _;

/// Examples of each difference that a page shows.
const EXAMPLES: usize = 3;

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn compared(look: &Value) -> u64 {
    list(&look["fronts"]).iter().filter_map(|front| front["compared"]["asked"].as_u64()).sum()
}

/// What a process of a front counts from its own beginning, as paths.
const COUNTED: [&str; 5] =
    ["/compared/asked", "/compared/same", "/compared/noisy", "/dropped", "/ended"];

fn count(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

/// A front over all looks at it.
struct Front {
    name: String,
    /// What its former processes found, together.
    former: Option<Value>,
    /// What its process found when it last answered; none if it never did.
    last: Option<Value>,
    /// Whether it did not answer at the last look.
    silent: bool,
    /// When it last answered.
    at_ms: Value,
}

impl Front {
    /// Takes a look. A process counts from its own beginning, so one that has seen fewer is another
    /// one, and what the former one found is added to it.
    fn see(&mut self, seen: &Value, at_ms: &Value) {
        self.silent = seen["silent"] == true;
        if self.silent {
            return;
        }
        if let Some(last) = self.last.take()
            && COUNTED.iter().any(|path| count(seen, path) < count(&last, path))
        {
            self.former = Some(sum(self.former.take(), last));
        }
        (self.last, self.at_ms) = (Some(seen.clone()), at_ms.clone());
    }

    fn told(self) -> Value {
        let mut told = match self.last {
            Some(last) => sum(self.former, last),
            None => json!({ "front": self.name }),
        };
        told["at_ms"] = self.at_ms;
        if self.silent {
            told["silent"] = true.into();
        }
        told
    }
}

/// Adds what a former process found to what a later one did. Medians cannot be added: they stay the
/// later one's, if that has any.
fn sum(former: Option<Value>, mut later: Value) -> Value {
    let Some(former) = former else { return later };
    for path in COUNTED {
        let both = count(&former, path) + count(&later, path);
        if let Some(place) = later.pointer_mut(path) {
            *place = both.into();
        }
    }
    for key in ["time_ratio", "time_bounds"] {
        if later["compared"][key].is_null() {
            later["compared"][key] = former["compared"][key].clone();
        }
    }
    let mut all: Vec<Value> = list(&later["compared"]["differences"]).to_vec();
    for one in list(&former["compared"]["differences"]) {
        let same =
            |known: &&mut Value| known["kind"] == one["kind"] && known["text"] == one["text"];
        match all.iter_mut().find(same) {
            Some(known) => known["count"] = (count(known, "/count") + count(one, "/count")).into(),
            None => all.push(one.clone()),
        }
    }
    all.sort_by_key(|one| Reverse(count(one, "/count")));
    later["compared"]["differences"] = all.into();
    later
}

/// Folds all looks at a unit's copies; none if its plan asks for no copies. A front that a look lacks
/// keeps what it was seen with.
pub(crate) fn fold(unit: &str, records: &[&Record]) -> Vec<Value> {
    let mut fronts: Vec<Front> = Vec::new();
    let mut last = None;
    for record in records {
        let Event::Measured { what, detail } = &record.event else { continue };
        if what != "mirror" {
            continue;
        }
        last = Some(&detail["at_ms"]);
        for seen in list(&detail["fronts"]) {
            let name = seen["front"].as_str().unwrap_or("?");
            let place = fronts.iter().position(|front| front.name == name).unwrap_or_else(|| {
                let (name, at_ms) = (name.to_owned(), Value::Null);
                fronts.push(Front { name, former: None, last: None, silent: false, at_ms });
                fronts.len() - 1
            });
            if let Some(front) = fronts.get_mut(place) {
                front.see(seen, &detail["at_ms"]);
            }
        }
    }
    let fronts: Vec<Value> = fronts.into_iter().map(Front::told).collect();
    last.map(|at_ms| json!({ "unit": unit, "at_ms": at_ms, "fronts": fronts }))
        .into_iter()
        .collect()
}

/// Says of which units and fronts nobody knows what copies would have shown.
pub(crate) fn not_provable(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for look in &report.mirror {
        let unit = look["unit"].as_str().unwrap_or("?");
        let claim =
            format!("that the target answers users' requests of `{unit}` as the source does");
        if compared(look) == 0 {
            lines.push(format!("{claim}: no copy was compared"));
            continue;
        }
        for front in list(&look["fronts"]) {
            let name = front["front"].as_str().unwrap_or("?");
            if count(front, "/compared/asked") == 0 {
                lines.push(format!("{claim}: at front `{name}` no copy was compared"));
            } else if front["silent"] == true {
                lines.push(format!("{claim}: front `{name}` did not answer in the end"));
            }
        }
    }
    lines
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
            row(page, front, time);
        }
        page.push_str("</table>");
        let all =
            list(&look["fronts"]).iter().flat_map(|front| list(&front["compared"]["differences"]));
        differences(page, all);
    }
}

fn row(page: &mut String, front: &Value, time: &dyn Fn(u64) -> String) {
    let number =
        |value: &Value| value.as_u64().map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    let all = &front["compared"];
    // Where none was compared nothing differed, and nothing is known.
    let different = all["asked"].as_u64().filter(|asked| *asked > 0).zip(all["same"].as_u64());
    let different = different.map(|(asked, same)| asked.saturating_sub(same));
    let class = match different {
        None => "n unknown",
        Some(0) => "n good",
        Some(_) => "n bad",
    };
    let ratio = all["time_ratio"].as_f64();
    let silent = match front["at_ms"].as_u64() {
        _ if front["silent"] != true => String::new(),
        Some(at_ms) => format!(" <span class=\"unknown\">silent since {}</span>", time(at_ms)),
        None => " <span class=\"unknown\">it never answered</span>".to_owned(),
    };
    let _ = write!(
        page,
        "<tr><td>{}{silent}<td class=\"n\">{}<td class=\"n\">{}<td class=\"{class}\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}</tr>",
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
