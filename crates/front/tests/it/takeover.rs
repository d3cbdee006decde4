//! A front before a live nginx, under load, there and back.

use crate::support::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1 as client;
use hyper_util::rt::TokioIo;
use segue_front::Limits;
use segue_front::control::Request as Ask;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Where the front's own connections come from.
pub(crate) const EGRESS: &str = "127.0.0.250";

/// nginx with two workers on an address of its own.
pub(crate) struct Nginx {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Nginx {
    pub(crate) async fn start(folder: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.21:0").unwrap().local_addr().unwrap();
        Self::start_at(folder, port).await
    }

    pub(crate) async fn start_at(folder: &Path, port: SocketAddr) -> Self {
        let folder = folder.display();
        let config = format!(
            "user root; daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;\n\
             fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             server {{ listen {port}; location / {{\n\
             add_header x-seen-from $remote_addr; add_header x-forwarded $http_x_forwarded_for;\n\
             return 200 \"live\\n\"; }} }} }}\n"
        );
        Self::with(&folder.to_string(), config, port).await
    }

    /// Starts it with a whole configuration.
    pub(crate) async fn with(folder: &str, config: String, address: SocketAddr) -> Self {
        let path = format!("{folder}/nginx.conf");
        std::fs::write(&path, config).unwrap();
        let process = Command::new("nginx")
            .args(["-c", &path, "-e", &format!("{folder}/error.log")])
            .spawn()
            .expect("nginx is installed");
        until("nginx listens", async || TcpStream::connect(address).await.is_ok()).await;
        Self { process, address }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM lets the master take its workers along.
        let id = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

/// What clients saw.
#[derive(Default)]
pub(crate) struct Tally {
    sent: AtomicUsize,
    by_front: AtomicUsize,
    by_server: AtomicUsize,
    failed: std::sync::Mutex<Vec<String>>,
}

impl Tally {
    fn note(&self, outcome: Result<bool, String>) {
        self.sent.fetch_add(1, Ordering::SeqCst);
        match outcome {
            Ok(true) => self.by_front.fetch_add(1, Ordering::SeqCst),
            Ok(false) => self.by_server.fetch_add(1, Ordering::SeqCst),
            Err(why) => {
                self.failed.lock().unwrap().push(why);
                0
            }
        };
    }

    pub(crate) fn failed(&self) -> Vec<String> {
        self.failed.lock().unwrap().clone()
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.by_front.load(Ordering::SeqCst), self.by_server.load(Ordering::SeqCst))
    }
}

/// Limits for [`open_loop`]: it waits for nobody, so that on a machine that is busy with something
/// else very many of its requests are under way at once, and all of one client.
pub(crate) fn patient() -> Limits {
    let finish = Duration::from_secs(30);
    Limits { connections_per_client: 20_000, finish, ..Limits::default() }
}

/// Sends a request a tick over a new connection each, whatever became of the others.
///
/// Its clients have many addresses: a connection that has ended keeps its port for a minute, and
/// one address has too few of them for that.
pub(crate) async fn open_loop(address: SocketAddr, tally: Arc<Tally>, stop: Arc<AtomicBool>) {
    open_loop_every(Duration::from_millis(2), address, tally, stop).await;
}

/// The same, with another tick.
pub(crate) async fn open_loop_every(
    tick: Duration,
    address: SocketAddr,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
) {
    let mut ticks = tokio::time::interval(tick);
    let mut all = tokio::task::JoinSet::new();
    let mut client = 0;
    while !stop.load(Ordering::SeqCst) {
        ticks.tick().await;
        client = client % 200 + 1;
        let (tally, from) = (tally.clone(), format!("127.1.0.{client}"));
        all.spawn(async move {
            let asking = send_from(&from, address, request("GET", "/", ""));
            let answer = tokio::time::timeout(Duration::from_secs(5), asking).await;
            tally.note(match answer {
                Ok(Ok(answer)) if answer.status == 200 && answer.body == "live\n" => {
                    Ok(answer.headers.contains_key("x-segue-front"))
                }
                Ok(Ok(answer)) => Err(format!("status {}", answer.status)),
                Ok(Err(why)) => Err(why),
                Err(_) => Err("no answer".into()),
            });
        });
    }
    while all.join_next().await.is_some() {}
}

/// Sends over one connection as long as the answers allow it, then over the next.
pub(crate) async fn persistent(address: SocketAddr, tally: Arc<Tally>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut last = false;
        while !last && !stop.load(Ordering::SeqCst) {
            let request = request("GET", "/", "").map(|_| Empty::<Bytes>::new());
            let outcome = match sender.send_request(request).await {
                Ok(response) => {
                    last = response.headers().get("connection").is_some_and(|c| c == "close");
                    let by_front = response.headers().contains_key("x-segue-front");
                    response.into_body().collect().await.map(|_| by_front)
                }
                Err(error) => Err(error),
            };
            last |= outcome.is_err();
            tally.note(outcome.map_err(|e| e.to_string()));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_a_live_port_over_and_gives_it_back_without_losing_a_request() {
    let folder = Arc::new(tempfile::TempDir::new().unwrap());
    let nginx = Nginx::start(folder.path()).await;
    let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let mut clients = vec![tokio::spawn(open_loop(nginx.address, tally.clone(), stop.clone()))];
    for _ in 0..8 {
        let client = persistent(nginx.address, tally.clone(), stop.clone());
        clients.push(tokio::spawn(client));
    }
    until("load runs", async || tally.counts().1 > 200).await;

    for _ in 0..2 {
        let mut options = options(folder.path(), nginx.address, nginx.address);
        options.ports[0].take_over = true;
        options.egress = Some(EGRESS.parse().unwrap());
        let before = tally.counts();
        let front = Running::start(options, patient(), folder.clone()).await;
        until("the front serves", async || tally.counts().0 > before.0 + 300).await;
        let answer = get(nginx.address, "/").await;
        assert_eq!(answer.headers["x-segue-front"], "source");
        assert_eq!(answer.headers["x-seen-from"], EGRESS, "the server sees the egress address");

        front.claim(front.hello().await.epoch.0 + 1).await.unwrap();
        let mut mark = front.mark();
        mark.epoch = front.hello().await.epoch;
        let began = Instant::now();
        assert!(done(&front.ask(Ask::Bypass { mark }).await), "bypassed");
        assert!(began.elapsed() < Duration::from_secs(20));
        for _ in 0..50 {
            let answer = get(nginx.address, "/").await;
            assert!(!answer.headers.contains_key("x-segue-front"), "back at the server");
        }
        // Its last connections end with their next answers, and then the process.
        let mut task = front.task;
        within("the front ends", &mut task).await.unwrap().unwrap();
    }

    stop.store(true, Ordering::SeqCst);
    for client in clients {
        within("a client", client).await.unwrap();
    }
    let failed = tally.failed();
    let sent = tally.sent.load(Ordering::SeqCst);
    assert!(failed.is_empty(), "{} of {sent} failed: {:?}", failed.len(), &failed[..1]);
    assert!(sent > 1_500, "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gives_the_port_back_when_its_process_dies() {
    let folder = Arc::new(tempfile::TempDir::new().unwrap());
    let nginx = Nginx::start(folder.path()).await;
    let mut with_egress = options(folder.path(), nginx.address, nginx.address);
    with_egress.ports[0].take_over = true;
    let refused = segue_front::run_until(with_egress.clone(), quick(), std::future::pending());
    assert_eq!(refused.await.unwrap_err().code, "SG0121", "no egress address");
    with_egress.egress = Some(EGRESS.parse::<IpAddr>().unwrap());
    let front = Running::start(with_egress.clone(), quick(), folder.clone()).await;
    assert!(get(nginx.address, "/").await.headers.contains_key("x-segue-front"));
    // A second one does not push in between.
    with_egress.control = folder.path().join("second.sock");
    let second = segue_front::run_until(with_egress, quick(), std::future::pending());
    assert_eq!(second.await.unwrap_err().code, "SG0130");
    front.task.abort();
    until("it is gone", async || front.task.is_finished()).await;
    until("the server has its port", async || {
        !get(nginx.address, "/").await.headers.contains_key("x-segue-front")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_nothing_more_to_a_port_given_back_while_it_is_still_open() {
    let folder = tempfile::TempDir::new().unwrap();
    let nginx = Nginx::start(folder.path()).await;
    let egress = EGRESS.parse().unwrap();
    let listener = segue_doors::takeover::take_over(nginx.address, egress).unwrap();
    let unanswered = TcpStream::connect(nginx.address).await.unwrap();
    let address = unanswered.local_addr().unwrap();
    let (_, peer) = listener.accept().expect("new connections come here");
    assert_eq!(peer, address);
    segue_doors::takeover::give_back(&listener).unwrap();
    for _ in 0..100 {
        assert_eq!(get(nginx.address, "/").await.body, "live\n");
    }
    assert!(listener.accept().is_err(), "nothing waits to be accepted");
}
