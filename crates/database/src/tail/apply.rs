//! Row events become statements of one transaction at the target.
//!
//! `BINLOG` applies row events as a replica's thread does: no trigger fires, foreign keys
//! cascade, a table without key is matched by whole rows, values are not converted. Events of
//! many transactions go into one statement, so that a group costs two exchanges with the server:
//! one for its rows, one for the checkpoint with the commit. A server that has applied rows does
//! not say that more results follow, so nothing may stand behind a `BINLOG` in its packet.

use super::change::Change;
use super::checkpoint::Checkpoint;
use super::faults;
use crate::gtid::Position;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use segue_doors::sql::log::HEADER;
use segue_doors::sql::{Endpoint, LONGEST_PACKET, Session, SqlError};
use segue_port::Outcome;
use std::time::{Duration, Instant};

/// Time limit of one packet of statements.
const LIMIT: Duration = Duration::from_secs(600);

/// Bytes of a statement that is sent before its group ends.
const PACKET: usize = 4 * 1024 * 1024;

/// Room for what stands around events in a packet: a checkpoint names every domain of the source.
const AROUND: usize = 32 * 1024;

/// Attempts of a group that others at the target are in the way of.
const ATTEMPTS: u32 = 5;

/// Writes one schema's changes.
#[derive(Debug)]
pub(super) struct Applier {
    session: Session,
    /// For sessions that change definitions.
    target: Endpoint,
    checkpoint: Checkpoint,
    schema: String,
    /// Longest packet that the target takes.
    most: usize,
    /// The form of events that the session knows.
    format: Vec<u8>,
    /// Events that wait to be put into a statement.
    events: Vec<u8>,
    /// A part of the transaction is at the server.
    open: bool,
    /// When the session was last used.
    used: Instant,
}

impl Applier {
    pub(super) fn new(
        session: Session,
        target: Endpoint,
        checkpoint: Checkpoint,
        schema: String,
        packet: usize,
    ) -> Self {
        Self {
            session,
            target,
            checkpoint,
            schema,
            most: packet.min(LONGEST_PACKET) - AROUND,
            format: Vec::new(),
            events: Vec::new(),
            open: false,
            used: Instant::now(),
        }
    }

    /// Tells the session the form of the events to come; outside of a transaction only.
    pub(super) async fn format(&mut self, event: Vec<u8>) -> Outcome<()> {
        // When a log was begun says nothing of its form.
        let form = |event: &[u8]| {
            let made = HEADER + 2 + 50;
            let parts = [event.get(HEADER..made), event.get(made + 4..)];
            parts.map(|part| part.unwrap_or_default().to_vec()).concat()
        };
        if form(&self.format) == form(&event) {
            return Ok(());
        }
        let statement = format!("BINLOG '{}'", STANDARD.encode(&event));
        self.send(&statement).await.map_err(|error| faults::refused(&self.schema, &error))?;
        self.format = event;
        Ok(())
    }

    /// Adds a part of a transaction.
    pub(super) async fn add(&mut self, events: &[u8]) -> Outcome<()> {
        if encoded(events.len()) > self.most {
            return self.add_long(events).await;
        }
        if encoded(self.events.len() + events.len()) > self.most.min(PACKET) {
            self.flush().await?;
        }
        self.events.extend_from_slice(events);
        Ok(())
    }

    /// Returns whether a part of this length can be added.
    ///
    /// # Errors
    /// `SG0277`.
    pub(super) fn fits(&self, length: usize) -> Outcome<()> {
        if encoded(length) > 2 * self.most {
            return Err(faults::too_long(&self.schema, length, 2 * self.most / 4 * 3));
        }
        Ok(())
    }

    /// Adds an event that one packet cannot carry: the server puts two variables together.
    async fn add_long(&mut self, events: &[u8]) -> Outcome<()> {
        self.flush().await?;
        let (first, second) = events.split_at(events.len() / 2 / 3 * 3);
        for (number, half) in [first, second].into_iter().enumerate() {
            let half = STANDARD.encode(half);
            self.apply(&format!("SET @binlog_fragment_{number} = '{half}'")).await?;
        }
        self.apply("BINLOG @binlog_fragment_0, @binlog_fragment_1").await
    }

