//! A rehearsal as the run's controller sees it: clones, a room, a result.

use super::spec::{Application, RoomResult, Said, Spec, result_file, spec_file};
use super::{fault, plan as room_plan, stage};
use segue_model::event::Event;
use segue_model::plan::{Plan, SecretRef};
use segue_model::{Fault, FaultKind, Side};
use segue_port::{Outcome, ProgressSink};
use segue_standins::room::{self, MEMORY, Walls};
use segue_standins::site::{SiteDatabase, SitePlan};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpListener;

/// Longest time for what happens in a room.
const IN_ROOM: Duration = Duration::from_secs(6 * 3_600);

/// What a person asks of a rehearsal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// Triggers that shall fire; `all` means every one.
    pub(crate) faults: Vec<String>,
    /// Whether the rehearsal's folder stays.
    pub(crate) keep: bool,
}

/// Takes words about how far a rehearsal is.
pub(crate) type Tell<'a> = &'a mut (dyn FnMut(Said) + Send);

fn step(tell: Tell<'_>, number: u64, what: &str) {
    tell(Said::Step { what: what.to_owned(), number, of: OUTSIDE_STEPS + super::guide::STEPS });
}

/// Steps before the room.
pub(super) const OUTSIDE_STEPS: u64 = 4;

/// Rehearses a unit and returns the record for its journal.
///
/// # Errors
/// If the room cannot be made, or something of the rehearsal itself breaks: that says nothing
/// of the unit.
pub(crate) async fn rehearse(
    plan: &Plan,
    dir: &Path,
    asked: &Asked,
    progress: &dyn ProgressSink,
    tell: Tell<'_>,
) -> Outcome<Event> {
    let faults = fault::named(plan, &asked.faults)?;
    room::check().await?;
    let home = fresh_home(dir, plan)?;
    let ended = in_home(plan, &home, &faults, progress, tell).await;
    if !asked.keep {
        // What is left is removed at the next rehearsal; a failure to remove hides no result.
        if let Err(error) = std::fs::remove_dir_all(&home) {
            tracing::warn!(%error, "the rehearsal's folder is left");
        }
    }
    ended
}

/// Returns the rehearsal's folder, empty: what a broken-off one left is removed.
fn fresh_home(dir: &Path, plan: &Plan) -> Outcome<PathBuf> {
    let home = dir.join("rehearsals").join(plan.unit.name.as_str());
    let op = format!("make folder `{}`", home.display());
    let fail = |e: std::io::Error| Fault::new("SG0853", FaultKind::Invalid, op.clone(), e);
    if home.exists() {
        std::fs::remove_dir_all(&home).map_err(fail)?;
    }
    std::fs::create_dir_all(home.join("logs")).map_err(fail)?;
    home.canonicalize().map_err(fail)
}

async fn in_home(
    plan: &Plan,
    home: &Path,
    faults: &[String],
    progress: &dyn ProgressSink,
    tell: Tell<'_>,
) -> Outcome<Event> {
    let mut detail = json!({});
    step(tell, 1, "look for room, and at what visitors do");
    detail["disk"] = stage::room_on_disk(plan, home).await?;
    let real = plan.unit.sites.iter().any(|site| site.rehearsal.is_some());
    let (visitors, about) = stage::visitors(plan, real).await?;
    detail["load"] = about;
    let for_room = room_plan::for_room(plan, home, faults);
    step(tell, 2, "clone the databases");
    let staged = stage::databases(plan, home, progress).await?;
    detail["databases"] = staged.detail;
    step(tell, 3, "copy zones and trees");
    let names = stage::zones(plan, home).await?;
    detail["zones"] = json!(names.detail);
    stage::trees(plan, home).await?;
    logs(&for_room.plan, home)?;
    detail["not_rehearsed"] = json!(for_room.not_rehearsed);
    detail["shortened"] = json!(for_room.shortened);
    // It answers here; a room that reaches it is not closed.
    let outside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let outside = outside.map_err(|e| broken("listen for the room", e))?;
    let mut others = vec![outside.local_addr().map_err(|e| broken("listen for the room", e))?];
    others.extend(live_addresses(plan));
    let mut instead = for_room.instead.clone();
    instead.push((hosts(plan, home)?, "/etc/hosts".into()));
    let spec = Spec {
        walls: Walls {
            home: home.to_owned(),
            addresses: room_plan::addresses(&plan.unit),
            instead,
            kept: secrets(plan)
                .into_iter()
                .filter_map(|(kind, at)| (kind == "file").then(|| at.into()))
                .collect(),
        },
        sites: sites(&for_room.plan),
        plan: for_room.plan,
        databases: staged.servers,
        names: names.servers,
        keys: names.keys,
        visitors,
        faults: faults.to_vec(),
        readings: for_room.readings,
        outside: others,
    };
    step(tell, OUTSIDE_STEPS, "close the room");
    let result = in_room(&spec, plan, tell).await?;
    drop(outside);
    Ok(record(plan, &result, detail))
}

