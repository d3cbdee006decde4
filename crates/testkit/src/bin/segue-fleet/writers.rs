//! Applications of the accounts: they write where they may and note what was acknowledged.

use crate::accounts::{Accounts, PASSWORD, connect, runtime};
use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use segue_testkit::world::{Description, Side};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Writers at once; each goes round its share of the accounts.
const WRITERS: usize = 4;
/// Rest after each write.
const REST: Duration = Duration::from_millis(20);
/// How long one write is tried before the account counts as down.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the writers know at the end.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Acknowledged payloads by account.
    pub(crate) acknowledged: BTreeMap<String, Vec<String>>,
    /// Longest time until a write was acknowledged, milliseconds, with its account.
    pub(crate) longest: (u128, String),
    /// Writes that were given up.
    pub(crate) failed: Vec<String>,
}

/// Writers at work.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Ledger>>>,
}

impl Writers {
    /// Starts them; every account is written to in turn.
    pub(crate) fn start(world: &Description, accounts: &Accounts) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for writer in 0..WRITERS {
            let own: Vec<String> =
                accounts.names.iter().skip(writer).step_by(WRITERS).cloned().collect();
            let (world, stop) = (world.clone(), Arc::clone(&stop));
            threads.push(
                std::thread::Builder::new()
                    .name(format!("writer-{writer}"))
                    .spawn(move || write(&world, &own, &stop))?,
            );
        }
        Ok(Self { stop, threads })
    }

    /// Stops them and returns what they know together.
    pub(crate) fn stop(self) -> Result<Ledger> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Ledger::default();
        for thread in self.threads {
            let ledger = thread.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
            all.acknowledged.extend(ledger.acknowledged);
            all.failed.extend(ledger.failed);
            all.longest = all.longest.max(ledger.longest);
        }
        Ok(all)
    }
}

fn write(world: &Description, own: &[String], stop: &AtomicBool) -> Result<Ledger> {
    let runtime = runtime()?;
    let mut ledger = Ledger::default();
    let mut sides: BTreeMap<&str, Side> = BTreeMap::new();
    let mut number = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        for name in own {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            number += 1;
            let payload = format!("{name} write {number}");
            let side = sides.entry(name).or_insert(Side::Source);
            let began = Instant::now();
            match runtime.block_on(one(world, name, &payload, side)) {
                Ok(()) => {
                    let took = (began.elapsed().as_millis(), name.clone());
                    ledger.longest = ledger.longest.clone().max(took);
                    ledger.acknowledged.entry(name.clone()).or_default().push(payload);
                }
                Err(error) => ledger.failed.push(format!("{payload}: {error:#}")),
            }
            std::thread::sleep(REST);
        }
    }
    Ok(ledger)
}

/// Writes one payload at whichever side takes it. A write of which it is not known whether
/// it happened is looked up before it is sent again.
async fn one(world: &Description, name: &str, payload: &str, side: &mut Side) -> Result<()> {
    let began = Instant::now();
    let mut sent_to: Vec<Side> = Vec::new();
    loop {
        let tried = attempt(world, name, payload, *side, &mut sent_to).await;
        let error = match tried {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if began.elapsed() > PATIENCE {
            return Err(error).context("no side took it");
        }
        *side = match *side {
            Side::Source => Side::Target,
            Side::Target => Side::Source,
        };
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn attempt(
    world: &Description,
    name: &str,
    payload: &str,
    side: Side,
    sent_to: &mut Vec<Side>,
) -> Result<()> {
    let mut conn = connect(world, side, name, PASSWORD).await?;
    if !sent_to.is_empty() {
        let known: Option<u64> = conn
            .exec_first(format!("SELECT id FROM `{name}`.orders WHERE payload = ?"), (payload,))
            .await?;
        if known.is_some() {
            return Ok(());
        }
    }
    let answer = tokio::time::timeout(
        Duration::from_secs(6),
        conn.exec_drop(format!("INSERT INTO `{name}`.orders (payload) VALUES (?)"), (payload,)),
    )
    .await;
    match answer {
        Ok(Ok(())) => Ok(()),
        // The server said no: nothing happened.
        Ok(Err(error @ mysql_async::Error::Server(_))) => Err(error.into()),
        Ok(Err(error)) => {
            sent_to.push(side);
            Err(error.into())
        }
        Err(_) => {
            sent_to.push(side);
            anyhow::bail!("no answer")
        }
    }
}
