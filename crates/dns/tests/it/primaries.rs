//! Private primaries of three makes that take signed updates: BIND, Knot DNS, PowerDNS.

use crate::named::{Named, Role, SECRETS, free_port, secret_file};
use crate::world::zone as zone_of;
use segue_dns::Zone;
use segue_model::plan::{OwnedSet, SecretRef, TsigKey, ZonePlan};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Bind,
    Knot,
    PowerDns,
}

/// A primary for `example.test` that takes updates, transfers and NOTIFY with `mig-key`.
pub(crate) struct Lab {
    _server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) dir: TempDir,
}

enum Server {
    Bind { _named: Named },
    Other { child: Child },
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Other { child } = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Lab {
    pub(crate) fn start(make: Make, zone: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (server, address) = match make {
            Make::Bind => {
                let named = Named::start(dir.path(), "primary", zone, &Role::Primary);
                let address = named.address;
                (Server::Bind { _named: named }, address)
            }
            Make::Knot => other(dir.path(), zone, knot),
            Make::PowerDns => other(dir.path(), zone, powerdns),
        };
        Self { _server: server, address, dir }
    }

    pub(crate) fn zone(&self, records: Vec<OwnedSet>) -> Arc<Zone> {
        let secret = secret_file(self.dir.path(), SECRETS[0]);
        zone_of(ZonePlan {
            zone: "example.test".into(),
            primary: self.address,
            servers: vec![self.address],
            key: TsigKey {
                name: "mig-key".into(),
                algorithm: "hmac-sha256".into(),
                secret: SecretRef(format!("file:{}", secret.display())),
            },
            records,
            lowered_ttl_s: 30,
        })
    }
}

/// Starts a server by the command that `prepare` returns; once more if its port was taken.
fn other(
    dir: &Path,
    zone: &str,
    prepare: fn(&Path, &Path, u16) -> Command,
) -> (Server, SocketAddr) {
    let mut log = PathBuf::new();
    for number in 0..3 {
        let home = dir.join(number.to_string());
        fs::create_dir_all(&home).unwrap();
        let file = home.join("example.test.zone");
        fs::write(&file, format!("$ORIGIN example.test.\n{zone}")).unwrap();
        let address = free_port();
        let mut command = prepare(&home, &file, address.port());
        log = home.join("log");
        let out = fs::File::create(&log).unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).spawn();
        let mut server = Server::Other { child: child.unwrap() };
        if answers(&mut server, address) {
            return (server, address);
        }
    }
    panic!("the server does not start: {}", fs::read_to_string(log).unwrap_or_default());
}

