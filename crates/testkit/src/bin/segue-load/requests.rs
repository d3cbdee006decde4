//! The requests of the shop's visitors: how each is made and how its answer is judged.

use crate::clients::{Client, Seat, Session};
use crate::conn::Conn;
use crate::fail::Fail;
use crate::mix::Kind;
use crate::site::{About, LIMIT, Site, Trace, Write};
use crate::wire::Head;
use rand::Rng;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// Products on a page of the catalogue.
const PAGE: u32 = 20;
/// Sizes of uploads, bytes.
const UPLOAD: std::ops::Range<usize> = 2_000..40_000;

/// A request that is due.
#[derive(Debug)]
pub(crate) struct Job {
    /// Its number in the ledger.
    pub(crate) id: u64,
    /// What to ask.
    pub(crate) kind: Kind,
    /// Who asks.
    pub(crate) client: usize,
    /// The visit it belongs to; without one it takes a connection of its own.
    pub(crate) seat: Option<Seat>,
    /// When it is to be sent; its latency counts from here.
    pub(crate) intended: Instant,
}

/// Sends a request once, judges the answer and writes both down.
pub(crate) async fn perform(site: Arc<Site>, job: Job) {
    let mut trace = Trace::default();
    let deadline = job.intended + LIMIT + job.kind.normal();
    let outcome = match timeout_at(deadline, attempt(&site, &job, &mut trace)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Fail::Timeout),
    };
    if let Some(seat) = job.seat {
        site.visits.leave(seat);
    }
    if job.kind == Kind::Login && outcome.is_err() {
        site.clients[job.client].session.send_replace(Session::Failed);
    }
    let done = Instant::now();
    let Job { id, kind, client, intended, .. } = job;
    site.finish(&About { id, kind, client, intended, answered: done, done }, trace, outcome);
}

async fn attempt(site: &Site, job: &Job, trace: &mut Trace) -> Result<(), Fail> {
    let client = &site.clients[job.client];
    match job.kind {
        Kind::Catalogue => catalogue(site, job, trace).await,
        Kind::Static => static_file(site, job, trace).await,
        Kind::Account => account(site, job, trace, client).await,
        Kind::Order => order(site, job, trace, client).await,
        Kind::Upload => upload(site, job, trace).await,
        Kind::Login => login(site, job, trace, client).await,
        Kind::Report => {
            let body = carry(site, job, trace, Ask::get("/report"), 200).await?.1;
            marker(!body.is_empty())
        }
        // Streams are held open by tasks of their own.
        Kind::Events => Ok(()),
    }
}

async fn catalogue(site: &Site, job: &Job, trace: &mut Trace) -> Result<(), Fail> {
    let page = rand::rng().random_range(1..=site.products.div_ceil(PAGE));
    let path = format!("/catalogue?page={page}");
    let (_, body) = carry(site, job, trace, Ask::get(path), 200).await?;
    marker(contains(&body, "segue-shop catalogue"))
}

async fn static_file(site: &Site, job: &Job, trace: &mut Trace) -> Result<(), Fail> {
    let name = &site.files[rand::rng().random_range(0..site.files.len())];
    let (_, body) = carry(site, job, trace, Ask::get(format!("/files/{name}.txt")), 200).await?;
    let number = name.rsplit('/').next().unwrap_or_default();
    marker(body.starts_with(format!("file {number}\n").as_bytes()))
}

async fn account(site: &Site, job: &Job, trace: &mut Trace, client: &Client) -> Result<(), Fail> {
    let sid = client.sid().await.ok_or(Fail::NoSession)?;
    let ask = Ask { cookie: Some(sid), ..Ask::get("/account") };
    let answer = carry(site, job, trace, ask, 200).await;
    if trace.status == Some(401) {
        return Err(Fail::SessionLost);
    }
    trace.write = Some(Write::default());
    marker(contains(&answer?.1, &format!("account of {}", client.name)))
}

async fn order(site: &Site, job: &Job, trace: &mut Trace, client: &Client) -> Result<(), Fail> {
    #[derive(Deserialize)]
    struct Placed {
        client: String,
        seq: u64,
    }
    let mut last = client.orders.lock().await;
    *last += 1;
    let seq = *last;
    trace.seq = Some(seq);
    let line = || {
        let mut rng = rand::rng();
        let (product, quantity) = (rng.random_range(1..=site.products), rng.random_range(1..=3));
        serde_json::json!({"product": product, "quantity": quantity})
    };
    let lines = [line(), line(), line()];
    let body = serde_json::json!({"client": client.name, "seq": seq, "lines": lines});
    let ask = Ask::post("/order", "application/json", body.to_string().into_bytes());
    let (_, body) = carry(site, job, trace, ask, 201).await?;
    let placed: Placed = serde_json::from_slice(&body).map_err(|_| Fail::Marker)?;
    trace.write = Some(Write::default());
    marker(placed.client == client.name && placed.seq == seq)
}

