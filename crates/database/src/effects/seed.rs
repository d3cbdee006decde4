//! Seed: the first copy, consistent at one position of the source's binary log.

use super::shared::{self, Of};
use super::{BOTH, ms_since};
use crate::copy::{self, Tally, Work};
use crate::fault::{Deadline, Explain};
use crate::link::{Link, Wire};
use crate::logins::{self, Account, Definition};
use crate::replica::MariaReplica;
use crate::schema::Object;
use crate::settings::own;
use crate::{epoch, locks, moment, schema};
use async_trait::async_trait;
use segue_doors::sql::Literal;
use segue_model::{EffectLeft, Fault, FaultKind, Side};
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Longest time in which the readers' snapshots must have met in one moment.
const MEETING: Duration = Duration::from_secs(30);

/// Copies schema and logins to the target.
pub(crate) struct Seed(pub(crate) Arc<MariaReplica>);

/// The mark that a seed leaves at the target, so that a later process knows whose the
/// schema is.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// Whose.
    run: String,
    /// `copying` or `done`.
    pub(crate) state: String,
    /// Logins that it creates.
    logins: Vec<Account>,
    /// What the finished seed gave.
    pub(crate) output: Value,
}

/// Reads the mark at the target.
pub(crate) async fn mark(link: &Link, wire: &mut Wire) -> Outcome<Option<Mark>> {
    let op = format!("read the seed's mark at the {}", wire.side());
    let found = wire
        .first::<(String, String, String, String)>(format!(
            "SELECT run, state, logins, output FROM {} WHERE unit = {}",
            own("seed"),
            link.names.unit_literal()
        ))
        .await;
    let row = match found {
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => None,
        other => other.reading(&op)?,
    };
    let Some((run, state, logins, output)) = row else { return Ok(None) };
    let wrong = |e: serde_json::Error| Fault::new("SG0204", FaultKind::Invalid, op.clone(), e);
    Ok(Some(Mark {
        run,
        state,
        logins: serde_json::from_str(&logins).map_err(wrong)?,
        output: serde_json::from_str(&output).map_err(wrong)?,
    }))
}

async fn schema_exists(link: &Link, wire: &mut Wire) -> Outcome<bool> {
    let count: u64 = wire
        .one(format!(
            "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}",
            link.names.schema_literal()
        ))
        .await
        .reading(&format!("look for schema `{}` at the {}", link.names.schema, wire.side()))?;
    Ok(count > 0)
}

/// What is defined in the schema.
struct Defined {
    tables: Vec<Object>,
    others: Vec<Object>,
}

impl Defined {
    async fn read(link: &Link, wire: &mut Wire) -> Outcome<Self> {
        let names = locks::base_tables(link, wire).await?;
        let tables = schema::tables(link, wire, &names).await?;
        Ok(Self { tables, others: schema::others(link, wire).await? })
    }

    /// Whether all is defined alike, whatever the tables' counters say.
    fn is_like(&self, other: &Self) -> bool {
        let alike = |one: &[Object], other: &[Object]| {
            let all = |(a, b): (&Object, &Object)| {
                (a.kind, &a.name, a.normal()) == (b.kind, &b.name, b.normal())
            };
            one.len() == other.len() && one.iter().zip(other).all(all)
        };
        alike(&self.tables, &other.tables) && alike(&self.others, &other.others)
    }
}

/// The moment the copy shows: position, sessions that see it, definitions.
struct Moment {
    gtid: String,
    readers: Vec<Wire>,
    /// Which table each name stood for.
    names: moment::Tables,
    defined: Defined,
}

impl Seed {
    fn link(&self) -> &Link {
        &self.0.link
    }

    /// Takes the moment: snapshots of one place in the binary log; no writer waits.
    async fn moment(&self, deadline: Deadline) -> Outcome<Moment> {
        let link = self.link();
        let mut readers = [link.open(Side::Source).await?, link.open(Side::Source).await?];
        let mut helper = link.open(Side::Source).await?;
        let begun = Instant::now();
        let limit = Deadline::after(deadline.left().min(MEETING));
        let mut before = Defined::read(link, &mut helper).await?;
        loop {
            let names = moment::Tables::read(link, &mut helper).await?;
            let place = moment::same_moment(&mut readers, limit).await?;
            self.0.stops.at(|| "moment".into()).await;
            let defined = Defined::read(link, &mut helper).await?;
            // What changes in between is in the stream as well, which would change it a second
            // time. A definition that changes from here on changes by the stream alone, or
            // makes the snapshot refuse to read the table.
            if defined.is_like(&before) {
                tracing::info!(gtid = place.gtid, waited_ms = ms_since(begun), "copy begins");
                helper.close().await;
                return Ok(Moment { gtid: place.gtid, readers: readers.into(), names, defined });
            }
            if limit.over() {
                let op = "read the definitions of one moment";
                let cause = "they changed every time";
                return Err(Fault::new("SG0216", FaultKind::Busy, op, cause)
                    .hint("see who changes tables at the source, and run the step again then"));
            }
            before = defined;
        }
    }

