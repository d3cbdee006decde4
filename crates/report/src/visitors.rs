//! Who stayed logged in, and who still came to the former address: folded and shown.

use crate::html::escape;
use crate::{LoginTries, Report, SessionsReport};
use segue_model::event::{Event, Phase, Record};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("unknown").to_owned()
}

/// Joins what the controllers of the run noted of a unit's logins: the last verdict, and the sum
/// of all tries, since a new controller counts from zero.
pub(crate) fn sessions(unit: &str, records: &[&Record]) -> Vec<SessionsReport> {
    let mut controllers = BTreeMap::new();
    for record in records {
        if let Event::Measured { what, detail } = &record.event
            && what == "sessions"
        {
            controllers.insert(detail["since"].as_u64(), detail);
        }
    }
    let Some((_, last)) = controllers.last_key_value() else { return Vec::new() };
    let switched = switched(records);
    let one = |site: &Value| {
        let same = |other: &&Value| other["site"] == site["site"];
        let all = controllers.values().filter_map(|noted| list(&noted["sites"]).iter().find(same));
        let fronts: Vec<&Value> = all.flat_map(|site| list(&site["fronts"])).collect();
        SessionsReport {
            unit: unit.to_owned(),
            site: text(&site["site"]),
            verdict: text(&site["verdict"]),
            because: text(&site["because"]),
            tries: (!fronts.is_empty()).then(|| tries(&fronts, switched)),
        }
    };
    list(&last["sites"]).iter().map(one).collect()
}

fn tries(fronts: &[&Value], switched: Option<u64>) -> LoginTries {
    let sum = |key: &str| fronts.iter().filter_map(|front| front[key].as_u64()).sum();
    let first = fronts.iter().filter_map(|front| front["first_boot_ms"].as_u64()).min();
    let last = fronts.iter().filter_map(|front| front["last_boot_ms"].as_u64()).max();
    let through = switched.zip(first.zip(last)).map(|(at, (first, last))| first < at && at < last);
    LoginTries { tried: sum("tried"), lost: sum("lost"), through_switch: through.unwrap_or(false) }
}

/// When the last cutover sent visitors to the target, by the boot clock.
fn switched(records: &[&Record]) -> Option<u64> {
    let (mut phase, mut at) = (Phase::Sync, None);
    for record in records {
        match &record.event {
            Event::AttemptStarted { attempt, .. } => phase = attempt.phase,
            Event::StepDone { step, .. } if phase == Phase::Cutover && step.as_str() == "route" => {
                at = Some(record.boot_ms);
            }
            _ => {}
        }
    }
    at
}

/// Says for which sites nobody knows whether logins survived.
pub(crate) fn not_provable(report: &Report) -> Vec<String> {
    let unproven = report.sessions.iter().filter(|one| {
        let proven = |tries: &LoginTries| tries.through_switch && tries.lost == 0;
        one.verdict != "again" && !one.tries.as_ref().is_some_and(proven)
    });
    unproven
        .map(|one| {
            let why = match &one.tries {
                Some(LoginTries { tried, lost: lost @ 1.., .. }) => {
                    format!("the one that was tried was not known {lost} of {tried} times")
                }
                _ => "none was tried through the switch".to_owned(),
            };
            format!("that users of `{}` stayed logged in: {why}", one.site)
        })
        .collect()
}

/// Says of which fronts nobody knows who came to them.
pub(crate) fn unasked(report: &Report) -> Vec<String> {
    let silent = looks(report).filter(|front| front["clients"].is_null());
    silent
        .map(|front| {
            format!("who still comes through front `{}`: it did not answer", text(&front["front"]))
        })
        .collect()
}

/// Returns the latest look at each front.
fn looks(report: &Report) -> impl Iterator<Item = &Value> {
    report.stragglers.iter().flat_map(|look| list(&look["fronts"]))
}

fn came_or_unknown(front: &Value) -> bool {
    front["clients"].as_u64() != Some(0)
}

/// Shows both.
pub(crate) fn page(page: &mut String, report: &Report, time: &dyn Fn(u64) -> String) {
    if !report.sessions.is_empty() {
        page.push_str(
            "<h2>Who stayed logged in</h2><table><tr><th>site<th>by configuration<th>tried<th>because</tr>",
        );
        for one in &report.sessions {
            let lost = one.tries.as_ref().is_some_and(|tries| tries.lost > 0);
            let (class, verdict) = match one.verdict.as_str() {
                "survive" if lost => ("bad", "stay logged in"),
                "survive" => ("good", "stay logged in"),
                "again" => ("bad", "log in again"),
                _ => ("unknown", "unknown"),
            };
            let tried = one.tries.as_ref().map_or_else(|| "no login was tried".to_owned(), told);
            let _ = write!(
                page,
                "<tr><td>{}<td class=\"{class}\">{verdict}<td>{}<td>{}</tr>",
                escape(&one.site),
                escape(&tried),
                escape(&one.because)
            );
        }
        page.push_str("</table>");
    }
    if looks(report).any(came_or_unknown) {
        page.push_str(
            "<h2>Who still came to the former address</h2><table><tr><th>front<th class=\"n\">clients<th>the latest<th class=\"n\">requests and connections<th>last</tr>",
        );
        for look in &report.stragglers {
            let fronts = list(&look["fronts"]).iter().filter(|front| came_or_unknown(front));
            fronts.for_each(|front| rows(page, front, time));
        }
        page.push_str("</table>");
    }
}

/// One login in words.
fn told(tries: &LoginTries) -> String {
    let LoginTries { tried, lost, through_switch } = tries;
    let through = if *through_switch { "through the switch" } else { "not through a switch" };
    format!("one login, {tried} times, {through}: not known {lost} times")
}

fn rows(page: &mut String, front: &Value, time: &dyn Fn(u64) -> String) {
    let name = escape(&text(&front["front"]));
    if front["clients"].is_null() {
        let _ = write!(
            page,
            "<tr><td>{name}<td class=\"n unknown\">unknown<td><td class=\"n\"><td></tr>"
        );
    }
    for (place, late) in list(&front["latest"]).iter().enumerate() {
        let (name, clients) = match place {
            0 => (name.as_str(), front["clients"].to_string()),
            _ => ("", String::new()),
        };
        let last = late["last_at_ms"].as_u64().map_or_else(|| "unknown".to_owned(), time);
        let _ = write!(
            page,
            "<tr><td>{name}<td class=\"n\">{}<td>{}<td class=\"n\">{}<td>{}</tr>",
            escape(&clients),
            escape(&text(&late["client"])),
            escape(&late["count"].to_string()),
            escape(&last)
        );
    }
}
