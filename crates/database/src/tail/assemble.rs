//! From events to transactions, each divided by schema. No I/O: what a log may hold is
//! judged here, and what is not known to be harmless ends the tail.

use super::change::Change;
use super::event::{Gtid, Query, Rows, TableMap, kind};
use super::faults;
use super::piece::Piece;
use super::statement::{self, Definition, Statement};
use crate::gtid::Position;
use segue_doors::sql::log::LogEvent;
use segue_model::Fault;
use segue_port::Outcome;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Prepared distributed transactions that are remembered.
const PREPARED: usize = 4096;

/// What an event means for the followers; schemas are numbers in the order given.
#[derive(Debug)]
pub(super) enum Step {
    /// The form of the events that follow.
    Format(Vec<u8>),
    /// A part of the transaction that is being read.
    Piece(usize, Vec<u8>),
    /// A change of definitions; the rows before it are committed by it.
    Define(usize, Box<Change>),
    /// The transaction that was read never happened; these schemas had a part in it.
    Abandon(Vec<usize>),
    /// The transaction has ended; these schemas had a part in it.
    End(Vec<usize>),
    /// What comes now cannot be applied to one schema; the others go on.
    Refuse(usize, Fault),
}

/// A schema that is followed.
#[derive(Debug, Clone)]
pub(super) struct Followed {
    pub(super) schema: String,
    /// Tables of other schemas whose rows travel with it.
    pub(super) beside: Vec<(String, String)>,
    /// What it has already.
    pub(super) has: Position,
}

/// A table map of the statement that is being read.
#[derive(Debug)]
struct Map {
    id: u64,
    owner: Option<usize>,
    table: String,
    bytes: Vec<u8>,
}

/// The transaction that is being read.
#[derive(Debug)]
struct Transaction {
    gtid: Gtid,
    server: u32,
    pieces: BTreeMap<usize, Piece>,
    /// Definitions that it changed, which no follower can take back.
    defined: Vec<(usize, String)>,
    /// A part of it was taken back.
    undone: bool,
}

/// Puts events together.
#[derive(Debug)]
pub(super) struct Assembler {
    followed: Vec<Followed>,
    owners: HashMap<Vec<u8>, usize>,
    /// Tables beside the schemas, as `schema\0table`.
    beside: HashMap<Vec<u8>, usize>,
    /// Only what was written first at this server counts.
    origin: Option<u32>,
    maps: Vec<Map>,
    transaction: Option<Transaction>,
    prepared: HashSet<Vec<u8>>,
    /// Everything up to here was read.
    pub(super) position: Position,
}

impl Assembler {
    /// Begins behind `position`, which is behind none of the followed.
    pub(super) fn new(followed: Vec<Followed>, position: Position, origin: Option<u32>) -> Self {
        let owners = followed
            .iter()
            .enumerate()
            .map(|(number, followed)| (followed.schema.clone().into_bytes(), number))
            .collect();
        let tables = |(number, followed): (usize, &Followed)| {
            let named = |(schema, table): &(String, String)| {
                (format!("{schema}\0{table}").into_bytes(), number)
            };
            followed.beside.iter().map(named).collect::<Vec<_>>()
        };
        let beside = followed.iter().enumerate().flat_map(tables).collect();
        Self {
            followed,
            owners,
            beside,
            origin,
            maps: Vec::new(),
            transaction: None,
            prepared: HashSet::new(),
            position,
        }
    }

    /// Takes the next event; what it means is added to `steps`.
    ///
    /// # Errors
    /// What ends the reading for everybody.
    pub(super) fn take(&mut self, event: LogEvent, steps: &mut Vec<Step>) -> Outcome<()> {
        match event.kind {
            kind::GTID => self.begin(&event),
            kind::TABLE_MAP => self.map(event),
            kind::WRITE_ROWS | kind::UPDATE_ROWS | kind::DELETE_ROWS => self.rows(&event, steps),
            kind::XID => self.end(steps),
            kind::QUERY => self.query(&event, steps),
            kind::XA_PREPARE => self.prepare(steps),
            kind::FORMAT => {
                // A server that crashed within a transaction left a part of it, and began another
                // file: it never happened.
                if let Some(transaction) = self.transaction.take() {
                    self.maps.clear();
                    for (number, shown) in transaction.defined {
                        let why = "the source crashed before its transaction was whole in the log";
                        let schema = &self.followed[number].schema;
                        steps.push(Step::Refuse(number, faults::definition(schema, &shown, why)));
                    }
                    steps.push(Step::Abandon(transaction.pieces.into_keys().collect()));
                }
                steps.push(Step::Format(event.bytes));
                Ok(())
            }
            kind::STOP
            | kind::ROTATE
            | kind::HEARTBEAT
            | kind::ANNOTATE
            | kind::CHECKPOINT
            | kind::GTID_LIST => Ok(()),
            kind::INCIDENT => Err(faults::broken("the server says that changes are missing in it")),
            other if kind::OF_STATEMENTS.contains(&other) => Err(faults::statement("")),
            other if kind::COMPRESSED.contains(&other) => Err(faults::compressed(other)),
            other => Err(faults::unknown_event(other)),
        }
    }

