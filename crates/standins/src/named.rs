//! Private name servers.

use crate::fault;
use secrecy::{ExposeSecret, SecretString};
use segue_doors::daemon::Daemon;
use segue_doors::process::find_program;
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a server may take to answer.
const STARTING: Duration = Duration::from_secs(30);

/// A key for updates and transfers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Its algorithm.
    pub algorithm: String,
}

/// A zone at one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Served {
    /// Its name.
    pub zone: String,
    /// The key for it.
    pub key: String,
    /// The zone's file if this server takes its updates.
    pub file: Option<PathBuf>,
    /// Whom to ask if it does not.
    pub primary: SocketAddr,
    /// Who is told of updates.
    pub others: Vec<SocketAddr>,
}

/// One private server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NameServer {
    /// Its folder.
    pub home: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it serves.
    pub zones: Vec<Served>,
}

/// Writes the keys where only the room's memory has them.
///
/// # Errors
/// `SG0852` if that fails.
pub fn write_keys(file: &Path, keys: &[(Key, SecretString)]) -> Outcome<()> {
    use std::io::Write;
    let op = "write the keys of the stand-in name servers into the room's memory";
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .map_err(|e| fault(op, e))?;
    for (key, secret) in keys {
        let secret = secret.expose_secret().trim();
        writeln!(
            out,
            "key \"{}\" {{ algorithm {}; secret \"{secret}\"; }};",
            key.name, key.algorithm
        )
        .map_err(|e| fault(op, e))?;
    }
    Ok(())
}

impl NameServer {
    /// Starts it and waits until it serves its zones.
    ///
    /// # Errors
    /// `SG0852` with its last words if it does not.
    pub async fn start(&self, keys: &Path) -> Outcome<Daemon> {
        let op = format!("start the stand-in of the name server at {}", self.address);
        std::fs::create_dir_all(&self.home).map_err(|e| fault(&op, e))?;
        let file = self.home.join("named.conf");
        std::fs::write(&file, self.config(keys)).map_err(|e| fault(&op, e))?;
        let program = find_program("named").ok_or_else(|| fault(&op, "`named` is missing"))?;
        let args: Vec<OsString> =
            vec!["-f".into(), "-n".into(), "1".into(), "-c".into(), file.into()];
        let log = self.home.join("named.out");
        let name = format!("named {}", self.address);
        let mut daemon = Daemon::start(&name, &program, &args, &log, None).await?;
        let deadline = Instant::now() + STARTING;
        for zone in &self.zones {
            while !serves(self.address, &zone.zone).await {
                daemon.still_runs()?;
                if Instant::now() > deadline {
                    let cause = format!("zone `{}` is not served; see its log", zone.zone);
                    return Err(fault(op, cause).hint(log.display().to_string()));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(daemon)
    }

    fn config(&self, keys: &Path) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        let listen = match ip {
            IpAddr::V4(_) => {
                format!("listen-on port {port} {{ {ip}; }}; listen-on-v6 {{ none; }};")
            }
            IpAddr::V6(_) => {
                format!("listen-on {{ none; }}; listen-on-v6 port {port} {{ {ip}; }};")
            }
        };
        let mut text = format!(
            "include \"{}\";\noptions {{\n  directory \"{}\"; pid-file \"named.pid\"; \
             session-keyfile \"session.key\"; lock-file none;\n  {listen}\n  \
             recursion no; dnssec-validation no; allow-query {{ any; }}; empty-zones-enable no; \
             notify-delay 1;\n}};\ncontrols {{ }};\nlogging {{ channel c {{ file \"named.log\"; \
             severity info; print-time yes; }}; category default {{ c; }}; \
             category queries {{ null; }}; }};\n",
            keys.display(),
            self.home.display(),
        );
        for (number, served) in self.zones.iter().enumerate() {
            let Served { zone, key, primary, others, .. } = served;
            let others: String = others
                .iter()
                .map(|other| format!("{} port {} key \"{key}\"; ", other.ip(), other.port()))
                .collect();
            let _ = match &served.file {
                Some(file) => writeln!(
                    text,
                    "zone \"{zone}\" {{ type primary; file \"{}\"; \
                     update-policy {{ grant \"{key}\" zonesub ANY; }}; \
                     allow-transfer {{ key \"{key}\"; }}; notify explicit; \
                     also-notify {{ {others}}}; }};",
                    file.display()
                ),
                None => writeln!(
                    text,
                    "zone \"{zone}\" {{ type secondary; file \"{number}.zone\"; \
                     masterfile-format text; primaries {{ {} port {} key \"{key}\"; }}; \
                     allow-notify {{ key \"{key}\"; }}; allow-transfer {{ key \"{key}\"; }}; \
                     notify no; }};",
                    primary.ip(),
                    primary.port()
                ),
            };
        }
        text
    }
}

/// Whether the server at `address` answers for `zone` with authority.
async fn serves(address: SocketAddr, zone: &str) -> bool {
    let zone = zone.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        // What comes back is looked at only for AA, RCODE and its number of answers.
        let answer = exchange(address, &zone, SOA)?;
        let served =
            answer.len() > 12 && answer[2] & 4 != 0 && answer[3] & 15 == 0 && answer[7] > 0;
        Ok::<bool, std::io::Error>(served)
    });
    matches!(asked.await, Ok(Ok(true)))
}

