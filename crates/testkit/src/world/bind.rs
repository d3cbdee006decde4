//! A primary and a secondary name server with one zone.

use super::daemon::{Ending, Recipe, wait_until};
use super::keeper::Kept;
use super::programs::Programs;
use super::secrets::private_file;
use anyhow::{Context, Result, bail};
use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::Soa;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

/// The zone's name.
pub(crate) const ZONE: &str = "example.test";
/// Name of the key that may change and transfer the zone.
pub(crate) const KEY: &str = "mig-key";
/// Algorithm of all keys.
pub(crate) const ALGORITHM: &str = "hmac-sha256";

/// Both servers.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    /// Folder of both, with the keys.
    pub(crate) home: PathBuf,
    pub(crate) primary: SocketAddr,
    pub(crate) secondary: SocketAddr,
    pub(crate) primary_control: SocketAddr,
    pub(crate) secondary_control: SocketAddr,
    pub(crate) rndc: PathBuf,
    pub(crate) compilezone: PathBuf,
}

impl Servers {
    /// Writes keys, zone and configurations and starts the primary.
    pub(crate) fn start(&self, kept: &mut Kept, secret: &str, control: &str) -> Result<()> {
        for folder in ["primary", "secondary"] {
            std::fs::create_dir_all(self.home.join(folder))?;
        }
        private_file(&self.home.join("tsig.key"), &key_text(KEY, secret))?;
        private_file(&self.home.join("rndc.key"), &key_text("rndc-key", control))?;
        std::fs::write(self.home.join("primary").join("zone"), zone_text())?;
        std::fs::write(self.config_path("primary"), self.primary_config())?;
        std::fs::write(self.config_path("secondary"), self.secondary_config())?;
        kept.start(&self.recipe(&kept.programs, "primary"))?;
        Ok(())
    }

    /// Waits for the primary, starts the secondary, and waits until it serves the zone.
    ///
    /// In this order: a secondary that finds no primary tries again only after a minute.
    pub(crate) fn start_secondary(&self, kept: &mut Kept) -> Result<()> {
        wait_served(kept, self.primary)?;
        kept.start(&self.recipe(&kept.programs, "secondary"))?;
        wait_served(kept, self.secondary)
    }

    /// Returns the zone at one of the servers as sorted lines in canonical form.
    ///
    /// The server first writes what its journal holds to the zone file.
    pub(crate) fn zone_at(&self, server: SocketAddr) -> Result<Vec<String>> {
        let (control, folder) = if server == self.primary {
            (self.primary_control, "primary")
        } else if server == self.secondary {
            (self.secondary_control, "secondary")
        } else {
            bail!("dump zone `{ZONE}` at {server}: not a name server of this world");
        };
        output(
            Command::new(&self.rndc)
                .arg("-k")
                .arg(self.home.join("rndc.key"))
                .args(["-s", &control.ip().to_string(), "-p", &control.port().to_string()])
                .args(["sync", ZONE]),
        )?;
        let file = self.home.join(folder).join("zone");
        let text = output(
            Command::new(&self.compilezone)
                .args(["-q", "-f", "text", "-F", "text", "-s", "full", "-o", "-", ZONE])
                .arg(&file),
        )?;
        // Columns are padded with tabs and blanks by the length of names.
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        lines.sort_unstable();
        // A full dump shows the SOA at its start and at its end.
        lines.dedup();
        Ok(lines)
    }

    fn config_path(&self, role: &str) -> PathBuf {
        self.home.join(format!("{role}.conf"))
    }

    fn recipe(&self, programs: &Programs, role: &str) -> Recipe {
        Recipe {
            name: format!("named-{role}"),
            program: programs.named.clone(),
            args: ["-f", "-n", "1", "-c"]
                .map(Into::into)
                .into_iter()
                .chain([self.config_path(role).into()])
                .collect(),
            log: self.home.join(format!("{role}.out")),
            ending: Ending::Kill,
        }
    }

    fn options(&self, folder: &str, listen: SocketAddr, control: SocketAddr) -> String {
        format!(
            "include \"{home}/tsig.key\";\ninclude \"{home}/rndc.key\";\noptions {{\n  \
             directory \"{home}/{folder}\"; pid-file \"named.pid\"; session-keyfile \"session.key\"; \
             lock-file none;\n  listen-on port {port} {{ {ip}; }}; listen-on-v6 {{ none; }};\n  \
             recursion no; dnssec-validation no; allow-query {{ any; }}; empty-zones-enable no;\n}};\n\
             controls {{ inet {cip} port {cport} allow {{ 127.0.0.0/8; }} keys {{ \"rndc-key\"; }}; }};\n\
             logging {{ channel c {{ file \"named.log\"; severity info; print-time yes; \
             print-category yes; }}; category default {{ c; }}; category queries {{ null; }}; }};\n",
            home = self.home.display(),
            port = listen.port(),
            ip = listen.ip(),
            cip = control.ip(),
            cport = control.port(),
        )
    }

