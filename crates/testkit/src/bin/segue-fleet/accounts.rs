//! The accounts: a schema, a login and a record set each.

use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use segue_testkit::stage::Segue;
use segue_testkit::world::{Description, Side};
use serde_json::json;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::runtime::Runtime;

/// TTL of the accounts' records before the move, seconds.
const TTL_S: u32 = 4;
/// Where the accounts' names point, by side.
pub(crate) const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 51);
pub(crate) const TARGET: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 52);
/// How long the secondary may take to serve every account's name.
const PATIENCE: Duration = Duration::from_secs(60);
/// Rows that every account has at the start.
pub(crate) const ROWS: usize = 100;
/// Password of every account's login: the servers listen on loopback only.
pub(crate) const PASSWORD: &str = "password of an account";

const HEAD: &str = r#"name = "fleet"
units = ["units.jsonl"]
separate_zones = ["example.test"]

[rehearsal]
needed = false

[policy]
pause_budget_ms = 4000
seal_reserve_ms = 500
lease_ms = 5000
gate_wait_s = 120
stable_for_s = 1

[limits]
seeds_a_server = 4
cutovers_a_server = 2
cutovers = 2
"#;

/// All of them.
pub(crate) struct Accounts {
    pub(crate) names: Vec<String>,
}

/// An account with a transaction that nobody ends.
pub(crate) struct Blocked {
    name: String,
    conn: Conn,
    runtime: Runtime,
}

impl Blocked {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Ends the transaction.
    pub(crate) fn end(self) {
        // The server rolls back what is open when its session goes.
        let _ = self.runtime.block_on(self.conn.disconnect());
    }
}

impl Accounts {
    /// Creates `count` accounts at the source.
    pub(crate) fn create(world: &Description, count: usize) -> Result<Self> {
        let names: Vec<String> = (1..=count).map(|n| format!("acc{n:03}")).collect();
        let runtime = runtime()?;
        runtime.block_on(async {
            let mut conn = admin(world, Side::Source).await?;
            for name in &names {
                for statement in statements(name) {
                    conn.query_drop(statement).await?;
                }
            }
            conn.disconnect().await?;
            anyhow::Ok(())
        })?;
        for name in &names {
            world.point(&host(world, name), TTL_S, SOURCE)?;
        }
        let began = std::time::Instant::now();
        for server in &world.zone.servers {
            for name in &names {
                // A secondary hears of updates at the primary's own pace.
                while !world.address_at(*server, &host(world, name)).is_ok_and(|a| a == [SOURCE]) {
                    if began.elapsed() > PATIENCE {
                        bail!("{server} does not serve `{name}` within {PATIENCE:?}");
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
        Ok(Self { names })
    }

    /// Writes the plan and its units, a line each; the first ones have the least traffic.
    pub(crate) fn write_plan(&self, world: &Description, segue: &Segue) -> Result<()> {
        let file = segue.plan_file();
        let folder = file.parent().context("the plan's folder")?;
        let mut lines = String::new();
        for (place, name) in self.names.iter().enumerate() {
            let _ = writeln!(lines, "{}", unit(world, name, place));
        }
        std::fs::write(folder.join("units.jsonl"), lines)?;
        std::fs::write(file, HEAD)?;
        Ok(())
    }

    /// Blocks an account of the second wave.
    pub(crate) fn block(&self, world: &Description) -> Result<Blocked> {
        let name = self.names[self.names.len() / 5].clone();
        let runtime = runtime()?;
        let conn = runtime.block_on(async {
            let mut conn = admin(world, Side::Source).await?;
            conn.query_drop("START TRANSACTION").await?;
            conn.query_drop(format!("UPDATE `{name}`.orders SET payload = '?' WHERE id = 1"))
                .await?;
            anyhow::Ok(conn)
        })?;
        Ok(Blocked { name, conn, runtime })
    }

    /// Returns the account that is failed back at the end.
    pub(crate) fn last(&self) -> String {
        self.names.last().cloned().unwrap_or_default()
    }

    /// Returns the accounts that must be at the source at the end.
    pub(crate) fn at_source(&self) -> [String; 2] {
        [self.names[self.names.len() / 5].clone(), self.last()]
    }
}

/// Returns the host name of an account.
pub(crate) fn host(world: &Description, name: &str) -> String {
    format!("{name}.{}", world.zone.name)
}

pub(crate) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Connects to a side's database as its administrator.
pub(crate) async fn admin(world: &Description, side: Side) -> Result<Conn> {
    let server = world.database.server(side);
    let password = Description::secret(&server.admin_password_file)?;
    connect(world, side, &server.admin, &password).await
}

/// Connects to a side's database.
pub(crate) async fn connect(
    world: &Description,
    side: Side,
    user: &str,
    password: &str,
) -> Result<Conn> {
    let server = world.database.server(side);
    let opts = OptsBuilder::default()
        .ip_or_hostname(server.address.ip().to_string())
        .tcp_port(server.address.port())
        .prefer_socket(false)
        .user(Some(user))
        .pass(Some(password));
    Ok(Conn::new(opts).await?)
}

fn statements(name: &str) -> Vec<String> {
    let rows: Vec<String> = (1..=ROWS).map(|n| format!("({n}, 'row {n}')")).collect();
    vec![
        format!("CREATE DATABASE `{name}`"),
        format!(
            "CREATE TABLE `{name}`.orders (id BIGINT AUTO_INCREMENT PRIMARY KEY, \
             payload VARCHAR(64) NOT NULL UNIQUE)"
        ),
        format!("INSERT INTO `{name}`.orders (id, payload) VALUES {}", rows.join(", ")),
        format!("CREATE USER '{name}'@'%' IDENTIFIED BY '{PASSWORD}'"),
        format!("GRANT ALL ON `{name}`.* TO '{name}'@'%'"),
    ]
}

fn unit(world: &Description, name: &str, place: usize) -> serde_json::Value {
    let server = |side: Side| {
        let server = world.database.server(side);
        json!({
            "address": server.address,
            "admin": server.admin,
            "password": format!("file:{}", server.admin_password_file.display()),
        })
    };
    json!({
        "unit": { "name": name, "requests_per_day": 100 + place },
        "database": {
            "schema": name,
            "logins": [name],
            "source": server(Side::Source),
            "target": server(Side::Target),
        },
        "zone": [{
            "zone": world.zone.name,
            "primary": world.zone.primary,
            "servers": world.zone.servers,
            "lowered_ttl_s": 2,
            "key": {
                "name": world.zone.key_name,
                "algorithm": world.zone.key_algorithm,
                "secret": format!("file:{}", world.zone.key_secret_file.display()),
            },
            "record": [{
                "name": host(world, name),
                "type": "A",
                "source": [SOURCE.to_string()],
                "target": [TARGET.to_string()],
            }],
        }],
    })
}
