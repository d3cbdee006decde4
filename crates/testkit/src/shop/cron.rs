//! A cron job that writes to the database without passing any web server.

use super::database::{self, close};
use super::ledger::Ledger;
use crate::world::{Description, Side, now_ms};
use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use serde_json::json;
use std::fs::File;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Time between two jobs.
const EVERY: Duration = Duration::from_millis(100);
/// The switch: jobs run while this file exists in the shop's folder.
const SWITCH: &str = "cron.enabled";
/// Locked while a job runs.
const LOCK: &str = "cron.lock";

/// What `cron-ctl` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CronWord {
    /// End the jobs; return when the one at work has ended.
    Stop,
    /// Begin the jobs.
    Start,
    /// Tell whether jobs may run.
    Running,
}

impl FromStr for CronWord {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "stop" => Ok(Self::Stop),
            "start" => Ok(Self::Start),
            "running" => Ok(Self::Running),
            _ => anyhow::bail!("`{text}` is none of `stop`, `start`, `running`"),
        }
    }
}

/// Runs a job every 100 ms at `side`, while the switch is there, until SIGTERM.
pub async fn cron(world: &Path, side: Side) -> Result<()> {
    let description = Description::load(world)?;
    let folder = description.shop_dir.get(side);
    let mut ledger = Ledger::open(&description.ledger_dir, &format!("cron.{side}.jsonl"))?;
    let opts = database::of_shop(&description, side)?;
    let lock = open_lock(folder)?;
    let mut end = super::termination()?;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = now_ms();
    for number in 0_u64.. {
        tokio::select! {
            _ = end.recv() => break,
            _ = ticks.tick() => {}
        }
        // The lock first, then the switch: who removed the switch and got the lock
        // knows that no job runs and none will.
        lock.lock().context("lock the cron job")?;
        if folder.join(SWITCH).exists() {
            let key = format!("{side}-{begun}-{number}");
            match job(&opts, &key, side).await {
                Ok(()) => ledger.append(
                    &json!({"kind": "cron", "key": key, "side": side.as_str(), "at_ms": now_ms()}),
                )?,
                Err(error) => tracing::warn!(%key, "cron job failed: {error}"),
            }
        }
        lock.unlock().context("unlock the cron job")?;
    }
    Ok(())
}

async fn job(opts: &Opts, key: &str, side: Side) -> Result<(), mysql_async::Error> {
    let mut conn = Conn::new(opts.clone()).await?;
    conn.query_drop(format!(
        "INSERT INTO jobs (job_key, side, ran_at) VALUES ('{key}', '{side}', NOW(3))"
    ))
    .await?;
    close(conn).await;
    Ok(())
}

/// Stops, starts or asks for the cron job at `side`. Returns whether jobs may run now.
pub fn cron_ctl(world: &Path, side: Side, word: CronWord) -> Result<bool> {
    let description = Description::load(world)?;
    let folder = description.shop_dir.get(side);
    let switch = folder.join(SWITCH);
    match word {
        CronWord::Start => {
            File::create(&switch)
                .with_context(|| format!("create switch `{}`", switch.display()))?;
            Ok(true)
        }
        CronWord::Stop => {
            match std::fs::remove_file(&switch) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("remove switch `{}`", switch.display()));
                }
                _ => {}
            }
            open_lock(folder)?.lock().context("wait for the running cron job")?;
            Ok(false)
        }
        CronWord::Running => {
            // A job that still runs after the switch went counts.
            let busy = open_lock(folder)?.try_lock().is_err();
            Ok(switch.exists() || busy)
        }
    }
}

fn open_lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("open `{}`", path.display()))
}
