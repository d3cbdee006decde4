//! The report as one self-contained page: no script, no foreign asset.

use crate::svg::{Band, Line, chart, figure};
use crate::{AttemptReport, Point, Report, RunOutcome};
use segue_model::Side;
use segue_model::sample::What;
use std::fmt::Write as _;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:960px;\
padding:0 1rem;color:#1c2330;background:#fff}h1{font-size:1.6rem}h2{margin-top:2.2rem;\
font-size:1.15rem;border-bottom:1px solid #d5dae3;padding-bottom:.2rem}table{border-collapse:collapse;\
width:100%}td,th{text-align:left;padding:.25rem .6rem .25rem 0;vertical-align:top;\
border-bottom:1px solid #eef1f5}td.n,th.n{text-align:right}.cards{display:flex;flex-wrap:wrap;gap:.8rem}\
.card{border:1px solid #d5dae3;border-radius:8px;padding:.6rem 1rem;min-width:9rem}\
.card b{display:block;font-size:1.5rem}.good{color:#0a7a3d}.bad{color:#b3261e}.unknown{color:#8a5a00}\
svg{width:100%;height:auto;margin:.4rem 0}.grid{stroke:#e3e7ee}.band{fill:#f6d87a;opacity:.55}\
.small{font-size:11px;fill:#5a6475}.s0,.s1,.s2{fill:none;stroke-width:1.6}.s0{stroke:#2457c5}\
.s1{stroke:#c2410c}.s2{stroke:#0f766e}.s0-text{fill:#2457c5}.s1-text{fill:#c2410c}.s2-text{fill:#0f766e}\
code{background:#f3f5f8;padding:0 .25rem}@media print{body{margin:0}}";

/// Escapes text for HTML, control characters included.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Renders the report; `time` turns milliseconds since 1970 into text with a zone.
pub fn html(report: &Report, time: &dyn Fn(u64) -> String) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Segue: {unit}</title>\
         <style>{STYLE}</style><h1>Move of {unit}: <span class=\"{class}\">{outcome}</span></h1>\
         <p>Run <code>{run}</code>, plan <code>{hash}</code>, {from} to {to}.</p>",
        unit = escape(if report.unit.is_empty() { &report.name } else { &report.unit }),
        class = if matches!(report.outcome, RunOutcome::Stuck) { "bad" } else { "good" },
        outcome = words(report.outcome),
        run = escape(&report.run),
        hash = escape(&report.plan_hash),
        from = escape(&time(report.began_at_ms)),
        to = escape(&time(report.last_at_ms)),
    );
    cards(&mut page, report);
    units(&mut page, report);
    charts(&mut page, report);
    attempts(&mut page, report, time);
    crate::spread::page(&mut page, report, time);
    crate::visitors::page(&mut page, report, time);
    crate::mirror::page(&mut page, report, time);
    verified(&mut page, report, time);
    crate::forecast::page(&mut page, report, time);
    list(&mut page, "What could not be proven", &report.not_provable);
    told(&mut page, report, time);
    page.push_str("</html>\n");
    page
}

fn words(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Running => "running",
        RunOutcome::Settled => "settled",
        RunOutcome::Withdrawn => "withdrawn",
        RunOutcome::WentBack => "went back",
        RunOutcome::Stuck => "stuck",
    }
}

fn card(page: &mut String, label: &str, value: Option<String>, class: &str) {
    let (value, class) = match value {
        Some(value) => (value, class),
        None => ("unknown".into(), "unknown"),
    };
    let _ = write!(
        page,
        "<div class=\"card\"><b class=\"{class}\">{}</b>{}</div>",
        escape(&value),
        escape(label)
    );
}

fn cards(page: &mut String, report: &Report) {
    let summary = &report.summary;
    let failed_class = if summary.failed_requests == Some(0) { "good" } else { "bad" };
    page.push_str("<h2>What users saw</h2><div class=\"cards\">");
    card(page, "requests", summary.requests.map(|n| n.to_string()), "");
    card(page, "failed requests", summary.failed_requests.map(|n| n.to_string()), failed_class);
    let ms = |value: Option<f64>| value.map(|v| format!("{} ms", figure(v)));
    card(page, "longest probe", ms(summary.longest_request_ms), "");
    card(page, "longest write pause", ms(summary.write_pause_ms), "");
    if let Some(pause) = summary.drill_pause_ms {
        card(page, "pause of a drill", ms(Some(pause)), "");
    }
    card(page, "longest interruption", ms(summary.interruption_ms), "");
    page.push_str("</div>");
}

fn pause_bands(report: &Report) -> Vec<Band> {
    let mut bands = Vec::new();
    for attempt in &report.attempts {
        let hold = attempt.steps.iter().find(|step| step.name == "hold");
        let end = attempt.steps.iter().find(|step| step.name == "route").or(hold);
        if let (Some(hold), Some(end)) = (hold, end) {
            bands.push(Band {
                from_ms: hold.began_boot_ms,
                to_ms: end.began_boot_ms + end.took_ms.unwrap_or(0),
                label: format!("{} {}", attempt.phase, attempt.number),
            });
        }
    }
    bands
}

fn charts(page: &mut String, report: &Report) {
    let points = |what: What| -> Vec<Point> {
        report.series.iter().find(|s| s.what == what).map(|s| s.points.clone()).unwrap_or_default()
    };
    let all: Vec<u64> =
        report.series.iter().flat_map(|s| s.points.iter().map(|p| p.boot_ms)).collect();
    let (Some(&from), Some(&to)) = (all.iter().min(), all.iter().max()) else {
        page.push_str("<p class=\"unknown\">No samples were stored: no charts.</p>");
        return;
    };
    page.push_str("<h2>Measured over time</h2>");
    let pairs: [(&str, What, What); 4] = [
        (
            "Requests per second by answering side",
            What::RequestsPerSecond(Side::Source),
            What::RequestsPerSecond(Side::Target),
        ),
        (
            "Answer time, 95th percentile, ms",
            What::ResponseP95Ms(Side::Source),
            What::ResponseP95Ms(Side::Target),
        ),
        (
            "Database lag by writing side, ms",
            What::DatabaseLagMs(Side::Source),
            What::DatabaseLagMs(Side::Target),
        ),
        (
            "Files lag by writing side, ms",
            What::FilesLagMs(Side::Source),
            What::FilesLagMs(Side::Target),
        ),
    ];
    for (title, left, right) in pairs {
        let (source, target) = (points(left), points(right));
        let lines = [
            Line { label: "source", class: "s0", points: &source },
            Line { label: "target", class: "s1", points: &target },
        ];
        let _ = write!(page, "<h3>{}</h3>", escape(title));
        page.push_str(&chart(title, &lines, &pause_bands(report), from, to));
    }
    let (longest, straggling) = (points(What::ProbeMaxMs), points(What::StragglersPerSecond));
    for (title, series) in [
        ("Longest probe of each second, ms", &longest),
        ("Requests per second at the address that DNS no longer names", &straggling),
    ] {
        let lines = [Line { label: "", class: "s2", points: series }];
        let _ = write!(page, "<h3>{}</h3>", escape(title));
        page.push_str(&chart(title, &lines, &pause_bands(report), from, to));
    }
}

/// A table of every unit, for a run of several.
fn units(page: &mut String, report: &Report) {
    if report.units.len() < 2 {
        return;
    }
    page.push_str(
        "<h2>Units</h2><table><tr><th>unit<th class=\"n\">wave<th>is at<th>outcome<th class=\"n\">pause ms<th class=\"n\">differences<th>because</tr>",
    );
    for unit in &report.units {
        let number = |value: Option<String>| value.unwrap_or_else(|| "unknown".into());
        let _ = write!(
            page,
            "<tr><td>{}<td class=\"n\">{}<td>{}<td>{}<td class=\"n\">{}<td class=\"n\">{}<td>{}</tr>",
            escape(&unit.unit),
            unit.wave,
            escape(&unit.at),
            words(unit.outcome),
            number(unit.write_pause_ms.map(figure)),
            number(unit.differences.map(|n| n.to_string())),
            escape(&unit.because)
        );
    }
    page.push_str("</table>");
}

fn attempts(page: &mut String, report: &Report, time: &dyn Fn(u64) -> String) {
    page.push_str("<h2>What was done</h2>");
    for attempt in &report.attempts {
        attempt_table(page, attempt, time);
    }
}

fn attempt_table(page: &mut String, attempt: &AttemptReport, time: &dyn Fn(u64) -> String) {
    let pause = attempt.pause_ms.map_or(String::new(), |ms| format!(", pause {} ms", figure(ms)));
    let _ = write!(
        page,
        "<h3>{} {}: {}{pause}</h3><p>{}{}{}</p><table><tr><th>step<th>ended<th class=\"n\">ms</tr>",
        escape(&attempt.phase),
        attempt.number,
        escape(&attempt.ended),
        escape(&time(attempt.began_at_ms)),
        if attempt.because.is_empty() {
            String::new()
        } else {
            format!(". Began because: {}", escape(&attempt.because))
        },
        if attempt.reason.is_empty() {
            String::new()
        } else {
            format!(". Turned because: {}", escape(&attempt.reason))
        },
    );
    for step in &attempt.steps {
        let took = step.took_ms.map_or("unknown".into(), |ms| ms.to_string());
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td class=\"n\">{took}</tr>",
            escape(&step.name),
            escape(&step.ended)
        );
    }
    page.push_str("</table>");
}

fn verified(page: &mut String, report: &Report, time: &dyn Fn(u64) -> String) {
    page.push_str("<h2>What was verified</h2><table><tr><th>when<th>what<th class=\"n\">differences<th>compared</tr>");
    for comparison in &report.comparisons {
        let class = if comparison.differences == 0 { "good" } else { "bad" };
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td class=\"n {class}\">{}<td><code>{}</code></tr>",
            escape(&time(comparison.at_ms)),
            escape(&comparison.what),
            comparison.differences,
            escape(&brief(&comparison.detail))
        );
    }
    page.push_str("</table>");
}

/// The scalar figures of a comparison, part by part; lists are given by their length.
fn brief(detail: &serde_json::Value) -> String {
    let Some(map) = detail.as_object() else { return detail.to_string() };
    let parts: Vec<String> = map
        .iter()
        .map(|(key, value)| match value {
            serde_json::Value::Array(all) => format!("{key} {}", all.len()),
            serde_json::Value::Object(_) => format!("{key}: {}", brief(value)),
            serde_json::Value::String(text) => format!("{key} {text}"),
            other => format!("{key} {other}"),
        })
        .collect();
    parts.join(", ")
}

fn list(page: &mut String, title: &str, lines: &[String]) {
    let _ = write!(page, "<h2>{}</h2><ul>", escape(title));
    for line in lines {
        let _ = write!(page, "<li>{}", escape(line));
    }
    page.push_str("</ul>");
}

fn told(page: &mut String, report: &Report, time: &dyn Fn(u64) -> String) {
    page.push_str("<h2>Who did what</h2><table><tr><th>when<th>who<th>what</tr>");
    for moment in &report.timeline {
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{}</tr>",
            escape(&time(moment.at_ms)),
            escape(&moment.who),
            escape(&moment.text)
        );
    }
    page.push_str("</table>");
}
