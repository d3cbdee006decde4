//! Looks at the world from outside: who takes writes, what fronts and name servers say.

use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use segue_testkit::world::{Description, Side, World, static_path};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

async fn connect(description: &Description, side: Side) -> Result<Conn> {
    let server = description.database.server(side);
    let options = OptsBuilder::default()
        .ip_or_hostname(server.address.ip().to_string())
        .tcp_port(server.address.port())
        .user(Some(&server.admin))
        .pass(Some(Description::secret(&server.admin_password_file)?));
    Conn::new(options).await.with_context(|| format!("connect to the database at the {side}"))
}

/// Whether the shop's login may log in there.
async fn writable(conn: &mut Conn, user: &str) -> Result<bool> {
    let locked: Option<Option<String>> = conn
        .exec_first(
            "SELECT CAST(JSON_VALUE(Priv, '$.account_locked') AS CHAR) FROM mysql.global_priv WHERE User = ?",
            (user,),
        )
        .await?;
    Ok(match locked {
        None => false,
        Some(locked) => !matches!(locked.as_deref(), Some("1" | "true")),
    })
}

/// Looks at each side twice, in turn: a switch between two looks is no violation.
async fn both_writable(source: &mut Conn, target: &mut Conn, user: &str) -> Result<bool> {
    Ok(writable(source, user).await?
        && writable(target, user).await?
        && writable(source, user).await?
        && writable(target, user).await?)
}

/// Time between two looks for two writers.
const LOOK: Duration = Duration::from_millis(10);
/// Time between two tries to reach the servers.
const AGAIN: Duration = Duration::from_millis(50);

/// Watches for a moment in which both sides take writes.
pub(crate) struct OneWriter {
    stop: Arc<AtomicBool>,
    violations: Arc<AtomicU64>,
    looks: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl OneWriter {
    /// Starts watching.
    pub(crate) fn watch(description: &Description) -> Self {
        let (stop, violations) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let looks = Arc::new(AtomicU64::new(0));
        let (ended, found, looked) =
            (Arc::clone(&stop), Arc::clone(&violations), Arc::clone(&looks));
        let description = description.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let user = description.database.user.clone();
                while !ended.load(Ordering::Relaxed) {
                    // A server that was killed takes no writes; it is looked at again later.
                    let (Ok(mut source), Ok(mut target)) = (
                        connect(&description, Side::Source).await,
                        connect(&description, Side::Target).await,
                    ) else {
                        tokio::time::sleep(AGAIN).await;
                        continue;
                    };
                    while !ended.load(Ordering::Relaxed) {
                        let Ok(both) = both_writable(&mut source, &mut target, &user).await else {
                            break;
                        };
                        found.fetch_add(u64::from(both), Ordering::Relaxed);
                        looked.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(LOOK).await;
                    }
                }
                Ok(())
            })
        });
        Self { stop, violations, looks, thread: Some(thread) }
    }

    /// Ends the watch; returns violations and how often it looked.
    pub(crate) fn end(mut self) -> Result<(u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            match thread.join() {
                Ok(result) => result.context("watch for two writers")?,
                Err(_) => bail!("the watch for two writers ended by a panic"),
            }
        }
        Ok((self.violations.load(Ordering::Relaxed), self.looks.load(Ordering::Relaxed)))
    }
}

/// Returns the side that takes writes; an error if none or both do.
fn writing_side(description: &Description) -> Result<Side> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut at = Vec::new();
        for side in Side::BOTH {
            let mut conn = connect(description, side).await?;
            if writable(&mut conn, &description.database.user).await? {
                at.push(side);
            }
            conn.disconnect().await?;
        }
        match at.as_slice() {
            [one] => Ok(*one),
            [] => bail!("no side takes writes"),
            _ => bail!("both sides take writes"),
        }
    })
}

/// Asks the shop at an address and returns the side that answered.
fn answering_side(description: &Description, at: Side) -> Result<String> {
    let address = *description.site.get(at);
    let stream =
        TcpStream::connect(address).with_context(|| format!("connect to the site at {address}"))?;
    side_of(description, stream, "/catalogue?page=1", "x-shop-side: ")
}

/// Visitors who look where a split sends them, each with an address of its own.
const LOOKERS: u8 = 40;

/// How many of the lookers the front at a side sends to the target.
fn at_target(description: &Description, at: Side) -> Result<usize> {
    let address = *description.site.get(at);
    let mut count = 0;
    for looker in 1..=LOOKERS {
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            None,
        )?;
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 3, looker], 0)))?;
        rustix::net::connect(&socket, &address)?;
        let stream = TcpStream::from(socket);
        let side = side_of(description, stream, &static_path(1), "x-segue-side: ")?;
        count += usize::from(side == "target");
    }
    Ok(count)
}

/// Looks whether a split that should give the target so much does so; returns what is not so.
fn share_disagreement(description: &Description, at: Side, share: u64) -> Result<Option<String>> {
    let count = at_target(description, at)?;
    let all = usize::from(LOOKERS);
    let right = match share {
        0 => count == 0,
        100 => count == all,
        _ => (all / 5..=all - all / 5).contains(&count),
    };
    Ok((!right).then(|| {
        format!("the share is {share} %, and the front at the {at} sends {count} of {all} there")
    }))
}

/// Asks for a page and returns what a header of the answer says.
fn side_of(
    description: &Description,
    mut stream: TcpStream,
    path: &str,
    header: &str,
) -> Result<String> {
    let address = stream.peer_addr()?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        description.host
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let head = text.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        bail!("the site at {address} answered `{}`", head.lines().next().unwrap_or_default());
    }
    let side = head.lines().find_map(|line| line.strip_prefix(header).map(str::to_owned));
    side.context("the answer does not say from which side it is")
}

/// Looks whether everything is of one mind, with the share of a split that the journal says;
/// returns what is not.
pub(crate) fn disagreements(world: &World, share: Option<u64>) -> Vec<String> {
    let description = world.description();
    let side = match writing_side(description) {
        Ok(side) => side,
        Err(error) => return vec![format!("{error:#}")],
    };
    let mut found = Vec::new();
    for at in Side::BOTH {
        match answering_side(description, at) {
            Ok(answering) if answering == side.as_str() => {}
            Ok(answering) => found.push(format!(
                "{side} takes writes, but the front at the {at} sends to {answering}"
            )),
            Err(error) => found.push(format!("{error:#}")),
        }
    }
    if side == Side::Source {
        for at in Side::BOTH {
            match share_disagreement(description, at, share.unwrap_or(0)) {
                Ok(none) => found.extend(none),
                Err(error) => found.push(format!("who a split sends where: {error:#}")),
            }
        }
    }
    let address = description.site.get(side).ip().to_string();
    for server in &description.zone.servers {
        match world.zone_at(*server) {
            Ok(lines) => {
                let named = lines.iter().any(|line| {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    words.first().is_some_and(|name| name.trim_end_matches('.') == description.host)
                        && words.last() == Some(&address.as_str())
                });
                if !named {
                    found
                        .push(format!("{side} takes writes, but {server} does not name {address}"));
                }
            }
            Err(error) => found.push(format!("zone at {server}: {error:#}")),
        }
    }
    found
}