    fn begin(&mut self, event: &LogEvent) -> Outcome<()> {
        let gtid = Gtid::read(&event.bytes).ok_or_else(malformed)?;
        if self.transaction.is_some() {
            return Err(faults::broken("a transaction begins within another one"));
        }
        // What a schema has is told by sequence numbers, so they must rise.
        if self.position.sequence(gtid.domain).is_some_and(|last| gtid.sequence <= last) {
            return Err(faults::broken(&format!(
                "transactions of domain {} are not in the order of their numbers",
                gtid.domain
            )));
        }
        if gtid.completes && !self.prepared.remove(&gtid.xid) {
            return Err(faults::distributed(faults::READING.to_owned()));
        }
        self.maps.clear();
        self.transaction = Some(Transaction {
            gtid,
            server: event.server_id,
            pieces: BTreeMap::new(),
            defined: Vec::new(),
            undone: false,
        });
        Ok(())
    }

    /// Returns whether a schema still needs the transaction that is being read.
    fn needs(&self, number: usize) -> bool {
        let Some(transaction) = &self.transaction else { return false };
        let has = self.followed[number].has.sequence(transaction.gtid.domain);
        has.is_none_or(|has| has < transaction.gtid.sequence)
    }

    /// Returns how far a schema is when everything read so far is applied to it: it may have more
    /// than the one that is furthest back, behind which reading began.
    pub(super) fn reached(&self, number: usize) -> Position {
        self.followed[number].has.latest(&self.position)
    }

    /// Returns whether what an event changes was written first where it counts.
    fn counts(&self, event: &LogEvent) -> bool {
        self.origin.is_none_or(|origin| origin == event.server_id)
    }

    fn map(&mut self, event: LogEvent) -> Outcome<()> {
        let map = TableMap::read(&event.bytes).ok_or_else(malformed)?;
        let owner = self.owners.get(map.schema).copied();
        let owner = owner.or_else(|| {
            let name = [map.schema, map.table].join(&0);
            self.beside.get(&name).copied()
        });
        let owner = owner.filter(|number| self.counts(&event) && self.needs(*number));
        let (id, table) = (map.id, String::from_utf8_lossy(map.table).into_owned());
        if let (Some(number), Some(transaction)) = (owner, &mut self.transaction)
            && let Some(piece) = transaction.pieces.get_mut(&number)
        {
            // A part of a statement begins with all of its maps.
            piece.end_statement();
        }
        // A stranger's map is kept for its number only.
        let bytes = if owner.is_some() { event.bytes } else { Vec::new() };
        self.maps.push(Map { id, owner, table, bytes });
        Ok(())
    }

    fn rows(&mut self, event: &LogEvent, steps: &mut Vec<Step>) -> Outcome<()> {
        let rows = Rows::read(&event.bytes, event.kind).ok_or_else(malformed)?;
        let Some(transaction) = &mut self.transaction else {
            return Err(faults::broken("rows outside of a transaction"));
        };
        let map = self.maps.iter().find(|map| map.id == rows.table);
        match map {
            None if rows.is_dummy() => {}
            None => return Err(faults::broken("rows of a table that nothing explains")),
            Some(Map { owner: None, .. }) => {}
            Some(Map { owner: Some(number), table, .. }) => {
                let schema = &self.followed[*number].schema;
                if !rows.whole {
                    steps.push(Step::Refuse(*number, faults::partial(schema, table)));
                }
                if transaction.undone {
                    steps.push(Step::Refuse(*number, faults::rolled_back(schema)));
                }
                let piece = transaction.pieces.entry(*number).or_default();
                if piece.is_full(event.bytes.len()) {
                    steps.push(Step::Piece(*number, piece.take()));
                }
                let maps = self.maps.iter().filter(|map| map.owner == Some(*number));
                piece.add(maps.map(|map| map.bytes.as_slice()), &event.bytes);
            }
        }
        if rows.last {
            transaction.pieces.values_mut().for_each(Piece::end_statement);
            self.maps.clear();
        }
        Ok(())
    }