    /// Reads the plan's logins at the source and makes sure that none exists at the target,
    /// but for those that another database of the unit has in common with this one.
    async fn definitions(&self, source: &mut Wire, target: &mut Wire) -> Outcome<Vec<Definition>> {
        let link = self.link();
        let accounts = logins::planned(link, source).await?;
        if let Some(there) = shared::strangers(link, target, Of::ThisRun).await?.first() {
            return Err(Fault::new(
                "SG0209",
                FaultKind::Conflict,
                format!("copy the logins of unit `{}`", link.names.unit),
                format!("login {there} exists at the target already"),
            )
            .hint("rename or drop it there; Segue copies the source's with its password"));
        }
        let mut all = Vec::new();
        for (account, _) in accounts {
            all.push(logins::define(link, source, &account).await?);
        }
        Ok(all)
    }

    async fn copy(&self, call: &Call, target: &mut Wire) -> Outcome<Value> {
        let link = self.link();
        let deadline = Deadline::of(call);
        let begun = Instant::now();
        let _loading = self.0.load();
        let mut source = link.open(Side::Source).await?;
        let definitions = {
            let _turn = link.pair.logins.lock().await;
            let definitions = self.definitions(&mut source, target).await?;
            self.set_mark(target, "copying", &definitions, &Value::Null).await?;
            definitions
        };
        let own = schema::schema(link, &mut source).await?;
        let op = format!("create schema `{}` at the target", link.names.schema);
        target.run(&own.create).await.changing(&op)?;
        target.run(format!("USE {}", link.names.schema_ident())).await.changing(&op)?;
        {
            let _turn = link.pair.logins.lock().await;
            shared::create(target, &definitions).await?;
        }
        // A table keeps options that the server would refuse for a new one.
        target
            .run("SET SESSION foreign_key_checks = 0, innodb_strict_mode = 0")
            .await
            .changing(&op)?;
        let Moment { gtid, readers, names, defined } = self.moment(deadline).await?;
        let Defined { tables, others } = defined;
        for table in &tables {
            schema::create(target, table)
                .await
                .changing(&format!("create table `{}` at the target", table.name))?;
        }
        let tally = self.rows(call, readers, &tables, deadline).await?;
        names.unmoved(&moment::Tables::read(link, &mut source).await?, &op)?;
        source.close().await;
        let objects = others.len();
        schema::create_all(target, others).await?;
        for definition in &definitions {
            logins::grant(target, definition).await?;
        }
        let output = json!({
            "effect": "database.seed",
            "gtid": gtid,
            "tables": tables.len(),
            "objects": objects,
            "logins": definitions.len(),
            "rows": tally.rows.load(Ordering::Relaxed),
            "bytes": tally.bytes.load(Ordering::Relaxed),
            "warnings": tally.warnings.load(Ordering::Relaxed),
            "ms": ms_since(begun),
        });
        self.set_mark(target, "done", &definitions, &output).await?;
        Ok(output)
    }

    /// Copies the rows of all tables, by as many carriers as there are snapshots.
    async fn rows(
        &self,
        call: &Call,
        mut readers: Vec<Wire>,
        tables: &[Object],
        deadline: Deadline,
    ) -> Outcome<Tally> {
        let link = self.link();
        let Some(first) = readers.first_mut() else {
            return Err(Fault::new("SG0210", FaultKind::Bug, "copy rows", "no snapshot is open"));
        };
        let estimates: BTreeMap<String, u64> = first
            .rows(format!(
                "SELECT TABLE_NAME, COALESCE(TABLE_ROWS, 0) FROM information_schema.TABLES \
                 WHERE TABLE_SCHEMA = {}",
                link.names.schema_literal()
            ))
            .await
            .reading("estimate the rows")?
            .into_iter()
            .collect();
        let mut tables: Vec<(u64, &str)> = tables
            .iter()
            .map(|table| (estimates.get(&table.name).copied().unwrap_or(0), table.name.as_str()))
            .collect();
        // The biggest first, so that no carrier is left alone with it at the end.
        tables.sort_by(|one, other| other.cmp(one));
        let mut parts = Vec::new();
        for (rows, table) in &tables {
            parts.push(copy::parts(link, first, table, *rows).await?);
        }
        let work = Work {
            parts: Mutex::new(copy::in_turns(parts)),
            tally: Tally::default(),
            expected: tables.iter().map(|(rows, _)| rows).sum(),
            progress: call.progress.as_ref(),
            deadline,
            stops: &self.0.stops,
        };
        let mut carriers = Vec::new();
        for mut reader in readers {
            let mut loader = link.open(Side::Target).await?;
            copy::prepare(&mut reader, &mut loader).await?;
            carriers.push((reader, loader));
        }
        futures_util::future::try_join_all(
            carriers.iter_mut().map(|(reader, loader)| copy::carry(reader, loader, &work)),
        )
        .await?;
        for (reader, loader) in carriers {
            reader.close().await;
            loader.close().await;
        }
        Ok(work.tally)
    }

