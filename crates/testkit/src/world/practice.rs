//! Today's practice, for comparison: stop, dump, copy, start, change the DNS, wait.

use super::daemon::{Daemon, wait_until};
use super::description::{Description, PerSide, Side};
use super::lifetime::World;
use super::mariadb::{connect, run_all};
use super::ports::Ports;
use super::programs::locate;
use super::site::{healthy, shop_recipe};
use super::visitors::Visitors;
use super::{secrets, tree, update};
use anyhow::{Context, Result, bail};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Addresses of the practice site.
const ADDRESS: PerSide<Ipv4Addr> =
    PerSide { source: Ipv4Addr::new(127, 0, 0, 21), target: Ipv4Addr::new(127, 0, 0, 22) };
/// TTL of its record, seconds; the zone starts with it.
const TTL_S: u32 = 5;
/// Schema and login.
const SCHEMA: &str = "practice";
/// Rows of each of its two tables, at most, and files.
const ROWS: u64 = 5_000;
const FILES: u32 = 500;

impl World {
    /// Moves a small site as it is done today and returns what its visitors saw:
    /// milliseconds of interruption, by fifty probes a second behind three honest resolvers.
    ///
    /// Builds the site first and takes everything away again afterwards; takes some
    /// ten seconds.
    pub fn practice_move(&self) -> Result<u64> {
        let practice = Practice::new(self)?;
        let moved = practice.build().and_then(|()| practice.go());
        let cleaned = practice.clean();
        let interruption = moved.context("move the practice site")?;
        cleaned.context("take the practice site away")?;
        Ok(interruption.as_millis() as u64)
    }
}

struct Practice<'a> {
    world: &'a World,
    /// The practice site as a world of its own, for `segue-shop`.
    site: Description,
    home: PathBuf,
    _ports: Ports,
}

impl<'a> Practice<'a> {
    fn new(world: &'a World) -> Result<Self> {
        let home = world.description().dir.join(SCHEMA);
        let mut site = world.description().clone();
        let mut ports = Ports::reserve()?;
        let port = ports.free_on(&[IpAddr::V4(ADDRESS.source), IpAddr::V4(ADDRESS.target)])?;
        site.host = format!("{SCHEMA}.{}", site.zone.name);
        site.shop = PerSide::from_fn(|side| SocketAddr::new(IpAddr::V4(*ADDRESS.get(side)), port));
        site.trees = PerSide::from_fn(|side| home.join(format!("site-{side}")));
        site.shop_dir = PerSide::from_fn(|side| home.join(format!("shop-{side}")));
        site.ledger_dir = home.join("ledger");
        site.database.schema = SCHEMA.to_owned();
        site.database.user = SCHEMA.to_owned();
        site.database.password_file = home.join("password");
        site.dir = home.clone();
        Ok(Self { world, site, home, _ports: ports })
    }

    /// Builds the site at the source and starts it there.
    fn build(&self) -> Result<()> {
        for side in Side::BOTH {
            std::fs::create_dir_all(self.site.shop_dir.get(side))?;
            std::fs::create_dir_all(self.site.trees.get(side))?;
            self.client_file(side)?;
        }
        std::fs::create_dir_all(self.home.join("run"))?;
        tree::fill(&self.site.trees.source, FILES)?;
        let (password, _) = secrets::password(&self.home, "password")?;
        self.site.save()?;
        let login = vec![
            format!("CREATE DATABASE {SCHEMA}"),
            format!("CREATE USER `{SCHEMA}`@`%` IDENTIFIED BY '{password}'"),
            format!("GRANT ALL PRIVILEGES ON {SCHEMA}.* TO `{SCHEMA}`@`%`"),
        ];
        self.sql(Side::Target, login.clone())?;
        let mut all = login;
        for table in ["products", "orders"] {
            all.push(format!("CREATE TABLE {SCHEMA}.{table} LIKE shop.{table}"));
            all.push(format!(
                "INSERT INTO {SCHEMA}.{table} SELECT * FROM shop.{table} ORDER BY id LIMIT {ROWS}"
            ));
        }
        self.sql(Side::Source, all)?;
        self.start(Side::Source)
    }

    /// Does it, with visitors watching.
    fn go(&self) -> Result<Duration> {
        let zone = &self.site.zone;
        let port = self.site.shop.source.port();
        let visitors = Visitors::start(
            &zone.servers,
            &self.site.host,
            port,
            "/catalogue?page=1",
            "segue-shop catalogue",
        )?;
        let well = |what: &str, side: Side| {
            let address = IpAddr::V4(*ADDRESS.get(side));
            wait_until(what, Duration::from_secs(60), || {
                Ok(visitors.content_for(Duration::from_secs(1), address))
            })
        };
        well("visitors see the practice site at the source", Side::Source)?;
        self.stop(Side::Source)?;
        self.dump()?;
        self.copy()?;
        self.start(Side::Target)?;
        update::point(zone, &self.site.host, TTL_S, ADDRESS.target)?;
        well("visitors see the practice site at the target", Side::Target)?;
        Ok(visitors.finish())
    }