    /// NOTIFY goes out at the server's own pace (`notify-delay` as Debian has it).
    fn primary_config(&self) -> String {
        format!(
            "{}zone \"{ZONE}\" {{ type primary; file \"zone\";\n  \
             update-policy {{ grant {KEY} zonesub ANY; }}; allow-transfer {{ key {KEY}; }};\n  \
             notify explicit; also-notify {{ {} port {} key {KEY}; }}; }};\n",
            self.options("primary", self.primary, self.primary_control),
            self.secondary.ip(),
            self.secondary.port()
        )
    }

    fn secondary_config(&self) -> String {
        format!(
            "{}zone \"{ZONE}\" {{ type secondary; file \"zone\"; masterfile-format text;\n  \
             primaries {{ {} port {} key {KEY}; }}; allow-notify {{ key {KEY}; }};\n  \
             allow-transfer {{ key {KEY}; }}; }};\n",
            self.options("secondary", self.secondary, self.secondary_control),
            self.primary.ip(),
            self.primary.port()
        )
    }
}

fn key_text(name: &str, secret: &str) -> String {
    format!("key \"{name}\" {{ algorithm {ALGORITHM}; secret \"{secret}\"; }};")
}

/// The shop's records with a TTL of 20 s, and a neighbour's of many types.
fn zone_text() -> String {
    "$TTL 3600\n\
     @ IN SOA ns1 hostmaster 2026110100 3600 900 604800 30\n\
     @ IN NS ns1\n@ IN NS ns2\n@ IN MX 10 mail\n@ IN TXT \"v=spf1 mx -all\"\n\
     @ IN CAA 0 issue \"letsencrypt.org\"\n\
     ns1 IN A 127.0.0.1\nns2 IN A 127.0.0.1\nmail IN A 127.0.0.31\n\
     shop 20 IN A 127.0.0.11\nwww 20 IN CNAME shop\n\
     practice 5 IN A 127.0.0.21\n\
     tenant 300 IN A 127.0.0.41\ntenant 300 IN AAAA ::1\ntenant IN MX 5 mail.tenant\n\
     tenant IN TXT \"tenant of the zone\" \"in two strings\"\nmail.tenant IN A 127.0.0.42\n\
     www.tenant IN CNAME tenant\n_dmarc.tenant IN TXT \"v=DMARC1; p=none\"\n\
     _imaps._tcp.tenant IN SRV 0 1 993 mail.tenant\n*.wild.tenant 60 IN A 127.0.0.43\n"
        .to_owned()
}

/// Waits until `server` serves the zone.
fn wait_served(kept: &mut Kept, server: SocketAddr) -> Result<()> {
    let what = format!("the name server at {server} serves `{ZONE}`");
    wait_until(&what, Duration::from_secs(30), || {
        kept.all_run()?;
        Ok(serial(server).is_some())
    })
}

/// Returns the zone's serial at `server`, or nothing if it does not serve the zone.
fn serial(server: SocketAddr) -> Option<u32> {
    let zone = Name::<Vec<u8>>::from_str(ZONE).ok()?;
    let answer = ask(server, &zone, Rtype::SOA)?;
    let records = answer.answer().ok()?.limit_to::<Soa<_>>();
    records.flatten().next().map(|record| record.data().serial().into_int())
}

/// Asks `server` one question over UDP; nothing if no good answer comes within 300 ms.
pub(crate) fn ask(
    server: SocketAddr,
    name: &Name<Vec<u8>>,
    rtype: Rtype,
) -> Option<Message<Vec<u8>>> {
    let mut question = MessageBuilder::new_vec().question();
    question.header_mut().set_random_id();
    let id = question.header().id();
    question.push((name, rtype)).ok()?;
    let socket = UdpSocket::bind((super::ports::LOCAL, 0)).ok()?;
    socket.set_read_timeout(Some(Duration::from_millis(300))).ok()?;
    socket.connect(server).ok()?;
    socket.send(&question.finish()).ok()?;
    let mut buffer = vec![0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    buffer.truncate(length);
    let answer = Message::from_octets(buffer).ok()?;
    let good = answer.header().id() == id && answer.header().rcode() == Rcode::NOERROR;
    good.then_some(answer)
}

/// Runs a program to its end and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.output().with_context(|| format!("run `{program}`"))?;
    if !done.status.success() {
        bail!("run `{program}`: {}: {}", done.status, String::from_utf8_lossy(&done.stderr));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
