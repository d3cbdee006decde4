//! Private instances of the servers that stand behind ports for TCP, a house of them a side.

use super::speak::{Conn, Kind};
use crate::support::free_address;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const READY: Duration = Duration::from_secs(20);

/// The servers of one side.
pub(crate) struct House {
    /// As the greetings of its mail servers name it.
    name: &'static str,
    home: PathBuf,
    at: BTreeMap<Kind, SocketAddr>,
    children: Vec<(Child, &'static str)>,
}

/// Makes what both houses have in common: data of a MariaDB and of a PostgreSQL server, and a
/// folder that the servers' own users may enter.
pub(crate) fn prepare(folder: &Path) {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    assert!(root, "Postfix' master is for root: run this test as root");
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    let (maria, scratch) = (folder.join("maria"), folder.join("scratch"));
    fs::create_dir(&scratch).unwrap();
    let mut install = Command::new("mariadb-install-db");
    install
        .args(["--no-defaults", "--user=root", "--skip-test-db", "--skip-name-resolve"])
        .args(["--auth-root-authentication-method=normal", "--innodb-log-file-size=8M"])
        .arg(format!("--datadir={}", maria.display()))
        .arg(format!("--tmpdir={}", scratch.display()));
    let data = folder.join("postgres");
    fs::create_dir(&data).unwrap();
    done(Command::new("chown").arg("postgres").arg(&data), "util");
    let mut initdb = as_postgres();
    initdb.arg(postgres("initdb")).args(["--no-sync", "-A", "trust", "-U", "postgres", "-D"]);
    initdb.arg(&data).current_dir("/");
    std::thread::scope(|both| {
        both.spawn(|| done(&mut install, "mariadb-server"));
        both.spawn(|| done(&mut initdb, "postgresql"));
    });
}

impl House {
    /// Starts all servers of a side. To be called by a thread that lives as long as they do.
    pub(crate) fn start(name: &'static str, common: &Path) -> Self {
        let home = common.join(name);
        fs::create_dir(&home).unwrap();
        for data in ["maria", "postgres"] {
            done(Command::new("cp").arg("-a").arg(common.join(data)).arg(home.join(data)), "util");
        }
        let at = Kind::ALL.into_iter().map(|kind| (kind, free_address())).collect();
        let mut house = Self { name, home, at, children: Vec::new() };
        house.databases();
        house.dovecot();
        house.postfix();
        house
    }

    pub(crate) fn at(&self, kind: Kind) -> SocketAddr {
        self.at[&kind]
    }

    /// What a server of this kind says of itself here.
    pub(crate) fn word(&self, kind: Kind) -> String {
        match kind {
            Kind::MySql | Kind::Postgres | Kind::Redis => self.at(kind).port().to_string(),
            Kind::Imap | Kind::Pop3 | Kind::Smtp | Kind::Submission => self.name.to_owned(),
        }
    }

    /// What its mail servers wrote down.
    pub(crate) fn mail_log(&self) -> String {
        let read = |name| fs::read_to_string(self.home.join(name)).unwrap_or_default();
        read("dovecot.log") + &read("mail.log")
    }

