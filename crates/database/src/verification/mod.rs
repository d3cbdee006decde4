//! A verification by itself: both sides compared in full, piece by piece, without a run.
//!
//! It only reads, as the plan's administrator, and stops nothing: where a stream runs to the
//! other side, both are read at the instant in which it has come to a moment of the write side
//! (see [`crate::moment`]). Where none does, or it is never met, both are read at nearly the
//! same moment, what differs is looked at again, and the answer says so.
//!
//! What is done is kept in a file and goes on there: after a session that broke in this
//! process, after anything else when it is asked for again.

mod again;
mod beside;
mod notes;
mod rights;
mod sitting;
mod told;
mod walk;

pub use notes::file;
pub use told::{Seen, Verified};

use crate::definitions::{self, Definitions, definitions};
use crate::difference::Difference;
use crate::fault::Explain;
use crate::frozen::{freeze, thaw};
use crate::link::{Link, Wire};
use crate::schema::Kind;
use crate::settings::Settings;
use notes::{Kept, Notes, TableKept};
use segue_doors::sql::Literal;
use segue_model::plan::DatabasePlan;
use segue_model::{Fault, FaultKind, RunId, Side, UnitName};
use segue_port::{Outcome, ProgressSink};
use sitting::Sitting;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Only these tables; all, and everything else, if there is none.
    pub tables: Vec<String>,
    /// Hundredths of the time in which a statement may run.
    pub load: u8,
    /// Nothing is asked while more threads than these run at a server.
    pub most_running: Option<u64>,
    /// Forget what an earlier one has done.
    pub again: bool,
    /// How often a piece that differs is looked at where both sides are not of one moment.
    pub looks: u32,
    /// Pause between two of those looks: rows that are on their way must have arrived in it.
    pub look_pause: Duration,
    /// How long the stream is waited for.
    pub meeting: Duration,
    /// How long one moment is looked at: a server keeps what is changed meanwhile.
    pub sitting: Duration,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            tables: Vec::new(),
            load: 100,
            most_running: None,
            again: false,
            looks: 5,
            look_pause: Duration::from_secs(2),
            meeting: Duration::from_secs(20),
            sitting: Duration::from_secs(600),
        }
    }
}

/// A verification at work.
struct Verifier<'a> {
    link: &'a Link,
    wish: &'a Wish,
    progress: &'a dyn ProgressSink,
    notes: Notes,
    kept: Kept,
    sitting: Option<Sitting>,
    /// Rows that are expected in all.
    expected: u64,
    /// What has to be said of how it went.
    said: Vec<String>,
}

/// Compares a unit's database at both sides; what was done stands in the file `notes`, which
/// holds for a plan of the digest `bound` only.
///
/// # Errors
/// `SG0290` if the login may not see everything, `SG0291` for a table that is nowhere, `SG0292` if
/// the notes cannot be kept; else what the servers answer. What was compared is kept.
pub async fn verify(
    plan: &DatabasePlan,
    unit: &UnitName,
    wish: &Wish,
    (notes, bound): (&Path, &str),
    progress: &dyn ProgressSink,
) -> Outcome<Verified> {
    let begun = Instant::now();
    let link = Link::reader(Settings {
        plan: plan.clone(),
        run: RunId("verify".into()),
        unit: unit.clone(),
        lease_ms: 1_000,
    });
    let (mut source, mut target) =
        tokio::try_join!(link.admin(Side::Source), link.admin(Side::Target))?;
    tokio::try_join!(rights::check(&link, &mut source), rights::check(&link, &mut target))?;
    let notes = Notes::open(notes)?;
    let mut said = Vec::new();
    let kept = former(&notes, wish, bound, &mut said);
    let resumed = !kept.tables.is_empty();
    let mut verifier =
        Verifier { link: &link, wish, progress, notes, kept, sitting: None, expected: 0, said };
    let done = verifier.all(&mut source, &mut target).await;
    source.close().await;
    target.close().await;
    if let Some(sitting) = verifier.sitting.take() {
        sitting.close().await;
    }
    match done {
        Ok((differences, worth_knowing, tables)) => {
            verifier.notes.remove()?;
            let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let mut told = Verified::of(&verifier.kept, &tables, differences, verifier.said);
            (told.worth_knowing, told.resumed, told.ms) = (worth_knowing, resumed, ms);
            Ok(told)
        }
        Err(fault) => {
            verifier.notes.write(&verifier.kept)?;
            Err(fault)
        }
    }
}

