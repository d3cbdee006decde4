//! How far what was published has come: at resolvers, in query logs, and at the fronts.
//!
//! These are three views of one thing and nothing joins their rows: a visitor's address is not
//! that of the resolver that answered him, and fronts keep no addresses. So they stand side by
//! side, and what was not measured is unknown.

use crate::status::FRESH_MS;
use segue_dns::ResolverSampler;
use segue_dns::queries::{QuerySampler, ZoneQueries};
use segue_dns::watch::{Published, SpreadTold};
use segue_engine::Board;
use segue_model::event::Phase;
use segue_model::plan::UnitPlan;
use segue_model::state::{AttemptState, StepState, StepStatus, UnitState};
use segue_model::{Side, StepName, What};
use segue_port::{Clock, Sampler};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Most resolvers that the journal keeps of one look, and most of one query log.
const NOTED_MAX: usize = 64;
/// Most looks at a publish that are noted because it came further.
const NOTES_MAX: usize = 16;
/// Most resolvers that are named for one record set or one authority in a text.
const ROWS_MAX: usize = 8;

/// Those who watch for one unit.
pub(crate) struct Watching {
    resolvers: Vec<Arc<ResolverSampler>>,
    queries: Option<Arc<QuerySampler>>,
    /// Record of the publish that is watched; 0 for none.
    heard: AtomicU64,
    /// Taken by whoever compares that record with the journal.
    hearing: Mutex<()>,
    /// How far it had come when it was noted last, and how often that was.
    milestones: AtomicUsize,
    notes: AtomicUsize,
}

impl Watching {
    pub(crate) fn of(unit: &UnitPlan) -> Self {
        let all = unit.measures.resolvers.iter().flat_map(|plan| plan.addresses.iter().copied());
        let watched: Vec<SocketAddr> = all.collect();
        Self {
            resolvers: ResolverSampler::of(unit),
            queries: QuerySampler::of(&unit.zones, &watched),
            heard: AtomicU64::new(0),
            hearing: Mutex::new(()),
            milestones: AtomicUsize::new(0),
            notes: AtomicUsize::new(0),
        }
    }

    pub(crate) fn samplers(&self) -> Vec<Arc<dyn Sampler>> {
        let resolvers = self.resolvers.iter().map(|one| Arc::clone(one) as Arc<dyn Sampler>);
        let queries = self.queries.iter().map(|one| Arc::clone(one) as Arc<dyn Sampler>);
        resolvers.chain(queries).collect()
    }

    /// Watches what the journal says was published last. Returns whether it has come further
    /// than what was noted of it.
    pub(crate) fn hear(&self, state: &UnitState) -> bool {
        let _turn = self.hearing.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = published(state);
        let seq = newest.as_ref().map_or(0, |(_, step)| step.latest.seq);
        if self.heard.swap(seq, Ordering::Relaxed) != seq {
            let outputs = newest.and_then(|(_, step)| step.output.as_ref()?.as_object());
            let read = outputs.and_then(|parts| Published::read(parts.values()));
            for resolvers in &self.resolvers {
                resolvers.watch(read.as_ref());
            }
            self.milestones.store(0, Ordering::Relaxed);
            self.notes.store(0, Ordering::Relaxed);
        }
        let now = self.spreads().iter().map(SpreadTold::milestones).min().unwrap_or(0);
        let further = now > self.milestones.fetch_max(now, Ordering::Relaxed);
        further && self.notes.fetch_add(1, Ordering::Relaxed) < NOTES_MAX
    }

    fn spreads(&self) -> Vec<SpreadTold> {
        self.resolvers.iter().filter_map(|one| one.spread()).collect()
    }

    /// Tells what is known now; none before something is published, unless query logs are read.
    pub(crate) fn told(
        &self,
        state: &UnitState,
        board: &Board,
        clock: &dyn Clock,
    ) -> Option<Value> {
        let queries = self.queries.as_ref().map(|queries| queries.told());
        self.join(state, board, clock, self.spreads(), queries)
    }

