//! A front that joins a live server which shares its port: under load, there and back, while the
//! server is reloaded and started anew, and after every process of the front is killed.

use crate::keeper::Keeper;
use crate::support::*;
use crate::takeover::{Tally, open_loop, patient, persistent};
use rustix::process::{Pid, Signal, kill_process};
use segue_front::control::Request as Ask;
use segue_front::{FrontOptions, run_until};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A web server at a port that it shares, and at another port.
struct Server {
    process: Child,
    config: PathBuf,
    shared: SocketAddr,
    behind: SocketAddr,
}

impl Server {
    async fn started(program: &str, folder: &Path, shared: SocketAddr, text: &str) -> Self {
        let config = folder.join("config");
        std::fs::write(&config, text).unwrap();
        let process = start(program, &config);
        let behind = behind(shared);
        until("the server listens", async || TcpStream::connect(behind).await.is_ok()).await;
        until("the server listens", async || TcpStream::connect(shared).await.is_ok()).await;
        Self { process, config, shared, behind }
    }

    async fn nginx(folder: &Path, shared: SocketAddr, listen: &str) -> Self {
        Self::started("nginx", folder, shared, &nginx(folder, shared, listen, 2)).await
    }

    /// Reloads nginx with so many workers; returns once they are there.
    async fn reload(&self, folder: &Path, workers: usize) {
        let listen = format!("{} reuseport", self.shared);
        std::fs::write(&self.config, nginx(folder, self.shared, &listen, workers)).unwrap();
        let former = self.workers();
        kill_process(Pid::from_child(&self.process), Signal::HUP).unwrap();
        until("it has other workers", async || {
            let now = self.workers();
            now.len() == workers && now.is_disjoint(&former)
        })
        .await;
    }

    fn workers(&self) -> HashSet<String> {
        let pid = self.process.id();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(path).unwrap();
        children.split_whitespace().map(str::to_owned).collect()
    }

