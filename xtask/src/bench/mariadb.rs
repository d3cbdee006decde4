//! Two private MariaDB servers.

use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Password of the plan's administrator: the servers listen on loopback and go with the run.
pub(super) const PASSWORD: &str = "admin of a benchmark";
const PATIENCE: Duration = Duration::from_secs(60);

/// Source and target; both end with the benchmark.
pub(super) struct Pair {
    pub(super) source: Server,
    pub(super) target: Server,
    /// The file with the administrator's password.
    pub(super) secret: PathBuf,
    template: PathBuf,
}

impl Pair {
    /// Makes the data of one server, copies it, and starts both with further options.
    pub(super) fn start(folder: &Path, options: &[&str]) -> Result<Self> {
        let template = folder.join("template");
        let scratch = folder.join("install");
        std::fs::create_dir_all(&scratch)?;
        let made = Command::new("mariadb-install-db")
            .arg("--no-defaults")
            .arg(format!("--datadir={}", template.display()))
            .arg(format!("--tmpdir={}", scratch.display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(["--skip-name-resolve", "--user=root"])
            .output()
            .context("run `mariadb-install-db` (Debian package `mariadb-server`)")?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let secret = folder.join("admin");
        std::fs::write(&secret, PASSWORD)?;
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600))?;
        let source = Server::start(&template, &folder.join("source"), 1, options)?;
        let target = Server::start(&template, &folder.join("target"), 2, options)?;
        Ok(Self { source, target, secret, template })
    }

    /// Starts one more, with a number of its own, beside the others.
    pub(super) fn another(&self, folder: &Path, id: u32, options: &[&str]) -> Result<Server> {
        Server::start(&self.template, folder, id, options)
    }
}

/// A server process with its data.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    folder: PathBuf,
    child: Child,
}

impl Server {
    fn start(template: &Path, folder: &Path, id: u32, options: &[&str]) -> Result<Self> {
        let copied = Command::new("cp").arg("-a").arg(template).arg(folder).status()?;
        ensure!(copied.success(), "copy the data of a server");
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new("mariadbd")
            .arg("--no-defaults")
            .arg(format!("--datadir={}", folder.display()))
            .arg(format!("--tmpdir={}", folder.display()))
            .arg(format!("--socket={}", folder.join("s.sock").display()))
            .arg(format!("--pid-file={}", folder.join("pid").display()))
            .arg(format!("--port={}", address.port()))
            .arg(format!("--server-id={id}"))
            .arg(format!("--gtid-domain-id={id}"))
            .args(["--user=root", "--bind-address=127.0.0.1", "--skip-name-resolve"])
            .args(["--log-bin=bin", "--binlog-format=ROW"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.with_extension("log"))?)
            .spawn()
            .context("start `mariadbd` (Debian package `mariadb-server`)")?;
        let server = Self { address, folder: folder.to_owned(), child };
        let began = Instant::now();
        while server.sql("SELECT 1").is_err() {
            let log = || std::fs::read_to_string(folder.with_extension("log")).unwrap_or_default();
            ensure!(began.elapsed() < PATIENCE, "`mariadbd` does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        server.sql(&format!(
            "SET sql_log_bin = 0; CREATE USER segue_admin@'%' IDENTIFIED BY '{PASSWORD}'; \
             GRANT ALL PRIVILEGES ON *.* TO segue_admin@'%' WITH GRANT OPTION"
        ))?;
        Ok(server)
    }

    /// Runs statements and returns what they print, a row a line.
    pub(super) fn sql(&self, statements: &str) -> Result<String> {
        let mut client = Command::new("mariadb")
            .args(["--no-defaults", "--batch", "--skip-column-names", "--user=root"])
            .arg(format!("--socket={}", self.folder.join("s.sock").display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start `mariadb` (Debian package `mariadb-client`)")?;
        // One that ends early says why itself.
        let _ = client.stdin.take().context("no input")?.write_all(statements.as_bytes());
        let output = client.wait_with_output()?;
        if !output.status.success() {
            bail!("mariadb: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data goes with the scratch folder.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