    /// Tells what the journal keeps; none before something is published.
    pub(crate) fn noted(
        &self,
        state: &UnitState,
        board: &Board,
        clock: &dyn Clock,
    ) -> Option<Value> {
        published(state)?;
        let spreads = self.spreads().into_iter().map(|told| told.brief(NOTED_MAX)).collect();
        let mut queries = self.queries.as_ref().map(|queries| queries.told());
        for authority in queries.iter_mut().flatten().flat_map(|zone| &mut zone.authorities) {
            let more = authority.asking.len().saturating_sub(ROWS_MAX);
            authority.more += more as u64;
            authority.asking.truncate(ROWS_MAX);
        }
        self.join(state, board, clock, spreads, queries)
    }

    fn join(
        &self,
        state: &UnitState,
        board: &Board,
        clock: &dyn Clock,
        spreads: Vec<SpreadTold>,
        queries: Option<Vec<ZoneQueries>>,
    ) -> Option<Value> {
        let newest = published(state);
        if newest.is_none() && queries.is_none() {
            return None;
        }
        let to = newest.map(|(attempt, _)| match attempt.attempt.phase {
            Phase::Failback => Side::Source,
            _ => Side::Target,
        });
        let flush = newest.and_then(|(attempt, _)| {
            let step = attempt.steps.get(&StepName::from("flush"))?;
            step.output.as_ref()?.get("resolvers")?.get("flushed").cloned()
        });
        let former: Vec<f64> = spreads.iter().filter_map(SpreadTold::former_percent).collect();
        let former = former.iter().copied().reduce(f64::max);
        let published_ms = newest.map(|(_, step)| step.latest.at_ms);
        Some(json!({
            "at_ms": clock.wall_ms(),
            "to": to,
            "published_at_ms": spreads.iter().map(|told| told.published_at_ms).max().or(published_ms),
            // Without a resolver in the plan nobody was asked.
            "resolvers": (!spreads.is_empty()).then_some(&spreads),
            "resolvers_former_percent": former,
            "flush": flush,
            "queries": queries,
            "fronts": to.map(|to| fronts(to, board, clock)),
        }))
    }
}

/// Returns the newest attempt that published, with that step.
fn published(state: &UnitState) -> Option<(&AttemptState, &StepState)> {
    let name = StepName::from("publish");
    let past = state.history.iter().rev().map(|past| &past.state);
    state.open.iter().chain(past).find_map(|attempt| {
        let step = attempt.steps.get(&name)?;
        (step.status == StepStatus::Done).then_some((attempt, step))
    })
}

/// What still arrives at the address that is left.
fn fronts(to: Side, board: &Board, clock: &dyn Clock) -> Value {
    let fresh = |what| {
        let sample = board.latest(what)?;
        (clock.boot_ms().saturating_sub(sample.taken_at_ms) <= FRESH_MS).then_some(sample.value)
    };
    let at_target = fresh(What::TargetArrivalPercent);
    let percent =
        at_target.map(|percent| if to == Side::Target { 100.0 - percent } else { percent });
    json!({
        "left": to.other(),
        "requests_per_second": fresh(What::StragglersPerSecond),
        "percent": percent,
    })
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| "unknown".to_owned(), str::to_owned)
}

fn percent(value: &Value) -> String {
    value.as_f64().map_or_else(|| "unknown".to_owned(), |value| format!("{value:.1} %"))
}

fn count(value: &Value) -> String {
    value.as_u64().map_or_else(|| "unknown".to_owned(), |value| value.to_string())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[allow(clippy::cast_precision_loss)] // Milliseconds of a run.
fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}

