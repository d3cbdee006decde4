//! Everything that Segue might have touched, read before and after.

use crate::admin;
use mysql_async::prelude::Queryable;
use segue_testkit::stage::Segue;
use segue_testkit::world::{Side, World};
use std::path::Path;

/// Schemas, logins, rights, tables, streams and settings that moves change.
const QUERIES: [&str; 7] = [
    "SELECT schema_name FROM information_schema.schemata ORDER BY 1",
    "SELECT CONCAT(User, '@', Host, ' ', Priv) FROM mysql.global_priv ORDER BY 1",
    "SELECT CONCAT(User, '@', Host, ' ', Db) FROM mysql.db ORDER BY 1",
    "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables ORDER BY 1",
    "SELECT CONCAT(event_schema, '.', event_name, ' ', status) FROM information_schema.events ORDER BY 1",
    "SELECT CONCAT(variable_value) FROM information_schema.global_status \
     WHERE variable_name IN ('Slaves_connected', 'Slave_connections') ORDER BY variable_name",
    "SELECT CONCAT(@@global.read_only, ' ', @@global.server_id, ' ', @@global.gtid_domain_id)",
];

/// A look at the world.
#[derive(Debug, PartialEq)]
pub(super) struct Trace {
    databases: Vec<(String, Vec<String>)>,
    zone: Vec<String>,
    files: Vec<String>,
    run: Vec<String>,
}

impl Trace {
    /// Looks at both databases, the zone, the target's folder, the fronts' folder and the run
    /// directory.
    pub(super) async fn of(world: &World, segue: &Segue) -> Self {
        let description = world.description();
        let mut databases = Vec::new();
        for side in Side::BOTH {
            let mut conn = admin(description, side).await;
            for query in QUERIES {
                databases.push((format!("{side}: {query}"), conn.query(query).await.unwrap()));
            }
            conn.disconnect().await.unwrap();
        }
        let mut files = names(&description.trees.target);
        files.extend(names(description.trees.source.parent().unwrap()));
        files.extend(names(&description.dir.join("run")));
        // The logs of the site itself go on.
        files.retain(|name| name != "segue" && !name.contains(".log"));
        Self { databases, zone: world.dump_zone().unwrap(), files, run: names(segue.dir()) }
    }

    /// Says what is not as it was.
    pub(super) fn differs(&self, before: &Self) -> Option<String> {
        if self == before {
            return None;
        }
        let changed = self.databases.iter().zip(&before.databases).find(|(a, b)| a != b);
        if let Some(((what, now), (_, then))) = changed {
            return Some(format!("touched: {what}: {then:?} became {now:?}"));
        }
        Some(format!(
            "touched: zone equal: {}, files {:?} became {:?}, run directory {:?} became {:?}",
            self.zone == before.zone,
            before.files,
            self.files,
            before.run,
            self.run
        ))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