async fn upload(site: &Site, job: &Job, trace: &mut Trace) -> Result<(), Fail> {
    let (key, bytes) = {
        let mut rng = rand::rng();
        let mut bytes = vec![0; rng.random_range(UPLOAD)];
        rng.fill(bytes.as_mut_slice());
        (format!("{:032x}", rng.random::<u128>()), bytes)
    };
    let hash = blake3::hash(&bytes).to_hex().to_string();
    let ask = Ask::post(format!("/upload?key={key}"), "application/octet-stream", bytes);
    let (_, body) = carry(site, job, trace, ask, 201).await?;
    let stored = contains(&body, &hash);
    trace.write = Some(Write { key: Some(key), hash: Some(hash) });
    marker(stored)
}

async fn login(site: &Site, job: &Job, trace: &mut Trace, client: &Client) -> Result<(), Fail> {
    let body = format!("client={}", client.name).into_bytes();
    let ask = Ask::post("/login", "application/x-www-form-urlencoded", body);
    let (head, _) = carry(site, job, trace, ask, 204).await?;
    let sid = head.sid.ok_or(Fail::Marker)?;
    trace.write = Some(Write { key: Some(sid.clone()), hash: None });
    client.session.send_replace(Session::Open(sid));
    site.present().push(job.client);
    Ok(())
}

fn marker(found: bool) -> Result<(), Fail> {
    if found { Ok(()) } else { Err(Fail::Marker) }
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

/// A request before it has a connection.
#[derive(Debug, Default)]
pub(crate) struct Ask {
    method: &'static str,
    path: String,
    cookie: Option<String>,
    media: Option<&'static str>,
    body: Vec<u8>,
    /// Further header lines, each with its line break.
    pub(crate) more: String,
}

impl Ask {
    /// Returns a GET.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), ..Self::default() }
    }

    fn post(path: impl Into<String>, media: &'static str, body: Vec<u8>) -> Self {
        Self { method: "POST", path: path.into(), media: Some(media), body, ..Self::default() }
    }

    /// Returns the request's bytes; `keep` says whether the connection stays.
    pub(crate) fn bytes(&self, site: &Site, keep: bool) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {}:{}\r\nUser-Agent: segue-load\r\nAccept: */*\r\n{}",
            self.method, self.path, site.host, site.port, self.more
        );
        if !keep {
            head.push_str("Connection: close\r\n");
        }
        if let Some(sid) = &self.cookie {
            head.push_str(&format!("Cookie: sid={sid}\r\n"));
        }
        if let Some(media) = self.media {
            let length = self.body.len();
            head.push_str(&format!("Content-Type: {media}\r\nContent-Length: {length}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Looks the site up and opens a connection to it.
pub(crate) async fn connect(site: &Site, client: &Client, trace: &mut Trace) -> Result<Conn, Fail> {
    let ip = client.resolver.resolve().await?;
    let address = SocketAddr::new(IpAddr::V4(ip), site.port);
    trace.address = Some(address);
    trace.new_connection = true;
    Conn::open(address).await
}

/// Sends a request on a kept or a new connection and reads the answer. Never repeats it.
async fn carry(
    site: &Site,
    job: &Job,
    trace: &mut Trace,
    ask: Ask,
    expected: u16,
) -> Result<(Head, Vec<u8>), Fail> {
    trace.sent = Some(Instant::now());
    let mut conn = match job.seat.and_then(|seat| site.visits.take(seat)) {
        Some(conn) => conn,
        None => connect(site, &site.clients[job.client], trace).await?,
    };
    trace.address = Some(conn.address);
    conn.send(&ask.bytes(site, job.seat.is_some())).await?;
    let head = conn.head().await?;
    trace.status = Some(head.status);
    trace.side = head.side.clone();
    let body = conn.body(head.framing).await?;
    if head.status != expected {
        return Err(Fail::Status(head.status));
    }
    if let (Some(seat), true) = (job.seat, head.keep) {
        site.visits.keep(seat, conn);
    }
    Ok((head, body))
}