/// Returns the spread as text, with the blanks before each line; empty if there is none.
pub(crate) fn text(spread: &Value) -> String {
    let mut text = String::new();
    if spread.is_null() {
        return text;
    }
    let now_ms = spread["at_ms"].as_u64().unwrap_or(0);
    if let Some(at_ms) = spread["published_at_ms"].as_u64() {
        let age = now_ms.saturating_sub(at_ms) / 1000;
        let _ = writeln!(text, "  published for the {} {age} s ago", word(&spread["to"]));
        if spread["resolvers"].is_null() {
            let _ = writeln!(text, "    at resolvers: unknown, none was asked about it");
        }
    }
    for group in list(&spread["resolvers"]) {
        resolvers(&mut text, group);
    }
    for flushed in list(&spread["flush"]) {
        let (runs, failed) = (count(&flushed["runs"]), flushed["failed"].as_u64().unwrap_or(0));
        let left_out = flushed["left_out"].as_u64().unwrap_or(0);
        let how = match (failed, left_out) {
            (0, 0) => format!("done, {runs} runs"),
            _ => format!(
                "NOT WHOLE, {failed} of {runs} runs failed, {left_out} left out: {}",
                word(&flushed["why"])
            ),
        };
        let _ = writeln!(text, "    flush {}: {how}", word(&flushed["command"]));
    }
    for zone in list(&spread["queries"]) {
        for authority in list(&zone["authorities"]) {
            queries(&mut text, &zone["zone"], authority, now_ms);
        }
    }
    if let Some(fronts) = spread["fronts"].as_object() {
        let rate = fronts["requests_per_second"].as_f64();
        let rate = rate.map_or_else(|| "unknown".to_owned(), |rate| format!("{rate:.0}/s"));
        let _ = writeln!(
            text,
            "    still at the {}'s front: {rate}, {} of all requests; former answers at resolvers: {}",
            word(&fronts["left"]),
            percent(&fronts["percent"]),
            percent(&spread["resolvers_former_percent"])
        );
    }
    text
}

fn resolvers(text: &mut String, group: &Value) {
    for set in list(&group["sets"]) {
        let all = list(&set["resolvers"]);
        let (asked, there) = (set["asked"].as_u64().unwrap_or(0), count(&set["there"]));
        let reached = list(&set["reached"]).iter().map(|reached| {
            let after = reached["after_ms"].as_u64();
            let after =
                after.map_or_else(|| "not yet".into(), |ms| format!("after {}", seconds(ms)));
            format!("{} % {after}", reached["percent"])
        });
        let reached: Vec<String> = reached.collect();
        let eta = set["eta_s"].as_u64().map_or_else(|| "unknown".into(), |s| format!("in {s} s"));
        let how = match asked {
            0 => "unknown, not asked yet".to_owned(),
            asked => format!("{there} of {asked} resolvers; {}; all: {eta}", reached.join(", ")),
        };
        let _ = writeln!(text, "    {} {}: {how}", word(&set["name"]), word(&set["type"]));
        let others: Vec<&Value> = all.iter().filter(|one| one["verdict"] != "new").collect();
        for one in others.iter().take(ROWS_MAX) {
            let _ = writeln!(text, "      {} {}", word(&one["resolver"]), verdict(one));
        }
        if others.len() > ROWS_MAX {
            let _ = writeln!(text, "      and {} more", others.len() - ROWS_MAX);
        }
    }
    let late_ms = group["watched_from_ms"].as_u64().zip(group["published_at_ms"].as_u64());
    if let Some((from_ms, at_ms)) = late_ms
        && from_ms.saturating_sub(at_ms) > LATE_MS
    {
        let late = seconds(from_ms - at_ms);
        let _ =
            writeln!(text, "    watched only from {late} on: what was there is \"at the latest\"");
    }
    if let Some(more @ 1..) = group["left_out"].as_u64() {
        let _ = writeln!(text, "    {more} more changed record sets are not watched");
    }
}

/// A watch that begins so long after the publish has missed something, milliseconds.
const LATE_MS: u64 = 5_000;

