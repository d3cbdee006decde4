//! How a world comes up.

use super::bind::{self, Servers};
use super::description::{
    Description, PerSide, Rows, Server, ServerPair, Side, Static, Tenant, Zone,
};
use super::keeper::Kept;
use super::mariadb::{self, Instance, Role, run_all};
use super::ports::{LOCAL, Ports, SOURCE, TARGET};
use super::template::{self, Template};
use super::{data, secrets, site, tree};
use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The administrator's login on both database servers.
const ADMIN: &str = "segue_admin";
/// Sockets below the folder must fit into 107 bytes.
const LONGEST_DIR: usize = 80;
/// What a world creates in its folder.
const OWN: [&str; 8] =
    ["source", "target", "dns", "run", "ledger", "secrets", "practice", "world.json"];

/// What a world shall be like.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// Its folder. Created if it does not exist; what a former world left there is removed.
    pub dir: PathBuf,
    /// Rows in `orders`; `order_lines` has two and a half times as many.
    pub orders_rows: u64,
    /// Rows in `products`.
    pub products_rows: u64,
    /// Static files of the site.
    pub files: u32,
    /// Where prepared data folders are kept; `world-cache` beside the build's output if not given.
    pub cache: Option<PathBuf>,
    /// The program `segue-shop`; searched beside the running program if not given.
    pub shop_program: Option<PathBuf>,
    /// Whether the daemons shall outlive this process, see [`super::World::keep`].
    pub detach: bool,
}

impl WorldOptions {
    /// Returns the demo's size: a million order lines, 50,000 files.
    pub fn full(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            orders_rows: 400_000,
            products_rows: 20_000,
            files: 50_000,
            cache: None,
            shop_program: None,
            detach: false,
        }
    }

    /// Returns the size for tests and crash runs: 20,000 orders, 2,000 files.
    pub fn small(dir: impl Into<PathBuf>) -> Self {
        Self { orders_rows: 20_000, products_rows: 2_000, files: 2_000, ..Self::full(dir) }
    }
}

/// A started world's parts.
pub(crate) struct Parts {
    pub(crate) ports: Ports,
    pub(crate) description: Description,
    pub(crate) names: Servers,
    pub(crate) databases: PerSide<Instance>,
}

/// Makes sure that `dir` can take a world: absolute, short, and nothing runs there.
pub(crate) fn prepare_dir(dir: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(dir).with_context(|| format!("create folder `{}`", dir.display()))?;
    let dir = dir.canonicalize().with_context(|| format!("open folder `{}`", dir.display()))?;
    if dir.as_os_str().len() > LONGEST_DIR {
        bail!(
            "start a world in `{}`: unix sockets need a path of at most {LONGEST_DIR} bytes; \
             choose a shorter folder",
            dir.display()
        );
    }
    let description = dir.join("world.json");
    if description.is_file() {
        if let Ok(former) = Description::load(&description)
            && let Some((name, pid)) = super::lifetime::running(&former).into_iter().next()
        {
            bail!(
                "start a world in `{}`: one runs there already (`{name}`, process {pid}); \
                 `segue-world stop --dir {0}` ends it",
                dir.display()
            );
        }
        for entry in OWN {
            remove(&dir.join(entry))?;
        }
    } else if let Some(entry) = std::fs::read_dir(&dir)?.next() {
        bail!(
            "start a world in `{}`: the folder is not empty (`{}`) and holds no former world; \
             choose another",
            dir.display(),
            entry?.file_name().to_string_lossy()
        );
    }
    // From here on the folder counts as a world's, also if starting it fails.
    std::fs::write(&description, b"{}")?;
    Ok(dir)
}

