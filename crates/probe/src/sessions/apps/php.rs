//! Applications in PHP with a configuration file of their own.

use super::read::{Text, entry, quoted};
use super::{App, Kept};

/// Opens a file of the application's folder.
pub(super) type Open<'a> = &'a dyn Fn(&str) -> Option<Text>;

fn app(name: &'static str, text: &Text, kept: Kept, said: String) -> Option<App> {
    Some(App { name, kept, said, file: text.file.clone() })
}

/// A cookie that is signed, and what it stands for in the users' table.
pub(super) fn wordpress(open: Open<'_>) -> Option<App> {
    let text = open("wp-config.php")?;
    let schema = text.value(|line| {
        let rest = line.strip_prefix("define")?.trim_start().strip_prefix('(')?;
        (quoted(rest)? == "DB_NAME").then(|| quoted(rest.split_once(',')?.1))?
    });
    let prefix = text
        .value(|line| quoted(line.strip_prefix("$table_prefix")?.trim_start().strip_prefix('=')?));
    let prefix = prefix.map_or_else(|| "wp_".to_owned(), |prefix| prefix.text);
    let said = match &schema {
        Some(schema) => text.at("DB_NAME", schema),
        None => text.without("DB_NAME in plain text"),
    };
    let table = format!("{prefix}usermeta");
    app("WordPress", &text, Kept::Database { schema: schema.map(|one| one.text), table }, said)
}

pub(super) fn magento(open: Open<'_>) -> Option<App> {
    let text = open("app/etc/env.php")?;
    let Some(save) = text.value_after("'session'", |line| entry("save", line)) else {
        return app(
            "Magento",
            &text,
            Kept::Files("var/session".into()),
            text.without("session.save"),
        );
    };
    let host =
        |key: &str| text.value_after("'session'", |line| entry(key, line)).map(|one| one.text);
    let kept = match save.text.as_str() {
        "files" => {
            let path = host("save_path").filter(|path| !path.is_empty());
            Kept::Files(path.map_or_else(|| "var/session".into(), Into::into))
        }
        "db" => Kept::Database {
            schema: text.value(|line| entry("dbname", line)).map(|one| one.text),
            table: "session".into(),
        },
        "redis" => {
            let host = host("host").unwrap_or_default();
            Kept::Redis(
                host + &super::port(text.value_after("'session'", |line| entry("port", line))),
            )
        }
        "memcached" | "memcache" => Kept::Memcached(host("save_path").unwrap_or_default()),
        _ => Kept::Other,
    };
    app("Magento", &text, kept, text.at("session.save", &save))
}

pub(super) fn drupal(open: Open<'_>) -> Option<App> {
    let text = open("sites/default/settings.php")?;
    let schema = text.value_after("$databases", |line| entry("database", line));
    let schema = schema.or_else(|| {
        text.value(|line| {
            line.strip_prefix("$databases")?;
            entry("database", line)
        })
    });
    let said = match &schema {
        Some(schema) => text.at("database", schema),
        None => text.without("database in plain text"),
    };
    let kept = Kept::Database { schema: schema.map(|one| one.text), table: "sessions".into() };
    app("Drupal", &text, kept, said)
}

pub(super) fn joomla(open: Open<'_>) -> Option<App> {
    let text = open("configuration.php")?;
    let property = |name: &str| {
        text.value(move |line| {
            let (_, rest) = line.strip_prefix("public")?.trim_start().split_once(name)?;
            quoted(rest.trim_start().strip_prefix('=')?)
        })
    };
    let handler = property("$session_handler")?;
    let server = |name: &str| {
        let host = property(&format!("$session_{name}_server_host")).map(|one| one.text);
        let host = host.unwrap_or_else(|| "localhost".into());
        host + &super::port(property(&format!("$session_{name}_server_port")))
    };
    let kept = match handler.text.as_str() {
        "database" => Kept::Database {
            schema: property("$db ").or_else(|| property("$db")).map(|one| one.text),
            table: "#__session".into(),
        },
        "none" | "filesystem" => Kept::Php,
        "redis" => Kept::Redis(server("redis")),
        "memcached" => Kept::Memcached(server("memcached")),
        _ => Kept::Other,
    };
    app("Joomla", &text, kept, text.at("$session_handler", &handler))
}

/// A cookie that is encrypted, and a row that has to be there for it.
pub(super) fn prestashop(open: Open<'_>) -> Option<App> {
    let text = open("app/config/parameters.php")?;
    text.value(|line| entry("cookie_key", line).map(|_| ""))?;
    let schema = text.value(|line| entry("database_name", line));
    let prefix = text.value(|line| entry("database_prefix", line));
    let prefix = prefix.map_or_else(|| "ps_".to_owned(), |prefix| prefix.text);
    let said = match &schema {
        Some(schema) => text.at("database_name", schema),
        None => text.without("database_name in plain text"),
    };
    let table = format!("{prefix}customer_session");
    app("PrestaShop", &text, Kept::Database { schema: schema.map(|one| one.text), table }, said)
}