fn verdict(one: &Value) -> String {
    match one["verdict"].as_str() {
        Some("within_ttl") => format!("within TTL, {} s left", count(&one["left_s"])),
        Some("overstaying") => format!("OVERSTAYING for {} s", count(&one["by_s"])),
        Some("other") => format!("other: {}", word(&one["data"])),
        Some("failing") => format!("FAILING: {}", word(&one["why"])),
        _ => "unknown".to_owned(),
    }
}

fn queries(text: &mut String, zone: &Value, authority: &Value, now_ms: u64) {
    let at = match authority["authority"].as_str() {
        Some(name) => format!("{} at {name}", word(zone)),
        None => word(zone),
    };
    if let Some(why) = list(&authority["unknown"]).first() {
        let _ = writeln!(text, "    queries of {at}: unknown, {}", word(why));
        return;
    }
    let last = authority["last_ms"].as_u64();
    let last = last.map_or_else(
        || "nobody seen".to_owned(),
        |last_ms| format!("last {} s ago", now_ms.saturating_sub(last_ms) / 1000),
    );
    let _ = writeln!(
        text,
        "    queries of {at}: {} in {} s ({}), {} resolvers ({}), {last}",
        count(&authority["queries"]),
        count(&authority["covered_s"]),
        percent(&authority["queries_percent"]),
        count(&authority["resolvers"]),
        percent(&authority["resolvers_percent"])
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_unknown() {
        assert_eq!(text(&Value::Null), "");
        let told = text(&json!({
            "at_ms": 10_000, "to": "target", "published_at_ms": 4_000, "resolvers": null,
            "resolvers_former_percent": null, "flush": null, "queries": null,
            "fronts": { "left": "source", "requests_per_second": null, "percent": null },
        }));
        let lines: Vec<&str> = told.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "published for the target 6 s ago",
                "at resolvers: unknown, none was asked about it",
                "still at the source's front: unknown, unknown of all requests; former answers at resolvers: unknown",
            ]
        );
    }

    #[test]
    fn each_view_has_its_line() {
        let told = text(&json!({
            "at_ms": 10_000, "to": "target", "published_at_ms": 4_000,
            "resolvers": [{
                "published_at_ms": 4_000, "watched_from_ms": 9_500, "left_out": 2,
                "sets": [{
                    "name": "a.test", "type": "A", "eta_s": 4, "asked": 2, "there": 1,
                    "reached": [{ "percent": 50, "after_ms": 1_200 }, { "percent": 95, "after_ms": null }],
                    "resolvers": [
                        { "resolver": "192.0.2.1:53", "verdict": "new" },
                        { "resolver": "192.0.2.2:53", "verdict": "within_ttl", "left_s": 4 },
                    ],
                }],
            }],
            "resolvers_former_percent": 50.0,
            "flush": [{ "command": "1: rndc", "runs": 2, "failed": 1, "left_out": 0, "why": "no" }],
            "queries": [{ "zone": "test", "authorities": [
                { "authority": "old", "unknown": [], "covered_s": 60, "queries": 1,
                  "queries_percent": 25.0, "resolvers": 1, "resolvers_percent": 50.0, "last_ms": 7_000 },
                { "authority": "new", "unknown": ["/log: gone"] },
            ] }],
            "fronts": { "left": "source", "requests_per_second": 3.0, "percent": 1.25 },
        }));
        for wanted in [
            "a.test A: 1 of 2 resolvers; 50 % after 1.2 s, 95 % not yet; all: in 4 s",
            "192.0.2.2:53 within TTL, 4 s left",
            "watched only from 5.5 s on",
            "2 more changed record sets",
            "flush 1: rndc: NOT WHOLE, 1 of 2 runs failed",
            "queries of test at old: 1 in 60 s (25.0 %), 1 resolvers (50.0 %), last 3 s ago",
            "queries of test at new: unknown, /log: gone",
            "source's front: 3/s, 1.2 % of all requests; former answers at resolvers: 50.0 %",
        ] {
            assert!(told.contains(wanted), "{wanted}: {told}");
        }
    }
}