fn remove(path: &Path) -> Result<()> {
    let done =
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match done {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

/// Brings everything up; on the keeper's thread.
pub(crate) fn start(kept: &mut Kept, options: &WorldOptions) -> Result<Parts> {
    let dir = options.dir.clone();
    let began = Instant::now();
    let said = |what: &str| tracing::info!(after_ms = began.elapsed().as_millis() as u64, "{what}");
    let cache = match &options.cache {
        Some(cache) => cache.clone(),
        None => default_cache(&kept.programs.shop)?,
    };
    let template = template::obtain(kept, options, &cache)?;
    said("data prepared");
    for folder in
        ["source/shop", "target/shop", "source/site", "target/site", "run", "ledger", "secrets"]
    {
        std::fs::create_dir_all(dir.join(folder))?;
    }
    copy_data(&dir, &template, options)?;
    said("data copied, files written");
    let mut ports = Ports::reserve()?;
    let secrets = Secrets::make(&dir.join("secrets"))?;
    let names = name_servers(&dir, &mut ports, kept)?;
    let mut description = describe(options, &mut ports, &names, &secrets, kept)?;
    let databases = PerSide::from_fn(|side| instance(&description, side));
    names.start(kept, &secrets.tsig.0, &secrets.control.0)?;
    for side in Side::BOTH {
        let recipe = databases.get(side).recipe(&kept.programs)?;
        kept.start(&recipe)?;
    }
    for side in Side::BOTH {
        set_passwords(kept, databases.get(side), side, &secrets)?;
    }
    said("databases answer");
    description.tenant.archive_checksum = archive_checksum(kept, &description, &secrets)?;
    names.start_secondary(kept)?;
    std::fs::write(&description.zone.at_start, names.zone_at(names.primary)?.join("\n") + "\n")?;
    description.save()?;
    said("name servers answer");
    site::start(kept, &description)?;
    said("the site answers");
    description.pids = kept.pids().into_iter().collect();
    description.save()?;
    Ok(Parts { ports, description, names, databases })
}

fn default_cache(shop: &Path) -> Result<PathBuf> {
    let build = shop.ancestors().nth(2).context("find the build's folder above `segue-shop`")?;
    Ok(build.join("world-cache"))
}

/// Copies the data folders and writes the site's files, at the same time.
fn copy_data(dir: &Path, template: &Template, options: &WorldOptions) -> Result<()> {
    std::thread::scope(|scope| {
        let files = scope.spawn(|| tree::fill(&dir.join("source/site"), options.files));
        template::copy_tree(&template.source, &dir.join("source/data"))?;
        template::copy_tree(&template.target, &dir.join("target/data"))?;
        match files.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A secret and the file that holds it.
type Secret = (String, PathBuf);

struct Secrets {
    admin: PerSide<Secret>,
    root: PerSide<Secret>,
    shop: Secret,
    tenant: Secret,
    tsig: Secret,
    control: Secret,
}

impl Secrets {
    fn make(dir: &Path) -> Result<Self> {
        let password = |name: &str| secrets::password(dir, name);
        Ok(Self {
            admin: PerSide { source: password("admin.source")?, target: password("admin.target")? },
            root: PerSide { source: password("root.source")?, target: password("root.target")? },
            shop: password("shop")?,
            tenant: password("tenant")?,
            tsig: secrets::key(dir, "mig-key")?,
            control: secrets::key(dir, "rndc-key")?,
        })
    }
}

fn name_servers(dir: &Path, ports: &mut Ports, kept: &Kept) -> Result<Servers> {
    Ok(Servers {
        home: dir.join("dns"),
        primary: ports.free(LOCAL)?,
        secondary: ports.free(LOCAL)?,
        primary_control: ports.free(LOCAL)?,
        secondary_control: ports.free(LOCAL)?,
        rndc: kept.programs.rndc.clone(),
        compilezone: kept.programs.compilezone.clone(),
    })
}

fn describe(
    options: &WorldOptions,
    ports: &mut Ports,
    names: &Servers,
    secrets: &Secrets,
    kept: &Kept,
) -> Result<Description> {
    let dir = &options.dir;
    let site_port = ports.free_on(&[SOURCE, TARGET])?;
    let site = PerSide {
        source: SocketAddr::new(SOURCE, site_port),
        target: SocketAddr::new(TARGET, site_port),
    };
    let server = |address, secret: &Secret| Server {
        address,
        admin: ADMIN.to_owned(),
        admin_password_file: secret.1.clone(),
    };
    Ok(Description {
        dir: dir.clone(),
        host: format!("shop.{}", bind::ZONE),
        site_port,
        backend: PerSide { source: site.source, target: ports.free(TARGET)? },
        site,
        shop: PerSide { source: ports.free(LOCAL)?, target: ports.free(LOCAL)? },
        database: ServerPair {
            source: server(ports.free(SOURCE)?, &secrets.admin.source),
            target: server(ports.free(TARGET)?, &secrets.admin.target),
            schema: "shop".to_owned(),
            user: "shop".to_owned(),
            password_file: secrets.shop.1.clone(),
        },
        tenant: Tenant {
            schema: "tenant".to_owned(),
            user: "tenant".to_owned(),
            password_file: secrets.tenant.1.clone(),
            archive_checksum: 0,
        },
        trees: PerSide::from_fn(|side| dir.join(side.as_str()).join("site")),
        zone: Zone {
            name: bind::ZONE.to_owned(),
            primary: names.primary,
            servers: vec![names.primary, names.secondary],
            key_name: bind::KEY.to_owned(),
            key_algorithm: bind::ALGORITHM.to_owned(),
            key_secret_file: secrets.tsig.1.clone(),
            owned: vec![format!("shop.{}", bind::ZONE)],
            at_start: dir.join("dns/zone.start"),
        },
        access_log: PerSide::from_fn(|side| dir.join(side.as_str()).join("web/access.log")),
        shop_dir: PerSide::from_fn(|side| dir.join(side.as_str()).join("shop")),
        ledger_dir: dir.join("ledger"),
        shop_program: kept.programs.shop.clone(),
        files: Static { count: options.files, folders: tree::folder_count() },
        rows: Rows {
            orders: options.orders_rows,
            order_lines: data::order_lines(options.orders_rows),
            products: options.products_rows,
        },
        pids: Default::default(),
    })
}

fn instance(description: &Description, side: Side) -> Instance {
    let id = if side == Side::Source { 1 } else { 2 };
    Instance {
        name: format!("mariadbd-{side}"),
        home: description.dir.join(side.as_str()),
        role: Role::Serving { address: description.database.server(side).address, id },
    }
}

/// Gives every login its password. Not logged: the binlog starts with the shop's first write.
fn set_passwords(
    kept: &mut Kept,
    instance: &Instance,
    side: Side,
    secrets: &Secrets,
) -> Result<()> {
    let mut conn = instance.root(kept, None)?;
    let set =
        |login: &str, secret: &Secret| format!("ALTER USER {login} IDENTIFIED BY '{}'", secret.0);
    let mut statements = vec!["SET sql_log_bin=0".to_owned()];
    if side == Side::Source {
        statements.push(set("`shop`@`%`", &secrets.shop));
        statements.push(set("`tenant`@`%`", &secrets.tenant));
    }
    statements.push(set(&format!("`{ADMIN}`@`%`"), secrets.admin.get(side)));
    kept.runtime
        .block_on(async {
            // Logins of a fresh installation that anyone could use.
            let open: Vec<(String, String)> = conn
                .query(
                    "SELECT User, Host FROM mysql.global_priv WHERE (User = '' OR User = 'root') \
                 AND NOT (User = 'root' AND Host = 'localhost')",
                )
                .await?;
            statements
                .extend(open.iter().map(|(user, host)| format!("DROP USER `{user}`@`{host}`")));
            // Last: it is the login of this connection.
            statements.push(set("`root`@`localhost`", secrets.root.get(side)));
            run_all(&mut conn, &statements).await?;
            conn.disconnect().await?;
            Ok::<_, anyhow::Error>(())
        })
        .with_context(|| format!("set passwords at the {side}"))
}

fn archive_checksum(kept: &Kept, description: &Description, secrets: &Secrets) -> Result<u64> {
    let server = &description.database.source;
    kept.runtime.block_on(async {
        let mut conn = mariadb::connect(server.address, ADMIN, &secrets.admin.source.0).await?;
        let row: Option<(String, u64)> = conn.query_first("CHECKSUM TABLE tenant.archive").await?;
        conn.disconnect().await?;
        row.map(|row| row.1).context("checksum `tenant.archive`: no answer")
    })
}
