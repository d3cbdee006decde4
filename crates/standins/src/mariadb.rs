//! Private MariaDB servers.

use crate::fault;
use secrecy::SecretString;
use segue_doors::daemon::Daemon;
use segue_doors::process::{Invocation, find_program};
use segue_doors::sql::{self, Endpoint, Literal, Session};
use segue_model::Fault;
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long making system tables may take.
const INSTALLING: Duration = Duration::from_secs(180);
/// How long a server may take to answer.
const STARTING: Duration = Duration::from_secs(90);
/// A rehearsal on a busy machine is slow, not broken.
const CONNECTING: Duration = Duration::from_secs(20);
/// What a stand-in keeps in memory at most; it holds one unit.
const POOL: u64 = 256 << 20;

/// A private server: where it lives, where it listens, and how it is set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Server {
    /// Its folder.
    pub home: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its administrator.
    pub admin: String,
    /// Variables of the server that it stands for, by the server's own names.
    pub variables: BTreeMap<String, String>,
    /// Its number among servers, if the one that it stands for did not tell.
    pub number: u32,
}

/// Variables that a stand-in takes over, and the option that sets each.
pub const TAKEN_OVER: [(&str, &str); 24] = [
    ("binlog_format", "binlog-format"),
    ("binlog_row_image", "binlog-row-image"),
    ("character_set_server", "character-set-server"),
    ("collation_server", "collation-server"),
    ("default_storage_engine", "default-storage-engine"),
    ("event_scheduler", "event-scheduler"),
    ("explicit_defaults_for_timestamp", "explicit-defaults-for-timestamp"),
    ("group_concat_max_len", "group-concat-max-len"),
    ("gtid_domain_id", "gtid-domain-id"),
    ("gtid_strict_mode", "gtid-strict-mode"),
    ("innodb_autoinc_lock_mode", "innodb-autoinc-lock-mode"),
    ("innodb_default_row_format", "innodb-default-row-format"),
    ("innodb_flush_log_at_trx_commit", "innodb-flush-log-at-trx-commit"),
    ("innodb_strict_mode", "innodb-strict-mode"),
    ("log_bin_trust_function_creators", "log-bin-trust-function-creators"),
    ("lower_case_table_names", "lower-case-table-names"),
    ("max_allowed_packet", "max-allowed-packet"),
    ("old_mode", "old-mode"),
    ("server_id", "server-id"),
    ("sql_mode", "sql-mode"),
    ("sync_binlog", "sync-binlog"),
    ("time_zone", "default-time-zone"),
    ("tx_isolation", "transaction-isolation"),
    ("max_connections", "max-connections"),
];

impl Server {
    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Makes the system tables, and one login: the administrator with its password, of which
    /// only the stored form is given.
    ///
    /// # Errors
    /// `SG0852` if MariaDB's own programs do not do it.
    pub async fn install(&self, stored: &str) -> Outcome<()> {
        let op = format!("make the system tables of a stand-in in `{}`", self.home.display());
        let tmp = self.home.join("tmp");
        std::fs::create_dir_all(&tmp).map_err(|e| fault(&op, e))?;
        let mut install = Invocation::new("mariadb-install-db", INSTALLING)
            .arg("--no-defaults")
            .arg(option("--datadir", &self.data()))
            .arg(option("--tmpdir", &tmp))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(["--skip-name-resolve", "--innodb-log-file-size=8M"]);
        if rustix::process::geteuid().is_root() {
            install = install.arg("--user=root");
        }
        let done = install.run().await?;
        if done.code() != Some(0) {
            return Err(fault(op, done.last_words()));
        }
        self.only_admin(stored, &op).await
    }

