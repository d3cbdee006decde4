//! Planting anomalies in a room's world, and taking them away again.

use super::anomaly::Anomaly;
use super::guide::Guide;
use super::inside::{World, broken};
use crate::api::{Command, Pick};
use segue_doors::daemon::Signal;
use segue_doors::sql::Ident;
use segue_model::Side;
use segue_port::Outcome;
use segue_standins::ledger::{FOLDER, TABLE};
use segue_standins::mood::Mood;
use segue_standins::room::MEMORY;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Lines of an asked fault in a log, at each look.
const LINES: usize = 6;

fn mood_file() -> PathBuf {
    Path::new(MEMORY).join(format!("mood-{}.json", Side::Target))
}

/// Plants an anomaly.
pub(super) async fn plant(guide: &mut Guide<'_>, anomaly: &Anomaly) -> Outcome<()> {
    let well = Mood::default();
    let mood = match anomaly {
        Anomaly::Pages(status) => Mood { others: Some(*status), ..well },
        Anomaly::Slow(slow_ms) => Mood { slow_ms: *slow_ms, ..well },
        Anomaly::Unhealthy => Mood { health: Some(503), ..well },
        Anomaly::NoMarker => Mood { no_marker: true, ..well },
        Anomaly::Unlogged => Mood { unlogged: true, ..well },
        Anomaly::NobodyComes => {
            if let Some(load) = &guide.load {
                load.stay_away(true);
            }
            return Ok(());
        }
        Anomaly::ResolversSilent => {
            signal_resolvers(guide.world, Signal::STOP);
            return Ok(());
        }
        Anomaly::DatabaseStopped => {
            guide.world.signal_databases(Side::Target, Signal::STOP);
            return Ok(());
        }
        Anomaly::RowChanged => return change_row(guide, "y").await,
        Anomaly::FileChanged => return change_file(guide, true).await,
        Anomaly::Samples { planted, given } => {
            let mut readings = guide.world.spec.readings.clone();
            readings.planted.clone_from(planted);
            readings.given.extend(given.iter().cloned());
            return write_readings(guide, &readings);
        }
        Anomaly::LogLines | Anomaly::Bounces => return Ok(()),
    };
    mood.write(&mood_file()).map_err(|e| broken("plant a fault", e))
}

fn write_readings(guide: &Guide<'_>, readings: &super::Readings) -> Outcome<()> {
    readings.write(&guide.world.spec.readings_file()).map_err(|e| broken("plant a fault", e))
}

/// Plants what lasts only a moment once more.
pub(super) fn again(guide: &Guide<'_>, anomaly: &Anomaly) -> Outcome<()> {
    let measures = &guide.world.spec.plan.unit.measures;
    let (file, line) = match anomaly {
        Anomaly::LogLines => {
            let log = measures.application_logs.iter().find(|log| log.files.target.is_some());
            let word = log.and_then(|log| log.words.first()).map_or("ERROR", String::as_str);
            (
                log.and_then(|log| log.files.target.clone()),
                format!("{word}: a fault of the rehearsal"),
            )
        }
        Anomaly::Bounces => {
            let line = "postfix/smtp[1]: A2: to=<a@b>, status=bounced (a fault of the rehearsal)";
            (measures.mail_logs.first().cloned(), line.to_owned())
        }
        _ => return Ok(()),
    };
    let Some(file) = file else { return Ok(()) };
    let mut out = OpenOptions::new()
        .append(true)
        .open(&file)
        .map_err(|e| broken("write a fault into a log", e))?;
    out.write_all(format!("{line}\n").repeat(LINES).as_bytes())
        .map_err(|e| broken("write a fault into a log", e))
}

/// Takes it away again.
pub(super) async fn mend(guide: &mut Guide<'_>, anomaly: &Anomaly) -> Outcome<()> {
    match anomaly {
        Anomaly::NobodyComes => {
            if let Some(load) = &guide.load {
                load.stay_away(false);
            }
            Ok(())
        }
        Anomaly::ResolversSilent => {
            signal_resolvers(guide.world, Signal::CONT);
            Ok(())
        }
        Anomaly::DatabaseStopped => {
            guide.world.signal_databases(Side::Target, Signal::CONT);
            Ok(())
        }
        Anomaly::RowChanged => change_row(guide, "x").await,
        Anomaly::FileChanged => change_file(guide, false).await,
        Anomaly::Samples { .. } => write_readings(guide, &guide.world.spec.readings),
        Anomaly::LogLines | Anomaly::Bounces => Ok(()),
        _ => Mood::default().write(&mood_file()).map_err(|e| broken("mend a fault", e)),
    }
}

fn signal_resolvers(world: &World, signal: Signal) {
    let resolvers = world.spec.plan.unit.measures.resolvers.iter().flat_map(|r| &r.addresses);
    for resolver in resolvers {
        let servers = world.spec.names.iter().zip(&world.names);
        for (_, daemon) in servers.filter(|(server, _)| server.address == *resolver) {
            daemon.signal(signal);
        }
    }
}

/// Changes one row of the rehearsal's table at the source alone, then lets both be compared.
async fn change_row(guide: &mut Guide<'_>, letter: &str) -> Outcome<()> {
    let spec = &guide.world.spec;
    let Some((database, server, of)) = spec.database(Side::Source) else { return Ok(()) };
    let password = segue_doors::secrets::read(&of.password)?;
    let mut session = server.session(&password).await?;
    let table = format!("{}.{}", Ident::new(database.schema.as_str()), Ident::new(TABLE));
    let changed = session
        .run(format!(
            "SET SESSION sql_log_bin = 0; \
             UPDATE {table} SET body = REPEAT('{letter}', 120) ORDER BY n LIMIT 1"
        ))
        .await;
    session.close().await;
    changed.map_err(|e| broken("change a row of the stand-in", e))?;
    compare_again(guide).await
}

/// Changes one file at the source alone, or makes it what it was, then lets both be compared.
async fn change_file(guide: &mut Guide<'_>, wrong: bool) -> Outcome<()> {
    let trees = &guide.world.spec.plan.unit.trees;
    let Some(tree) = trees.first() else { return Ok(()) };
    let folder = tree.roots.source.join(FOLDER);
    let first = std::fs::read_dir(&folder).ok().into_iter().flatten().flatten();
    let Some(file) = first.map(|entry| entry.path()).min() else { return Ok(()) };
    let right = tree.roots.target.join(FOLDER).join(file.file_name().unwrap_or_default());
    let done = if wrong {
        std::fs::write(&file, b"changed by a rehearsal\n")
    } else {
        std::fs::copy(&right, &file).and_then(|_| {
            let times = std::fs::metadata(&right)?.modified()?;
            std::fs::File::options().write(true).open(&file)?.set_modified(times)
        })
    };
    done.map_err(|e| broken("change a file of the stand-in", e))?;
    compare_again(guide).await
}

/// Lets both sides be compared; differences are what is wanted, or mended by now.
async fn compare_again(guide: &mut Guide<'_>) -> Outcome<()> {
    let hash = guide.world.hash.clone();
    guide.command(Command::Sync { hash, pick: Pick::default() }).await.map(drop)
}
