//! A copy of a unit's schema and logins for a rehearsal: read from the live source in a
//! snapshot without a lock, as the administrator, and written to a private server.
//!
//! **Invariant.** The live source is only read: no login, no table and no row of Segue's is
//! made there.

use crate::copy::{self, Tally, Work};
use crate::fault::{Deadline, Explain};
use crate::link::{Link, Wire};
use crate::logins::Definition;
use crate::settings::Settings;
use crate::stops::Stops;
use crate::{events, locks, logins, moment, schema};
use secrecy::SecretString;
use segue_doors::sql::{Ident, Literal};
use segue_model::plan::{DatabasePlan, DatabaseServer};
use segue_model::{Fault, FaultKind, RunId, Side, Sides, UnitName};
use segue_port::{Outcome, ProgressSink};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Longest time in which the readers' snapshots must have met in one moment.
const MEETING: Duration = Duration::from_secs(30);
/// Time limit of opening a session.
const CONNECTING: Duration = Duration::from_secs(3);

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloned {
    /// Tables.
    pub tables: usize,
    /// Views, routines, triggers and events.
    pub objects: usize,
    /// Rows.
    pub rows: u64,
    /// Logins, as `'user'@'host'`.
    pub logins: Vec<String>,
}

/// A server as a rehearsal needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// What it calls itself.
    pub version: String,
    /// Its variables by name, those that were asked for and are set.
    pub variables: BTreeMap<String, String>,
}

/// Copies the schema of `plan` and its logins from the live source to the server `to`.
///
/// # Errors
/// What the servers answer, as for a seed.
pub async fn clone_schema(
    plan: &DatabasePlan,
    unit: &UnitName,
    to: DatabaseServer,
    limit: Duration,
    progress: &dyn ProgressSink,
) -> Outcome<Cloned> {
    let servers = Sides { source: plan.servers.source.clone(), target: to };
    let link = Link::new(Settings {
        plan: DatabasePlan { servers, ..plan.clone() },
        run: RunId("clone".into()),
        unit: unit.clone(),
        lease_ms: 1_000,
    });
    let deadline = Deadline::after(limit);
    let mut source = link.admin(Side::Source).await?;
    let mut target = link.admin(Side::Target).await?;
    target.set_limit(limit);
    source.set_limit(limit.min(Duration::from_secs(60)));
    let made = logins_and_schema(&link, &mut source, &mut target).await?;
    let mut readers = [link.admin(Side::Source).await?, link.admin(Side::Source).await?];
    let meeting = Deadline::after(deadline.left().min(MEETING));
    moment::same_moment(&mut readers, meeting).await?;
    let names = locks::base_tables(&link, &mut source).await?;
    let tables = schema::tables(&link, &mut source, &names).await?;
    target
        .run("SET SESSION foreign_key_checks = 0, innodb_strict_mode = 0")
        .await
        .changing("prepare the clone")?;
    for table in &tables {
        schema::create(&mut target, table)
            .await
            .changing(&format!("create table `{}` in the clone", table.name))?;
    }
    let tally = rows(&link, &mut target, readers, &names, deadline, progress).await?;
    let others = schema::others(&link, &mut source).await?;
    let objects = others.len();
    schema::create_all(&mut target, others).await?;
    for definition in &made {
        logins::grant(&mut target, definition).await?;
    }
    // What runs at the source runs in its stand-in.
    let enabled = events::of_schema(&link, &mut source, true).await?;
    events::set(&link, &mut target, &enabled, true).await?;
    source.close().await;
    target.close().await;
    Ok(Cloned {
        tables: tables.len(),
        objects,
        rows: tally.rows.load(Ordering::Relaxed),
        logins: made.iter().map(|definition| definition.account.to_string()).collect(),
    })
}

async fn logins_and_schema(
    link: &Link,
    source: &mut Wire,
    target: &mut Wire,
) -> Outcome<Vec<Definition>> {
    let own = schema::schema(link, source).await?;
    let op = format!("create schema `{}` in the clone", link.names.schema);
    target.run(&own.create).await.changing(&op)?;
    target.run(format!("USE {}", link.names.schema_ident())).await.changing(&op)?;
    let mut made = Vec::new();
    for (account, locked) in logins::planned(link, source).await? {
        let definition = logins::define(link, source, &account).await?;
        logins::create_locked(target, &definition).await?;
        logins::set_locked(target, std::slice::from_ref(&account), locked).await?;
        made.push(definition);
    }
    Ok(made)
}

