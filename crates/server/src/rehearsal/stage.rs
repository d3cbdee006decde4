//! Before the room closes: clones of what the unit has, taken from the live source, which is
//! only read.

use super::plan::{TTL_S, tree_copy};
use segue_database::clone::{self, Cloned, ServerFacts};
use segue_dns::Settings as ZoneSettings;
use segue_model::plan::{DatabasePlan, DatabaseServer, FrontPlan, Plan, ZonePlan};
use segue_model::{Fault, FaultKind, RunId, Side, Sides, UnitName};
use segue_port::{Outcome, ProgressSink};
use segue_standins::ledger;
use segue_standins::load::Visitors;
use segue_standins::mariadb::{Server, TAKEN_OVER};
use segue_standins::named::{Key, NameServer, Served};
use segue_standins::replay::{self, Visits};
use segue_standins::site::{MARKER, WRITE};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

/// Longest time for the clone of a schema, and of a tree.
const CLONING: Duration = Duration::from_secs(6 * 3_600);
const TRANSFER: Duration = Duration::from_secs(60);
/// How long the source's writes are counted.
const COUNTING: Duration = Duration::from_secs(2);
/// Pages and writes a second: so many are asked for at least, and at most.
const GETS: (f64, f64) = (10.0, 150.0);
const WRITES: (f64, f64) = (5.0, 50.0);
/// Space that is left free beside the clones, bytes.
const MARGIN: u64 = 1 << 30;

/// Makes sure that the clones fit.
pub(super) async fn room_on_disk(plan: &Plan, home: &Path) -> Outcome<Value> {
    let mut bytes = 0;
    for database in &plan.unit.databases {
        // Clone, its copy, and the logs of both.
        bytes += 3 * clone::schema_bytes(database).await?;
    }
    for tree in &plan.unit.trees {
        bytes += 2 * segue_files::tree_bytes(&tree.roots.source).await?;
    }
    let op = format!("find space for the clones below `{}`", home.display());
    let about = rustix::fs::statvfs(home)
        .map_err(|e| Fault::new("SG0851", FaultKind::Invalid, op.clone(), e))?;
    let free = about.f_bavail * about.f_frsize;
    if free < bytes + MARGIN {
        let cause = format!("{free} bytes are free, wanted {bytes} and {MARGIN} besides");
        return Err(Fault::new("SG0851", FaultKind::Invalid, op, cause)
            .hint("use a run directory on a disk with more room; nothing was touched"));
    }
    Ok(json!({ "wanted_bytes": bytes, "free_bytes": free }))
}

/// Clones of the databases, ready to be started in the room.
pub(super) struct StagedDatabases {
    pub(super) servers: Vec<(Side, Server)>,
    pub(super) detail: Value,
}

/// Makes a stand-in of every server, those of the source with clones of the schemas, those of
/// the target empty.
pub(super) async fn databases(
    plan: &Plan,
    home: &Path,
    progress: &dyn ProgressSink,
) -> Outcome<StagedDatabases> {
    let wanted = TAKEN_OVER.map(|(variable, _)| variable);
    let mut staged = StagedDatabases { servers: Vec::new(), detail: json!([]) };
    let mut detail = Vec::new();
    for side in [Side::Source, Side::Target] {
        let mut by_address: BTreeMap<SocketAddr, Vec<&DatabasePlan>> = BTreeMap::new();
        for database in &plan.unit.databases {
            by_address.entry(database.servers.get(side).address).or_default().push(database);
        }
        for (address, schemas) in by_address {
            let Some(of) = schemas.first().map(|first| first.servers.get(side)) else { continue };
            let facts = clone::server_facts(of, &wanted).await;
            // The target may be unreachable by now; its stand-in is then set like any other.
            let facts = if side == Side::Source { Some(facts?) } else { facts.ok() };
            let place = staged.servers.len();
            let server = stand_in(of, home, place, facts.as_ref());
            let version = facts.map(|facts| facts.version);
            let about = if side == Side::Source {
                let cloned = clone_source(&schemas, &plan.unit.name, &server, progress).await?;
                json!({
                    "tables": cloned.iter().map(|one| one.tables).sum::<usize>(),
                    "objects": cloned.iter().map(|one| one.objects).sum::<usize>(),
                    "rows": cloned.iter().map(|one| one.rows).sum::<u64>(),
                    "logins": cloned.iter().flat_map(|one| &one.logins).collect::<Vec<_>>(),
                })
            } else {
                json!({ "stand_in": make_empty(of, &server).await? })
            };
            detail.push(json!({ "side": side, "address": address, "live": version, "own": about }));
            staged.servers.push((side, server));
        }
    }
    staged.detail = json!(detail);
    Ok(staged)
}

