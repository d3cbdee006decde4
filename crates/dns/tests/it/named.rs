//! Private BIND servers on free loopback ports.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Two secrets; the servers know the first under the name `mig-key`.
pub(crate) const SECRETS: [&str; 2] = [
    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=",
];

/// A zone with owned and foreign records; mixed case and quoting on purpose.
pub(crate) const ZONE: &str = r#"$TTL 300
@ IN SOA ns1.example.test. hostmaster.example.test. 1 3600 600 86400 60
@ NS ns1
@ NS ns2
ns1 A 127.0.0.1
ns2 A 127.0.0.1
@ MX 10 Mail
mail A 192.0.2.25
@ TXT "v=spf1 ip4:127.0.0.11 -all"
shop 20 A 127.0.0.11
pay 3600 A 127.0.0.11
pay 1800 TXT "Source; exactly" "two parts"
pay 3600 MX 10 Mail.example.TEST.
www CNAME shop
Tenant A 198.51.100.7
tenant TXT "foreign; \"text\""
sub NS ns.elsewhere.test.
"#;

/// What a server is to the zone.
pub(crate) enum Role {
    /// Takes updates; sends no NOTIFY of its own.
    Primary,
    /// Follows the server at this address.
    SecondaryOf(SocketAddr),
    /// Serves its file and takes nothing.
    Deaf,
    /// Serves the zone above, `test`.
    Parent,
    /// The same as deaf, and reads it again when `rndc` says so.
    Controlled,
    /// Takes updates, and signs the zone.
    Signing,
    /// Takes updates, and logs what it is asked: as text in `queries`, as dnstap in `tap`.
    Logged,
}

/// A running server; ends with the value.
pub(crate) struct Named {
    child: Child,
    pub(crate) address: SocketAddr,
    dir: PathBuf,
}

impl Named {
    /// Starts one in its own folder below `dir` and waits until it listens.
    pub(crate) fn start(dir: &Path, name: &str, zone: &str, role: &Role) -> Self {
        for _ in 0..3 {
            if let Some(named) = Self::try_start(&dir.join(name), zone, role) {
                return named;
            }
        }
        let log = fs::read_to_string(dir.join(name).join("log")).unwrap_or_default();
        panic!("named does not start: {log}");
    }

    fn try_start(dir: &Path, zone: &str, role: &Role) -> Option<Self> {
        let address = free_port();
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("zone"), zone).unwrap();
        let config = dir.join("named.conf");
        fs::write(&config, config_text(dir, address.port(), role)).unwrap();
        let log = fs::File::create(dir.join("log")).unwrap();
        let mut child = Command::new("/usr/sbin/named")
            // The first of them would write every log to standard error.
            .args([if matches!(role, Role::Logged) { "-f" } else { "-g" }, "-n", "1", "-c"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            if log.contains("could not listen") || log.contains("address in use") {
                break;
            }
            if log.contains("] running\n") || log.contains(" running\n") {
                return Some(Self { child, address, dir: dir.to_owned() });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
        None
    }
}

impl Named {
    /// Returns a file of its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Returns the words of an `rndc` command for this server.
    pub(crate) fn rndc(&self, words: &[&str]) -> Vec<String> {
        let port = fs::read_to_string(self.dir.join("control")).unwrap();
        let key = self.dir.join("rndc.key").display().to_string();
        let first = ["/usr/sbin/rndc", "-k", &key, "-s", "127.0.0.1", "-p", &port];
        first.iter().chain(words).map(ToString::to_string).collect()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn free_port() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

fn config_text(dir: &Path, port: u16, role: &Role) -> String {
    let controlled = matches!(role, Role::Controlled);
    let logs = matches!(role, Role::Logged);
    let name = if matches!(role, Role::Parent) { "test" } else { "example.test" };
    let role = match role {
        Role::Primary | Role::Logged => "type primary; notify no; allow-transfer { key mig-key; };
            update-policy { grant mig-key zonesub ANY; };"
            .to_owned(),
        Role::SecondaryOf(primary) => format!(
            "type secondary; masterfile-format text; allow-notify {{ key mig-key; }}; notify no;
             primaries {{ {} port {} key mig-key; }};",
            primary.ip(),
            primary.port()
        ),
        Role::Signing => format!(
            "type primary; notify no; allow-transfer {{ key mig-key; }}; dnssec-policy default;
             inline-signing no; key-directory \"{}\";
             update-policy {{ grant mig-key zonesub ANY; }};",
            dir.display()
        ),
        Role::Deaf | Role::Controlled | Role::Parent => {
            "type primary; notify no; masterfile-format text; allow-transfer { any; };".to_owned()
        }
    };
    let control = free_port();
    let key = format!("key rndc-key {{ algorithm hmac-sha256; secret \"{}\"; }};\n", SECRETS[1]);
    fs::write(dir.join("control"), control.port().to_string()).unwrap();
    fs::write(dir.join("rndc.key"), &key).unwrap();
    let controls = if controlled {
        let port = control.port();
        format!(
            "{key} controls {{ inet 127.0.0.1 port {port} allow {{ any; }} keys {{ rndc-key; }}; }};"
        )
    } else {
        "controls { };".to_owned()
    };
    let (logging, tap) = match logs {
        true => (
            "logging { channel queries { file \"queries\"; print-time yes; };
               category queries { queries; }; category default { default_stderr; }; };",
            "querylog yes; dnstap { auth; client; }; dnstap-output file \"tap\";",
        ),
        false => ("", ""),
    };
    format!(
        "key mig-key {{ algorithm hmac-sha256; secret \"{}\"; }};
         options {{ directory \"{}\"; pid-file none; session-keyfile none; lock-file none;
           listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no;
           dnssec-validation no; empty-zones-enable no; serial-query-rate 1000; {tap} }};
         {logging}
         {controls}
         zone \"{name}\" {{ {role} file \"zone\"; }};\n",
        SECRETS[0],
        dir.display()
    )
}

/// Writes a secret to a file that only we can read.
pub(crate) fn secret_file(dir: &Path, secret: &str) -> PathBuf {
    let path = dir.join(format!("secret-{}", &secret[..4]));
    fs::write(&path, format!("{secret}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}