    async fn set_mark(
        &self,
        target: &mut Wire,
        state: &str,
        definitions: &[Definition],
        output: &Value,
    ) -> Outcome<()> {
        let link = self.link();
        let accounts: Vec<&Account> = definitions.iter().map(|d| &d.account).collect();
        target
            .run(format!(
                "REPLACE INTO {} (unit, run, state, logins, output) VALUES ({}, {}, '{state}', {}, {})",
                own("seed"),
                link.names.unit_literal(),
                Literal::new(link.settings.run.as_str()),
                Literal::new(json!(accounts).to_string()),
                Literal::new(output.to_string())
            ))
            .await
            .changing("write the seed's mark at the target")
    }

    /// Removes a copy that carries this run's mark, its logins included.
    async fn remove(&self, target: &mut Wire) -> Outcome<()> {
        let link = self.link();
        let op = format!("remove the copy of schema `{}` at the target", link.names.schema);
        let Some(mark) = mark(link, target).await? else { return Ok(()) };
        if mark.run != link.settings.run.as_str() {
            return Err(foreign(link, &op, &format!("run {} copied it", mark.run)));
        }
        let known = logins::of_users(target, &logins::users(&mark.logins)).await?;
        let ours: Vec<(Account, bool)> =
            known.into_iter().filter(|(account, _)| mark.logins.contains(account)).collect();
        // Open logins mean that the target is, or was, the side that is written to.
        if mark.state == "done" && ours.iter().any(|(_, locked)| !locked) {
            return Err(Fault::new(
                "SG0208",
                FaultKind::Conflict,
                op,
                "its logins are open: it may hold writes of users",
            )
            .hint("fail back first"));
        }
        target
            .run(format!("DROP SCHEMA IF EXISTS {}", link.names.schema_ident()))
            .await
            .changing(&op)?;
        let _turn = link.pair.logins.lock().await;
        let others = shared::noted(link, target, Of::ThisRun).await?;
        let accounts = ours.into_iter().map(|(account, _)| account);
        let accounts: Vec<Account> = accounts.filter(|own| !others.contains(own)).collect();
        if !accounts.is_empty() {
            target
                .run(format!("DROP USER IF EXISTS {}", logins::joined(&accounts)))
                .await
                .changing(&op)?;
        }
        // The mark last: without it nobody would know whose the rest is.
        target
            .run(format!("DELETE FROM {} WHERE unit = {}", own("seed"), link.names.unit_literal()))
            .await
            .changing(&op)
    }
}

fn foreign(link: &Link, op: &str, cause: &str) -> Fault {
    Fault::new("SG0208", FaultKind::Conflict, op, cause).hint(format!(
        "schema `{}` at the target is not Segue's: move it away, or choose another target",
        link.names.schema
    ))
}

#[async_trait]
impl Effect for Seed {
    fn what(&self) -> String {
        format!("copy schema `{}` and its logins (locked) to the target", self.link().names.schema)
    }

    fn by_hand(&self) -> String {
        format!(
            "at the target, if its logins are locked: DROP SCHEMA {}; DROP USER for the plan's logins; DELETE FROM segue.seed WHERE unit = {}",
            self.link().names.schema_ident(),
            self.link().names.unit_literal()
        )
    }

    async fn prepare(&self, _call: &Call) -> Outcome<Value> {
        let link = self.link();
        let mut target = link.open(Side::Target).await?;
        let marked = mark(link, &mut target).await?.is_some();
        let op = format!("copy schema `{}` to the target", link.names.schema);
        if !marked && schema_exists(link, &mut target).await? {
            return Err(foreign(link, &op, "a schema of that name exists there"));
        }
        target.close().await;
        Ok(json!({ "schema": link.names.schema, "undo": "drop the copy" }))
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let link = self.link();
        let op = format!("copy schema `{}` to the target", link.names.schema);
        let mut target = link.open(Side::Target).await?;
        match mark(link, &mut target).await? {
            Some(mark) if mark.state == "done" && mark.run == link.settings.run.as_str() => {
                return Ok(mark.output);
            }
            Some(_) => self.remove(&mut target).await?,
            None if schema_exists(link, &mut target).await? => {
                return Err(foreign(link, &op, "a schema of that name exists there"));
            }
            None => {}
        }
        let limit = call.time_allowed.max(crate::link::CALL_LIMIT);
        target.set_limit(limit);
        let copied = self.copy(call, &mut target).await;
        target.close().await;
        copied.map_err(|fault| fault.leaving(EffectLeft::Maybe))
    }

    async fn observe(&self, _call: &Call) -> Outcome<Observed> {
        let link = self.link();
        let mut target = link.open(Side::Target).await?;
        let mark = mark(link, &mut target).await?;
        let exists = schema_exists(link, &mut target).await?;
        target.close().await;
        Ok(match mark {
            Some(mark)
                if mark.state == "done" && mark.run == link.settings.run.as_str() && exists =>
            {
                Observed::Applied(mark.output)
            }
            // A part of a copy is none: `run` drops it and begins again.
            _ => Observed::NotApplied,
        })
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        let mut target = self.link().open(Side::Target).await?;
        target.set_limit(call.time_allowed.max(crate::link::CALL_LIMIT));
        self.remove(&mut target).await?;
        target.close().await;
        Ok(())
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        epoch::quench(self.link(), &BOTH).await
    }
}
