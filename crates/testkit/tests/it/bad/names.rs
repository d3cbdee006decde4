//! Name servers that cannot be used as they are.

use super::change::{Case, set, swap};
use super::desk::Desk;
use super::table::Kind;
use domain::base::{Message, MessageBuilder};
use domain::rdata::tsig::Time48;
use domain::tsig::{Algorithm, Key, KeyName, ServerTransaction};
use segue_testkit::world::Description;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::Arc;

pub(super) fn play(desk: &mut Desk) {
    desk.changed(Kind::Environment, cases());
    refused_transfer(desk);
    other_servers(desk);
    late_clock(desk);
}

fn cases() -> Vec<Case> {
    let records = "name = \"www.example.test\"\ntype = \"A\"";
    vec![
        (
            "a key of another secret",
            swap("[[zone]]", "secrets/mig-key", "secrets/rndc-key"),
            "SG0305",
        ),
        (
            "a key that the server does not know",
            swap("[[zone]]", "name = \"mig-key\"", "name = \"no-key\""),
            "SG0305",
        ),
        ("a key that is no base64", swap("[[zone]]", "secrets/mig-key", "dns/tsig.key"), "SG0302"),
        ("a zone that nobody serves", set("[[zone]]", "zone", "\"test\""), "[SG0307]"),
        (
            "a record that is not in the zone",
            set("[[zone.record]]", "name", "\"shup.example.test\""),
            "[SG0321]",
        ),
        (
            "a record that is not as the plan says",
            set("[[zone.record]]", "name", "\"mail.example.test\""),
            "[SG0321] 127.0.0.31",
        ),
        (
            "a record beside an alias",
            swap("[[zone.record]]", "name = \"shop.example.test\"\ntype = \"A\"", records),
            "[SG0323]",
        ),
    ]
}

