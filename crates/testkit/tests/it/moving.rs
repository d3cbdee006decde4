//! `segue dns move` as a person uses it who moves many zones: two real name servers, and one
//! above them that stands for the parent and for the resolver.

use crate::{bin, wait_for};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ZONES: usize = 30;
/// Zones that may be begun within a second.
const PACE: usize = 15;
const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

struct Server {
    address: SocketAddr,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free for both; whoever takes it in the moment between makes `named` end, and
/// the test fail.
fn free() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

fn start(home: &Path, zones: &[(String, String)], allow: &str) -> Server {
    let address = free();
    fs::create_dir_all(home).unwrap();
    let mut text = format!(
        "key move-key {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n\
         options {{ directory \"{}\"; pid-file none; session-keyfile none; lock-file none;\n\
         listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; notify no;\n\
         dnssec-validation no; empty-zones-enable no; allow-transfer {{ key move-key; }}; }};\n\
         controls {{ }};\n",
        home.display(),
        address.port()
    );
    for (name, zone) in zones {
        fs::write(home.join(name), zone).unwrap();
        writeln!(text, "zone \"{name}\" {{ type primary; file \"{name}\"; {allow} }};").unwrap();
    }
    fs::write(home.join("named.conf"), text).unwrap();
    let log = fs::File::create(home.join("log")).unwrap();
    let child = Command::new("/usr/bin/setpriv")
        .args(["--pdeathsig", "KILL", "--", "/usr/sbin/named", "-g", "-n", "1", "-c"])
        .arg(home.join("named.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("setpriv and named: apt-get install util-linux bind9");
    let server = Server { address, child };
    let last = &zones.last().unwrap().0;
    wait_for("a name server answers", || dig(address, last, "SOA").contains("keeper"));
    server
}

fn dig(server: SocketAddr, name: &str, rtype: &str) -> String {
    let port = server.port().to_string();
    let done = Command::new("dig")
        .args(["@127.0.0.1", "-p", &port, "+short", "+norec", "+time=1", "+tries=2", name, rtype])
        .output()
        .expect("dig: apt-get install bind9-dnsutils");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn zone(number: usize) -> String {
    format!("z{number}.test")
}

struct Scene {
    dir: tempfile::TempDir,
    above: Server,
    source: Server,
    target: Server,
    file: PathBuf,
}

impl Scene {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("m").tempdir().unwrap();
        let soa = "$TTL 3\n@ SOA keeper.test. keeper.test. 1 60 60 600 1\n";
        let update = "update-policy { grant move-key zonesub ANY; };";
        let mut above = format!("{soa}@ NS ns.nic\nns.nic A 127.0.0.1\n");
        let (mut full, mut empty) = (Vec::new(), Vec::new());
        for side in ["source", "target"] {
            writeln!(above, "ns1.{side} A 127.0.0.1\nns2.{side} A 127.0.0.1").unwrap();
        }
        for number in 0..ZONES {
            writeln!(above, "z{number} NS ns1.source\nz{number} NS ns2.source").unwrap();
            let ns = |side| format!("{soa}@ NS ns1.{side}.test.\n@ NS ns2.{side}.test.\n");
            let more = format!("www A 192.0.2.{number}\n@ MX 10 www\n* TXT \"v=spf1 -all\"\n");
            full.push((zone(number), ns("source") + &more));
            empty.push((zone(number), ns("target")));
        }
        let above = start(
            &dir.path().join("above"),
            &[("test".to_owned(), above)],
            "allow-update { 127.0.0.1; };",
        );
        let source = start(&dir.path().join("source"), &full, update);
        let target = start(&dir.path().join("target"), &empty, update);
        let file = dir.path().join("zones.toml");
        let scene = Self { dir, above, source, target, file };
        scene.write();
        scene
    }

    fn write(&self) {
        let secret = self.dir.path().join("secret");
        fs::write(&secret, SECRET).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let zones: Vec<String> = (0..ZONES).map(|number| format!("\"{}\"", zone(number))).collect();
        let above = self.above.address;
        let mut text = format!(
            "resolvers = [\"{above}\"]\nparents = [\"{above}\"]\nlowered_ttl_s = 2\n\
             zones_per_s = {PACE}\nzones = [{}]\n",
            zones.join(", ")
        );
        for (side, server) in [("source", &self.source), ("target", &self.target)] {
            let address = server.address;
            write!(
                text,
                "\n[{side}]\nname_servers = [\"ns1.{side}.test\", \"ns2.{side}.test\"]\n\
                 servers = [\"{address}\"]\nupdate = {{ primary = \"{address}\", key = {{ name = \
                 \"move-key\", secret = \"file:{}\" }} }}\n",
                secret.display()
            )
            .unwrap();
        }
        fs::write(&self.file, text).unwrap();
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(bin().join("segue"));
        command.arg("--dir").arg(self.dir.path().join("run")).args(["dns", "move"]);
        command.arg(&self.file).args(flags);
        command
    }

    fn segue(&self, flags: &[&str]) -> (i32, String, String) {
        let done = self.command(flags).output().unwrap();
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        (done.status.code().unwrap_or(-1), text(&done.stdout), text(&done.stderr))
    }

    /// Does at the registrar what the tasks say.
    fn registrar(&self, tasks: &str) -> usize {
        let mut script = format!("server 127.0.0.1 {}\nzone test.\n", self.above.address.port());
        let (mut zone, mut zones) = ("", 0);
        for line in tasks.lines() {
            match line.strip_prefix("at the registrar of `") {
                Some(rest) => {
                    zone = rest.split('`').next().unwrap();
                    zones += 1;
                    writeln!(script, "update delete {zone}. NS").unwrap();
                }
                None => writeln!(script, "update add {zone}. 3 NS {}.", line.trim()).unwrap(),
            }
        }
        script += "send\n";
        let commands = self.dir.path().join("commands");
        fs::write(&commands, script).unwrap();
        let done = Command::new("nsupdate").arg(commands).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        zones
    }
}

#[test]
fn many_zones_move_at_a_pace_and_a_killed_process_leaves_none_behind() {
    let scene = Scene::start();
    let began = Instant::now();
    let (exit, text, errors) = scene.segue(&[]);
    assert_eq!(exit, 4, "{text}{errors}");
    assert!(text.contains("30  copy"), "{text}");
    let least = Duration::from_millis(1000 * (ZONES as u64 - 1) / PACE as u64);
    assert!(began.elapsed() >= least, "{:?} for {ZONES} zones", began.elapsed());
    assert_eq!(dig(scene.target.address, "www.z7.test", "A"), "");
    assert!(!scene.dir.path().join("run").exists(), "who looks leaves nothing");

    // Killed in the middle, twice; the third goes on to where a person is needed.
    for after_ms in [400, 900] {
        let mut child = scene.command(&["--go"]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after_ms));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (exit, text, errors) = scene.segue(&["--go", "--wait", "12"]);
    assert_eq!(exit, 4, "{text}{errors}");
    assert!(text.contains("30  delegation") && text.contains("for you"), "{text}{errors}");
    for number in [0, 7, ZONES - 1] {
        let name = format!("www.{}", zone(number));
        assert_eq!(dig(scene.target.address, &name, "A"), format!("192.0.2.{number}\n"));
        for server in [scene.source.address, scene.target.address] {
            let names = dig(server, &zone(number), "NS");
            assert!(names.contains("ns1.target.test.") && !names.contains("source"), "{names}");
        }
    }

    let (exit, tasks, errors) = scene.segue(&["--tasks"]);
    assert_eq!((exit, scene.registrar(&tasks)), (4, ZONES), "{tasks}{errors}");
    let (exit, text, errors) = scene.segue(&["--go", "--wait", "30"]);
    assert_eq!(exit, 0, "{text}{errors}");
    assert!(text.contains("30  done"), "{text}");
    let (_, json, _) = scene.segue(&["--json", "--zone", "z3.test"]);
    let one: Value = serde_json::from_str(json.trim()).unwrap();
    let stages = one["stages"].as_array().unwrap();
    assert!(stages.len() >= 6 && stages.iter().all(|stage| stage["state"] == "done"), "{one:#}");
    assert_eq!(one["way"][1], "target");
    let secret_told = [json, text, errors].iter().any(|text| text.contains(SECRET));
    assert!(!secret_told);
}

#[test]
fn a_file_or_a_zone_that_cannot_be_says_what_to_do() {
    let scene = Scene::start();
    let (exit, _, errors) = scene.segue(&["--zone", "nowhere.test"]);
    assert_eq!(exit, 1);
    assert!(errors.contains("nowhere.test"), "{errors}");
    // A zone that neither server has: the others go on, this one is told.
    let text = fs::read_to_string(&scene.file).unwrap();
    fs::write(&scene.file, text.replace("\"z3.test\"", "\"lost.test\"")).unwrap();
    let (exit, text, errors) = scene.segue(&["--zone", "lost.test", "--zone", "z4.test"]);
    assert_eq!(exit, 1, "{text}{errors}");
    assert!(text.contains("lost.test") && text.contains("SG03"), "{text}{errors}");
    assert!(text.contains("zone z4.test from source to target"), "{text}");
    fs::write(&scene.file, "zones = [\"z1.test\"]\nresolvers = []\n").unwrap();
    let (exit, _, errors) = scene.segue(&[]);
    assert_eq!(exit, 1);
    assert!(errors.contains("SG0701") && errors.contains("target"), "{errors}");
}