    /// Takes everything away: processes, schemas, logins, the changed record, files.
    fn clean(&self) -> Result<()> {
        for side in Side::BOTH {
            self.stop(side)?;
        }
        update::point(&self.site.zone, &self.site.host, TTL_S, ADDRESS.source)?;
        for side in Side::BOTH {
            let drop = vec![
                format!("DROP DATABASE IF EXISTS {SCHEMA}"),
                format!("DROP USER IF EXISTS `{SCHEMA}`@`%`"),
            ];
            self.sql(side, drop)?;
        }
        std::fs::remove_dir_all(&self.home)
            .with_context(|| format!("remove `{}`", self.home.display()))
    }

    fn start(&self, side: Side) -> Result<()> {
        let recipe = shop_recipe(&self.site, &name(side), &["serve", "--side", side.as_str()]);
        let address = *self.site.shop.get(side);
        self.world.keeper.run(move |kept| {
            kept.start(&recipe)?;
            wait_until("the practice site answers", Duration::from_secs(10), || {
                kept.daemon(&recipe.name)?.still_runs()?;
                Ok(healthy(address))
            })
        })
    }

    /// Ends the shop of one side; fine if it does not run.
    fn stop(&self, side: Side) -> Result<()> {
        self.world.keeper.run(move |kept| {
            if let Ok(daemon) = kept.take(&name(side)) {
                end(daemon);
            }
            Ok(())
        })
    }

    /// Runs statements as administrator. Not logged: this move is none of the real one's
    /// business, and must not appear in what is replicated.
    fn sql(&self, side: Side, statements: Vec<String>) -> Result<()> {
        let server = self.site.database.server(side).clone();
        let password = Description::secret(&server.admin_password_file)?;
        self.world.keeper.run(move |kept| {
            kept.runtime.block_on(async {
                let mut conn = connect(server.address, &server.admin, &password).await?;
                // Copies rows of a live table without locking them.
                let begin = vec![
                    "SET sql_log_bin=0".to_owned(),
                    "SET tx_isolation='READ-COMMITTED'".to_owned(),
                ];
                run_all(&mut conn, &begin).await?;
                run_all(&mut conn, &statements).await?;
                conn.disconnect().await?;
                Ok(())
            })
        })
    }

    /// `mariadb-dump source | mariadb target`
    fn dump(&self) -> Result<()> {
        let option = |side| format!("--defaults-file={}", self.client_path(side).display());
        let mut dump = Command::new(locate("mariadb-dump", "mariadb-client")?)
            .args([&option(Side::Source), "--single-transaction", SCHEMA])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start `mariadb-dump`")?;
        let pipe = dump.stdout.take().context("read from `mariadb-dump`")?;
        let load = Command::new(locate("mariadb", "mariadb-client")?)
            .args([&option(Side::Target), SCHEMA])
            .stdin(pipe)
            .output();
        let dumped = dump.wait().context("wait for `mariadb-dump`")?;
        let loaded = load.context("run `mariadb`")?;
        if !dumped.success() || !loaded.status.success() {
            bail!(
                "dump and load schema `{SCHEMA}`: {dumped}, {}: {}",
                loaded.status,
                String::from_utf8_lossy(&loaded.stderr)
            );
        }
        Ok(())
    }

    /// `rsync -a source/ target/`
    fn copy(&self) -> Result<()> {
        let mut from = self.site.trees.source.clone().into_os_string();
        from.push("/");
        let done = Command::new(locate("rsync", "rsync")?)
            .arg("-a")
            .arg(from)
            .arg(&self.site.trees.target)
            .output()
            .context("run `rsync`")?;
        if !done.status.success() {
            bail!("copy the practice site's files: {}", String::from_utf8_lossy(&done.stderr));
        }
        Ok(())
    }

    fn client_path(&self, side: Side) -> PathBuf {
        self.home.join(format!("client-{side}.cnf"))
    }

    /// Writes the clients' option file: a password must not stand in a command line.
    fn client_file(&self, side: Side) -> Result<()> {
        let server = self.site.database.server(side);
        let password = Description::secret(&server.admin_password_file)?;
        let path: &Path = &self.client_path(side);
        secrets::private_file(
            path,
            &format!(
                "[client]\nhost={}\nport={}\nprotocol=tcp\nuser={}\npassword={password}\n\
                 [mysql]\ninit-command=\"SET sql_log_bin=0\"",
                server.address.ip(),
                server.address.port(),
                server.admin
            ),
        )
    }
}

fn name(side: Side) -> String {
    format!("practice-{side}")
}

fn end(mut daemon: Daemon) {
    daemon.begin_end();
    daemon.finish(Duration::from_secs(3));
}
