//! What stands against the plan at both servers, before anything is touched.

use crate::fault::Explain;
use crate::link::{Link, Wire};
use crate::settings::OWN_SCHEMA;
use crate::{epoch, own};
use segue_doors::sql::Row;
use segue_model::{Finding, Side};
use segue_port::Outcome;
use std::collections::BTreeMap;

mod unit;

/// The server's settings by name, lower case.
type Variables = BTreeMap<String, String>;

/// Checks both servers.
pub(crate) async fn run(link: &Link) -> Vec<Finding> {
    let mut found = Vec::new();
    check_names(link, &mut found);
    let mut known = Vec::new();
    for side in [Side::Source, Side::Target] {
        match server(link, side).await {
            Ok((variables, findings)) => {
                found.extend(findings);
                known.push(variables);
            }
            Err(fault) => {
                found.push(Finding::refuse(
                    &fault.code,
                    format!("{}: {}", fault.op, fault.cause),
                    fault.hint,
                ));
            }
        }
    }
    if let [source, target] = known.as_slice() {
        check_pair(source, target, &mut found);
        for check in [unit::source_side(link).await, unit::target_side(link).await] {
            match check {
                Ok(findings) => found.extend(findings),
                Err(fault) => found.push(Finding::refuse(
                    &fault.code,
                    format!("{}: {}", fault.op, fault.cause),
                    fault.hint,
                )),
            }
        }
    }
    found
}

fn check_names(link: &Link, found: &mut Vec<Finding>) {
    let schema = &link.names.schema;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '-');
    if schema.is_empty() || !schema.chars().all(plain) || schema == OWN_SCHEMA {
        found.push(Finding::refuse(
            "SG0230",
            format!("schema name `{schema}` cannot be used in replication filters"),
            "only letters, digits, `_`, `$` and `-`; and not `segue`",
        ));
    }
}

async fn server(link: &Link, side: Side) -> Outcome<(Variables, Vec<Finding>)> {
    let mut wire = link.admin(side).await?;
    let mut found = Vec::new();
    let rows: Vec<(String, String)> = wire
        .rows("SHOW GLOBAL VARIABLES")
        .await
        .reading(&format!("read the settings of the {side}"))?;
    let variables: Variables = rows.into_iter().map(|(k, v)| (k.to_lowercase(), v)).collect();
    check_variables(side, &variables, &mut found);
    check_rights(side, &mut wire, &mut found).await?;
    check_streams(link, &mut wire, &mut found).await?;
    check_binlog_filters(side, &mut wire, &mut found).await?;
    check_claim(link, &mut wire, &mut found).await?;
    wire.close().await;
    Ok((variables, found))
}

/// A setting that must have one value.
struct Must {
    name: &'static str,
    value: &'static str,
    code: &'static str,
    why: &'static str,
}

const MUSTS: [Must; 7] = [
    Must {
        name: "log_bin",
        value: "ON",
        code: "SG0231",
        why: "without a binary log nothing can follow this server",
    },
    Must {
        name: "binlog_format",
        value: "ROW",
        code: "SG0232",
        why: "statements may give other rows at the other server",
    },
    Must {
        name: "binlog_row_image",
        value: "FULL",
        code: "SG0232",
        why: "rows must be found at the other server without doubt",
    },
    Must {
        name: "log_slave_updates",
        value: "OFF",
        code: "SG0233",
        why: "what arrives from the other server would travel back to it",
    },
    Must {
        name: "replicate_same_server_id",
        value: "OFF",
        code: "SG0233",
        why: "what arrives from the other server would travel back to it",
    },
    Must {
        name: "slave_run_triggers_for_rbr",
        value: "NO",
        code: "SG0234",
        why: "triggers would act a second time at the other server",
    },
    Must {
        name: "wsrep_on",
        value: "OFF",
        code: "SG0235",
        why: "table locks and streams work otherwise in a cluster",
    },
];

