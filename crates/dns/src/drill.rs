//! A drill: a throw-away name in the live zone is made, changed and taken away, at every
//! provider, and what that takes is measured: until the provider says yes, until each name server
//! answers so, until each resolver does. Flush and query logs are tried on the same name.
//!
//! **Invariant.** Only names of the drill are touched, and each is taken away again however the
//! drill ends; a name that could not be is named.

use crate::codes;
use crate::flush::{Flushed, flush_now};
use crate::queries::{QueryLogs, ZoneQueries};
use crate::sets::{RecordSet, SetKey};
use crate::watch::{self, Curve, Question, Reached};
use crate::zone::{Settings, Zone};
use domain::base::Rtype;
use futures_util::future::join_all;
use segue_model::event::{Attempt, Phase};
use segue_model::plan::{OwnedSet, ZonePlan};
use segue_model::{EffectLeft, Epoch, Fault, FaultKind, Sides};
use segue_port::{Authority, Call, Facts, NoProgress, Outcome};
use serde::Serialize;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time of one change.
const CHANGE_MAX: Duration = Duration::from_secs(120);
/// Longest time for telling resolvers to forget.
const FLUSH_MAX: Duration = Duration::from_secs(30);
/// Longest wait for one answer of a name server that is asked whether it is there.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// How long members of a cluster may take to copy a change from each other.
const CLUSTER_COPIES: Duration = Duration::from_secs(3);
/// Pause between two looks for such a copy.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Time between two times of telling what is waited for.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long resolvers are watched beyond what they may keep an answer.
const BEYOND: Duration = Duration::from_secs(60);

/// What is drilled.
#[derive(Debug, Clone)]
pub struct DrillQuestion {
    /// A zone at each of its providers.
    pub zones: Vec<ZonePlan>,
    /// Resolvers to watch.
    pub resolvers: Vec<SocketAddr>,
    /// TTL of the throw-away name, seconds.
    pub ttl_s: u32,
    /// First label of the name; unused so far.
    pub label: String,
    /// Commands that make the operator's own resolvers forget the name once it has changed.
    pub flush: Vec<Vec<String>>,
    /// Gets told what is waited for, where that takes a while.
    pub waiting: fn(&str),
}

/// What one change took at one provider.
#[derive(Debug, Clone, Serialize)]
pub struct Took {
    /// `make`, `change` or `take away`.
    pub step: &'static str,
    /// Until the provider had acknowledged it and it was read back, milliseconds.
    pub provider_ms: u64,
    /// Until each name server answered so, milliseconds.
    pub servers: Vec<(SocketAddr, u64)>,
}

/// What the drill measured at one provider.
#[derive(Debug, Clone, Serialize)]
pub struct Drilled {
    /// The zone, with its provider if there are several.
    pub zone: String,
    /// The driver.
    pub driver: &'static str,
    /// The steps, in their order.
    pub steps: Vec<Took>,
}

/// What the drill measured.
#[derive(Debug, Clone, Serialize)]
pub struct Drill {
    /// The throw-away name.
    pub name: String,
    /// By provider.
    pub providers: Vec<Drilled>,
    /// When 50, 95 and 99 % of the resolvers had the change; empty if none was watched.
    pub reached: Vec<Reached>,
    /// What every resolver had in the end.
    pub resolvers: Vec<(SocketAddr, watch::Verdict)>,
    /// What became of the commands of `flush`.
    pub flushed: Vec<Flushed>,
    /// Who asked for the name, by the query logs of the plan; empty if it names none.
    pub queries: Vec<ZoneQueries>,
}

/// Makes, changes and takes away a name; once `stop` is over, only the last. `told` gets what resolvers hold, as it changes.
///
/// # Errors
/// As every change of the zone. The name is taken away first; if that fails too, the fault says
/// which name is left.
pub async fn drill(
    question: &DrillQuestion,
    stop: impl Future<Output = ()>,
    told: impl FnMut(&watch::Seen, &Curve),
) -> Outcome<Drill> {
    everybody_answers(question).await?;
    let zone = question.zones.first().map_or("", |zone| zone.zone.as_str());
    let name = format!("{}.{zone}", question.label);
    let mut drilled: Vec<Drilled> = question
        .zones
        .iter()
        .map(|zone| Drilled {
            zone: zone.label().into_owned(),
            driver: zone.authority.kind(),
            steps: Vec::new(),
        })
        .collect();
    let mut logs = query_logs(question, &name);
    let mut flushed = Vec::new();
    let done = tokio::select! {
        done = run(question, &name, &mut drilled, &mut flushed, told) => done,
        () = stop => Err(Fault::new(
            codes::BUSY,
            FaultKind::Busy,
            "drill",
            "somebody ended it before it was over",
        )
        .hint("nothing is left of it; begin it again")),
    };
    // Before it is taken away: that asks for it, too.
    let queries = logs.take().map_or_else(Vec::new, |mut logs| {
        logs.read();
        logs.told()
    });
    let away = take_away(question, &name, &mut drilled).await;
    let curve = done.map_err(|fault| left_behind(fault, away.as_ref().err(), &name))?;
    away.map_err(|mut fault| {
        fault.hint = format!("{}; {}", left(&fault, &name), fault.hint);
        fault
    })?;
    Ok(Drill {
        name,
        providers: drilled,
        reached: curve.as_ref().map(Curve::reached).unwrap_or_default(),
        resolvers: curve
            .map(|curve| curve.last().iter().map(|(at, verdict)| (*at, verdict.clone())).collect())
            .unwrap_or_default(),
        flushed,
        queries,
    })
}