/// Asks a server for the addresses of a name; none if it does not tell.
pub async fn addresses_of(server: SocketAddr, name: &str) -> Vec<IpAddr> {
    let name = name.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let kinds = [A, AAAA];
        kinds.iter().flat_map(|kind| ask(server, &name, *kind).unwrap_or_default()).collect()
    });
    asked.await.unwrap_or_default()
}

const A: u8 = 1;
const AAAA: u8 = 28;
const SOA: u8 = 6;

/// Asks one question and returns the addresses in the answer.
fn ask(server: SocketAddr, name: &str, kind: u8) -> std::io::Result<Vec<IpAddr>> {
    let answer = exchange(server, name, kind)?;
    Ok(addresses(&answer).unwrap_or_default())
}

/// Sends one question of class IN and returns what came back.
fn exchange(server: SocketAddr, name: &str, kind: u8) -> std::io::Result<Vec<u8>> {
    let mut question = vec![0x5e, 0x60, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        question.push(u8::try_from(label.len()).unwrap_or(0));
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, kind, 0, 1]);
    let local: IpAddr = match server {
        SocketAddr::V4(_) => [0, 0, 0, 0].into(),
        SocketAddr::V6(_) => [0_u16; 8].into(),
    };
    let socket = UdpSocket::bind((local, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    socket.connect(server)?;
    socket.send(&question)?;
    let mut answer = vec![0; 1500];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// Reads the addresses of an answer, also those behind an alias.
fn addresses(answer: &[u8]) -> Option<Vec<IpAddr>> {
    let word = |at: usize| Some(u16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
    let count = word(6)?;
    let mut at = after_name(answer, 12)? + 4;
    let mut found = Vec::new();
    for _ in 0..count {
        at = after_name(answer, at)?;
        let (kind, length) = (word(at)?, usize::from(word(at + 8)?));
        let data = answer.get(at + 10..at + 10 + length)?;
        if let (true, Ok(v4)) = (kind == u16::from(A), <[u8; 4]>::try_from(data)) {
            found.push(IpAddr::from(v4));
        }
        if let (true, Ok(v6)) = (kind == u16::from(AAAA), <[u8; 16]>::try_from(data)) {
            found.push(IpAddr::from(v6));
        }
        at += 10 + length;
    }
    Some(found)
}

/// Returns where a name that begins at `at` ends.
fn after_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer >= 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_behind_an_alias_are_found() {
        let mut answer = vec![0, 0, 0x84, 0, 0, 1, 0, 2, 0, 0, 0, 0];
        answer.extend_from_slice(b"\x03www\x01a\x00\x00\x01\x00\x01");
        answer.extend_from_slice(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x05\x00\x02\xc0\x10");
        answer
            .extend_from_slice(b"\xc0\x10\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x7f\x00\x00\x0b");
        assert_eq!(addresses(&answer), Some(vec![IpAddr::from([127, 0, 0, 11])]));
        answer.truncate(40);
        assert_eq!(addresses(&answer), None);
    }
}
