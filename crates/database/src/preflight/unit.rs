//! What stands against the plan in the unit itself: its tables and logins.

use crate::effects::shared::{self, Of};
use crate::fault::Explain;
use crate::link::{Link, Wire};
use crate::logins;
use crate::settings::Names;
use segue_doors::sql::Literal;
use segue_model::{Finding, Side};
use segue_port::Outcome;

/// Checks the unit where it lives.
pub(super) async fn source_side(link: &Link) -> Outcome<Vec<Finding>> {
    let mut found = Vec::new();
    let mut wire = link.admin(Side::Source).await?;
    check_tables(link, &mut wire, &mut found).await?;
    check_others(link, &mut wire, &mut found).await?;
    check_plan_logins(link, &mut wire, &mut found).await?;
    check_other_logins(link, &mut wire, &mut found).await?;
    wire.close().await;
    Ok(found)
}

async fn check_tables(link: &Link, wire: &mut Wire, found: &mut Vec<Finding>) -> Outcome<()> {
    let schema = link.names.schema_literal();
    let op = format!("read the tables of schema `{}`", link.names.schema);
    let tables: Vec<(String, String, Option<String>, bool)> = wire
        .rows(format!(
            "SELECT t.TABLE_NAME, t.TABLE_TYPE, t.ENGINE, EXISTS (SELECT 1 FROM information_schema.STATISTICS s \
               WHERE s.TABLE_SCHEMA = t.TABLE_SCHEMA AND s.TABLE_NAME = t.TABLE_NAME AND s.NON_UNIQUE = 0) \
             FROM information_schema.TABLES t WHERE t.TABLE_SCHEMA = {schema} AND t.TABLE_TYPE <> 'VIEW'"
        ))
        .await
        .reading(&op)?;
    if tables.is_empty() {
        found.push(Finding::refuse(
            "SG0245",
            format!("schema `{}` does not exist at the source, or has no table", link.names.schema),
            "see the plan's `database.schema`",
        ));
    }
    for (name, kind, engine, keyed) in tables {
        if kind != "BASE TABLE" {
            found.push(Finding::refuse(
                "SG0246",
                format!("`{name}` is a {}: not supported", kind.to_lowercase()),
                "remove it from the schema, or change it into a plain table",
            ));
        } else if engine.as_deref() != Some("InnoDB") {
            found.push(Finding::refuse(
                "SG0247",
                format!("table `{name}` uses engine {}", engine.as_deref().unwrap_or("?")),
                format!("ALTER TABLE {} ENGINE = InnoDB", link.names.table(&name)),
            ));
        } else if !keyed {
            found.push(Finding::warn(
                "SG0248",
                format!("table `{name}` has no unique key: each changed row is searched through the whole table"),
                "add a primary key, or expect lag when many of its rows change",
            ));
        }
    }
    let elsewhere: Vec<(String, String)> = wire
        .rows(format!(
            "SELECT CONSTRAINT_NAME, CONCAT(UNIQUE_CONSTRAINT_SCHEMA, '.', REFERENCED_TABLE_NAME) \
             FROM information_schema.REFERENTIAL_CONSTRAINTS \
             WHERE CONSTRAINT_SCHEMA = {schema} AND UNIQUE_CONSTRAINT_SCHEMA <> {schema}"
        ))
        .await
        .reading(&op)?;
    for (name, to) in elsewhere {
        found.push(Finding::refuse(
            "SG0249",
            format!("foreign key `{name}` refers to {to} in another schema"),
            "drop the key: each schema is copied and followed by itself, also those of one unit",
        ));
    }
    Ok(())
}

/// What is no table must be one that can be made anew.
async fn check_others(link: &Link, wire: &mut Wire, found: &mut Vec<Finding>) -> Outcome<()> {
    let schema = link.names.schema_literal();
    let op = format!("read the views and routines of schema `{}`", link.names.schema);
    let routines: Vec<(String, String)> = wire
        .rows(format!(
            "SELECT LOWER(ROUTINE_TYPE), ROUTINE_NAME FROM information_schema.ROUTINES \
             WHERE ROUTINE_SCHEMA = {schema} AND ROUTINE_TYPE NOT IN ('FUNCTION', 'PROCEDURE')"
        ))
        .await
        .reading(&op)?;
    for (kind, name) in routines {
        found.push(Finding::refuse(
            "SG0222",
            format!("{kind} `{name}` cannot be copied"),
            "remove it from the schema, or move it by hand",
        ));
    }
    // Their statement is shown in two character sets at once, so it cannot be sent as it is.
    let mixed: Vec<(String, String, String)> = wire
        .rows(format!(
            "SELECT kind, name, sets FROM (SELECT 'event' AS kind, EVENT_NAME AS name, CHARACTER_SET_CLIENT AS sets, EVENT_COMMENT AS comment \
               FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {schema} \
             UNION ALL SELECT LOWER(ROUTINE_TYPE), ROUTINE_NAME, CHARACTER_SET_CLIENT, ROUTINE_COMMENT \
               FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {schema} \
             UNION ALL SELECT 'view', TABLE_NAME, CHARACTER_SET_CLIENT, '' \
               FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {schema}) made \
             WHERE sets NOT LIKE 'utf8%' AND CONCAT(name, comment) REGEXP '[^ -~]'"
        ))
        .await
        .reading(&op)?;
    for (kind, name, set) in mixed {
        found.push(Finding::refuse(
            "SG0222",
            format!("{kind} `{name}` was made in character set {set} and has other letters than ASCII in its name or comment"),
            "make it anew in a session of utf8mb4",
        ));
    }
    let broken: Vec<(String, String)> = wire
        .rows(format!(
            "SELECT TABLE_NAME, TABLE_COMMENT FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = {schema} AND TABLE_TYPE = 'VIEW' AND TABLE_COMMENT <> 'VIEW'"
        ))
        .await
        .reading(&op)?;
    for (name, why) in broken {
        found.push(Finding::refuse(
            "SG0222",
            format!("view `{name}` does not work, so it cannot be made anew: {why}"),
            "mend the view, or drop it",
        ));
    }
    Ok(())
}