/// Returns readers of the zones' query logs that count questions for the throw-away name; what
/// was asked before is not theirs.
fn query_logs(question: &DrillQuestion, name: &str) -> Option<QueryLogs> {
    let data = Sides { source: vec![text(1)], target: vec![text(2)] };
    let drilled = OwnedSet { name: name.to_owned(), rtype: "TXT".into(), data };
    let zones: Vec<ZonePlan> = question
        .zones
        .iter()
        .map(|zone| ZonePlan { records: vec![drilled.clone()], ..zone.clone() })
        .collect();
    let mut logs = QueryLogs::of(&zones, &question.resolvers)?;
    logs.read();
    Some(logs)
}

/// Asks each name server once: one that is silent would only be waited for.
async fn everybody_answers(question: &DrillQuestion) -> Outcome<()> {
    let op = "look whether each name server answers before the drill";
    let mut silent = Vec::new();
    for zone in &question.zones {
        let apex = crate::driver::apex(&zone.zone)?;
        let asked = zone.servers.iter().map(async |server| {
            let until = tokio::time::Instant::now() + ANSWER_MAX;
            let trouble = crate::audit::start(&apex, *server, until).await.err()?;
            Some(format!("{server}: {}", trouble.fault(op, *server).cause))
        });
        silent.extend(join_all(asked).await.into_iter().flatten());
    }
    if silent.is_empty() {
        return Ok(());
    }
    Err(Fault::new(codes::NO_ANSWER, FaultKind::Unreachable, op, silent.join("; "))
        .hint("nothing was changed; mend the server, or correct `servers` in the plan"))
}

