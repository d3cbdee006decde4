//! Knot DNS and PowerDNS: their configuration, and where programs are.

use crate::named::SECRETS;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Configures Knot DNS for `example.test` from a zone file; returns the command that starts it.
///
/// The zone is the last of the configuration: lines that are appended belong to it.
pub(crate) fn knot(home: &Path, zone: &Path, address: SocketAddr) -> Command {
    let config = home.join("knot.conf");
    let text = format!(
        "server:\n  rundir: \"{home}/run\"\n  listen: {ip}@{port}\n  udp-workers: 1\n  \
         tcp-workers: 2\n  background-workers: 1\n\
         database:\n  storage: \"{home}/db\"\n\
         log:\n  - target: stdout\n    any: info\n\
         key:\n  - id: mig-key\n    algorithm: hmac-sha256\n    secret: {secret}\n\
         acl:\n  - id: update\n    key: mig-key\n    action: [update, transfer, notify]\n\
         template:\n  - id: default\n    storage: \"{home}\"\n    zonefile-sync: -1\n    \
         zonefile-load: difference-no-serial\n    journal-content: all\n    \
         serial-policy: increment\n\
         zone:\n  - domain: example.test\n    file: \"{zone}\"\n    acl: update\n",
        ip = address.ip(),
        port = address.port(),
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

/// Configures PowerDNS for `example.test` from a zone file; returns the command that starts it.
pub(crate) fn powerdns(home: &Path, zone: &Path, address: SocketAddr) -> Command {
    let database = home.join("pdns.db");
    let made =
        Command::new(program("sqlite3", "sqlite3")).arg(&database).arg(TABLES).status().unwrap();
    assert!(made.success(), "the tables are made");
    let text = format!(
        "launch=gsqlite3\ngsqlite3-database={}\ngsqlite3-dnssec=yes\n\
         gsqlite3-pragma-synchronous=1\nlocal-address={ip}\nlocal-port={port}\n\
         socket-dir={home}\nguardian=no\ndaemon=no\nprimary=yes\ndnsupdate=yes\n\
         allow-dnsupdate-from=127.0.0.0/8,10.53.0.0/24\nsecurity-poll-suffix=\nversion-string=anonymous\n\
         default-soa-edit=\nloglevel=4\ndisable-syslog=yes\n",
        database.display(),
        ip = address.ip(),
        port = address.port(),
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
        pdnsutil(home, step);
    }
    let mut command = Command::new(program("pdns_server", "pdns-server"));
    command.arg(format!("--config-dir={}", home.display()));
    command
}

/// Runs one step of `pdnsutil` for the server of a folder.
pub(crate) fn pdnsutil(home: &Path, step: &[&str]) {
    let mut command = Command::new(program("pdnsutil", "pdns-server"));
    let done = command.arg(format!("--config-dir={}", home.display())).args(step).output().unwrap();
    assert!(done.status.success(), "{step:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Returns the path of a program, also where an ordinary user's PATH does not lead.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let mut places = folders.iter().map(|folder| Path::new(folder).join(name));
    let found = places.find(|place| place.is_file());
    found.unwrap_or_else(|| panic!("{name}: run `apt-get install {package}`"))
}
