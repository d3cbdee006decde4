//! The room from within: its first process, its stand-ins, and its applications.

use super::guide;
use super::spec::{Application, RoomResult, Said, Spec, result_file, spec_file};
use crate::plans;
use futures_util::future::{join_all, try_join_all};
use secrecy::{ExposeSecret, SecretString};
use segue_doors::daemon::{Daemon, Signal};
use segue_doors::first;
use segue_doors::process::find_program;
use segue_model::{Fault, FaultKind, Fleet, Side};
use segue_port::Outcome;
use segue_standins::mariadb::Server;
use segue_standins::room::{self, MEMORY};
use segue_standins::{named, site as standin};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long an application or the controller may take to answer.
const STARTING: Duration = Duration::from_secs(30);

pub(super) fn broken(op: &str, cause: impl std::fmt::Display) -> Fault {
    Fault::new("SG0853", FaultKind::Invalid, op, cause)
}

fn orders(home: &Path) -> Outcome<Spec> {
    let op = "read the room's orders";
    let text = std::fs::read(spec_file(home)).map_err(|e| broken(op, e))?;
    serde_json::from_slice(&text).map_err(|e| broken(op, e))
}

/// Is the first process of a room: closes it, and takes the end of what lost its parent.
/// Returns the exit code of the process that rehearses.
///
/// # Errors
/// `SG0850` if the room cannot be closed: nothing is started then.
pub fn first(home: &Path) -> Outcome<u8> {
    let began = || {
        let spec = orders(home)?;
        room::close(&spec.walls)?;
        let program = std::env::current_exe().map_err(|e| broken("find this program", e))?;
        let mut args: Vec<OsString> = ["room", "second", "--home"].map(Into::into).into();
        args.push(home.into());
        first::run_and_reap(&program, &args, home).map_err(|e| broken("rehearse in the room", e))
    };
    began().inspect_err(|fault| write_result(home, fault))
}

fn write_result(home: &Path, result: &impl serde::Serialize) {
    let text = serde_json::to_vec_pretty(result).unwrap_or_default();
    if let Err(error) = std::fs::write(result_file(home), text) {
        tracing::error!(%error, "the room's result is not written");
    }
}

/// Rehearses in a room that is closed, and leaves the result in its folder.
///
/// # Errors
/// If something of the rehearsal itself breaks.
pub async fn second(home: &Path, tell: &mut (dyn FnMut(Said) + Send)) -> Outcome<()> {
    let rehearsed = async {
        let spec = orders(home)?;
        // Before anything listens in here: whoever answers now is outside.
        let reached = room::leaks(&spec.outside).await;
        if let Some(address) = reached.first() {
            let cause = format!("{address}, which is outside, answers inside");
            return Err(Fault::new("SG0850", FaultKind::Unsupported, "close the room", cause)
                .hint("nothing was started in it"));
        }
        let tried = spec.outside.clone();
        let mut world = World::start(spec, tell).await?;
        let result = guide::rehearse(&mut world, tell).await;
        world.end().await;
        let result = result?;
        Ok(RoomResult { egress_tried: tried, egress_reached: reached, ..result })
    };
    match rehearsed.await {
        Ok(result) => {
            write_result(home, &result);
            Ok(())
        }
        Err(fault) => {
            write_result(home, &fault);
            Err(fault)
        }
    }
}

/// Is a stand-in application, by its place among those of the room. Its password is what
/// standard input holds.
///
/// # Errors
/// If it cannot listen.
pub async fn site(home: &Path, place: usize) -> Outcome<()> {
    let spec = orders(home)?;
    let own = spec.sites.into_iter().nth(place);
    let own =
        own.ok_or_else(|| broken("start a stand-in application", "the room has none there"))?;
    let mut password = String::new();
    std::io::stdin()
        .read_to_string(&mut password)
        .map_err(|e| broken("read the application's password", e))?;
    standin::run(own.plan, SecretString::from(password)).await
}

/// Everything that runs in a room.
pub(super) struct World {
    pub(super) spec: Spec,
    /// Hash of the plan that the room executes.
    pub(super) hash: String,
    databases: Vec<(Side, Daemon)>,
    pub(super) names: Vec<Daemon>,
    sites: Vec<Daemon>,
    controller: Daemon,
}

impl World {
    async fn start(spec: Spec, tell: &mut (dyn FnMut(Said) + Send)) -> Outcome<Self> {
        guide::step(tell, 1, "start the stand-ins");
        std::fs::create_dir_all(spec.run_dir()).map_err(|e| broken("make the run directory", e))?;
        let databases = databases(&spec).await?;
        let names = name_servers(&spec).await?;
        let sites = applications(&spec).await?;
        let (hash, _) = plans::store(&spec.run_dir(), &Fleet::of_one(spec.plan.clone()))?;
        let controller = controller(&spec).await?;
        Ok(Self { spec, hash, databases, names, sites, controller })
    }

