//! Schema, servers and logins.

use super::Found;
use super::names::secret;
use segue_model::Side;
use segue_model::plan::DatabasePlan;

/// Schemas that belong to the server or to Segue.
const RESERVED: [&str; 5] = ["mysql", "sys", "information_schema", "performance_schema", "segue"];

/// Logins without which nobody can help the server.
const SYSTEM_LOGINS: [&str; 4] = ["root", "mysql", "mariadb.sys", "mysql.sys"];

pub(super) fn check(found: &mut Found, databases: &[DatabasePlan]) {
    for database in databases {
        one(found, database);
    }
}

fn one(found: &mut Found, database: &DatabasePlan) {
    schema(found, &database.schema);
    for side in [Side::Source, Side::Target] {
        let server = database.servers.get(side);
        let at = format!("database.{side}");
        if server.address.port() == 0 || server.address.ip().is_unspecified() {
            found.add(
                "SG0719",
                format!("{at}.address"),
                format!("{} is not an address that can be connected to", server.address),
                "write the server's address and port",
            );
        }
        if server.admin.is_empty() {
            found.add(
                "SG0720",
                format!("{at}.admin"),
                "the administrator's login is empty",
                "name a login that may create users and read the binary log",
            );
        }
        secret(found, &format!("{at}.password"), &server.password);
    }
    if database.servers.source.address == database.servers.target.address {
        found.add(
            "SG0719",
            "database.target.address",
            format!("both sides have the server {}", database.servers.target.address),
            "name the server of the target: a schema does not move within one server",
        );
    }
    logins(found, database);
}

fn schema(found: &mut Found, schema: &str) {
    let lower = schema.to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$');
    let (text, remedy) = if RESERVED.contains(&lower.as_str()) {
        (format!("`{schema}` is reserved"), "name the schema of the application")
    } else if schema.is_empty() || schema.len() > 64 || !schema.chars().all(allowed) {
        (
            format!("{schema:?} is not a schema name that Segue moves"),
            "use 1 to 64 letters, digits, `_`, `-` and `$`",
        )
    } else {
        return;
    };
    found.add("SG0721", "database.schema", text, remedy);
}

fn logins(found: &mut Found, database: &DatabasePlan) {
    if database.logins.is_empty() {
        found.add(
            "SG0720",
            "database.logins",
            "no login is named, so the fence would shut nobody out",
            "name every login that the application uses",
        );
    }
    for login in &database.logins {
        let admins = [&database.servers.source.admin, &database.servers.target.admin];
        let text = if login.is_empty() || login.len() > 80 || login.contains(['\'', '\\', '\0']) {
            format!("{login:?} is not the name of a login")
        } else if SYSTEM_LOGINS.contains(&login.as_str()) {
            format!("`{login}` keeps the server itself going")
        } else if admins.contains(&login) {
            format!("`{login}` is the administrator that Segue itself uses")
        } else {
            continue;
        };
        found.add(
            "SG0720",
            "database.logins",
            text,
            "name only logins of the application: they are locked while the unit is sealed",
        );
    }
    found.duplicates(
        "login",
        database.logins.iter().map(|login| ("database.logins", login.as_str())),
    );
}
