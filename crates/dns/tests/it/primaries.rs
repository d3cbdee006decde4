//! Providers of `example.test`, each with its way to change records: private primaries of three
//! makes that take signed updates, an API, a zone file, a program, and stand-ins of two clouds.

use crate::fakes::cloudflare::{self, Cloudflare};
use crate::fakes::route53::{self, Route53};
use crate::makes::{knot, pdnsutil, powerdns, program};
use crate::named::{Named, Role, SECRETS, free_port, secret_file};
use crate::world::zone as zone_of;
use segue_dns::Zone;
use segue_model::plan::{AuthorityPlan, OwnedSet, SecretRef, TsigKey, ZonePlan};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Whose server it is, and how its records are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Bind,
    Knot,
    PowerDns,
    /// Signs what changes.
    BindSigned,
    KnotSigned,
    PowerDnsSigned,
    /// Has signatures that somebody else made, and makes none.
    KnotPresigned,
    PowerDnsApi,
    ZoneFile,
    Command,
    Route53,
    Cloudflare,
}

/// A provider of `example.test`.
pub(crate) struct Lab {
    pub(crate) server: Server,
    authority: AuthorityPlan,
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) dir: TempDir,
}

pub(crate) enum Server {
    Bind(#[allow(dead_code, reason = "ends with the lab")] Named),
    Other { child: Child },
    Route53(Route53),
    Cloudflare(Cloudflare),
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
    pub(crate) async fn start(make: Make, zone: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place =
            |secret: &str| SecretRef(format!("file:{}", secret_file(dir.path(), secret).display()));
        let update = |primary| AuthorityPlan::Update {
            primary,
            key: TsigKey {
                name: "mig-key".into(),
                algorithm: "hmac-sha256".into(),
                secret: place(SECRETS[0]),
            },
        };
        let (server, servers, authority) = match make {
            Make::Bind | Make::BindSigned | Make::Command => {
                let signs = make == Make::BindSigned;
                let role = if signs { Role::Signing } else { Role::Primary };
                let named = Named::start(dir.path(), "primary", zone, &role);
                let address = named.address;
                let authority = match make {
                    Make::Command => AuthorityPlan::Command { command: hook(dir.path(), address) },
                    _ => update(address),
                };
                (Server::Bind(named), vec![address], authority)
            }
            Make::Knot | Make::PowerDns => {
                let prepare = if make == Make::Knot { knot } else { powerdns };
                let (server, address) = other(dir.path(), zone, prepare);
                (server, vec![address], update(address))
            }
            Make::KnotSigned | Make::KnotPresigned => {
                let (server, address) = other(dir.path(), zone, |home, file, address| {
                    let command = knot(home, file, address);
                    if make == Make::KnotPresigned {
                        sign(home, file);
                    } else {
                        let config = home.join("knot.conf");
                        let text = fs::read_to_string(&config).unwrap();
                        fs::write(config, text + "    dnssec-signing: on\n").unwrap();
                    }
                    command
                });
                (server, vec![address], update(address))
            }
            Make::PowerDnsSigned => {
                let (server, address) = other(dir.path(), zone, |home, file, address| {
                    let command = powerdns(home, file, address);
                    pdnsutil(home, &["secure-zone", "example.test"]);
                    command
                });
                (server, vec![address], update(address))
            }
            Make::PowerDnsApi => {
                let api = free_port();
                let (server, address) = other(dir.path(), zone, |home, file, address| {
                    with_api(powerdns(home, file, address), home, api)
                });
                let authority = AuthorityPlan::Powerdns {
                    url: format!("http://{api}"),
                    server: "localhost".into(),
                    key: place(API_KEY),
                };
                (server, vec![address], authority)
            }
            Make::ZoneFile => {
                let named = Named::start(dir.path(), "primary", zone, &Role::Controlled);
                let address = named.address;
                let authority = AuthorityPlan::ZoneFile {
                    file: dir.path().join("primary/zone"),
                    reload: named.rndc(&["reload", "example.test"]),
                };
                (Server::Bind(named), vec![address], authority)
            }
            Make::Route53 => {
                let cloud = Route53::start(zone, 10_000).await;
                let servers = cloud.edges.iter().map(|edge| edge.address).collect();
                let authority = AuthorityPlan::Route53 {
                    url: format!("http://{}", cloud.address),
                    zone_id: route53::ZONE_ID.into(),
                    access_key: place(route53::ACCESS_KEY),
                    secret_key: place(route53::SECRET_KEY),
                };
                (Server::Route53(cloud), servers, authority)
            }
            Make::Cloudflare => {
                let cloud = Cloudflare::start(zone).await;
                let servers = vec![cloud.edge.address];
                let authority = AuthorityPlan::Cloudflare {
                    url: format!("http://{}", cloud.address),
                    zone_id: cloudflare::ZONE_ID.into(),
                    token: place(cloudflare::TOKEN),
                    batch_max: 200,
                    ttl_min_s: cloudflare::TTL_MIN,
                };
                (Server::Cloudflare(cloud), servers, authority)
            }
        };
        Self { server, authority, servers, dir }
    }

    pub(crate) fn plan(&self, records: Vec<OwnedSet>) -> ZonePlan {
        ZonePlan {
            zone: "example.test".into(),
            provider: None,
            servers: self.servers.clone(),
            authority: self.authority.clone(),
            records,
            lowered_ttl_s: 30,
            lowered_other_ttl_s: 30,
            parents: Vec::new(),
            allow: Vec::new(),
            query_logs: Vec::new(),
        }
    }

    pub(crate) fn zone(&self, records: Vec<OwnedSet>) -> Arc<Zone> {
        zone_of(self.plan(records))
    }

    /// Lets PowerDNS answer for a name by that of another, in place of its addresses.
    pub(crate) fn powerdns_alias(&self, name: &str) {
        let AuthorityPlan::Powerdns { url, .. } = &self.authority else { panic!() };
        let set = |rtype: &str, change: &str, content: &str| {
            format!(
                "{{\"name\":\"{name}\",\"type\":\"{rtype}\",\"ttl\":60,\"changetype\":\"{change}\",\
                 \"records\":[{{\"content\":\"{content}\",\"disabled\":false}}]}}"
            )
        };
        let sets = [
            set("A", "DELETE", "198.51.100.7"),
            set("TXT", "DELETE", ""),
            set("ALIAS", "REPLACE", "balancer.provider.test."),
        ];
        let done = Command::new(program("curl", "curl"))
            .args(["-sS", "--fail-with-body", "-X", "PATCH", "-H"])
            .arg(format!("X-API-Key: {API_KEY}"))
            .args(["-d", &format!("{{\"rrsets\":[{}]}}", sets.join(","))])
            .arg(format!("{url}/api/v1/servers/localhost/zones/example.test."))
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
}

/// Signs a zone's file with keys that its server never gets.
fn sign(home: &Path, file: &Path) {
    let run = |tool: &str, words: &[&str]| {
        let mut command = Command::new(program(tool, "bind9-utils"));
        let done = command.current_dir(home).args(words).output().unwrap();
        assert!(done.status.success(), "{tool}: {}", String::from_utf8_lossy(&done.stderr));
    };
    run("dnssec-keygen", &["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", "example.test"]);
    run("dnssec-keygen", &["-q", "-a", "ECDSAP256SHA256", "example.test"]);
    let file = file.display().to_string();
    run("dnssec-signzone", &["-q", "-S", "-P", "-o", "example.test", "-f", &file, &file]);
}

/// The key of PowerDNS's API.
const API_KEY: &str = "api-key-of-the-lab";

fn with_api(mut command: Command, home: &Path, api: SocketAddr) -> Command {
    let file = home.join("pdns.conf");
    let text = fs::read_to_string(&file).unwrap();
    let more = format!(
        "api=yes\napi-key={API_KEY}\nwebserver=yes\nwebserver-address=127.0.0.1\n\
         webserver-port={}\nwebserver-allow-from=127.0.0.0/8\n",
        api.port()
    );
    fs::write(file, text + &more).unwrap();
    command.stdin(Stdio::null());
    command
}

/// An operator's program: the one of the documentation, which drives BIND by `dig` and
/// `nsupdate`.
fn hook(dir: &Path, primary: SocketAddr) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/dns-command.pl");
    let key = dir.join("hook.key");
    let text = format!("key mig-key {{ algorithm hmac-sha256; secret \"{}\"; }};\n", SECRETS[0]);
    fs::write(&key, text).unwrap();
    let words = [
        program("perl", "perl").display().to_string(),
        script.display().to_string(),
        primary.ip().to_string(),
        primary.port().to_string(),
        key.display().to_string(),
    ];
    words.to_vec()
}

/// Starts a server by the command that `prepare` returns; once more if its port was taken.
fn other(
    dir: &Path,
    zone: &str,
    prepare: impl Fn(&Path, &Path, SocketAddr) -> Command,
) -> (Server, SocketAddr) {
    let mut log = PathBuf::new();
    for number in 0..3 {
        let home = dir.join(number.to_string());
        fs::create_dir_all(&home).unwrap();
        let file = home.join("example.test.zone");
        fs::write(&file, format!("$ORIGIN example.test.\n{zone}")).unwrap();
        let address = free_port();
        let mut command = prepare(&home, &file, address);
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