    fn end(&mut self) {
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn start(program: &str, config: &Path) -> Child {
    let mut command = Command::new(program);
    match program {
        "nginx" => command.arg("-e").arg(config.with_file_name("error.log")).arg("-c").arg(config),
        _ => command.arg("-db").arg("-f").arg(config),
    };
    command.spawn().expect("run scripts/setup")
}

/// The second address of a server, at a port of its own.
fn behind(shared: SocketAddr) -> SocketAddr {
    SocketAddr::new("127.0.0.24".parse().unwrap(), shared.port() ^ 1)
}

fn nginx(folder: &Path, shared: SocketAddr, listen: &str, workers: usize) -> String {
    let (folder, behind) = (folder.display(), behind(shared));
    // Beside the wildcard address nginx opens a socket at another one only with this.
    let own = if listen.starts_with(&shared.to_string()) { "" } else { " reuseport" };
    format!(
        "user root; daemon off; worker_processes {workers}; pid {folder}/pid;\n\
         error_log {folder}/error.log; events {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;\n\
         fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
         server {{ listen {listen}; listen {behind}{own};\n\
         location / {{ add_header x-worker $pid; return 200 \"live\\n\"; }} }} }}\n"
    )
}

fn haproxy(shared: SocketAddr, listen: &str, threads: usize) -> String {
    let behind = behind(shared);
    format!(
        "global\n nbthread {threads}\ndefaults\n mode http\n timeout client 9s\n \
         timeout http-request 9s\nfrontend site\n bind {behind}\n bind {listen} shards by-thread\n \
         http-request return status 200 content-type text/plain string \"live\\n\"\n"
    )
}

/// Returns a free port at an address of this module.
fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.23:0").unwrap().local_addr().unwrap()
}

fn joining(folder: &Path, shared: SocketAddr, backend: SocketAddr) -> FrontOptions {
    let mut options = options(folder, shared, backend);
    options.ports[0].join = true;
    options
}

/// Says whether an answer came by the front. It is the server's in any case.
async fn by_front(address: SocketAddr) -> bool {
    let answer = get(address, "/").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "live\n"));
    answer.headers.contains_key("x-segue-front")
}

/// Asks a front to leave, and looks that new connections go to the server from then on.
async fn bypass(front: Running) {
    front.claim(front.hello().await.epoch.0 + 1).await.unwrap();
    let mut mark = front.mark();
    mark.epoch = front.hello().await.epoch;
    let left = front.ask(Ask::Bypass { mark }).await;
    assert!(done(&left), "bypassed: {left:?}");
    for _ in 0..50 {
        assert!(!by_front(front.address).await, "back at the server");
    }
    // Its last connections end with their next answers, and then the process.
    let mut task = front.task;
    within("the front ends", &mut task).await.unwrap().unwrap();
}

/// Many clients, a new connection each, and some that keep theirs.
struct Load {
    address: SocketAddr,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    async fn on(address: SocketAddr, kept: usize) -> Self {
        let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let clients = vec![tokio::spawn(open_loop(address, tally.clone(), stop.clone()))];
        let mut load = Self { address, tally, stop, clients };
        load.keep(kept);
        load.more_by_server(100).await;
        load
    }

    /// Adds clients that keep their connection.
    fn keep(&mut self, count: usize) {
        for _ in 0..count {
            let client = persistent(self.address, self.tally.clone(), self.stop.clone());
            self.clients.push(tokio::spawn(client));
        }
    }

    async fn more_by_front(&self, count: usize) {
        let before = self.tally.counts().0;
        until("the front serves", async || self.tally.counts().0 > before + count).await;
    }

    async fn more_by_server(&self, count: usize) {
        let before = self.tally.counts().1;
        until("the server serves", async || self.tally.counts().1 > before + count).await;
    }

    /// Returns what both served.
    async fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            within("a client", client).await.unwrap();
        }
        let (failed, counts) = (self.tally.failed(), self.tally.counts());
        assert!(failed.is_empty(), "{} failed, {counts:?}: {:?}", failed.len(), &failed[..1]);
        counts
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_a_live_server_and_leaves_it_without_losing_a_request() {
    let folder = Arc::new(TempDir::new().unwrap());
    let shared = free();
    let nginx = Server::nginx(folder.path(), shared, &format!("{shared} reuseport")).await;
    let load = Load::on(shared, 8).await;
    for _ in 0..2 {
        let options = joining(folder.path(), shared, nginx.behind);
        let front = Running::start(options.clone(), patient(), folder.clone()).await;
        load.more_by_front(300).await;
        for _ in 0..50 {
            assert!(by_front(shared).await, "every new connection comes to the front");
        }
        let hello = front.hello().await;
        assert!(hello.ports[0].joined && !hello.ports[0].taken_over);
        // A second one does not push in between.
        let second = FrontOptions { control: folder.path().join("second.sock"), ..options };
        let second = run_until(second, quick(), std::future::pending());
        assert_eq!(second.await.unwrap_err().code, "SG0136");
        bypass(front).await;
        load.more_by_server(300).await;
    }
    let counts = load.end().await;
    assert!(counts.0 > 600 && counts.1 > 600, "{counts:?}");
    // No program is left that would keep connections from workers that come later.
    nginx.reload(folder.path(), 4).await;
    let mut workers = HashSet::new();
    for _ in 0..200 {
        workers.insert(get(shared, "/").await.headers["x-worker"].clone());
    }
    assert_eq!(workers.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_connection_while_the_server_changes_and_starts_anew() {
    let (folder, steady) = (Arc::new(TempDir::new().unwrap()), TempDir::new().unwrap());
    let shared = free();
    let listen = format!("{shared} reuseport");
    let mut nginx = Server::nginx(folder.path(), shared, &listen).await;
    // What the front reaches stays up while the live server does not.
    let other = free();
    let backend = Server::nginx(steady.path(), other, &format!("{other} reuseport")).await;
    let load = Load::on(shared, 0).await;
    let options = joining(folder.path(), shared, backend.behind);
    let front = Running::start(options, patient(), folder.clone()).await;
    load.more_by_front(200).await;
    let by_server = load.tally.counts().1;
    for workers in [4, 1, 3, 2, 8] {
        nginx.reload(folder.path(), workers).await;
        load.more_by_front(50).await;
    }
    nginx.end();
    load.more_by_front(100).await;
    // With nobody to give the port to it is kept.
    front.claim(1).await.unwrap();
    let mark = front.mark();
    let fault = front.ask(Ask::Bypass { mark }).await.unwrap_err();
    assert_eq!(fault.code, "SG0138");
    nginx.process = start("nginx", &nginx.config);
    until("it is back", async || nginx.workers().len() == 8).await;
    load.more_by_front(200).await;
    assert_eq!(load.tally.counts().1, by_server, "nothing passes by the front");
    // The server's sockets stand behind the front's by now.
    bypass(front).await;
    load.more_by_server(300).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_ends_waits_for_a_server_that_is_away() {
    let (folder, steady) = (Arc::new(TempDir::new().unwrap()), TempDir::new().unwrap());
    let shared = free();
    let listen = format!("{shared} reuseport");
    let mut nginx = Server::nginx(folder.path(), shared, &listen).await;
    let other = free();
    let backend = Server::nginx(steady.path(), other, &format!("{other} reuseport")).await;
    let load = Load::on(shared, 0).await;
    let options = joining(folder.path(), shared, backend.behind);
    let front = Running::start(options, patient(), folder.clone()).await;
    load.more_by_front(100).await;
    nginx.end();
    let left = tokio::spawn(front.stop());
    // As long as a server takes to start: everybody is served, and nobody is turned away.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1_000) {
        load.more_by_front(20).await;
    }
    assert!(!left.is_finished());
    nginx.process = start("nginx", &nginx.config);
    load.more_by_server(100).await;
    within("the front's end", left).await.unwrap();
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_is_joined_reloaded_and_left_without_losing_a_request() {
    let folder = Arc::new(TempDir::new().unwrap());
    let shared = free();
    let listen = shared.to_string();
    let mut live =
        Server::started("haproxy", folder.path(), shared, &haproxy(shared, &listen, 2)).await;
    let mut load = Load::on(shared, 0).await;
    let options = joining(folder.path(), shared, live.behind);
    let front = Running::start(options, patient(), folder.clone()).await;
    load.more_by_front(200).await;
    // Those that HAProxy has itself it closes at a reload.
    load.keep(4);
    // A reload of HAProxy is a new process that has the former one end.
    std::fs::write(&live.config, haproxy(shared, &listen, 3)).unwrap();
    let former = live.process.id().to_string();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&live.config).args(["-sf", &former]);
    let mut former = std::mem::replace(&mut live.process, command.spawn().unwrap());
    until("the former one ends", async || former.try_wait().unwrap().is_some()).await;
    load.more_by_front(200).await;
    for _ in 0..50 {
        assert!(by_front(shared).await);
    }
    bypass(front).await;
    load.more_by_server(300).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_is_killed_leaves_the_port_to_the_server_and_may_come_again() {
    let folder = Arc::new(TempDir::new().unwrap());
    let shared = free();
    let nginx = Server::nginx(folder.path(), shared, &format!("{shared} reuseport")).await;
    let options = joining(folder.path(), shared, nginx.behind);
    for _ in 0..2 {
        let mut keeper = Keeper::start(options.clone(), folder.clone()).await;
        for _ in 0..50 {
            assert!(by_front(shared).await);
        }
        // The next worker has all of the sockets.
        let worker = keeper.worker().await;
        kill_process(worker, Signal::KILL).unwrap();
        assert_ne!(keeper.worker().await, worker);
        assert!(by_front(shared).await);
        let worker = keeper.worker().await;
        keeper.signal(Signal::KILL);
        let _ = kill_process(worker, Signal::KILL);
        keeper.child.wait().unwrap();
        until("the worker is gone", async || rustix::process::test_kill_process(worker).is_err())
            .await;
        for _ in 0..50 {
            assert!(!by_front(shared).await);
        }
    }
    let mut keeper = Keeper::start(options, folder.clone()).await;
    assert!(by_front(shared).await);
    keeper.signal(Signal::TERM);
    assert!(keeper.ended().await, "{}", keeper.log());
    assert!(!by_front(shared).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_whose_workers_all_die_is_kept_while_nobody_else_listens_there() {
    let folder = Arc::new(TempDir::new().unwrap());
    let shared = free();
    let mut nginx = Server::nginx(folder.path(), shared, &format!("{shared} reuseport")).await;
    let options = joining(folder.path(), shared, nginx.behind);
    let mut keeper = Keeper::start(options, folder.clone()).await;
    let file = FrontOptions::beside(&keeper.options.state);
    let good = std::fs::read(&file).unwrap();
    // No worker that starts from now on comes far.
    let worker = keeper.worker().await;
    std::fs::write(&file, "{}").unwrap();
    nginx.end();
    kill_process(worker, Signal::KILL).unwrap();
    until("they end again and again", async || keeper.log().contains("again and again")).await;
    let waits = later(shared, "GET", "/");
    std::fs::write(&file, &good).unwrap();
    let worker = keeper.worker().await;
    let answer = within("its answer", waits).await.unwrap().unwrap();
    assert!(answer.headers.contains_key("x-segue-front"));

    // A server that is there is as good as the front.
    nginx.process = start("nginx", &nginx.config);
    until("it is back", async || TcpStream::connect(nginx.behind).await.is_ok()).await;
    std::fs::write(&file, "{}").unwrap();
    kill_process(worker, Signal::KILL).unwrap();
    assert!(!keeper.ended().await, "it ends with an error");
    assert!(!by_front(shared).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_at_the_wildcard_address_and_with_ipv6() {
    // Ports that are free at every address, of both families.
    let free = || std::net::TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port();
    let at = |address: &str| SocketAddr::new(address.parse().unwrap(), free());
    let (wide, six) = (at("127.0.0.23"), at("::1"));
    let (wide_six, both) = (at("::1"), at("::1"));
    for (program, shared, listen, v4) in [
        ("nginx", wide, format!("{} reuseport", wide.port()), true),
        ("nginx", six, format!("{six} reuseport"), false),
        ("nginx", wide_six, format!("[::]:{} reuseport", wide_six.port()), false),
        // This socket for IPv6 takes IPv4 as well.
        ("haproxy", both, format!("[::]:{} v4v6", both.port()), true),
    ] {
        let folder = Arc::new(TempDir::new().unwrap());
        let config = match program {
            "nginx" => nginx(folder.path(), shared, &listen, 2),
            _ => haproxy(shared, &listen, 2),
        };
        let server = Server::started(program, folder.path(), shared, &config).await;
        let options = joining(folder.path(), shared, server.behind);
        let front = Running::start(options, quick(), folder.clone()).await;
        for _ in 0..50 {
            assert!(by_front(shared).await, "{program} {listen}");
        }
        let loopback = SocketAddr::new("127.0.0.1".parse().unwrap(), shared.port());
        if v4 {
            assert!(by_front(loopback).await, "{program} {listen}");
        } else {
            assert!(TcpStream::connect(loopback).await.is_err(), "{program} {listen}");
        }
        bypass(front).await;
        assert!(!v4 || !by_front(loopback).await, "{program} {listen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_shares_nothing_is_not_joined() {
    let folder = Arc::new(TempDir::new().unwrap());
    let shared = free();
    let options = joining(folder.path(), shared, behind(shared));
    let refused = || run_until(options.clone(), quick(), std::future::pending());
    assert_eq!(refused().await.unwrap_err().code, "SG0130", "nobody is there");
    let nginx = Server::nginx(folder.path(), shared, &shared.to_string()).await;
    let fault = refused().await.unwrap_err();
    assert_eq!(fault.code, "SG0135");
    assert!(fault.cause.ends_with("a socket there is without SO_REUSEPORT"), "{fault}");
    assert!(fault.hint.contains("reuseport") && fault.hint.contains("take_over"), "{fault}");
    assert!(!by_front(nginx.shared).await);
}
