//! Private MariaDB servers.

use super::daemon::{Ending, Recipe};
use super::keeper::Kept;
use super::programs::Programs;
use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where an instance lives and how it is reached.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) name: String,
    /// Folder with its configuration, socket, log and `data`.
    pub(crate) home: PathBuf,
    pub(crate) role: Role,
}

/// What an instance is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    /// Serves a side; `id` is server id and GTID domain.
    Serving { address: SocketAddr, id: u32 },
    /// Fills a template: no network, no binlog, no care for crashes.
    Filling,
}

impl Instance {
    pub(crate) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.join("db.sock")
    }

    /// Writes the configuration and returns how to start the server.
    pub(crate) fn recipe(&self, programs: &Programs) -> Result<Recipe> {
        let tmp = self.home.join("tmp");
        std::fs::create_dir_all(&tmp)?;
        let file = self.home.join("mariadb.cnf");
        std::fs::write(&file, self.config(&tmp))
            .with_context(|| format!("write `{}`", file.display()))?;
        let mut defaults = OsString::from("--defaults-file=");
        defaults.push(&file);
        let mut args = vec![defaults];
        if rustix::process::geteuid().is_root() {
            args.push("--user=root".into());
        }
        Ok(Recipe {
            name: self.name.clone(),
            program: programs.mariadbd.clone(),
            args,
            log: self.home.join("mariadb.log"),
            ending: Ending::Kill,
        })
    }

    /// Adds lines to the configuration that [`Self::recipe`] wrote.
    pub(crate) fn configure_further(&self, lines: &str) -> Result<()> {
        let file = self.home.join("mariadb.cnf");
        let text = std::fs::read_to_string(&file)? + lines + "\n";
        std::fs::write(&file, text).with_context(|| format!("write `{}`", file.display()))
    }

    /// Debian's configuration, plus what a source of replication needs and a buffer
    /// pool that holds the data.
    fn config(&self, tmp: &Path) -> String {
        let common = format!(
            "[mariadbd]\ndatadir={data}\nsocket={socket}\npid-file={home}/mariadb.pid\ntmpdir={tmp}\n\
             basedir=/usr\ncharacter-set-server=utf8mb4\ncollation-server=utf8mb4_general_ci\n\
             skip-name-resolve\n",
            data = self.data().display(),
            socket = self.socket().display(),
            home = self.home.display(),
            tmp = tmp.display(),
        );
        match self.role {
            Role::Serving { address, id } => format!(
                "{common}bind-address={}\nport={}\nserver-id={id}\ngtid-domain-id={id}\n\
                 log-bin=mariadb-bin\nbinlog-format=ROW\nexpire-logs-days=10\nevent-scheduler=ON\n\
                 innodb-buffer-pool-size=256M\ninnodb-log-file-size=256M\n",
                address.ip(),
                address.port()
            ),
            Role::Filling => format!(
                "{common}skip-networking\ninnodb-buffer-pool-size=768M\ninnodb-log-file-size=96M\n\
                 innodb-flush-log-at-trx-commit=0\nskip-innodb-doublewrite\n\
                 innodb-autoinc-lock-mode=2\n"
            ),
        }
    }

    /// Creates the system tables.
    pub(crate) fn install(&self, programs: &Programs) -> Result<()> {
        std::fs::create_dir_all(&self.home)?;
        let mut command = Command::new(&programs.install_db);
        // In a shared folder, servers that start meanwhile would remove its temporary tables.
        let scratch = self.home.join("install");
        std::fs::create_dir_all(&scratch)?;
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", self.data().display()))
            .arg(format!("--tmpdir={}", scratch.display()));
        if rustix::process::geteuid().is_root() {
            command.arg("--user=root");
        }
        let done = command
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(["--skip-name-resolve", "--innodb-log-file-size=8M"])
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run `{}`", programs.install_db.display()))?;
        if !done.status.success() {
            bail!(
                "create system tables of `{}`: {}\n{}",
                self.name,
                String::from_utf8_lossy(&done.stdout),
                String::from_utf8_lossy(&done.stderr)
            );
        }
        Ok(())
    }

    /// Connects as `root` through the socket as soon as the server answers.
    pub(crate) fn root(&self, kept: &mut Kept, password: Option<&str>) -> Result<Conn> {
        let opts = OptsBuilder::default()
            .socket(Some(self.socket().display().to_string()))
            .user(Some("root"))
            .pass(password);
        let deadline = Instant::now() + PATIENCE;
        loop {
            kept.daemon(&self.name)?.still_runs()?;
            match kept.runtime.block_on(Conn::new(opts.clone())) {
                Ok(conn) => return Ok(conn),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).with_context(|| {
                        format!("connect to `{}`: not ready within {PATIENCE:?}", self.name)
                    });
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// Connects to a server by its address.
pub(crate) async fn connect(address: SocketAddr, user: &str, password: &str) -> Result<Conn> {
    let opts = OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        .prefer_socket(false)
        .user(Some(user))
        .pass(Some(password));
    let connecting = tokio::time::timeout(Duration::from_secs(10), Conn::new(opts));
    connecting
        .await
        .with_context(|| format!("connect to {address} as `{user}`: no answer within 10 s"))?
        .with_context(|| format!("connect to {address} as `{user}`"))
}

/// Runs statements one after the other.
pub(crate) async fn run_all(conn: &mut Conn, statements: &[String]) -> Result<()> {
    for statement in statements {
        conn.query_drop(statement).await.with_context(|| {
            // The first word only: a statement may carry a password.
            let verb: Vec<&str> = statement.split_whitespace().take(3).collect();
            format!("run statement `{} ...`", verb.join(" "))
        })?;
    }
    Ok(())
}
