//! Name servers of the lab: BIND's configuration, and processes that end with their holder.

use crate::makes::program;
use crate::named::SECRETS;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server; ends with the value.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a server that logs to `log` in its folder.
    pub(crate) fn start(home: &Path, mut command: Command) -> Self {
        let log = home.join("log");
        let out = fs::File::create(&log).unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).spawn();
        Self { child: child.unwrap(), log }
    }

    /// Fails with the server's log if it has ended.
    fn still_runs(&mut self) {
        let ended = self.child.try_wait().unwrap();
        let log = || fs::read_to_string(&self.log).unwrap_or_default();
        assert!(ended.is_none(), "{}: ended\n{}", self.log.display(), log());
    }

    /// Waits until an answer of the server at `address` to `words` contains `part`.
    pub(crate) fn until(&mut self, address: IpAddr, words: &[&str], part: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.still_runs();
            let told = dig(address, words);
            if told.contains(part) {
                return;
            }
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            assert!(Instant::now() < deadline, "{address} {words:?}: {told}\n{}", log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks a server, without recursion unless the words have `+rd`; returns what `dig` prints.
pub(crate) fn dig(server: IpAddr, words: &[&str]) -> String {
    let asked = Command::new(program("dig", "bind9-dnsutils"))
        .args([&format!("@{server}"), "+time=2", "+tries=1", "+nocookie", "+nord"])
        .args(words)
        .output()
        .unwrap();
    String::from_utf8_lossy(&asked.stdout).into_owned()
}

/// Sends one UPDATE that the lab's key signs; `lines` are those of `nsupdate`. Returns the answer's
/// code, such as `NOERROR`.
pub(crate) fn update(server: SocketAddr, zone: &str, lines: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, key_text()).unwrap();
    let script = folder.path().join("script");
    let (ip, port) = (server.ip(), server.port());
    // `answer` shows the code also when it is NOERROR.
    fs::write(&script, format!("server {ip} {port}\nzone {zone}\n{lines}\nsend\nanswer\n"))
        .unwrap();
    let done = Command::new(program("nsupdate", "bind9-dnsutils"))
        .arg("-k")
        .args([&key, &script])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    let code = told.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
    code.unwrap_or_else(|| panic!("{server}: {told}")).to_owned()
}

/// The lab's only key, in BIND's words.
pub(crate) fn key_text() -> String {
    format!("key mig-key {{ algorithm hmac-sha256; secret \"{}\"; }};\n", SECRETS[0])
}

/// Writes a BIND configuration: `options` and `zones` beside what all of the lab's have. Returns
/// the command that starts it.
pub(crate) fn named(home: &Path, address: IpAddr, options: &str, zones: &str) -> Command {
    fs::create_dir_all(home).unwrap();
    let text = format!(
        "{key} options {{ directory \"{home}\"; pid-file none; session-keyfile none;
           lock-file none; listen-on {{ {address}; }}; listen-on-v6 {{ none; }};
           query-source address {address}; transfer-source {address}; notify-source {address};
           empty-zones-enable no; allow-query {{ any; }}; minimal-responses no;
           serial-query-rate 1000; notify-rate 1000; startup-notify-rate 1000; {options} }};
         controls {{ inet {address} allow {{ any; }} keys {{ mig-key; }}; }};
         {zones}\n",
        key = key_text(),
        home = home.display(),
    );
    let config = home.join("named.conf");
    fs::write(&config, text).unwrap();
    let mut command = Command::new(program("named", "bind9"));
    command.args(["-g", "-n", "1", "-c"]).arg(config);
    command
}

/// Gives an order to the BIND server at `address`; returns what it says.
pub(crate) fn rndc(home: &Path, address: IpAddr, words: &[&str]) -> String {
    let key = home.join("rndc.key");
    fs::write(&key, key_text()).unwrap();
    let done = Command::new(program("rndc", "bind9-utils"))
        .arg("-k")
        .arg(&key)
        .args(["-y", "mig-key", "-s", &address.to_string()])
        .args(words)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "rndc {words:?}: {told}");
    told.into_owned()
}

/// Options of a server that only answers for its own zones.
pub(crate) const AUTHORITATIVE: &str = "recursion no; dnssec-validation no;";
