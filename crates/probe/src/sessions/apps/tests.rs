//! Applications as they lie in trees, with secrets that nobody is shown.

use super::super::tests::unit;
use super::super::{Logins, LoginsOf, logins};
use segue_model::Sides;
use segue_model::plan::{DatabasePlan, DatabaseServer, SecretRef, SessionStore, UnitPlan};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A unit with a tree in a folder, and a database `shop`.
fn moved(folder: &Path) -> UnitPlan {
    let own = SessionStore::Own;
    let mut unit = unit(Sides { source: own.clone(), target: own });
    unit.measures.sessions.clear();
    unit.trees[0].roots = Sides { source: folder.join("a"), target: folder.join("b") };
    let server = DatabaseServer {
        address: "192.0.2.1:3306".parse().unwrap(),
        admin: "segue".into(),
        password: SecretRef("env:NONE".into()),
    };
    let servers = Sides { source: server.clone(), target: server };
    unit.databases.push(DatabasePlan { schema: "shop".into(), servers, logins: Vec::new() });
    unit
}

fn told(files: &[(&str, &str)], change: impl FnOnce(&mut UnitPlan)) -> LoginsOf {
    let folder = TempDir::new().unwrap();
    let mut unit = moved(folder.path());
    for (file, text) in files {
        let path = folder.path().join("a").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    change(&mut unit);
    let told = logins(&unit).remove(0);
    assert!(!told.because.contains("hunter2"), "a secret is told: {told:?}");
    told
}

const WORDPRESS: &str = "<?php\n// define( 'DB_NAME', 'former' );\ndefine( 'DB_NAME', \"shop\" );\n\
                         define('DB_PASSWORD', 'hunter2');\ndefine('AUTH_KEY', 'hunter2');\n\
                         $table_prefix = 'x7_';\n";
const LARAVEL: &str = "APP_KEY=base64:hunter2\nDB_DATABASE=shop # ours\nDB_PASSWORD=hunter2\n\
                       REDIS_HOST=10.0.0.5\nREDIS_PASSWORD=hunter2\nREDIS_PORT=6380\n";
const JOOMLA: &str = "<?php\nclass JConfig {\n\tpublic $dbtype = 'mysqli';\n\tpublic $db = 'shop';\n\
                      \tpublic $password = 'hunter2';\n\tpublic $session_handler = 'HANDLER';\n}\n";
const MAGENTO: &str = "<?php\nreturn [\n  'db' => [ 'connection' => [ 'default' => [\n    'host' => 'db.test',\n\
                       \x20   'dbname' => 'shop',\n    'password' => 'hunter2',\n  ]]],\n  'session' => [\n\
                       \x20   // 'save' => 'array',\n    'save' => 'SAVE',\n    'redis' => [\n      'host' => 'HOST',\n\
                       \x20     'port' => '6379',\n      'password' => 'hunter2',\n    ],\n  ],\n];\n";
const DRUPAL: &str = "<?php\n$databases['default']['default'] = array (\n  'database' => 'other',\n\
                      \x20 'password' => 'hunter2',\n);\n";
const SYMFONY: &str = "framework:\n  secret: 'hunter2'\n  session:\n    handler_id: HANDLER\n\
                       \x20   save_path: '%kernel.project_dir%/var/sessions/%kernel.environment%'\n";
const PRESTASHOP: &str = "<?php return array ('parameters' => array (\n  'database_name' => 'shop',\n\
                          \x20 'database_password' => 'hunter2',\n  'database_prefix' => 'ps_',\n\
                          \x20 'cookie_key' => 'hunter2',\n));\n";

#[test]
fn each_application_says_where_its_sessions_are() {
    use Logins::{Again, Survive, Unknown};
    let laravel = |driver: &str| format!("{LARAVEL}SESSION_DRIVER={driver}\n");
    let joomla = |handler: &str| JOOMLA.replace("HANDLER", handler);
    let magento = |save: &str, host: &str| MAGENTO.replace("SAVE", save).replace("HOST", host);
    let symfony = |handler: &str| SYMFONY.replace("HANDLER", handler);
    let env = |text: String| vec![("artisan", String::new()), (".env", text)];
    let one = |file: &'static str, text: String| vec![(file, text)];
    let django =
        |text: &str| vec![("manage.py", String::new()), ("shop/settings.py", text.to_owned())];
    let rails = |text: &str| {
        let store = ("config/initializers/session_store.rb", text.to_owned());
        vec![("config/application.rb", String::new()), store]
    };
    let framework = "config/packages/framework.yaml";
    for (files, expected, why) in [
        (
            one("wp-config.php", WORDPRESS.into()),
            Survive,
            "`x7_usermeta` of database `shop`, which moves (WordPress: DB_NAME, `",
        ),
        (
            one("public_html/wp-config.php", WORDPRESS.into()),
            Survive,
            "public_html/wp-config.php` line 3)",
        ),
        (
            one("wp-config.php", WORDPRESS.replace("\"shop\"", "getenv('X')")),
            Unknown,
            "not named there",
        ),
        (env(laravel("file")), Survive, "storage/framework/sessions` move with tree `files`"),
        (env(laravel("cookie")), Survive, "its key moves"),
        (env(laravel("\"database\"")), Survive, "(Laravel: SESSION_DRIVER, `"),
        (env(laravel("redis")), Survive, "both sides use Redis at 10.0.0.5:6380"),
        (env(laravel("memcached")), Again, "memcached at 127.0.0.1 is another one on each machine"),
        (env(laravel("array")), Unknown, "not known here"),
        (one("configuration.php", joomla("database")), Survive, "`#__session` of database `shop`"),
        (one("configuration.php", joomla("none")), Unknown, "PHP's configuration"),
        (one("configuration.php", joomla("redis")), Again, "Redis at localhost"),
        (one("app/etc/env.php", magento("files", "")), Survive, "var/session` move"),
        (one("app/etc/env.php", magento("db", "")), Survive, "`session` of database `shop`"),
        (one("app/etc/env.php", magento("redis", "127.0.0.1")), Again, "127.0.0.1:6379"),
        (
            one("app/etc/env.php", magento("redis", "10.0.0.9")),
            Survive,
            "10.0.0.9:6379 (Magento: session.save, `",
        ),
        (
            one("sites/default/settings.php", DRUPAL.into()),
            Again,
            "database `other`, which is not moved",
        ),
        (one(framework, symfony("null")), Unknown, "PHP's configuration"),
        (
            one(framework, symfony("session.handler.native_file")),
            Survive,
            "var/sessions/prod` move",
        ),
        (one(framework, symfony("'redis://u:hunter2@10.0.0.5:6379/2'")), Unknown, "not known here"),
        (one(framework, symfony("'redis://10.0.0.5:6379/2'")), Survive, "Redis at 10.0.0.5:6379"),
        (one("app/config/parameters.php", PRESTASHOP.into()), Survive, "`ps_customer_session`"),
        (
            django("SECRET_KEY = 'hunter2'\n"),
            Unknown,
            "`django_session` of a database that is not named",
        ),
        (
            django("SESSION_ENGINE = 'django.contrib.sessions.backends.signed_cookies'\n"),
            Unknown,
            "whose key may stand",
        ),
        (
            rails("Rails.application.config.session_store :cookie_store, key: '_x'\n"),
            Unknown,
            "whose key may stand",
        ),
        (rails("Rails.application.config.session_store :cache_store\n"), Unknown, "not known here"),
        (one("index.php", String::new()), Unknown, "no application that is known"),
    ] {
        let files: Vec<_> = files.iter().map(|(file, text)| (*file, text.as_str())).collect();
        let told = told(&files, |_| {});
        assert_eq!(told.logins, expected, "{files:?}: {told:?}");
        assert!(told.because.contains(why), "{why}: {told:?}");
    }
}

#[test]
fn what_does_not_move_counts_as_what_it_is() {
    let wordpress = [("wp-config.php", WORDPRESS)];
    let gone = told(&wordpress, |unit| unit.databases.clear());
    assert_eq!(gone.logins, Logins::Again, "{gone:?}");
    for (pattern, left) in [
        ("wp-config.php", true),
        ("/wp-config.php", true),
        ("wp-config*", true),
        ("*.log", false),
        ("cache", false),
        ("/sub/wp-config.php", false),
    ] {
        let told = told(&wordpress, |unit| unit.trees[0].exclude = vec![pattern.into()]);
        let expected = if left { Logins::Unknown } else { Logins::Survive };
        assert_eq!(told.logins, expected, "{pattern}: {told:?}");
        assert_eq!(told.because.contains("does not move"), left, "{told:?}");
    }
    let laravel = format!("{LARAVEL}SESSION_DRIVER=file\n");
    let files = [("app/artisan", ""), ("app/.env", laravel.as_str())];
    let told =
        told(&files, |unit| unit.trees[0].exclude = vec!["/app/storage/framework/sessions".into()]);
    assert_eq!(told.logins, Logins::Again, "{told:?}");
}

#[test]
fn what_the_plan_says_counts_before_what_is_found_and_no_link_leads_out() {
    let wordpress = [("wp-config.php", WORDPRESS)];
    let said = told(&wordpress, |unit| {
        let files = |path: &str| Some(SessionStore::Files(path.into()));
        let store = Sides { source: files("/tmp/x"), target: files("/tmp/x") };
        let config = Sides::default();
        let sessions =
            segue_model::plan::SessionsPlan { name: "shop".into(), config, store, login: None };
        unit.measures.sessions.push(sessions);
    });
    assert_eq!(said.logins, Logins::Again, "{said:?}");
    let told = told(&[("index.php", "")], |unit| {
        let root = &unit.trees[0].roots.source;
        let outside = root.parent().unwrap().join("outside");
        fs::write(&outside, WORDPRESS).unwrap();
        std::os::unix::fs::symlink(outside, root.join("wp-config.php")).unwrap();
    });
    assert!(told.because.contains("no application"), "{told:?}");
}