    /// Replaces every login by the administrator's, before anything listens.
    async fn only_admin(&self, stored: &str, op: &str) -> Outcome<()> {
        let name = format!("{}@'%'", Literal::new(self.admin.as_str()));
        let statements = format!(
            "FLUSH PRIVILEGES;\nDELETE FROM mysql.global_priv WHERE User <> 'mariadb.sys';\n\
             FLUSH PRIVILEGES;\nCREATE USER {name} IDENTIFIED VIA mysql_native_password USING {};\n\
             GRANT ALL PRIVILEGES ON *.* TO {name} WITH GRANT OPTION;\n",
            Literal::new(stored)
        );
        let program = program()?;
        let mut bootstrap = Invocation::new(program, INSTALLING)
            .arg("--no-defaults")
            .arg("--bootstrap")
            .arg(option("--datadir", &self.data()))
            .arg(option("--tmpdir", &self.home.join("tmp")))
            .stdin(statements.into_bytes());
        if rustix::process::geteuid().is_root() {
            bootstrap = bootstrap.arg("--user=root");
        }
        let done = bootstrap.run().await?;
        let said = String::from_utf8_lossy(&done.stderr);
        if done.code() != Some(0) || said.contains("ERROR:") {
            return Err(fault(op, done.last_words()));
        }
        Ok(())
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// `SG0852` with its last words if it does not.
    pub async fn start(&self, password: &SecretString) -> Outcome<Daemon> {
        let op = format!("start the stand-in of the database server at {}", self.address);
        let file = self.home.join("mariadb.cnf");
        std::fs::write(&file, self.config()).map_err(|e| fault(&op, e))?;
        let mut args = vec![option("--defaults-file", &file)];
        if rustix::process::geteuid().is_root() {
            args.push("--user=root".into());
        }
        let log = self.home.join("mariadb.log");
        let name = format!("mariadbd {}", self.address);
        let mut daemon = Daemon::start(&name, &program()?, &args, &log, None).await?;
        let deadline = Instant::now() + STARTING;
        loop {
            daemon.still_runs()?;
            match self.connect(password.clone()).await {
                Ok(session) => {
                    session.close().await;
                    return Ok(daemon);
                }
                Err(cause) if Instant::now() > deadline => return Err(fault(op, cause)),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn connect(&self, password: SecretString) -> sql::SqlResult<Session> {
        let user = self.admin.clone();
        sql::connect(&Endpoint { address: self.address, user, password }, CONNECTING).await
    }

    /// Opens a session as the administrator.
    ///
    /// # Errors
    /// `SG0852` if it does not answer.
    pub async fn session(&self, password: &SecretString) -> Outcome<Session> {
        let op = format!("connect to the stand-in at {}", self.address);
        self.connect(password.clone()).await.map_err(|e| fault(op, e))
    }

    fn config(&self) -> String {
        let mut text = format!(
            "[mariadbd]\nbasedir=/usr\ndatadir={data}\nsocket=standin.sock\npid-file={home}/mariadb.pid\n\
             tmpdir={home}/tmp\nbind-address={}\nport={}\nskip-name-resolve\n\
             log-bin=mariadb-bin\ninnodb-buffer-pool-size={POOL}\nperformance-schema=OFF\n",
            self.address.ip(),
            self.address.port(),
            data = self.data().display(),
            home = self.home.display(),
        );
        for (variable, option) in TAKEN_OVER {
            let Some(value) = self.variables.get(variable) else { continue };
            // The machine's zone is this machine's as well.
            let unset = variable == "time_zone" && value == "SYSTEM"
                || variable == "event_scheduler" && value == "DISABLED";
            if !unset && !value.contains('\n') {
                let _ = writeln!(text, "{option}={value}");
            }
        }
        if !self.variables.contains_key("server_id") {
            let _ = writeln!(text, "server-id={0}\ngtid-domain-id={0}", self.number);
        }
        if !self.variables.contains_key("binlog_format") {
            text.push_str("binlog-format=ROW\n");
        }
        text
    }
}

fn program() -> Result<PathBuf, Fault> {
    find_program("mariadbd")
        .ok_or_else(|| fault("start a stand-in of the database", "`mariadbd` is missing"))
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push("=");
    option.push(path);
    option
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_is_set_like_the_server_that_it_stands_for() {
        let server = Server {
            home: "/r/db".into(),
            address: std::net::SocketAddr::from(([192, 0, 2, 1], 3306)),
            admin: "a".into(),
            variables: [("sql_mode", "ANSI"), ("time_zone", "SYSTEM"), ("server_id", "7")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            number: 1,
        };
        let text = server.config();
        assert!(text.contains("\nsql-mode=ANSI\n"), "{text}");
        assert!(text.contains("bind-address=192.0.2.1\nport=3306\n"), "{text}");
        assert!(text.contains("\nserver-id=7\n"), "{text}");
        assert!(!text.contains("default-time-zone"), "{text}");
    }
}