/// A name server of its own, which ends with this value.
struct Named {
    child: Child,
    address: SocketAddr,
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Named {
    /// Starts one with the zone's lines, or with no zone.
    fn start(desk: &Desk, name: &str, lines: Option<Vec<String>>, options: &str) -> Self {
        let home = desk.dir.path().join(name);
        std::fs::create_dir_all(&home).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let world = desk.description();
        let zone = lines.map_or_else(String::new, |lines| {
            std::fs::write(home.join("zone"), lines.join("\n") + "\n").unwrap();
            format!("zone \"{}\" {{ type primary; file \"zone\"; {options} }};", world.zone.name)
        });
        let text = format!(
            "include \"{}/dns/tsig.key\";\noptions {{ directory \"{}\"; pid-file \"named.pid\"; \
             session-keyfile \"session.key\"; lock-file none; listen-on port {} {{ 127.0.0.1; }}; \
             listen-on-v6 {{ none; }}; recursion no; empty-zones-enable no; }};\ncontrols {{ }};\n{zone}\n",
            world.dir.display(),
            home.display(),
            address.port()
        );
        std::fs::write(home.join("named.conf"), text).unwrap();
        let log = std::fs::File::create(home.join("named.log")).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "/usr/sbin/named", "-f", "-n", "1", "-c"])
            .arg(home.join("named.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let named = Self { child, address };
        crate::wait_for("the name server answers", || {
            if zone.is_empty() {
                return TcpStream::connect(address).is_ok();
            }
            world.address_at(address, &world.host).is_ok()
        });
        named
    }
}

/// The zone as it is, in the lines of a zone file.
fn lines(desk: &Desk) -> Vec<String> {
    let dumped = desk.world.dump_zone().unwrap();
    // A zone file begins with its SOA.
    let (soa, others): (Vec<_>, Vec<_>) =
        dumped.into_iter().partition(|line| line.contains(" SOA "));
    soa.into_iter().chain(others).collect()
}

/// The plan with another primary.
fn with_primary(desk: &Desk, address: SocketAddr) -> String {
    let plan = set("[[zone]]", "primary", format!("\"{address}\"")).of(&desk.sound);
    set("[[zone]]", "servers", format!("[\"{address}\"]")).of(&plan)
}

fn refused_transfer(desk: &mut Desk) {
    let name = "a primary that refuses the transfer";
    let done = "BIND with allow-transfer { none; }";
    desk.case(Kind::Environment, name, done, "SG0307", |desk| {
        let named = Named::start(desk, "refuses", Some(lines(desk)), "allow-transfer { none; };");
        desk.plan(&with_primary(desk, named.address), |_| ()).refuses(1, "SG0307")
    });
    let name = "a zone that is signed";
    let done = "the zone has a DNSKEY";
    desk.case(Kind::Environment, name, done, "SG0320", |desk| {
        let mut signed = lines(desk);
        signed.push(
            "example.test. 3600 IN DNSKEY 257 3 8 AwEAAaetidLzsKWUt4swWR8yu0wPHPiUi8LU".to_owned(),
        );
        let named = Named::start(desk, "signed", Some(signed), "allow-transfer { any; };");
        desk.plan(&with_primary(desk, named.address), |_| ()).refuses(1, "SG0320")
    });
}

fn other_servers(desk: &mut Desk) {
    let servers = |named: &Named| format!("servers = [\"{}\", ", named.address);
    let name = "a secondary that does not serve the zone";
    let done = "BIND without the zone among the servers";
    desk.case(Kind::Environment, name, done, "SG0306", |desk| {
        let named = Named::start(desk, "lame", None, "");
        let plan = swap("[[zone]]", "servers = [", servers(&named)).of(&desk.sound);
        desk.plan(&plan, |_| ()).refuses(1, &format!("SG0306 {}", named.address))
    });
    let name = "a secondary that serves another address";
    let done = "BIND with another A record among the servers";
    desk.case(Kind::Environment, name, done, "SG0322", |desk| {
        let other = lines(desk).into_iter().map(|line| line.replace("127.0.0.11", "127.0.0.66"));
        let named = Named::start(desk, "other", Some(other.collect()), "");
        let plan = swap("[[zone]]", "servers = [", servers(&named)).of(&desk.sound);
        desk.plan(&plan, |_| ()).refuses(1, &format!("SG0322 {}", named.address))
    });
}

/// A server whose clock is an hour ahead refuses every signature.
fn late_clock(desk: &mut Desk) {
    let name = "a clock that is an hour behind the name server's";
    let done = "the server's clock is an hour ahead: it answers BADTIME";
    desk.case(Kind::Environment, name, done, "SG0305 clocks", |desk| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let key = key(&desk.description().zone.key_secret_file);
        // It ends with the test: nobody waits for it.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer_badly(stream, &key);
            }
        });
        desk.plan(&with_primary(desk, address), |_| ()).refuses(1, "SG0305 clocks")
    });
}

fn key(file: &Path) -> Arc<Key> {
    let secret = Description::secret(file).unwrap();
    let secret: Vec<u8> = domain::utils::base64::decode(&secret).unwrap();
    let name = KeyName::from_str("mig-key").unwrap();
    Arc::new(Key::new(Algorithm::Sha256, &secret, name, None, None).unwrap())
}

/// Answers each message of a connection as a server an hour ahead would.
fn answer_badly(mut stream: TcpStream, key: &Arc<Key>) -> std::io::Result<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut text = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut text)?;
        let mut message = Message::from_octets(text.clone()).map_err(std::io::Error::other)?;
        let original = Message::from_octets(text).map_err(std::io::Error::other)?;
        let ahead = Time48::from_u64(segue_testkit::world::now_ms() / 1_000 + 3_600);
        let Err(error) = ServerTransaction::request(key, &mut message, ahead) else {
            return Ok(());
        };
        let builder = MessageBuilder::new_vec();
        let answer =
            error.build_message(&original, builder).map_err(std::io::Error::other)?.finish();
        stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes())?;
        stream.write_all(&answer)?;
    }
}