/// Says whether a provider has a name that was only made at others: then it is no provider of its
/// own, but a member of their cluster.
async fn of_its_own(zone: &ZonePlan, name: &str, others: &[ZonePlan]) -> Outcome<()> {
    let op = format!("look whether zone `{}` has records of its own", zone.label());
    let key = SetKey { name: crate::driver::apex(name)?, rtype: Rtype::TXT };
    let other = others.last().map(ZonePlan::label).unwrap_or_default();
    let zone =
        Zone::new(Settings { plan: zone.clone(), run: "drill".into(), unit: "drill".into() });
    let end = tokio::time::Instant::now() + CLUSTER_COPIES;
    loop {
        let until = tokio::time::Instant::now() + ANSWER_MAX;
        let asked =
            zone.plan.servers.iter().map(|s| zone.serves(*s, std::slice::from_ref(&key), until));
        let sets: Vec<_> = join_all(asked).await.into_iter().flatten().flatten().collect();
        if sets.iter().any(RecordSet::exists) {
            let cause = format!("`{name} TXT` was made at `{other}` alone, and is here too");
            return Err(Fault::new(codes::ONE_PROVIDER, FaultKind::Invalid, op, cause).hint(
                "both are one DNS cluster: take this one's servers into the other's `servers`, and \
                 take it out of the plan; or part the cluster first",
            ));
        }
        if tokio::time::Instant::now() >= end {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Tells again and again which name servers do not have a change yet; never ends.
async fn tell_waiting(question: &DrillQuestion, zone: &Zone, step: &str, wanted: &[String]) {
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        let asked = zone.plan.servers.iter().map(async |server| {
            let until = tokio::time::Instant::now() + ANSWER_MAX;
            let served = zone.served(*server, until).await.ok();
            let there = served.is_some_and(|sets| sets.iter().all(|set| set.texts() == wanted));
            (!there).then(|| server.to_string())
        });
        let late: Vec<String> = join_all(asked).await.into_iter().flatten().collect();
        let whom = match late.is_empty() {
            true => "the provider".to_owned(),
            false => late.join(", "),
        };
        (question.waiting)(&format!("{step} `{}`: waiting for {whom}", zone.name()));
    }
}

/// Says what is left of the name, by what taking it away came to.
fn left(fault: &Fault, name: &str) -> String {
    match fault.effect {
        EffectLeft::Done => {
            format!("`{name} TXT` is gone at the provider, not at every name server")
        }
        EffectLeft::None => format!("`{name} TXT` is left: take it away by hand"),
        EffectLeft::Maybe => format!("`{name} TXT` may be left: look, and take it away by hand"),
    }
}

fn left_behind(mut fault: Fault, other: Option<&Fault>, name: &str) -> Fault {
    if let Some(other) = other {
        fault.cause = format!("{}; and taking `{name}` away: {other}", fault.cause);
        fault.hint = format!("{}; {}", left(other, name), fault.hint);
    }
    fault
}

async fn run(
    question: &DrillQuestion,
    name: &str,
    drilled: &mut [Drilled],
    flushed: &mut Vec<Flushed>,
    told: impl FnMut(&watch::Seen, &Curve),
) -> Outcome<Option<Curve>> {
    let first = text(1);
    for (place, (zone, drilled)) in question.zones.iter().zip(&mut *drilled).enumerate() {
        if place > 0 {
            of_its_own(zone, name, &question.zones[..place]).await?;
        }
        drilled
            .steps
            .push(change(question, zone, "make", name, &[], std::slice::from_ref(&first)).await?);
    }
    let mut asked = Question {
        name: name.to_owned(),
        rtype: "TXT".into(),
        former: vec![first.clone()],
        former_ttl_s: question.ttl_s,
        wanted: vec![text(2)],
        published_at_ms: None,
        resolvers: question.resolvers.clone(),
        every: watch::EVERY_LEAST,
        time: Duration::ZERO,
    };
    if !question.resolvers.is_empty() {
        // So that each has something to forget.
        watch::watch(&asked, |_, _| {}).await?;
    }
    for (zone, drilled) in question.zones.iter().zip(drilled) {
        let (former, wanted) = ([first.clone()], [text(2)]);
        drilled.steps.push(change(question, zone, "change", name, &former, &wanted).await?);
    }
    let published_at_ms = crate::change::now_ms().0;
    if !question.flush.is_empty() {
        let sets = [(name.to_owned(), "TXT".to_owned())];
        *flushed = flush_now(&question.flush, &sets, FLUSH_MAX).await;
    }
    if question.resolvers.is_empty() {
        return Ok(None);
    }
    asked.published_at_ms = Some(published_at_ms);
    asked.time = Duration::from_secs(u64::from(question.ttl_s)) + BEYOND;
    watch::watch(&asked, told).await.map(Some)
}

/// Takes the name away wherever it is, whatever it holds.
async fn take_away(question: &DrillQuestion, name: &str, drilled: &mut [Drilled]) -> Outcome<()> {
    let mut failed = Ok(());
    for (zone, drilled) in question.zones.iter().zip(drilled) {
        let mut here = Ok(());
        for number in [2, 1] {
            let gone = change(question, zone, "take away", name, &[text(number)], &[]).await;
            match gone {
                Ok(took) => {
                    drilled.steps.push(took);
                    here = Ok(());
                    break;
                }
                // It holds the other text, or it was never made.
                Err(fault) if fault.code == codes::CONFLICT => {}
                Err(fault) => here = Err(fault),
            }
        }
        failed = failed.and(here);
    }
    failed
}

fn text(number: u32) -> String {
    format!("\"segue drill {number}\"")
}

/// Gives the name other data at one provider, and measures it.
async fn change(
    question: &DrillQuestion,
    zone: &ZonePlan,
    step: &'static str,
    name: &str,
    former: &[String],
    wanted: &[String],
) -> Outcome<Took> {
    let record = OwnedSet {
        name: name.to_owned(),
        rtype: "TXT".into(),
        data: Sides { source: former.to_vec(), target: wanted.to_vec() },
    };
    let plan = ZonePlan {
        records: vec![record],
        lowered_ttl_s: question.ttl_s,
        lowered_other_ttl_s: question.ttl_s,
        ..zone.clone()
    };
    let zone = Zone::new(Settings { plan, run: "drill".into(), unit: "drill".into() });
    let publish = zone.publish();
    let prepared = publish.prepare(&call(Value::Null)).await?;
    let (began, began_ms) = (Instant::now(), crate::change::now_ms().0);
    let called = call(prepared);
    let output = tokio::select! {
        output = publish.run(&called) => output?,
        () = tell_waiting(question, &zone, step, wanted) => return Err(Fault::new(
            codes::BUSY,
            FaultKind::Bug,
            "drill",
            "who tells what is waited for ended first",
        )
        .hint("report this")),
    };
    let servers = output["servers"].as_array().into_iter().flatten().filter_map(|served| {
        let address = served["address"].as_str()?.parse().ok()?;
        Some((address, served["at_ms"].as_u64()?.saturating_sub(began_ms)))
    });
    let servers: Vec<(SocketAddr, u64)> = servers.collect();
    let all = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    // The name servers are asked once the provider has it.
    let provider_ms = servers.iter().map(|(_, ms)| *ms).min().unwrap_or(all);
    Ok(Took { step, provider_ms, servers })
}

fn call(prepared: Value) -> Call {
    Call {
        progress: Arc::new(NoProgress),
        authority: Authority {
            run: "drill".into(),
            unit: "drill".into(),
            step: "publish".into(),
            attempt: Attempt { phase: Phase::Cutover, number: 1 },
            epoch: Epoch(1),
        },
        prepared,
        facts: Arc::new(Facts::new()),
        time_allowed: CHANGE_MAX,
    }
}