/// Returns what an earlier verification has done, if it holds for this one.
fn former(notes: &Notes, wish: &Wish, bound: &str, said: &mut Vec<String>) -> Kept {
    let new = || Kept { bound: bound.to_owned(), ..Kept::default() };
    if wish.again {
        return new();
    }
    match notes.read(said) {
        Some(kept) if kept.bound == bound => kept,
        Some(_) => {
            said.push("begun anew: the plan is another one than that of the kept part".into());
            new()
        }
        None => new(),
    }
}

/// What differs besides rows, what else is worth knowing, and the tables that were compared.
type Found = (Vec<Difference>, Vec<String>, Vec<String>);

impl Verifier<'_> {
    async fn all(&mut self, source: &mut Wire, target: &mut Wire) -> Outcome<Found> {
        let link = self.link;
        tokio::try_join!(freeze(source), freeze(target))?;
        let (mut here, mut there) =
            tokio::try_join!(definitions(link, source), definitions(link, target))?;
        let everything = self.wish.tables.is_empty();
        let worth_knowing = if everything {
            beside::worth_knowing(link, source, target).await?
        } else {
            Vec::new()
        };
        tokio::try_join!(thaw(source), thaw(target))?;
        self.choose(&mut here, &mut there)?;
        let mut differences = definitions::different(&here, &there);
        if everything {
            differences.extend(beside::sequences(link, source, target).await?);
        }
        let tables: BTreeMap<&String, String> = here
            .iter()
            .filter(|((kind, _), _)| *kind == Kind::Table)
            .filter_map(|(key, here)| Some((&key.1, shape(here, there.get(key)?))))
            .collect();
        self.prepare(&tables, source).await?;
        for table in tables.keys() {
            self.table(table).await?;
        }
        let tables = tables.into_keys().cloned().collect();
        Ok((differences, worth_knowing, tables))
    }

    /// Leaves the tables that were asked for.
    fn choose(&self, here: &mut Definitions, there: &mut Definitions) -> Outcome<()> {
        if self.wish.tables.is_empty() {
            return Ok(());
        }
        for table in &self.wish.tables {
            let key = (Kind::Table, table.clone());
            if !here.contains_key(&key) && !there.contains_key(&key) {
                let op = format!("verify table `{table}`");
                let schema = &self.link.names.schema;
                let cause = format!("schema `{schema}` has no such table at either side");
                return Err(Fault::new("SG0291", FaultKind::NotFound, op, cause)
                    .hint("name a table as the server lists it, capitals included"));
            }
        }
        let chosen =
            |(kind, name): &(Kind, String)| *kind == Kind::Table && self.wish.tables.contains(name);
        here.retain(|key, _| chosen(key));
        there.retain(|key, _| chosen(key));
        Ok(())
    }

    /// Begins every table that is not begun, or of which what is kept does not hold any more.
    async fn prepare(
        &mut self,
        tables: &BTreeMap<&String, String>,
        source: &mut Wire,
    ) -> Outcome<()> {
        for (name, shape) in tables {
            match self.kept.tables.get(*name) {
                Some(kept) if kept.shape == *shape => continue,
                Some(_) => self.said.push(format!("table `{name}` is begun anew: it was altered")),
                None => {}
            }
            self.kept.tables.insert((*name).clone(), TableKept::begin(shape.clone()));
        }
        let estimates: Vec<(String, u64)> = source
            .rows(format!(
                "SELECT TABLE_NAME, COALESCE(TABLE_ROWS, 0) FROM information_schema.TABLES \
                 WHERE TABLE_SCHEMA = {}",
                Literal::new(self.link.names.schema.as_str())
            ))
            .await
            .reading("estimate the rows")?;
        let wanted = estimates.iter().filter(|(name, _)| tables.contains_key(name));
        self.expected = wanted.map(|(_, rows)| rows).sum();
        Ok(())
    }
}

fn shape(here: &[u8], there: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(here).update(b"\n").update(there);
    hasher.finalize().to_hex()[..16].to_owned()
}
