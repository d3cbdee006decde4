//! Two private servers, shared by the tests that run at the same time.

use secrecy::SecretString;
use segue_doors::sql::{self, Endpoint, Session};
use segue_model::plan::{DatabasePlan, DatabaseServer, SecretRef};
use segue_model::{Side, Sides};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// Password of the plan's administrator at the test servers.
const ADMIN_PASSWORD: &str = "admin-secret";

static SHARED: Mutex<Weak<Pair>> = Mutex::new(Weak::new());
/// One test at a time uses the pair: a server takes one stream from another one only.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A server process with its data.
pub(crate) struct Server {
    dir: PathBuf,
    pub(crate) address: SocketAddr,
    options: Vec<String>,
    child: Mutex<Option<Child>>,
}

impl Server {
    /// Starts a server over the prepared data.
    pub(crate) fn start(template: &Path, dir: &Path, options: &[&str]) -> Self {
        let copied = Command::new("cp").arg("-a").arg(template).arg(dir).status().unwrap();
        assert!(copied.success());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self {
            dir: dir.to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            child: Mutex::new(None),
        };
        server.launch();
        server
    }

    fn launch(&self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.with_extension("log"))
            .unwrap();
        let mut command = Command::new("mariadbd");
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", self.dir.display()))
            // A server that starts removes what looks like a temporary table of its own: in a
            // folder that others share, theirs too.
            .arg(format!("--tmpdir={}", self.dir.display()))
            .arg(format!("--socket={}", self.dir.join("s.sock").display()))
            .arg(format!("--pid-file={}", self.dir.join("pid").display()))
            .arg(format!("--port={}", self.address.port()))
            .args(["--bind-address=127.0.0.1", "--innodb-buffer-pool-size=32M"])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if is_root() {
            command.arg("--user=root");
        }
        *self.child.lock().unwrap() = Some(command.spawn().unwrap());
    }

    /// Ends the process at once, as a failing machine does.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again over its data.
    pub(crate) async fn restart(&self) {
        self.launch();
        self.ready().await;
    }

    /// Returns how much time of the processors it has used.
    pub(crate) fn cpu_ms(&self) -> u64 {
        let id = self.child.lock().unwrap().as_ref().unwrap().id();
        let line = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        let fields: Vec<&str> = line.rsplit(')').next().unwrap().split_whitespace().collect();
        // Hundredths of a second in user mode and in the kernel.
        (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
    }

    /// Waits until it answers.
    async fn ready(&self) {
        let begun = Instant::now();
        while self.root().await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.with_extension("log")).unwrap_or_default()
    }

    async fn root(&self) -> sql::SqlResult<Session> {
        self.login("root", "").await
    }

    /// Connects as a login.
    pub(crate) async fn login(&self, user: &str, password: &str) -> sql::SqlResult<Session> {
        let endpoint = Endpoint {
            address: self.address,
            user: user.into(),
            password: SecretString::from(password.to_owned()),
        };
        sql::connect(&endpoint, Duration::from_secs(5)).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self")
        .map(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0)
        .unwrap_or(false)
}

/// Makes the data of an empty server.
pub(crate) fn template(dir: &Path) -> PathBuf {
    let data = dir.join("template");
    let scratch = dir.join("template-tmp");
    std::fs::create_dir_all(&scratch).unwrap();
    let mut command = Command::new("mariadb-install-db");
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--tmpdir={}", scratch.display()))
        .args([
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ]);
    if is_root() {
        command.arg("--user=root");
    }
    let made = command.output().unwrap();
    let said = [made.stdout, made.stderr].concat();
    assert!(made.status.success(), "mariadb-install-db: {}", String::from_utf8_lossy(&said));
    data
}

/// Source and target.
pub(crate) struct Pair {
    pub(crate) servers: Sides<Server>,
    template: PathBuf,
    dir: tempfile::TempDir,
}