/// Runs the room to its end and reads its result.
async fn in_room(spec: &Spec, plan: &Plan, tell: Tell<'_>) -> Outcome<RoomResult> {
    let home = &spec.walls.home;
    let orders = serde_json::to_vec(spec).map_err(|e| broken("write the room's orders", e))?;
    std::fs::write(spec_file(home), orders).map_err(|e| broken("write the room's orders", e))?;
    spec.readings
        .write(&spec.readings_file())
        .map_err(|e| broken("write the room's readings", e))?;
    let program = std::env::current_exe().map_err(|e| broken("find this program's own path", e))?;
    let args = ["room", "first", "--home"].map(str::to_owned).into_iter();
    let args: Vec<String> = args.chain([home.display().to_string()]).collect();
    let variables = secrets(plan);
    let variables: Vec<String> =
        variables.into_iter().filter_map(|(kind, name)| (kind == "env").then_some(name)).collect();
    let ended =
        room::run(
            &program,
            &args,
            &variables,
            IN_ROOM,
            &mut |line| match serde_json::from_str::<Said>(line) {
                Ok(said) => tell(said),
                Err(_) => tracing::info!(line, "the room says"),
            },
        )
        .await?;
    let op = "rehearse in the room";
    let text = std::fs::read(result_file(home)).unwrap_or_default();
    match serde_json::from_slice(&text) {
        Ok(result) if ended.code() == Some(0) => Ok(result),
        _ => {
            let fault = serde_json::from_slice::<Fault>(&text);
            Err(fault.unwrap_or_else(|_| broken(op, ended.last_words())))
        }
    }
}

fn broken(op: &str, cause: impl std::fmt::Display) -> Fault {
    Fault::new("SG0853", FaultKind::Invalid, op, cause)
        .hint("this says nothing of the unit, and outside nothing was touched; `--keep` leaves the room's logs")
}

/// Returns the places of every secret of a plan, as kind and place.
fn secrets(plan: &Plan) -> BTreeSet<(String, String)> {
    let unit = &plan.unit;
    let databases = unit.databases.iter();
    let databases =
        databases.flat_map(|d| [&d.servers.source.password, &d.servers.target.password]);
    let all = databases.chain(unit.zones.iter().flat_map(|zone| zone.authority.secrets()));
    all.filter_map(|SecretRef(text)| text.split_once(':'))
        .map(|(kind, place)| (kind.to_owned(), place.to_owned()))
        .collect()
}

/// What listens outside at addresses that the room has as well.
fn live_addresses(plan: &Plan) -> Vec<SocketAddr> {
    let database = plan.unit.databases.iter();
    let databases = database.flat_map(|d| [d.servers.source.address, d.servers.target.address]);
    databases
        .chain(plan.unit.fronts.iter().flat_map(|front| &front.ports).map(|port| port.listen))
        .collect()
}

/// The room's logs stand there from the beginning.
fn logs(plan: &Plan, home: &Path) -> Outcome<()> {
    let unit = &plan.unit;
    let webs = unit.sites.iter().map(|site| &site.backends);
    let webs = webs.flat_map(|b| [&b.source.access_log, &b.target.access_log]).flatten();
    let applications = unit.measures.application_logs.iter();
    let applications = applications.flat_map(|l| [&l.files.source, &l.files.target]).flatten();
    let all = webs.chain(applications).chain(&unit.measures.mail_logs);
    for log in all {
        std::fs::write(log, b"")
            .map_err(|e| broken(&format!("make a log in `{}`", home.display()), e))?;
    }
    Ok(())
}

/// Names are pinned like in a hosts file, and with one.
fn hosts(plan: &Plan, home: &Path) -> Outcome<PathBuf> {
    let front = plan.unit.fronts.iter().find(|front| front.side == Side::Source);
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    let names: Vec<&str> =
        plan.unit.sites.iter().flat_map(|site| &site.hosts).map(String::as_str).collect();
    let port = front.and_then(|front| front.ports.first());
    if let Some(port) = port.filter(|_| !names.is_empty()) {
        text += &format!("{} {}\n", port.listen.ip(), names.join(" "));
    }
    let file = home.join("hosts");
    std::fs::write(&file, text).map_err(|e| broken("write the room's hosts file", e))?;
    Ok(file)
}

/// Returns the applications: one for each address that a site's web server listens at.
fn sites(plan: &Plan) -> Vec<Application> {
    let unit = &plan.unit;
    let mut all: Vec<Application> = Vec::new();
    for side in [Side::Source, Side::Target] {
        for site in &unit.sites {
            let backend = site.backends.get(side);
            let probe = site.probe.as_ref().map(|p| (p.path.clone(), p.marker.clone()));
            let known = all.iter_mut().find(|one| one.plan.listen == backend.address);
            if let Some(known) = known {
                known.plan.health_paths.push(backend.health_path.clone());
                known.plan.probes.extend(probe);
                continue;
            }
            let log = Path::new(MEMORY).join(format!("access-{side}-{}.log", all.len()));
            let application = SitePlan {
                side,
                listen: backend.address,
                health_paths: vec![backend.health_path.clone()],
                probes: probe.into_iter().collect(),
                access_log: backend.access_log.clone().unwrap_or(log),
                database: unit.databases.first().map(|database| SiteDatabase {
                    address: database.servers.get(side).address,
                    schema: database.schema.clone(),
                    user: database.logins.first().cloned().unwrap_or_default(),
                }),
                tree: unit.trees.first().map(|tree| tree.roots.get(side).clone()),
                mood: Path::new(MEMORY).join(format!("mood-{side}.json")),
            };
            let command = site.rehearsal.as_ref().map(|sides| sides.get(side).clone());
            all.push(Application { plan: application, command });
        }
    }
    all
}

fn record(plan: &Plan, result: &RoomResult, mut detail: Value) -> Event {
    detail["problems"] = json!(result.problems);
    detail["visitors"] = json!(result.seen);
    detail["ledger"] = json!(result.kept);
    detail["differences"] = json!(result.differences);
    detail["attempts"] = result.attempts.clone();
    detail["faults"] = json!(result.faults);
    detail["egress"] = json!({ "tried": result.egress_tried, "reached": result.egress_reached });
    Event::UnitRehearsed {
        plan_hash: segue_plan::hash(plan),
        passed: result.passed,
        pause_ms: result.pause_ms,
        took_ms: result.took_ms,
        detail,
    }
}