    /// Puts the waiting events into a statement; empty if none wait.
    fn statement(&mut self) -> String {
        let events = std::mem::take(&mut self.events);
        if events.is_empty() {
            return String::new();
        }
        let mut text = String::with_capacity(encoded(events.len()) + 16);
        text.push_str("BINLOG '");
        STANDARD.encode_string(&events, &mut text);
        text.push('\'');
        text
    }

    /// Sends what waits; the transaction stays open.
    async fn flush(&mut self) -> Outcome<()> {
        let statement = self.statement();
        if statement.is_empty() { Ok(()) } else { self.apply(&statement).await }
    }

    /// Runs a statement of the transaction, which it begins if need be.
    async fn apply(&mut self, statement: &str) -> Outcome<()> {
        let begin = if self.open { "" } else { "BEGIN;" };
        // Whether it was begun is not known when this fails.
        self.open = true;
        let sent = self.send(&format!("{begin}{statement}")).await;
        sent.map_err(|error| faults::refused(&self.schema, &error))
    }

    /// Commits everything added with the checkpoint behind it.
    pub(super) async fn commit(&mut self, to: &Position, transactions: u64) -> Outcome<()> {
        let mut statements = vec![format!("{};COMMIT", self.checkpoint.moved(to, transactions))];
        let rows = self.statement();
        if !rows.is_empty() {
            statements.insert(0, rows);
        }
        if !self.open {
            statements[0].insert_str(0, "BEGIN;");
        }
        for attempt in 1.. {
            match self.send_all(&statements).await {
                Ok(()) => break,
                // All of the group is in these statements, and none of it stays.
                Err(error)
                    if !self.open
                        && attempt < ATTEMPTS
                        && matches!(error.code(), Some(1205 | 1213)) =>
                {
                    self.send("ROLLBACK").await.map_err(|e| faults::refused(&self.schema, &e))?;
                }
                Err(error) => return Err(faults::refused(&self.schema, &error)),
            }
        }
        self.open = false;
        if !self.checkpoint.keeps_note(to) {
            self.checkpoint.noted = None;
        }
        Ok(())
    }

    async fn send_all(&mut self, statements: &[String]) -> Result<(), SqlError> {
        for statement in statements {
            self.send(statement).await?;
        }
        Ok(())
    }

    /// Carries out a change of definitions; nothing may wait to be committed.
    pub(super) async fn define(&mut self, change: &Change) -> Outcome<()> {
        let mut other = change.open(&self.target, &self.checkpoint.defining).await?;
        let noted = change.note(&mut other, self.checkpoint.noted.as_ref()).await?;
        let fresh = self.checkpoint.noted.as_ref() != Some(&noted);
        if fresh {
            let note = self.checkpoint.defines(&noted);
            self.send(&note).await.map_err(|error| faults::refused(&self.schema, &error))?;
        }
        change.run(other, &noted, fresh).await?;
        self.checkpoint.noted = Some(noted);
        super::target::need_transactions(&mut self.session, &self.schema).await
    }

    /// Takes back what was added since the last commit.
    pub(super) async fn take_back(&mut self) -> Outcome<()> {
        self.events.clear();
        if std::mem::take(&mut self.open) {
            self.send("ROLLBACK").await.map_err(|error| faults::refused(&self.schema, &error))?;
        }
        Ok(())
    }

    /// Gives up what was added since the last commit.
    pub(super) async fn give_up(mut self) {
        // A session that ends takes its transaction back; so this is for the sooner.
        let _ = self.send("ROLLBACK").await;
        self.session.close().await;
    }

    /// Keeps an idle session alive.
    pub(super) async fn keep_alive(&mut self) -> Outcome<()> {
        if self.used.elapsed() < Duration::from_secs(60) {
            return Ok(());
        }
        self.used = Instant::now();
        self.session.ping().await.map_err(|error| faults::refused(&self.schema, &error))
    }

    async fn send(&mut self, text: &str) -> Result<(), SqlError> {
        self.used = Instant::now();
        self.session.run_within(text, LIMIT).await
    }
}

/// Length of so many bytes as text.
fn encoded(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}