impl Pair {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let template = template(dir.path());
        let options = |id: &str| {
            [
                format!("--server-id={id}"),
                format!("--gtid-domain-id={id}"),
                "--log-bin=bin".into(),
                "--binlog-format=ROW".into(),
            ]
        };
        let start = |name: &str, id: &str| {
            let options = options(id);
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            Server::start(&template, &dir.path().join(name), &options)
        };
        let servers = Sides { source: start("source", "1"), target: start("target", "2") };
        let secret = dir.path().join("admin");
        std::fs::write(&secret, ADMIN_PASSWORD).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self { servers, template, dir }
    }

    /// Starts one more server with other options; its data lies beside the pair's.
    pub(crate) async fn another(&self, name: &str, options: &[&str]) -> Server {
        let server = Server::start(&self.template, &self.dir.path().join(name), options);
        server.ready().await;
        admin(&server).await;
        server
    }

    /// Returns a plan over these servers.
    pub(crate) fn plan(&self, source: SocketAddr, target: SocketAddr) -> DatabasePlan {
        let password = SecretRef(format!("file:{}", self.dir.path().join("admin").display()));
        let server = |address| DatabaseServer {
            address,
            admin: "segue_admin".into(),
            password: password.clone(),
        };
        DatabasePlan {
            schema: "shop".into(),
            servers: Sides { source: server(source), target: server(target) },
            logins: vec!["shop".into()],
        }
    }
}

async fn admin(server: &Server) {
    let mut root = server.root().await.unwrap();
    root.run(format!(
        "SET sql_log_bin = 0; \
         CREATE USER IF NOT EXISTS segue_admin@'%' IDENTIFIED BY '{ADMIN_PASSWORD}'; \
         GRANT ALL PRIVILEGES ON *.* TO segue_admin@'%' WITH GRANT OPTION"
    ))
    .await
    .unwrap();
    root.close().await;
}

/// A test's turn on the shared pair.
pub(crate) struct Turn {
    pub(crate) pair: Arc<Pair>,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

impl Turn {
    /// Waits for the turn and clears what the one before left.
    pub(crate) async fn take() -> Self {
        let pair = {
            let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            shared.upgrade().unwrap_or_else(|| {
                let pair = Arc::new(Pair::start());
                *shared = Arc::downgrade(&pair);
                pair
            })
        };
        let turn = TURN.lock().await;
        for side in [Side::Source, Side::Target] {
            let server = pair.servers.get(side);
            server.ready().await;
            clear(server).await;
            admin(server).await;
        }
        Self { pair, _turn: turn }
    }

    /// Connects as root.
    pub(crate) async fn root(&self, side: Side) -> Session {
        self.pair.servers.get(side).root().await.unwrap()
    }

    /// Connects as the shop's login.
    pub(crate) async fn shop(&self, side: Side) -> sql::SqlResult<Session> {
        self.pair.servers.get(side).login("shop", "shop-secret").await
    }
}

/// Removes every stream, schema and login that a test may have left.
async fn clear(server: &Server) {
    let mut root = server.root().await.unwrap();
    root.run("SET sql_log_bin = 0; STOP ALL SLAVES").await.unwrap();
    let streams: Vec<sql::Row> = root.rows("SHOW ALL SLAVES STATUS").await.unwrap();
    for stream in streams {
        let name: String = stream.get("Connection_name").unwrap();
        root.run(format!("RESET SLAVE '{name}' ALL")).await.unwrap();
    }
    let schemas: Vec<String> = root
        .rows(
            "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN \
               ('information_schema', 'mysql', 'performance_schema', 'sys')",
        )
        .await
        .unwrap();
    for schema in schemas {
        root.run(format!("DROP SCHEMA `{schema}`")).await.unwrap();
    }
    let accounts: Vec<String> = root
        .rows(
            "SELECT CONCAT(QUOTE(User), '@', QUOTE(Host)) FROM mysql.global_priv \
               WHERE User NOT IN ('root', 'mariadb.sys', 'segue_admin', 'PUBLIC')",
        )
        .await
        .unwrap();
    for account in accounts {
        root.run(format!("DROP USER {account}")).await.unwrap();
    }
    root.close().await;
}