    /// Waits until every server can be talked to.
    pub(crate) async fn ready(&self) {
        for kind in Kind::ALL {
            let began = Instant::now();
            loop {
                let tried = tokio::time::timeout(Duration::from_secs(5), self.talk(kind)).await;
                match tried {
                    Ok(Ok(said)) if said.who == self.word(kind) => break,
                    other => assert!(began.elapsed() < READY, "{} {kind:?}: {other:?}", self.name),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn talk(&self, kind: Kind) -> std::io::Result<super::speak::Said> {
        let mut conn = Conn::open("127.0.0.1", self.at(kind)).await?;
        if kind.told_the_client() {
            conn.say(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n").await?;
        }
        let said = kind.begin(&mut conn).await?;
        kind.end(&mut conn).await?;
        Ok(said)
    }

    fn spawn(&mut self, command: &mut Command, log: &str, signal: &'static str) {
        let log = OpenOptions::new().create(true).append(true).open(self.home.join(log)).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.children.push((command.spawn().unwrap(), signal));
    }

    fn databases(&mut self) {
        let init = self.home.join("init.sql");
        fs::write(&init, "CREATE USER probe@'127.%';\n").unwrap();
        let (at, data) = (self.at(Kind::MySql), self.home.join("maria"));
        let mut maria = bound("KILL", "mariadbd");
        maria
            .args(["--no-defaults", "--user=root", "--skip-name-resolve"])
            .args(["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M"])
            .arg("--proxy-protocol-networks=127.0.0.1")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--tmpdir={}", data.display()))
            .arg(format!("--socket={}", self.home.join("maria.sock").display()))
            .arg(format!("--pid-file={}", self.home.join("maria.pid").display()))
            .arg(format!("--init-file={}", init.display()))
            .arg(format!("--bind-address={}", at.ip()))
            .arg(format!("--port={}", at.port()));
        self.spawn(&mut maria, "maria.log", "KILL");
        let at = self.at(Kind::Postgres);
        let mut server = as_postgres();
        server.args(["--pdeathsig", "QUIT"]).arg(postgres("postgres")).arg("-D");
        server.arg(self.home.join("postgres")).current_dir("/");
        for set in [
            format!("listen_addresses={}", at.ip()),
            format!("port={}", at.port()),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
        ] {
            server.args(["-c", &set]);
        }
        self.spawn(&mut server, "postgres.log", "QUIT");
        let at = self.at(Kind::Redis);
        let mut redis = bound("KILL", "redis-server");
        redis.args(["--save", "", "--bind", &at.ip().to_string(), "--port"]);
        redis.arg(at.port().to_string()).arg("--dir").arg(&self.home);
        self.spawn(&mut redis, "redis.log", "KILL");
    }

    fn dovecot(&mut self) {
        let mail = self.home.join("mail");
        fs::create_dir(&mail).unwrap();
        fs::set_permissions(&mail, Permissions::from_mode(0o777)).unwrap();
        let (imap, pop3) = (self.at(Kind::Imap), self.at(Kind::Pop3));
        let config = format!(
            "base_dir = {home}/run\nstate_dir = {home}/state\nlog_path = {home}/dovecot.log\n\
             protocols = imap pop3\nlogin_greeting = {name} ready\nssl = no\n\
             disable_plaintext_auth = no\nhaproxy_trusted_networks = 127.0.0.0/8\n\
             mail_location = maildir:{home}/mail/%u\nmail_uid = nobody\nmail_gid = nogroup\n\
             first_valid_uid = 1\nmail_fsync = never\n\
             passdb {{\n driver = static\n args = nopassword=y\n}}\n\
             userdb {{\n driver = static\n args = uid=nobody gid=nogroup home={home}/mail/%u\n}}\n\
             service imap-login {{\n service_count = 0\n inet_listener imap {{\n address = {}\n \
             port = {}\n haproxy = yes\n }}\n inet_listener imaps {{\n port = 0\n }}\n}}\n\
             service pop3-login {{\n service_count = 0\n inet_listener pop3 {{\n address = {}\n \
             port = {}\n }}\n inet_listener pop3s {{\n port = 0\n }}\n}}\n",
            imap.ip(),
            imap.port(),
            pop3.ip(),
            pop3.port(),
            home = self.home.display(),
            name = self.name,
        );
        let file = self.home.join("dovecot.conf");
        fs::write(&file, config).unwrap();
        self.spawn(bound("TERM", "dovecot").arg("-F").arg("-c").arg(&file), "dovecot.out", "TERM");
    }

    fn postfix(&mut self) {
        let (etc, data) = (self.home.join("postfix"), self.home.join("data"));
        for folder in [&etc, &data, &self.home.join("queue")] {
            fs::create_dir(folder).unwrap();
        }
        done(Command::new("chown").arg("postfix").arg(&data), "util");
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {home}/queue\ndata_directory = {home}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\n\
             maillog_file = {home}/mail.log\nmaillog_file_prefixes = {home}\n\
             myhostname = {name}.test\nsmtpd_banner = {name} ESMTP\ninet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\nmydestination =\nlocal_transport = discard:\n\
             default_transport = discard:\nalias_maps =\nmynetworks = 127.0.0.0/8\n\
             smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n\
             smtpd_peername_lookup = no\ndisable_dns_lookups = yes\n",
            home = self.home.display(),
            name = self.name,
        );
        fs::write(etc.join("main.cf"), main).unwrap();
        let master = format!(
            "{} inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy\n\
             {} inet n - n - - smtpd\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
             rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
             defer unix - - n - 0 bounce\nanvil unix - - n - 1 anvil\n\
             discard unix - - n - - discard\nerror unix - - n - - error\n\
             proxymap unix - - n - - proxymap\n\
             postlog unix-dgram n - n - 1 postlogd\n",
            self.at(Kind::Smtp),
            self.at(Kind::Submission),
        );
        fs::write(etc.join("master.cf"), master).unwrap();
        done(Command::new("postfix").arg("-c").arg(&etc).arg("check"), "postfix");
        let mut master = bound("TERM", "/usr/lib/postfix/sbin/master");
        self.spawn(master.args(["-d", "-c"]).arg(&etc), "postfix.out", "TERM");
    }
}

impl Drop for House {
    fn drop(&mut self) {
        for (child, signal) in &self.children {
            let _ =
                Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
        }
        for (child, _) in &mut self.children {
            let began = Instant::now();
            while child.try_wait().unwrap().is_none() {
                if began.elapsed() > Duration::from_secs(3) {
                    let _ = child.kill();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// A program that ends with this one, by a signal of its own.
fn bound(signal: &str, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal, "--", program]);
    command
}

/// Something as the user that PostgreSQL runs as: it refuses to be root.
fn as_postgres() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    command
}

/// The path of a program of PostgreSQL's newest version.
fn postgres(program: &str) -> PathBuf {
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .expect("apt-get install postgresql")
        .map(|entry| entry.unwrap().path().join("bin").join(program))
        .collect();
    versions.sort();
    versions.pop().expect("apt-get install postgresql")
}

fn done(command: &mut Command, package: &str) {
    let done = command.stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|error| panic!("{error}: apt-get install {package}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{command:?}: {}{}", text(&done.stdout), text(&done.stderr));
}