fn stand_in(of: &DatabaseServer, home: &Path, place: usize, facts: Option<&ServerFacts>) -> Server {
    let mut variables = facts.map(|facts| facts.variables.clone()).unwrap_or_default();
    variables.entry("binlog_format".into()).or_insert_with(|| "ROW".into());
    Server {
        home: home.join("db").join(place.to_string()),
        address: of.address,
        admin: of.admin.clone(),
        variables,
        number: 7_001 + u32::try_from(place).unwrap_or_default(),
    }
}

async fn install(of: &DatabaseServer, server: &Server) -> Outcome<()> {
    let password = segue_doors::secrets::read(&of.password)?;
    server.install(&segue_database::stored_form(&password)).await
}

/// Makes the target's stand-in, and says what such a server calls itself.
async fn make_empty(of: &DatabaseServer, server: &Server) -> Outcome<String> {
    install(of, server).await?;
    let version = segue_doors::process::Invocation::new("mariadbd", Duration::from_secs(10));
    let said = version.arg("--version").run().await?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

async fn clone_source(
    schemas: &[&DatabasePlan],
    unit: &UnitName,
    server: &Server,
    progress: &dyn ProgressSink,
) -> Outcome<Vec<Cloned>> {
    let Some(live) = schemas.first().map(|first| &first.servers.source) else {
        return Ok(Vec::new());
    };
    install(live, server).await?;
    let password = segue_doors::secrets::read(&live.password)?;
    // Outside the room it listens on a port of its own, and only there.
    let staged = Server { address: free_port()?, ..server.clone() };
    let daemon = staged.start(&password).await?;
    let to = DatabaseServer { address: staged.address, ..live.clone() };
    let cloning = async {
        let mut cloned = Vec::new();
        for plan in schemas {
            cloned.push(clone::clone_schema(plan, unit, to.clone(), CLONING, progress).await?);
            let mut session = staged.session(&password).await?;
            ledger::make_table(&mut session, &plan.schema).await?;
            session.close().await;
        }
        Ok(cloned)
    };
    let ended = cloning.await;
    daemon.end().await;
    ended
}

fn free_port() -> Outcome<SocketAddr> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    bound
        .map_err(|e| Fault::new("SG0852", FaultKind::Invalid, "find a free port for a stand-in", e))
}

/// The name servers of a room.
pub(super) struct StagedNames {
    pub(super) servers: Vec<NameServer>,
    pub(super) keys: Vec<(Key, segue_model::plan::SecretRef)>,
    pub(super) detail: Vec<Value>,
}

/// Copies the zones and lays out a name server for every address that answers for them.
pub(super) async fn zones(plan: &Plan, home: &Path) -> Outcome<StagedNames> {
    let mut servers: BTreeMap<SocketAddr, Vec<Served>> = BTreeMap::new();
    let mut staged = StagedNames { servers: Vec::new(), keys: Vec::new(), detail: Vec::new() };
    let resolvers: Vec<SocketAddr> =
        plan.unit.measures.resolvers.iter().flat_map(|r| r.addresses.clone()).collect();
    let folder = home.join("dns");
    let op = format!("write the zones into `{}`", folder.display());
    let fail = |e: std::io::Error| Fault::new("SG0852", FaultKind::Invalid, op.clone(), e);
    std::fs::create_dir_all(&folder).map_err(fail)?;
    for (number, zone) in plan.unit.zones.iter().enumerate() {
        let (primary, key) = zone.authority.update().ok_or_else(|| unstaged(zone))?;
        let run = RunId("clone".into());
        let settings = ZoneSettings { plan: zone.clone(), run, unit: plan.unit.name.clone() };
        let copy = segue_dns::Zone::new(settings).text(TTL_S, TRANSFER).await?;
        let file = folder.join(format!("{number}.zone"));
        std::fs::write(&file, &copy.text).map_err(fail)?;
        staged.detail.push(json!({
            "zone": zone.label(),
            "records": copy.records,
            "signed": copy.signed,
            "owned_ttl_s": copy.owned_ttl_s,
        }));
        // A resolver follows the first of the zone's providers: all have the same records.
        let first = plan.unit.zones[..number].iter().all(|before| before.zone != zone.zone);
        let resolvers = if first { resolvers.as_slice() } else { &[] };
        let mut others: Vec<SocketAddr> =
            zone.servers.iter().chain(resolvers).copied().filter(|a| *a != primary).collect();
        others.sort_unstable();
        others.dedup();
        let served = |file| Served {
            zone: zone.zone.clone(),
            key: key.name.clone(),
            file,
            primary,
            others: Vec::new(),
        };
        for other in &others {
            servers.entry(*other).or_default().push(served(None));
        }
        let fed = Served { others, ..served(Some(file)) };
        servers.entry(primary).or_default().push(fed);
        if staged.keys.iter().all(|(known, _)| known.name != key.name) {
            let named = Key { name: key.name.clone(), algorithm: key.algorithm.clone() };
            staged.keys.push((named, key.secret.clone()));
        }
    }
    staged.servers = servers
        .into_iter()
        .enumerate()
        .map(|(number, (address, zones))| NameServer {
            home: folder.join(format!("server-{number}")),
            address,
            zones,
        })
        .collect();
    // Whoever takes updates comes first: the others ask it.
    staged.servers.sort_by_key(|server| server.zones.iter().all(|zone| zone.file.is_none()));
    Ok(staged)
}