async fn check_plan_logins(link: &Link, wire: &mut Wire, found: &mut Vec<Finding>) -> Outcome<()> {
    let planned = logins::planned(link, wire).await?;
    for login in &link.settings.plan.logins {
        if !planned.iter().any(|(account, _)| account.user == *login) {
            found.push(Finding::refuse(
                "SG0250",
                format!("login `{login}` does not exist at the source"),
                "see the plan's `database.logins`",
            ));
        }
    }
    for (account, _) in &planned {
        let definition = logins::define(link, wire, account).await?;
        for wider in definition.wider {
            found.push(Finding::warn(
                "SG0251",
                format!("login {account} has rights beyond schema `{}`: {wider}", link.names.schema),
                "they are not copied, and the login is locked at the source from seal on: nothing else may use it",
            ));
        }
    }
    Ok(())
}

async fn check_other_logins(link: &Link, wire: &mut Wire, found: &mut Vec<Finding>) -> Outcome<()> {
    let admin = &link.settings.plan.servers.get(wire.side()).admin;
    let known =
        |user: &str| link.settings.plan.logins.iter().any(|login| login == user) || user == admin;
    for account in logins::writers(link, wire).await? {
        if !known(&account.user) {
            found.push(Finding::refuse(
                "SG0252",
                format!(
                    "login {account} may write to schema `{}` and is not in the plan",
                    link.names.schema
                ),
                "add it to `database.logins`, or take its rights on the schema away",
            ));
        }
    }
    for account in logins::global_writers(wire).await? {
        if !known(&account.user) && !Names::is_epoch_login(&account.user) {
            found.push(Finding::warn(
                "SG0253",
                format!("login {account} may write to every schema and is not an administrator"),
                "it is not locked by the seal; see that nothing writes to the schema through it",
            ));
        }
    }
    Ok(())
}

/// Checks that the target has room for the unit.
pub(super) async fn target_side(link: &Link) -> Outcome<Vec<Finding>> {
    let mut found = Vec::new();
    let mut wire = link.admin(Side::Target).await?;
    let marked = crate::effects::seed::mark(link, &mut wire).await?.is_some();
    if !marked {
        let op = "look for the schema at the target";
        let count: u64 = wire
            .one(format!(
                "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}",
                link.names.schema_literal()
            ))
            .await
            .reading(op)?;
        if count > 0 {
            found.push(Finding::refuse(
                "SG0208",
                format!(
                    "schema `{}` exists at the target and is not Segue's copy",
                    link.names.schema
                ),
                "move it away, or choose another target",
            ));
        }
        for account in shared::strangers(link, &mut wire, Of::AnyRun).await? {
            found.push(Finding::refuse(
                "SG0209",
                format!("login {account} exists at the target already"),
                "rename or drop it there; Segue copies the source's with its password",
            ));
        }
    }
    let anonymous: Vec<String> = wire
        .rows("SELECT Host FROM mysql.global_priv WHERE User = ''")
        .await
        .reading("look for anonymous logins at the target")?;
    for host in anonymous {
        found.push(Finding::warn(
            "SG0254",
            format!("the target has an anonymous login for host `{host}`: from there it comes before logins of host `%`"),
            "drop it: nobody should need it",
        ));
    }
    check_plugins(link, &mut wire, &mut found).await?;
    wire.close().await;
    Ok(found)
}

/// The source's logins must find their plugins at the target.
async fn check_plugins(link: &Link, target: &mut Wire, found: &mut Vec<Finding>) -> Outcome<()> {
    if link.settings.plan.logins.is_empty() {
        return Ok(());
    }
    let mut source = link.admin(Side::Source).await?;
    let names: Vec<String> = link
        .settings
        .plan
        .logins
        .iter()
        .map(|login| Literal::new(login.as_str()).to_string())
        .collect();
    let wanted: Vec<String> = source
        .rows(format!(
            "SELECT DISTINCT COALESCE(JSON_VALUE(Priv, '$.plugin'), '') FROM mysql.global_priv WHERE User IN ({})",
            names.join(", ")
        ))
        .await
        .reading("read the plugins of the logins")?;
    source.close().await;
    let there: Vec<String> = target
        .rows("SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE'")
        .await
        .reading("read the target's plugins")?;
    for plugin in wanted {
        if !plugin.is_empty() && !there.contains(&plugin) {
            found.push(Finding::refuse(
                "SG0255",
                format!("a login of the unit uses plugin `{plugin}`, which the target lacks"),
                "install the plugin at the target",
            ));
        }
    }
    Ok(())
}