fn check_variables(side: Side, variables: &Variables, found: &mut Vec<Finding>) {
    for must in MUSTS {
        let is = variables.get(must.name).map_or("", String::as_str);
        // A setting this version lacks cannot be wrong.
        if !is.is_empty() && !is.eq_ignore_ascii_case(must.value) {
            found.push(Finding::refuse(
                must.code,
                format!("`{}` is {is} at the {side}: {}", must.name, must.why),
                format!("set {} = {} in the server's configuration", must.name, must.value),
            ));
        }
    }
    let version = variables.get("version").map_or("", String::as_str);
    if !version.contains("MariaDB") || number(version) < (10, 8) {
        found.push(Finding::refuse(
            "SG0236",
            format!("the {side} runs version `{version}`"),
            "MariaDB 10.8 or newer is needed",
        ));
    }
    if side == Side::Target {
        for (name, wanted, why) in [
            ("read_only", "OFF", "the unit's logins could not write after the promotion"),
            ("local_infile", "ON", "rows are loaded from this connection"),
        ] {
            if variables.get(name).is_some_and(|is| !is.eq_ignore_ascii_case(wanted)) {
                found.push(Finding::refuse(
                    "SG0237",
                    format!("`{name}` is not {wanted} at the target: {why}"),
                    format!("SET GLOBAL {name} = {wanted}"),
                ));
            }
        }
    }
    let kept = variables.get("binlog_expire_logs_seconds").and_then(|is| is.parse().ok());
    if kept.is_some_and(|seconds: u64| seconds > 0 && seconds < 86_400) {
        found.push(Finding::warn(
            "SG0256",
            format!("the {side} keeps its binary log for less than a day"),
            "a stream that stands for longer cannot go on: raise binlog_expire_logs_seconds until the migration is settled",
        ));
    }
    if variables.get("sync_binlog").is_some_and(|is| is != "1") {
        found.push(Finding::warn(
            "SG0238",
            format!("`sync_binlog` is not 1 at the {side}"),
            "if this server's machine fails, its last transactions may be missing from the binary log, and so at the other side",
        ));
    }
}

fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn check_pair(source: &Variables, target: &Variables, found: &mut Vec<Finding>) {
    for (name, why) in [
        ("server_id", "each server would take the other's changes for its own"),
        ("gtid_domain_id", "the positions of both directions would mix"),
    ] {
        if source.get(name) == target.get(name) {
            found.push(Finding::refuse(
                "SG0239",
                format!(
                    "`{name}` is {} at both servers: {why}",
                    source.get(name).map_or("?", String::as_str)
                ),
                format!(
                    "SET GLOBAL {name} to another value at the target, and in its configuration"
                ),
            ));
        }
    }
    if source.get("lower_case_table_names") != target.get("lower_case_table_names") {
        found.push(Finding::refuse(
            "SG0240",
            "`lower_case_table_names` differs between the servers",
            "it can only be chosen when a server is set up",
        ));
    }
    let version =
        |variables: &Variables| number(variables.get("version").map_or("", String::as_str));
    if version(target) < version(source) {
        found.push(Finding::refuse(
            "SG0236",
            "the target's version is older than the source's",
            "replication works towards the same or a newer version",
        ));
    } else if version(target) > version(source) {
        found.push(Finding::warn(
            "SG0236",
            "the target's version is newer than the source's: the way back goes to an older one",
            "do not use features of the newer version until the migration is settled",
        ));
    }
    for name in [
        "sql_mode",
        "time_zone",
        "system_time_zone",
        "event_scheduler",
        "collation_server",
        "innodb_default_row_format",
        "innodb_strict_mode",
        "max_allowed_packet",
    ] {
        if source.get(name) != target.get(name) {
            found.push(Finding::warn(
                "SG0241",
                format!(
                    "`{name}` differs: {} at the source, {} at the target",
                    source.get(name).map_or("?", String::as_str),
                    target.get(name).map_or("?", String::as_str)
                ),
                "the application may notice; set it alike",
            ));
        }
    }
}