/// The room has name servers that take updates, and no stand-in of a provider's API.
fn unstaged(zone: &ZonePlan) -> Fault {
    let (op, how) = (format!("make a stand-in of zone `{}`", zone.label()), zone.authority.kind());
    Fault::new("SG0852", FaultKind::Unsupported, op, format!("its records are changed by `{how}`"))
        .hint("only zones with `update` are rehearsed; nothing was touched. Waive the rehearsal with your name and reason, or rehearse without this zone")
}

/// Copies the trees; those of the target are empty, as a target must be.
pub(super) async fn trees(plan: &Plan, home: &Path) -> Outcome<()> {
    for (place, tree) in plan.unit.trees.iter().enumerate() {
        let copies = Sides::from_fn(|side| tree_copy(home, place, side));
        segue_files::clone_tree(&tree.roots.source, &copies.source, CLONING).await?;
        std::fs::create_dir_all(&copies.target).map_err(|e| {
            let op = format!("make folder `{}`", copies.target.display());
            Fault::new("SG0852", FaultKind::Invalid, op, e)
        })?;
    }
    Ok(())
}

/// Says what visitors of the room do, and where that is known from.
pub(super) async fn visitors(plan: &Plan, real: bool) -> Outcome<(Option<Visitors>, Value)> {
    let unit = &plan.unit;
    let at_source = unit.fronts.iter().filter(|front| front.side == Side::Source);
    let stale = at_source.flat_map(FrontPlan::web).next();
    let first = unit.sites.first().and_then(|site| Some((site, site.hosts.first()?)));
    let (Some(stale), Some((site, host))) = (stale, first) else {
        return Ok((
            None,
            json!("the unit has no site behind a front at the source: nobody asks anything"),
        ));
    };
    let visits = site.backends.source.access_log.as_deref().and_then(|log| replay::read(log).ok());
    let known = visits.is_some();
    let Visits { mut gets, gets_per_second, posts_per_second } = visits.unwrap_or_default();
    let health = site.backends.source.health_path.as_str();
    // Others' health checks are no visitors.
    gets.retain(|path| !path.starts_with(WRITE) && path.split('?').next() != Some(health));
    let marker = site.probe.as_ref().map(|probe| (probe.path.clone(), probe.marker.clone()));
    if gets.is_empty() {
        gets.extend(site.probe.as_ref().map(|probe| probe.path.clone()));
        gets.push("/".to_owned());
    }
    let writes = match unit.databases.first() {
        Some(database) => Some(writes_per_second(&database.servers.source).await?),
        None => posts_per_second,
    };
    let bounded = |measured: Option<f64>, (least, most): (f64, f64)| {
        measured.unwrap_or(least).clamp(least, most)
    };
    let visitors = Visitors {
        host: host.clone(),
        gets_per_second: bounded(gets_per_second, GETS),
        writes_per_second: bounded(writes, WRITES),
        stale: stale.listen,
        marker: marker.filter(|_| !real),
        everywhere: (!real).then(|| MARKER.to_owned()),
        gets,
    };
    let detail = json!({
        "pages": visitors.gets.len(),
        "pages_from": if known { "the source's access log" } else { "the plan: no log can be read" },
        "gets_per_second": visitors.gets_per_second,
        "gets_measured": gets_per_second,
        "writes_per_second": visitors.writes_per_second,
        "writes_measured": writes,
        "writes_from": "every statement of the source's server that writes",
    });
    Ok((Some(visitors), detail))
}

async fn writes_per_second(server: &DatabaseServer) -> Outcome<f64> {
    let before = clone::written(server).await?;
    let began = tokio::time::Instant::now();
    tokio::time::sleep(COUNTING).await;
    let after = clone::written(server).await?;
    #[allow(clippy::cast_precision_loss)] // Statements of two seconds.
    Ok(after.saturating_sub(before) as f64 / began.elapsed().as_secs_f64())
}