async fn rows(
    link: &Link,
    target: &mut Wire,
    mut readers: [Wire; 2],
    names: &[String],
    deadline: Deadline,
    progress: &dyn ProgressSink,
) -> Outcome<Tally> {
    let estimates: BTreeMap<String, u64> = readers[0]
        .rows(format!(
            "SELECT TABLE_NAME, COALESCE(TABLE_ROWS, 0) FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = {}",
            link.names.schema_literal()
        ))
        .await
        .reading("estimate the rows")?
        .into_iter()
        .collect();
    let estimate = |name: &String| estimates.get(name).copied().unwrap_or(0);
    let mut parts = Vec::new();
    for name in names {
        parts.push(copy::parts(link, &mut readers[0], name, estimate(name)).await?);
    }
    let work = Work {
        parts: Mutex::new(copy::in_turns(parts)),
        tally: Tally::default(),
        expected: names.iter().map(estimate).sum(),
        progress,
        deadline,
        stops: &Stops::default(),
    };
    let mut carriers = Vec::new();
    for mut reader in readers {
        let mut loader = link.admin(Side::Target).await?;
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
    target.ping().await.reading("look at the clone")?;
    Ok(work.tally)
}

async fn session(server: &DatabaseServer) -> Outcome<segue_doors::sql::Session> {
    let op = format!("connect to the database server at {}", server.address);
    let endpoint = segue_doors::sql::Endpoint {
        address: server.address,
        user: server.admin.clone(),
        password: segue_doors::secrets::read(&server.password)?,
    };
    segue_doors::sql::connect(&endpoint, CONNECTING).await.reading(&op)
}

/// Reads what a server calls itself, and those of its variables that are named.
///
/// # Errors
/// If it does not answer.
pub async fn server_facts(server: &DatabaseServer, wanted: &[&str]) -> Outcome<ServerFacts> {
    let op = format!("read the settings of the database server at {}", server.address);
    let mut session = session(server).await?;
    let version: String = session.one("SELECT VERSION()").await.reading(&op)?;
    let all: Vec<(String, String)> = session.rows("SHOW GLOBAL VARIABLES").await.reading(&op)?;
    session.close().await;
    let wanted = |(name, _): &(String, String)| wanted.contains(&name.as_str());
    Ok(ServerFacts { version, variables: all.into_iter().filter(wanted).collect() })
}

/// Counts the statements that wrote at a server since it started.
///
/// # Errors
/// If it does not answer.
pub async fn written(server: &DatabaseServer) -> Outcome<u64> {
    let op = format!("count the writes at the database server at {}", server.address);
    let mut session = session(server).await?;
    let counts: Vec<(String, String)> = session
        .rows(
            "SHOW GLOBAL STATUS WHERE Variable_name IN \
             ('Com_insert', 'Com_update', 'Com_delete', 'Com_replace')",
        )
        .await
        .reading(&op)?;
    session.close().await;
    Ok(counts.iter().filter_map(|(_, value)| value.parse::<u64>().ok()).sum())
}

/// Bytes that the unit's schema takes at the source.
///
/// # Errors
/// If the server does not answer.
pub async fn schema_bytes(plan: &DatabasePlan) -> Outcome<u64> {
    let op = format!("measure schema `{}` at the source", plan.schema);
    let mut session = session(&plan.servers.source).await?;
    let bytes: Option<u64> = session
        .one(format!(
            "SELECT CAST(SUM(DATA_LENGTH + INDEX_LENGTH) AS UNSIGNED) \
             FROM information_schema.TABLES WHERE TABLE_SCHEMA = {}",
            Literal::new(plan.schema.as_str())
        ))
        .await
        .reading(&op)?;
    session.close().await;
    Ok(bytes.unwrap_or(0))
}

/// Gives one of the plan's logins a password that is known here, in a clone: nobody knows that
/// of the live one. Returns the login's user part.
///
/// # Errors
/// `SG0209` if the plan has no login.
pub async fn adopt_login(
    clone: &DatabaseServer,
    plan: &DatabasePlan,
    password: &SecretString,
) -> Outcome<String> {
    let op = "give the stand-in application its login".to_owned();
    let Some(user) = plan.logins.first() else {
        return Err(Fault::new("SG0209", FaultKind::Invalid, op, "the plan names no login")
            .hint("name the site's login in `database.logins`"));
    };
    let stored = Literal::new(crate::epoch::stored_form(password));
    let account = format!("{}@'%'", Literal::new(user.as_str()));
    let mut session = session(clone).await?;
    for statement in [
        format!("CREATE USER IF NOT EXISTS {account}"),
        format!("ALTER USER {account} IDENTIFIED VIA mysql_native_password USING {stored}"),
        format!("ALTER USER {account} ACCOUNT UNLOCK"),
        format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON {}.* TO {account}",
            Ident::new(plan.schema.replace('_', "\\_"))
        ),
    ] {
        session.run(statement).await.changing(&op)?;
    }
    session.close().await;
    Ok(user.clone())
}