async fn check_rights(side: Side, wire: &mut Wire, found: &mut Vec<Finding>) -> Outcome<()> {
    let lines: Vec<String> = wire
        .rows("SHOW GRANTS")
        .await
        .reading(&format!("read the administrator's rights at the {side}"))?;
    let everywhere: Vec<&String> =
        lines.iter().filter(|line| line.contains(" ON *.* TO ")).collect();
    let all = everywhere.iter().any(|line| line.starts_with("GRANT ALL PRIVILEGES"));
    let pass_on = everywhere.iter().any(|line| line.contains("WITH GRANT OPTION"));
    let held: Vec<&str> = everywhere
        .iter()
        .filter_map(|line| line.strip_prefix("GRANT ")?.split(" ON *.*").next())
        .flat_map(|rights| rights.split(", "))
        .collect();
    let mut missing: Vec<&str> = if all {
        Vec::new()
    } else {
        epoch::ADMIN_RIGHTS.iter().copied().filter(|right| !held.contains(right)).collect()
    };
    if !all {
        missing.extend(
            ["SELECT", "INSERT", "CREATE", "DROP"].iter().filter(|right| !held.contains(*right)),
        );
    }
    if !pass_on {
        missing.push("GRANT OPTION");
    }
    if !missing.is_empty() {
        found.push(Finding::refuse(
            "SG0242",
            format!("the administrator's login at the {side} lacks: {}", missing.join(", ")),
            "GRANT ALL PRIVILEGES ON *.* TO it WITH GRANT OPTION, for the time of the migration",
        ));
    }
    Ok(())
}

async fn check_streams(link: &Link, wire: &mut Wire, found: &mut Vec<Finding>) -> Outcome<()> {
    let side = wire.side();
    let shown = link.pair.filters_shown.get(side).read().await;
    let rows: Vec<Row> = wire
        .rows("SHOW ALL SLAVES STATUS")
        .await
        .reading(&format!("list the replication connections of the {side}"))?;
    drop(shown);
    for row in rows {
        let name =
            row.get_opt::<String, _>("Connection_name").and_then(Result::ok).unwrap_or_default();
        if name != link.names.connection(side) {
            found.push(Finding::refuse(
                "SG0243",
                format!("the {side} has a replication connection `{name}` of its own"),
                "its position shares one setting with Segue's; move from a server without one",
            ));
        }
    }
    Ok(())
}

async fn check_binlog_filters(
    side: Side,
    wire: &mut Wire,
    found: &mut Vec<Finding>,
) -> Outcome<()> {
    let row: Option<Row> = wire
        .first("SHOW MASTER STATUS")
        .await
        .reading(&format!("read the binary log of the {side}"))?;
    let Some(row) = row else { return Ok(()) };
    for column in ["Binlog_Do_DB", "Binlog_Ignore_DB"] {
        let value = row.get_opt::<String, _>(column).and_then(Result::ok).unwrap_or_default();
        if !value.is_empty() {
            found.push(Finding::refuse(
                "SG0244",
                format!("the {side} leaves schemas out of its binary log ({column}: {value})"),
                "take binlog-do-db and binlog-ignore-db out of the configuration",
            ));
        }
    }
    Ok(())
}

async fn check_claim(link: &Link, wire: &mut Wire, found: &mut Vec<Finding>) -> Outcome<()> {
    let side = wire.side();
    if own::exists(wire).await? {
        if let Some(run) = own::claimed(link, wire).await?
            && run != link.settings.run.as_str()
        {
            found.push(Finding::refuse(
                "SG0207",
                format!("run {run} has claimed unit `{}` at the {side}", link.names.unit),
                format!(
                    "if that run is gone for ever: DELETE FROM segue.claim WHERE unit = {}",
                    link.names.unit_literal()
                ),
            ));
        }
        return Ok(());
    }
    let count: u64 = wire
        .one(format!(
            "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{OWN_SCHEMA}'"
        ))
        .await
        .reading("look for Segue's schema")?;
    if count > 0 {
        found.push(Finding::refuse(
            "SG0208",
            format!("a schema `{OWN_SCHEMA}` exists at the {side} and is not Segue's"),
            "rename it",
        ));
    }
    Ok(())
}
