//! How far what was published came: folded from looks that the journal keeps, and shown.

use crate::Report;
use crate::html::escape;
use serde_json::{Value, json};
use std::fmt::Write as _;

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Takes a look at a publish: the newest look counts. What an earlier controller saw arrive it
/// saw sooner than one that began later, so that moment stays.
pub(crate) fn take(known: &mut Vec<Value>, unit: &str, look: &Value) {
    let mut look = look.clone();
    look["unit"] = json!(unit);
    let same = |former: &&mut Value| former["published_at_ms"] == look["published_at_ms"];
    let Some(former) = known.iter_mut().find(same) else {
        known.push(look);
        return;
    };
    let seen =
        |look: &Value| list(&look["resolvers"]).iter().any(|g| g["watched_from_ms"].is_u64());
    if seen(former) && !seen(&look) {
        // A new controller has not asked anybody yet.
        look["resolvers"] = former["resolvers"].clone();
    }
    sooner(&mut look["resolvers"], &former["resolvers"]);
    *former = look;
}

/// Keeps of each moment the earlier one, group by group, set by set, share by share.
fn sooner(now: &mut Value, former: &Value) {
    let groups = now.as_array_mut().into_iter().flatten().zip(list(former));
    for (now, former) in groups {
        let sets = now["sets"].as_array_mut().into_iter().flatten().zip(list(&former["sets"]));
        for (now, former) in sets
            .filter(|(now, former)| now["name"] == former["name"] && now["type"] == former["type"])
        {
            let shares =
                now["reached"].as_array_mut().into_iter().flatten().zip(list(&former["reached"]));
            for (now, former) in shares {
                if let (Some(later), Some(sooner)) =
                    (now["after_ms"].as_u64(), former["after_ms"].as_u64())
                {
                    now["after_ms"] = json!(later.min(sooner));
                }
            }
        }
    }
}

/// Says for which publish nobody knows how far it came.
pub(crate) fn not_provable(report: &Report) -> Option<String> {
    let publishes = report.attempts.iter().flat_map(|attempt| &attempt.steps);
    let published = publishes.filter(|step| step.name == "publish" && step.ended == "done");
    let asked =
        |look: &&Value| list(&look["resolvers"]).iter().any(|g| g["watched_from_ms"].is_u64());
    let watched = report.spread.iter().filter(asked).count();
    let missing = published.count().saturating_sub(watched);
    (missing > 0).then(|| {
        format!("how far {missing} of the publishes came at resolvers: none was asked about them")
    })
}

/// Shows every publish: its sets at the resolvers, flushes, query logs, fronts.
pub(crate) fn page(page: &mut String, report: &Report, time: &dyn Fn(u64) -> String) {
    if report.spread.is_empty() {
        return;
    }
    page.push_str("<h2>How far what was published came</h2>");
    for look in &report.spread {
        let at = |key: &str| look[key].as_u64().map_or_else(|| "unknown".to_owned(), time);
        let _ = write!(
            page,
            "<h3>{}: for the {}, published {}, looked at last {}</h3>",
            escape(&text(&look["unit"])),
            escape(&text(&look["to"])),
            escape(&at("published_at_ms")),
            escape(&at("at_ms"))
        );
        resolvers(page, look);
        lines(page, look, time);
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "unknown".to_owned(),
        other => other.to_string(),
    }
}

fn percent(value: &Value) -> String {
    value.as_f64().map_or_else(|| "unknown".to_owned(), |value| format!("{value:.1} %"))
}

fn resolvers(page: &mut String, look: &Value) {
    let sets = list(&look["resolvers"]).iter().flat_map(|group| list(&group["sets"]));
    let sets: Vec<&Value> = sets.collect();
    if sets.is_empty() {
        page.push_str("<p class=\"unknown\">At resolvers: unknown, none was asked about it.</p>");
        return;
    }
    page.push_str(
        "<table><tr><th>record set<th class=\"n\">former TTL s<th class=\"n\">50 %<th class=\"n\">95 %<th class=\"n\">99 %<th class=\"n\">resolvers<th>not there</tr>",
    );
    for set in sets {
        let after = |percent: u64| {
            let reached = list(&set["reached"]).iter().find(|one| one["percent"] == percent);
            #[allow(clippy::cast_precision_loss)] // Milliseconds of a run.
            let ms = reached.and_then(|one| one["after_ms"].as_u64()).map(|ms| ms as f64 / 1000.0);
            ms.map_or_else(|| "not seen".to_owned(), |s| format!("after {s:.1} s"))
        };
        let others = list(&set["resolvers"]).iter().filter(|one| one["verdict"] != "new");
        let others: Vec<String> = others
            .map(|one| format!("{} {}", text(&one["resolver"]), text(&one["verdict"])))
            .collect();
        let _ = write!(
            page,
            "<tr><td>{} {}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{} of {}<td>{}</tr>",
            escape(&text(&set["name"])),
            escape(&text(&set["type"])),
            escape(&text(&set["former_ttl_s"])),
            after(50),
            after(95),
            after(99),
            escape(&text(&set["there"])),
            escape(&text(&set["asked"])),
            escape(&others.join(", "))
        );
    }
    page.push_str("</table>");
}

fn lines(page: &mut String, look: &Value, time: &dyn Fn(u64) -> String) {
    page.push_str("<ul>");
    for flushed in list(&look["flush"]) {
        let _ = write!(
            page,
            "<li>Flush {}: {} runs, {} failed, {} left out{}",
            escape(&text(&flushed["command"])),
            escape(&text(&flushed["runs"])),
            escape(&text(&flushed["failed"])),
            escape(&text(&flushed["left_out"])),
            flushed["why"].as_str().map_or_else(String::new, |why| format!(": {}", escape(why)))
        );
    }
    for zone in list(&look["queries"]) {
        for authority in list(&zone["authorities"]) {
            let unknown: Vec<String> = list(&authority["unknown"]).iter().map(text).collect();
            let last = authority["last_ms"].as_u64().map_or_else(|| "never seen".to_owned(), time);
            let _ = write!(
                page,
                "<li>Queries of {} at {}: {} in {} s ({}), {} resolvers ({}), last {}{}",
                escape(&text(&zone["zone"])),
                escape(authority["authority"].as_str().unwrap_or("its only provider")),
                escape(&text(&authority["queries"])),
                escape(&text(&authority["covered_s"])),
                percent(&authority["queries_percent"]),
                escape(&text(&authority["resolvers"])),
                percent(&authority["resolvers_percent"]),
                escape(&last),
                if unknown.is_empty() {
                    String::new()
                } else {
                    format!(" <span class=\"unknown\">{}</span>", escape(&unknown.join("; ")))
                }
            );
        }
    }
    if look["fronts"].is_object() {
        let _ = write!(
            page,
            "<li>Still at the {}'s front: {} requests a second, {} of all; former answers at resolvers: {}",
            escape(&text(&look["fronts"]["left"])),
            escape(&text(&look["fronts"]["requests_per_second"])),
            percent(&look["fronts"]["percent"]),
            percent(&look["resolvers_former_percent"])
        );
    }
    page.push_str("</ul>");
}
