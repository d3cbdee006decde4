//! Frameworks whose applications say in one line how they keep sessions.

use super::php::Open;
use super::read::{Text, Value, assigned, quoted};
use super::{App, Kept, port};
use std::path::Path;

/// Most folders that are looked into for Django's settings.
const FOLDERS_MAX: usize = 64;

fn app(name: &'static str, text: &Text, kept: Kept, said: String) -> Option<App> {
    Some(App { name, kept, said, file: text.file.clone() })
}

pub(super) fn laravel(open: Open<'_>) -> Option<App> {
    let text = open(".env")?;
    let of = |key: &'static str| text.value(move |line| assigned(key, line));
    let driver = of("SESSION_DRIVER");
    let said = match &driver {
        Some(driver) => text.at("SESSION_DRIVER", driver),
        None => text.without("SESSION_DRIVER"),
    };
    let host = |host: Option<Value>| host.map_or_else(|| "127.0.0.1".to_owned(), |one| one.text);
    // What is not said depends on the version: files up to 10, the database from 11 on.
    let kept = match driver.as_ref().map(|one| one.text.as_str()) {
        Some("file") => Kept::Files("storage/framework/sessions".into()),
        Some("cookie") => Kept::Cookie,
        Some("database") => Kept::Database {
            schema: of("DB_DATABASE").map(|one| one.text),
            table: "sessions".into(),
        },
        Some("redis") => Kept::Redis(host(of("REDIS_HOST")) + &port(of("REDIS_PORT"))),
        Some("memcached") => {
            Kept::Memcached(host(of("MEMCACHED_HOST")) + &port(of("MEMCACHED_PORT")))
        }
        _ => Kept::Other,
    };
    app("Laravel", &text, kept, said)
}

pub(super) fn symfony(open: Open<'_>) -> Option<App> {
    let text = open("config/packages/framework.yaml")?;
    let key = |name: &'static str| {
        text.value(move |line| {
            let value = line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim();
            Some(quoted(value).unwrap_or(value))
        })
    };
    let Some(handler) = key("handler_id") else {
        return app("Symfony", &text, Kept::Php, text.without("handler_id"));
    };
    let folder = key("save_path").and_then(|path| {
        Some(
            path.text
                .strip_prefix("%kernel.project_dir%/")?
                .replace("%kernel.environment%", "prod"),
        )
    });
    let server = |scheme: &str| {
        let address = handler.text.strip_prefix(scheme)?;
        Some(address.split('/').next().unwrap_or_default().to_owned())
    };
    let kept = match handler.text.as_str() {
        "null" | "~" | "" => Kept::Php,
        "session.handler.native_file" => match folder {
            Some(folder) => Kept::Files(folder.into()),
            None => Kept::Php,
        },
        id => match (server("redis://"), server("memcached://")) {
            (Some(address), _) => Kept::Redis(address),
            (_, Some(addresses)) => Kept::Memcached(addresses),
            _ if id.ends_with("PdoSessionHandler") => {
                Kept::Database { schema: None, table: "sessions".into() }
            }
            _ => Kept::Other,
        },
    };
    app("Symfony", &text, kept, text.at("handler_id", &handler))
}

pub(super) fn django(root: &Path, folder: &Path) -> Option<App> {
    let mut folders: Vec<_> = std::fs::read_dir(root.join(folder))
        .ok()?
        .take(FOLDERS_MAX)
        .filter_map(|entry| entry.ok().map(|entry| entry.file_name()))
        .collect();
    folders.sort();
    let text =
        folders.iter().find_map(|name| Text::open(root, &folder.join(name).join("settings.py")))?;
    let engine = text
        .value(|line| quoted(line.strip_prefix("SESSION_ENGINE")?.trim_start().strip_prefix('=')?));
    let said = match &engine {
        Some(engine) => text.at("SESSION_ENGINE", engine),
        None => text.without("SESSION_ENGINE"),
    };
    let engine =
        engine.map_or_else(|| "django.contrib.sessions.backends.db".into(), |one| one.text);
    let kept = match engine.rsplit('.').next().unwrap_or_default() {
        "db" | "cached_db" => Kept::Database { schema: None, table: "django_session".into() },
        "signed_cookies" => Kept::Sealed,
        _ => Kept::Other,
    };
    app("Django", &text, kept, said)
}

pub(super) fn rails(open: Open<'_>) -> Option<App> {
    let Some(text) = open("config/initializers/session_store.rb") else {
        let text = open("config/application.rb")?;
        return app("Rails", &text, Kept::Sealed, text.without("session_store"));
    };
    let store = text.value(|line| {
        let (_, rest) = line.split_once("session_store")?;
        let rest = rest.trim_start_matches([' ', '(', '=', ':']);
        rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()
    });
    let said = match &store {
        Some(store) => text.at("session_store", store),
        None => text.without("session_store"),
    };
    let kept = match store.as_ref().map(|one| one.text.as_str()) {
        None | Some("cookie_store") => Kept::Sealed,
        Some("active_record_store") => Kept::Database { schema: None, table: "sessions".into() },
        Some(_) => Kept::Other,
    };
    app("Rails", &text, kept, said)
}
