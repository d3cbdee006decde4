//! How far a schema is, written with the rows themselves.
//!
//! The row changes in the transaction that applies the rows, so both are there or neither.
//! Who applies holds a lock of the target's server; it goes with the session. So nobody
//! reads the row while a former session may still commit.

use super::change::Noted;
use super::{Begin, faults};
use crate::fault::Explain;
use crate::gtid::Position;
use crate::own::OPTIONS;
use crate::settings::{OWN_SCHEMA, own};
use crate::stream::parse;
use segue_doors::sql::{Literal, Session};
use segue_port::Outcome;

/// Seconds to wait for a former session to end.
pub(super) const PATIENCE: u32 = 10;

/// The row of one schema.
#[derive(Debug, Clone)]
pub(super) struct Checkpoint {
    table: String,
    source: Literal,
    schema: Literal,
    /// Where its seed was taken, as it was told.
    begin: Literal,
    /// Whoever changes definitions of the schema holds this one.
    pub(super) defining: Literal,
    /// A change of definitions that was begun.
    pub(super) noted: Option<Noted>,
}

impl Checkpoint {
    /// Takes the schema's place at the target for this session, and returns its row and what the
    /// schema has; nothing if it was not followed yet from this begin: a seed that was taken anew
    /// has another one, and what was noted of the former one is of no use.
    ///
    /// # Errors
    /// `SG0279` if another session has the place.
    pub(super) async fn take(
        session: &mut Session,
        source: &str,
        schema: &str,
        begin: &Begin,
    ) -> Outcome<(Self, Option<Position>)> {
        let op = format!("read the checkpoint of schema `{schema}`");
        let place = blake3::hash(format!("{source} {schema}").as_bytes()).to_hex();
        session.set_limit(std::time::Duration::from_secs(u64::from(PATIENCE) + 5));
        let got: Option<i64> = session
            .one(format!("SELECT GET_LOCK('segue_tail_{}', {PATIENCE})", &place[..16]))
            .await
            .reading(&op)?;
        if got != Some(1) {
            return Err(faults::taken(schema));
        }
        let mut row = Self {
            table: own("tail"),
            source: Literal::new(source),
            schema: Literal::new(schema),
            begin: Literal::new(begin.to_string()),
            defining: Literal::new(format!("segue_define_{}", &place[..16])),
            noted: None,
        };
        for statement in [
            format!("CREATE SCHEMA IF NOT EXISTS {OWN_SCHEMA}"),
            format!(
                "CREATE TABLE IF NOT EXISTS {} (source VARCHAR(64) NOT NULL, followed VARCHAR(64) NOT NULL, \
                 begin LONGTEXT NOT NULL, gtid LONGTEXT NOT NULL, transactions BIGINT UNSIGNED NOT NULL, \
                 defining VARCHAR(128) NOT NULL, PRIMARY KEY (source, followed)) {OPTIONS}",
                row.table
            ),
        ] {
            session.run(statement).await.changing(&op)?;
        }
        let noted: Option<(String, String)> = session
            .first(format!(
                "SELECT gtid, defining FROM {} WHERE {} AND begin = {}",
                row.table,
                row.key(),
                row.begin
            ))
            .await
            .reading(&op)?;
        let Some((gtid, defining)) = noted else { return Ok((row, None)) };
        row.noted = Noted::read(&defining);
        Ok((row, Some(parse(&gtid, &op)?)))
    }

    /// Writes the row of a schema that begins.
    pub(super) async fn begin(&self, session: &mut Session, at: &Position) -> Outcome<()> {
        let at = Literal::new(at.to_string());
        session
            .run(format!(
                "REPLACE INTO {} (source, followed, begin, gtid, transactions, defining) \
                 VALUES ({}, {}, {}, {at}, 0, '')",
                self.table, self.source, self.schema, self.begin
            ))
            .await
            .changing(&format!("write the checkpoint of schema {}", self.schema))
    }

    fn key(&self) -> String {
        format!("source = {} AND followed = {}", self.source, self.schema)
    }

    /// Returns whether a change that was begun is not done yet when the schema is there: its note
    /// stands until then.
    pub(super) fn keeps_note(&self, at: &Position) -> bool {
        self.noted.as_ref().is_some_and(|noted| !noted.is_before(at))
    }

    /// Returns the statement that moves it on by so many transactions. A row that somebody removed
    /// is there again: rows without a checkpoint would be applied twice.
    pub(super) fn moved(&self, to: &Position, transactions: u64) -> String {
        let note = if self.keeps_note(to) { "" } else { ", defining = ''" };
        let to = Literal::new(to.to_string());
        format!(
            "INSERT INTO {} (source, followed, begin, gtid, transactions, defining) \
             VALUES ({}, {}, {}, {to}, {transactions}, '') ON DUPLICATE KEY UPDATE gtid = {to}, \
             transactions = transactions + {transactions}{note}",
            self.table, self.source, self.schema, self.begin
        )
    }

    /// Returns the statement that notes a change that is about to be carried out.
    pub(super) fn defines(&self, noted: &Noted) -> String {
        format!(
            "UPDATE {} SET defining = {} WHERE {}",
            self.table,
            Literal::new(noted.text()),
            self.key()
        )
    }
}
