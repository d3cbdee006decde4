//! The neighbour: another customer's writes in the same database server.

use super::database;
use super::ledger::Ledger;
use crate::world::{Description, now_ms};
use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Time between two writes: about thirty a second.
const EVERY: Duration = Duration::from_millis(33);

/// One state of a row of the neighbour.
struct Entry {
    id: u64,
    revision: u32,
}

impl Entry {
    fn body(&self) -> String {
        let seed = format!("{}/{}", self.id, self.revision);
        format!(
            "tenant entry {} revision {} {}",
            self.id,
            self.revision,
            blake3::hash(seed.as_bytes())
        )
    }

    /// Says the whole row, so that repeating it after a lost answer changes nothing.
    fn statement(&self) -> String {
        let Self { id, revision } = self;
        let body = self.body();
        format!(
            "INSERT INTO entries (id, revision, body) VALUES ({id}, {revision}, '{body}') \
             ON DUPLICATE KEY UPDATE revision = {revision}, body = '{body}'"
        )
    }
}

/// Writes about thirty rows a second, new ones and changed ones, until SIGTERM.
///
/// Every write is repeated until it is acknowledged, and only then stands in the
/// ledger: after a clean end, ledger and table say the same.
pub async fn tenant(world: &Path) -> Result<()> {
    let description = Description::load(world)?;
    let tenant = &description.tenant;
    let password = Description::secret(&tenant.password_file)?;
    let address = description.database.source.address;
    let opts = database::options(address, &tenant.user, &password, &tenant.schema);
    let mut ledger = Ledger::open(&description.ledger_dir, "tenant.jsonl")?;
    let mut end = super::termination()?;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut session = Session { opts, conn: None };
    let first = session.next_id().await.context("read the neighbour's last entry")?;
    // Revisions of the rows that this process made; it changes only these.
    let mut revisions: Vec<u32> = Vec::new();
    loop {
        tokio::select! {
            _ = end.recv() => break,
            _ = ticks.tick() => {}
        }
        let change = !revisions.is_empty() && rand::random_bool(0.5);
        let at = if change { rand::random_range(0..revisions.len()) } else { revisions.len() };
        let revision = if change { revisions[at] + 1 } else { 0 };
        let entry = Entry { id: first + at as u64, revision };
        session.write(&entry).await;
        if change {
            revisions[at] = revision;
        } else {
            revisions.push(revision);
        }
        ledger.append(&json!({
            "kind": "tenant", "op": if change { "update" } else { "insert" }, "id": entry.id,
            "revision": revision, "body": entry.body(), "at_ms": now_ms(),
        }))?;
    }
    Ok(())
}

/// A connection that is made again when it was lost.
struct Session {
    opts: Opts,
    conn: Option<Conn>,
}

impl Session {
    async fn conn(&mut self) -> Result<&mut Conn, mysql_async::Error> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => Conn::new(self.opts.clone()).await?,
        };
        Ok(self.conn.insert(conn))
    }

    async fn next_id(&mut self) -> Result<u64> {
        let row: Option<Option<u64>> =
            self.conn().await?.query_first("SELECT MAX(id) FROM entries").await?;
        Ok(row.flatten().map_or(1, |last| last + 1))
    }

    /// Returns once the write is acknowledged.
    async fn write(&mut self, entry: &Entry) {
        loop {
            let written = match self.conn().await {
                Ok(conn) => conn.query_drop(entry.statement()).await,
                Err(error) => Err(error),
            };
            match written {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(id = entry.id, "the neighbour's write failed: {error}");
                    self.conn = None;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}