    /// Returns the run directory by its short path: a socket's must be short.
    pub(super) fn dir() -> PathBuf {
        Path::new(MEMORY).join("run")
    }

    /// Ends what holds data open; the rest ends with the room.
    async fn end(self) {
        self.controller.end().await;
        drop(self.sites);
        drop(self.names);
        join_all(self.databases.into_iter().map(|(_, daemon)| daemon.end())).await;
    }

    /// Signals every database server of a side.
    pub(super) fn signal_databases(&self, side: Side, signal: Signal) {
        for (_, daemon) in self.databases.iter().filter(|(at, _)| *at == side) {
            daemon.signal(signal);
        }
    }
}

async fn databases(spec: &Spec) -> Outcome<Vec<(Side, Daemon)>> {
    try_join_all(spec.databases.iter().map(|(side, server)| start(spec, *side, server))).await
}

async fn start(spec: &Spec, side: Side, server: &Server) -> Outcome<(Side, Daemon)> {
    let of = spec.admin(side, server);
    let of = of.ok_or_else(|| broken("start a database", "it has no plan"))?;
    let password = segue_doors::secrets::read(&of.password)?;
    Ok((side, server.start(&password).await?))
}

async fn name_servers(spec: &Spec) -> Outcome<Vec<Daemon>> {
    let file = Path::new(MEMORY).join("keys.conf");
    let mut keys = Vec::new();
    for (key, secret) in &spec.keys {
        keys.push((key.clone(), segue_doors::secrets::read(secret)?));
    }
    named::write_keys(&file, &keys)?;
    let mut daemons = Vec::new();
    for server in &spec.names {
        daemons.push(server.start(&file).await?);
    }
    Ok(daemons)
}

/// Starts the applications; a stand-in gets a login's password that exists in the room alone.
async fn applications(spec: &Spec) -> Outcome<Vec<Daemon>> {
    let password = segue_database::random_password();
    for database in &spec.plan.unit.databases {
        segue_database::clone::adopt_login(&database.servers.source, database, &password).await?;
    }
    let mut daemons = Vec::new();
    for (place, Application { plan, command }) in spec.sites.iter().enumerate() {
        let name = format!("application-{}-{place}", plan.side);
        let log = spec.walls.home.join("logs").join(format!("{name}.out"));
        let mut daemon = match command {
            Some(words) => {
                let op = format!("start the application of the {}", plan.side);
                let (program, args) =
                    words.split_first().ok_or_else(|| broken(&op, "its command is empty"))?;
                let program = find_program(program)
                    .ok_or_else(|| broken(&op, format!("`{program}` is not there")))?;
                let args: Vec<OsString> = args.iter().map(Into::into).collect();
                Daemon::start(&name, &program, &args, &log, None).await?
            }
            None => {
                let program =
                    std::env::current_exe().map_err(|e| broken("find this program", e))?;
                let mut args: Vec<OsString> = ["room", "site", "--place"].map(Into::into).into();
                args.push(place.to_string().into());
                args.extend(["--home".into(), spec.walls.home.clone().into()]);
                let password = password.expose_secret().as_bytes();
                Daemon::start(&name, &program, &args, &log, Some(password)).await?
            }
        };
        let deadline = Instant::now() + STARTING;
        while tokio::net::TcpStream::connect(plan.listen).await.is_err() {
            daemon.still_runs()?;
            if Instant::now() > deadline {
                let op = format!("wait for the application at {}", plan.listen);
                return Err(broken(&op, format!("no answer; see `{}`", log.display())));
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        daemons.push(daemon);
    }
    Ok(daemons)
}

async fn controller(spec: &Spec) -> Outcome<Daemon> {
    let op = "start the room's controller";
    std::os::unix::fs::symlink(spec.run_dir(), World::dir()).map_err(|e| broken(op, e))?;
    let program = std::env::current_exe().map_err(|e| broken(op, e))?;
    let mut args: Vec<OsString> = vec!["--dir".into(), World::dir().into(), "controller".into()];
    args.extend(["--readings".into(), spec.readings_file().into()]);
    let log = spec.walls.home.join("logs").join("controller.log");
    let mut daemon = Daemon::start("controller", &program, &args, &log, None).await?;
    if let Err(fault) = crate::client::wait_until_running(&World::dir(), STARTING).await {
        daemon.still_runs()?;
        return Err(fault);
    }
    Ok(daemon)
}