    fn query(&mut self, event: &LogEvent, steps: &mut Vec<Step>) -> Outcome<()> {
        let query = Query::read(&event.bytes).ok_or_else(malformed)?;
        let Some(transaction) = &mut self.transaction else {
            return Err(faults::broken("a statement outside of a transaction"));
        };
        let alone = transaction.gtid.alone;
        // A name in another character set would not be found.
        let text = std::str::from_utf8(query.text);
        if text.is_err() && self.followed.iter().any(|followed| !followed.schema.is_ascii()) {
            return Err(faults::broken("a statement is in a character set that is not read"));
        }
        match statement::judge(&String::from_utf8_lossy(query.text)) {
            Statement::Harmless | Statement::Distributed => {}
            Statement::Commit => return self.end(steps),
            Statement::Rollback => {
                transaction.undone = true;
                for number in transaction.pieces.keys() {
                    let schema = &self.followed[*number].schema;
                    steps.push(Step::Refuse(*number, faults::rolled_back(schema)));
                }
                // `ROLLBACK` alone ends the transaction, `ROLLBACK TO` does not.
                if query.text.trim_ascii().eq_ignore_ascii_case(b"ROLLBACK") {
                    return self.end(steps);
                }
            }
            Statement::Definition(definition) => self.define(&definition, event, &query, steps),
            Statement::Rows(kind) => return Err(faults::statement(&kind)),
        }
        if alone { self.end(steps) } else { Ok(()) }
    }

    /// Judges a change of definitions for each schema that it may touch.
    fn define(
        &mut self,
        definition: &Definition,
        event: &LogEvent,
        query: &Query<'_>,
        steps: &mut Vec<Step>,
    ) {
        if !self.counts(event) {
            return;
        }
        let default = String::from_utf8_lossy(query.schema);
        for number in 0..self.followed.len() {
            let schema = self.followed[number].schema.clone();
            if !definition.touches(&default, &schema) || !self.needs(number) {
                continue;
            }
            let Some(transaction) = &mut self.transaction else { return };
            let begun = transaction.pieces.contains_key(&number);
            match Change::of(definition, query, &schema, &transaction.gtid, transaction.server) {
                // A statement that defines ends what came before it; the log never says so.
                Ok(_) if begun => {
                    let why = "rows stand before it in its transaction";
                    let fault = faults::definition(&schema, &definition.shown(), why);
                    steps.push(Step::Refuse(number, fault));
                }
                Ok(change) => {
                    transaction.pieces.insert(number, Piece::default());
                    transaction.defined.push((number, change.shown.clone()));
                    steps.push(Step::Define(number, Box::new(change)));
                }
                Err(why) => {
                    let fault = faults::definition(&schema, &definition.shown(), why);
                    steps.push(Step::Refuse(number, fault));
                }
            }
        }
    }

    /// A distributed transaction is prepared: it will happen, or not.
    fn prepare(&mut self, steps: &mut Vec<Step>) -> Outcome<()> {
        let transaction = self.transaction.as_mut().filter(|transaction| transaction.gtid.prepares);
        let transaction = transaction.ok_or_else(malformed)?;
        for number in transaction.pieces.keys() {
            let op = faults::following(&self.followed[*number].schema);
            steps.push(Step::Refuse(*number, faults::distributed(op)));
        }
        if self.prepared.len() >= PREPARED {
            return Err(faults::distributed(faults::READING.to_owned()));
        }
        self.prepared.insert(std::mem::take(&mut transaction.gtid.xid));
        self.end(steps)
    }

    fn end(&mut self, steps: &mut Vec<Step>) -> Outcome<()> {
        let Some(transaction) = self.transaction.take() else {
            return Err(faults::broken("a transaction ends that did not begin"));
        };
        let Gtid { domain, sequence, .. } = transaction.gtid;
        self.position.advance(domain, transaction.server, sequence);
        let mut touched = Vec::with_capacity(transaction.pieces.len());
        for (number, mut piece) in transaction.pieces {
            let bytes = piece.take();
            if !bytes.is_empty() {
                steps.push(Step::Piece(number, bytes));
            }
            touched.push(number);
        }
        steps.push(Step::End(touched));
        Ok(())
    }
}

fn malformed() -> Fault {
    faults::broken("an event is shorter than its kind needs")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
