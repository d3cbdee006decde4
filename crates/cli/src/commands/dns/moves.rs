//! `segue dns move`: zones that move between providers, or get or lose their signatures.

use super::DIFFERENCES;
use crate::args::MoveArgs;
use crate::output::date_time;
use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, stream};
use segue_dns::moves::{Move, Stage, Standing, State, Who, Wish};
use segue_model::plan::{MovesPlan, ZoneMove};
use segue_model::{Fault, FaultKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Mutex;
use tokio::time::{Instant, interval, sleep};

/// Exit code where a person or time comes next.
const WAITING: u8 = 4;
/// Longest pause between two looks of `--wait`.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Shortest such pause.
const LOOK_SOON: Duration = Duration::from_secs(1);
/// Zones that are printed in full, at most, if more than one is asked for.
const IN_FULL: usize = 3;

/// What one zone came to.
type Came = (String, Result<Standing, Fault>);

/// Looks at the zones of a file, and moves them on if that is wished.
///
/// # Errors
/// If the file cannot be read or is refused, or no zone of it is meant.
pub(crate) async fn run(args: MoveArgs, dir: &Path, json: bool) -> Result<u8> {
    let plan = read(&args)?;
    let wish = match (args.go, args.back) {
        (true, _) => Wish::Forward,
        (_, true) => Wish::Back,
        _ => Wish::Look,
    };
    let folder = dir.join("moves");
    let end = args.wait.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut open = plan.zones.clone();
    let mut came: BTreeMap<String, Came> = BTreeMap::new();
    loop {
        for one in all(&plan, &open, wish, &folder).await {
            if let (zone, Err(fault)) = &one
                && end.is_some()
            {
                eprintln!("{zone}: {fault}");
            }
            came.insert(one.0.clone(), one);
        }
        open.retain(|zone| waits(came.get(&zone.zone)));
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        match left {
            Some(left) if !left.is_zero() && !open.is_empty() => {
                let pause = pause(&came).min(left);
                eprintln!(
                    "{} of {} zones wait; next look in {} s",
                    open.len(),
                    came.len(),
                    pause.as_secs()
                );
                sleep(pause).await;
            }
            _ => break,
        }
    }
    show(&came, &args, json)?;
    Ok(exit_code(&came))
}

/// Reads the file and picks the zones that are meant.
fn read(args: &MoveArgs) -> Result<MovesPlan> {
    let name = args.file.display().to_string();
    let text = std::fs::read_to_string(&args.file)
        .with_context(|| format!("read the file of moving zones `{name}`"))?;
    let mut plan = segue_plan::read_moves(&text, &name).map_err(Fault::from)?;
    if !args.zones.is_empty() {
        let unknown =
            args.zones.iter().find(|name| plan.zones.iter().all(|zone| zone.zone != **name));
        if let Some(unknown) = unknown {
            bail!("`{name}` has no zone `{unknown}`");
        }
        plan.zones.retain(|zone| args.zones.contains(&zone.zone));
    }
    Ok(plan)
}

/// Takes each zone once, some at a time and no more within a second than the file allows.
async fn all(plan: &MovesPlan, zones: &[ZoneMove], wish: Wish, folder: &Path) -> Vec<Came> {
    let turn = Mutex::new(interval(Duration::from_secs(1) / plan.zones_per_s));
    let turn = &turn;
    let work = stream::iter(zones).map(|zone| async move {
        turn.lock().await.tick().await;
        let moving = Move::new(zone.clone());
        let came = moving.go(wish, folder, |what| eprintln!("{what}")).await;
        (zone.zone.clone(), came)
    });
    work.buffer_unordered(plan.at_once as usize).collect().await
}

/// Whether a zone is worth another look: it waits, or what went wrong may pass.
fn waits(came: Option<&Came>) -> bool {
    came.is_none_or(|(_, came)| match came {
        Ok(standing) => standing.current().is_some(),
        Err(fault) => {
            matches!(fault.kind, FaultKind::Busy | FaultKind::Timeout | FaultKind::Unreachable)
        }
    })
}

/// Returns how long to wait before the next look: no longer than until the first wait is over.
fn pause(came: &BTreeMap<String, Came>) -> Duration {
    let now = now_ms();
    let standings = came.values().filter_map(|(_, came)| came.as_ref().ok());
    let waits = standings.filter_map(|standing| match standing.current()?.state {
        State::Waits { until_ms } => Some(Duration::from_millis(until_ms.saturating_sub(now))),
        _ => None,
    });
    waits.min().unwrap_or(LOOK_AGAIN).clamp(LOOK_SOON, LOOK_AGAIN)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn exit_code(came: &BTreeMap<String, Came>) -> u8 {
    let standings = || came.values().filter_map(|(_, came)| came.as_ref().ok());
    if came.values().any(|(_, came)| came.is_err()) {
        1
    } else if standings().any(|standing| !standing.alarms.is_empty()) {
        DIFFERENCES
    } else if standings().any(|standing| standing.current().is_some()) {
        WAITING
    } else {
        0
    }
}

fn show(came: &BTreeMap<String, Came>, args: &MoveArgs, json: bool) -> Result<()> {
    if json {
        for (zone, came) in came.values() {
            match came {
                Ok(standing) => println!("{}", serde_json::to_string(standing)?),
                Err(fault) => println!("{}", serde_json::json!({ "zone": zone, "error": fault })),
            }
        }
        return Ok(());
    }
    if args.tasks {
        tasks(came);
        return Ok(());
    }
    let whole = came.len() <= IN_FULL;
    if !whole {
        counts(came);
    }
    for (zone, came) in came.values() {
        match came {
            Ok(standing) if whole => in_full(standing),
            Ok(standing) => {
                for alarm in &standing.alarms {
                    println!("! {zone}: {alarm}");
                }
            }
            Err(fault) => println!("! {zone}: {fault}\n  {}", fault.hint),
        }
    }
    Ok(())
}

/// Prints how many zones stand at which stage.
fn counts(came: &BTreeMap<String, Came>) {
    let mut counts: BTreeMap<(usize, &str, &str), usize> = BTreeMap::new();
    for standing in came.values().filter_map(|(_, came)| came.as_ref().ok()) {
        let at = standing.stages.iter().position(|stage| stage.state != State::Done);
        let key = match at {
            Some(at) => (at, standing.stages[at].name, word(&standing.stages[at])),
            None => (usize::MAX, "done", ""),
        };
        *counts.entry(key).or_default() += 1;
    }
    println!("{} zones", came.len());
    for ((_, name, word), count) in counts {
        println!("{count:>6}  {name:<16} {word}");
    }
    println!("--zone shows one, --tasks what a person has to do");
}

/// Prints what people have to do now, zone by zone.
fn tasks(came: &BTreeMap<String, Came>) {
    for standing in came.values().filter_map(|(_, came)| came.as_ref().ok()) {
        let stage = standing.current().filter(|stage| stage.state == State::Due);
        for line in stage.into_iter().flat_map(|stage| &stage.task) {
            println!("{line}");
        }
    }
}

fn word(stage: &Stage) -> &'static str {
    match (&stage.state, stage.who) {
        (State::Done, _) => "done",
        (State::Due, Who::Segue) => "due: --go does it",
        (State::Due, _) => "due: for you",
        (State::Waits { .. }, _) => "waits",
        (State::Blocked { .. }, _) => "blocked",
        (State::Later, _) => "",
    }
}

fn in_full(standing: &Standing) {
    let (from, to) = &standing.way;
    match from == to {
        true => println!("zone {} at {to}", standing.zone),
        false => println!("zone {} from {from} to {to}", standing.zone),
    }
    for alarm in &standing.alarms {
        println!("  ! {alarm}");
    }
    for stage in &standing.stages {
        let mark = if stage.state == State::Done { "x" } else { " " };
        let until = match stage.state {
            State::Waits { until_ms } => format!(" (until {})", date_time(until_ms)),
            _ => String::new(),
        };
        let word = match stage.state {
            State::Done | State::Later => String::new(),
            _ => format!("  <- {}{until}", word(stage)),
        };
        println!("  [{mark}] {:<16} {}{word}", stage.name, stage.what);
        if let State::Blocked { why } = &stage.state {
            for why in why {
                println!("        ! {why}");
            }
        }
        for line in stage.task.iter().filter(|_| stage.state == State::Due) {
            println!("        {line}");
        }
    }
    for remark in &standing.remarks {
        println!("  note: {remark}");
    }
    for unknown in &standing.unknown {
        println!("  not known: {unknown}");
    }
}