/// Waits until the zone is served.
fn answers(server: &mut Server, address: SocketAddr) -> bool {
    let Server::Other { child } = server else { return true };
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        let asked = Command::new("dig")
            .args(["+short", "+time=1", "+tries=1", "@127.0.0.1", "-p"])
            .args([&address.port().to_string(), "example.test", "SOA"])
            .output()
            .expect("dig: run `apt-get install bind9-dnsutils`");
        if String::from_utf8_lossy(&asked.stdout).contains("hostmaster.example.test.") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

fn knot(home: &Path, zone: &Path, port: u16) -> Command {
    let config = home.join("knot.conf");
    let text = format!(
        "server:\n  rundir: \"{home}/run\"\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  \
         tcp-workers: 2\n  background-workers: 1\n\
         database:\n  storage: \"{home}/db\"\n\
         log:\n  - target: stdout\n    any: info\n\
         key:\n  - id: mig-key\n    algorithm: hmac-sha256\n    secret: {secret}\n\
         acl:\n  - id: update\n    key: mig-key\n    action: [update, transfer, notify]\n\
         template:\n  - id: default\n    storage: \"{home}\"\n    zonefile-sync: -1\n    \
         zonefile-load: difference-no-serial\n    journal-content: all\n    \
         serial-policy: increment\n\
         zone:\n  - domain: example.test\n    file: \"{zone}\"\n    acl: update\n",
        home = home.display(),
        zone = zone.display(),
        secret = SECRETS[0],
    );
    fs::write(&config, text).unwrap();
    for folder in ["run", "db"] {
        fs::create_dir_all(home.join(folder)).unwrap();
    }
    let mut command = Command::new(program("knotd", "knot"));
    command.arg("-c").arg(&config);
    command
}

/// The tables of PowerDNS 4.7 (its manual, "Generic SQLite 3 backend"): Debian's own file of
/// them lies among the documentation, which small systems leave out.
const TABLES: &str = "
CREATE TABLE domains (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, master TEXT,
    last_check INTEGER, type TEXT NOT NULL, notified_serial INTEGER, account TEXT, options TEXT,
    catalog TEXT);
CREATE TABLE records (id INTEGER PRIMARY KEY, domain_id INTEGER, name TEXT, type TEXT, content TEXT,
    ttl INTEGER, prio INTEGER, disabled INTEGER DEFAULT 0, ordername TEXT, auth INTEGER DEFAULT 1);
CREATE INDEX by_name ON records (name, type);
CREATE INDEX by_domain ON records (domain_id, name, type);
CREATE INDEX by_order ON records (domain_id, ordername);
CREATE TABLE supermasters (ip TEXT NOT NULL, nameserver TEXT NOT NULL, account TEXT NOT NULL);
CREATE TABLE comments (id INTEGER PRIMARY KEY, domain_id INTEGER NOT NULL, name TEXT, type TEXT,
    modified_at INTEGER, account TEXT, comment TEXT);
CREATE TABLE domainmetadata (id INTEGER PRIMARY KEY, domain_id INTEGER NOT NULL,
    kind TEXT COLLATE NOCASE, content TEXT);
CREATE TABLE cryptokeys (id INTEGER PRIMARY KEY, domain_id INTEGER NOT NULL, flags INTEGER NOT NULL,
    active INTEGER, published INTEGER DEFAULT 1, content TEXT);
CREATE TABLE tsigkeys (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE,
    algorithm TEXT COLLATE NOCASE, secret TEXT);
";

fn powerdns(home: &Path, zone: &Path, port: u16) -> Command {
    let database = home.join("pdns.db");
    let made =
        Command::new(program("sqlite3", "sqlite3")).arg(&database).arg(TABLES).status().unwrap();
    assert!(made.success(), "the tables are made");
    let text = format!(
        "launch=gsqlite3\ngsqlite3-database={}\ngsqlite3-dnssec=yes\n\
         gsqlite3-pragma-synchronous=1\nlocal-address=127.0.0.1\nlocal-port={port}\n\
         socket-dir={home}\nguardian=no\ndaemon=no\nprimary=yes\ndnsupdate=yes\n\
         allow-dnsupdate-from=127.0.0.0/8\nsecurity-poll-suffix=\nversion-string=anonymous\n\
         default-soa-edit=\nloglevel=4\ndisable-syslog=yes\n",
        database.display(),
        home = home.display(),
    );
    fs::write(home.join("pdns.conf"), text).unwrap();
    let file = zone.display().to_string();
    let steps: [&[&str]; 6] = [
        &["load-zone", "example.test", &file],
        &["set-kind", "example.test", "primary"],
        &["import-tsig-key", "mig-key", "hmac-sha256", SECRETS[0]],
        &["activate-tsig-key", "example.test", "mig-key", "primary"],
        &["set-meta", "example.test", "TSIG-ALLOW-DNSUPDATE", "mig-key"],
        &["set-meta", "example.test", "SOA-EDIT-DNSUPDATE", "INCREASE"],
    ];
    for step in steps {
        let mut command = Command::new(program("pdnsutil", "pdns-server"));
        let done = command.arg(format!("--config-dir={}", home.display())).args(step).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{step:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let mut command = Command::new(program("pdns_server", "pdns-server"));
    command.arg(format!("--config-dir={}", home.display()));
    command
}

/// Returns the path of a program, also where an ordinary user's PATH does not lead.
fn program(name: &str, package: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let mut places = folders.iter().map(|folder| Path::new(folder).join(name));
    let found = places.find(|place| place.is_file());
    found.unwrap_or_else(|| panic!("{name}: run `apt-get install {package}`"))
}
