//! A primary and a secondary with many zones.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The key of both servers.
pub(crate) const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Longest time until both serve everything.
const STARTING: Duration = Duration::from_secs(120);

/// Two name servers; end with the value.
pub(crate) struct Pair {
    pub(crate) primary: SocketAddr,
    pub(crate) secondary: SocketAddr,
    /// A file with the key's secret.
    pub(crate) secret: PathBuf,
    children: Vec<Child>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn zone_name(number: usize) -> String {
    format!("z{number}.test")
}

impl Pair {
    pub(crate) async fn start(dir: &Path, zones: usize, large: usize) -> Self {
        let (primary, secondary) = (free(), free());
        let names = || (0..zones).map(zone_name).chain(["large.test".to_owned()]);
        for (folder, address) in [("primary", primary), ("secondary", secondary)] {
            let home = dir.join(folder);
            fs::create_dir_all(home.join("zones")).unwrap();
            let mut text = head(&home, address);
            for name in names() {
                let zone = if folder == "primary" {
                    fs::write(home.join("zones").join(&name), zone_text(&name, large)).unwrap();
                    "type primary; notify no; allow-transfer { key bench-key; }; \
                     update-policy { grant bench-key zonesub ANY; };"
                        .to_owned()
                } else {
                    format!(
                        "type secondary; notify no; allow-notify {{ key \
                         bench-key; }}; primaries {{ 127.0.0.1 port {} key bench-key; }};",
                        primary.port()
                    )
                };
                writeln!(text, "zone \"{name}\" {{ {zone} file \"zones/{name}\"; }};").unwrap();
            }
            fs::write(home.join("named.conf"), text).unwrap();
        }
        let secret = dir.join("secret");
        fs::write(&secret, SECRET).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let mut pair = Self { primary, secondary, secret, children: Vec::new() };
        let last = zone_name(zones - 1);
        for (folder, address) in [("primary", primary), ("secondary", secondary)] {
            pair.children.push(named(&dir.join(folder)));
            let began = Instant::now();
            let all = [zone_name(0), last.clone(), "large.test".to_owned()];
            while !all.iter().all(|name| serves(address, name)) {
                assert!(began.elapsed() < STARTING, "{folder} does not serve its zones");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        // Every single one, before anything is measured.
        for number in 0..zones {
            let began = Instant::now();
            while !serves(secondary, &zone_name(number)) {
                assert!(began.elapsed() < STARTING, "zone {number} never came");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        pair
    }
}

fn named(home: &Path) -> Child {
    let log = fs::File::create(home.join("log")).unwrap();
    Command::new("/usr/sbin/named")
        .args(["-g", "-n", "1", "-c"])
        .arg(home.join("named.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("named: apt-get install bind9")
}

fn head(home: &Path, address: SocketAddr) -> String {
    format!(
        "key bench-key {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n\
         options {{ directory \"{}\"; pid-file none; session-keyfile none; lock-file none;\n\
         listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no;\n\
         dnssec-validation no; empty-zones-enable no; minimal-responses no;\n\
         serial-query-rate 10000; notify-rate 10000; startup-notify-rate 10000;\n\
         transfers-in 200; transfers-out 200; transfers-per-ns 200; tcp-clients 1000; }};\n\
         logging {{ category default {{ null; }}; }};\ncontrols {{ }};\n",
        home.display(),
        address.port()
    )
}

fn zone_text(name: &str, large: usize) -> String {
    let mut text = format!(
        "$TTL 3600\n@ IN SOA ns1.{name}. keeper.{name}. 1 3600 600 86400 300\n\
         @ NS ns1\n@ NS ns2\nns1 A 127.0.0.1\nns2 A 127.0.0.1\n@ A 192.0.2.10\nwww A 192.0.2.10\n\
         @ MX 10 mail.source.test.\n@ TXT \"v=spf1 -all\"\n"
    );
    for number in 0..16 {
        writeln!(text, "host{number} A 198.51.100.{number}").unwrap();
    }
    if name == "large.test" {
        for number in 0..large {
            writeln!(text, "r{number} A 10.{}.{}.1", number / 250 % 250, number % 250).unwrap();
        }
    }
    text
}

fn serves(address: SocketAddr, name: &str) -> bool {
    let asked = Command::new("dig")
        .args(["+short", "+time=1", "+tries=1", "@127.0.0.1", "-p"])
        .args([&address.port().to_string(), name, "SOA"])
        .output()
        .expect("dig: apt-get install bind9-dnsutils");
    String::from_utf8_lossy(&asked.stdout).contains("keeper")
}

fn free() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}
