//! Small sites that write to their schema, and their visitors.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use segue_testkit::world::{Description, Side};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Password of the sites' logins: the servers listen on loopback only.
pub(super) const PASSWORD: &str = "password of a site";
/// Rest after each request of a visitor.
const REST: Duration = Duration::from_millis(10);
/// An answer that takes longer counts as none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves site `name` at `side` from the schema of its name; returns the address.
pub(super) async fn serve(world: &Description, name: &str, login: &str, side: Side) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let opts = OptsBuilder::default()
        .ip_or_hostname(world.database.server(side).address.ip().to_string())
        .tcp_port(world.database.server(side).address.port())
        .prefer_socket(false)
        .user(Some(login))
        .pass(Some(PASSWORD))
        .db_name(Some(name));
    let name = name.to_owned();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (opts, name) = (opts.clone(), name.clone());
            tokio::spawn(async move {
                while let Some(head) = head(&mut stream).await {
                    let answer = match head.strip_prefix("POST /") {
                        None => Ok(format!("site {name}")),
                        Some(rest) => {
                            let payload = rest.split(' ').next().unwrap_or_default().to_owned();
                            write(opts.clone(), &payload).await.map(|()| format!("{name}@{side}"))
                        }
                    };
                    let (status, body) = match answer {
                        Ok(body) => (200, body),
                        Err(error) => (500, error.to_string()),
                    };
                    let length = body.len();
                    let text =
                        format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{body}");
                    if stream.write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

async fn head(stream: &mut tokio::net::TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(text).ok()
}

async fn write(opts: OptsBuilder, payload: &str) -> Result<(), mysql_async::Error> {
    let mut conn = Conn::new(opts).await?;
    conn.exec_drop("INSERT INTO notes (payload) VALUES (?)", (payload,)).await?;
    conn.disconnect().await
}

/// What a site's visitor saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Acknowledged payloads, in order, with the side that gave the answer.
    pub(super) acknowledged: Vec<(String, String)>,
    /// Requests that were not answered as they should be. No request is sent twice.
    pub(super) failed: Vec<String>,
    /// Longest answer.
    pub(super) longest: Duration,
}

/// A visitor of one site at both fronts in turn.
pub(super) struct Visitor {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Visitor {
    pub(super) fn start(host: String, name: &str, fronts: [SocketAddr; 2]) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (stop, name) = (Arc::clone(&over), name.to_owned());
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            for number in 0_usize.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let payload = format!("{name}-{number}");
                let began = Instant::now();
                match post(fronts[number % 2], &host, &payload) {
                    Ok(body) if body.starts_with(&format!("{name}@")) => {
                        seen.acknowledged.push((payload, body));
                    }
                    Ok(other) => seen.failed.push(format!("{payload}: {other}")),
                    Err(error) => seen.failed.push(format!("{payload}: {error}")),
                }
                seen.longest = seen.longest.max(began.elapsed());
                std::thread::sleep(REST);
            }
            seen
        });
        Self { over, thread }
    }

    pub(super) fn stop(self) -> Seen {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// Posts once over a new connection; returns the body of a 200.
fn post(front: SocketAddr, host: &str, payload: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&front, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!("POST /{payload} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n");
    stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.1 200 ") {
        return Err(std::io::Error::other(answer.lines().next().unwrap_or("nothing").to_owned()));
    }
    Ok(answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned())
}
