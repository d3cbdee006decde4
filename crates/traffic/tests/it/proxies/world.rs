//! Real proxies before real web servers whose workers are replaced all the while.

use super::super::support::{backend, free, policy, run};
use segue_model::event::{Attempt, Phase};
use segue_model::plan::{
    FrontLimits, FrontPlan, HaproxyPlan, MeasurePlan, NginxPlan, Policy, PortPlan, ProxyPlan,
    SitePlan, UnitPlan,
};
use segue_model::{Epoch, Side, Sides, StepName, UnitName};
use segue_port::{Authority, Call, NoProgress};
use segue_traffic::{FrontSettings, Fronts, fragments};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

pub(crate) const HOST: &str = "shop.example.test";

/// Which proxy stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Own,
    Haproxy,
    Nginx,
}

/// A child that dies with the test.
pub(crate) struct Daemon(pub(crate) Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // nginx ends its workers, HAProxy has none of its own.
        let pid = i32::try_from(self.0.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(2) {
            if self.0.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(name: &str, package: &str) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: install the package {package}"))
}

/// One front of a kind before a source and a target.
pub(crate) struct World {
    pub(crate) kind: Kind,
    pub(crate) unit: UnitPlan,
    pub(crate) front: SocketAddr,
    pub(crate) servers: Sides<Server>,
    /// The proxy, if it is none of ours.
    pub(crate) proxy: Option<Daemon>,
    /// Slow pages that were begun.
    slow: Arc<AtomicUsize>,
    pub(crate) folder: TempDir,
}

/// A web server: nginx with its own workers, before an echo for WebSockets.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    pub(crate) log: PathBuf,
    _daemon: Daemon,
}

impl Server {
    fn start(folder: &Path, side: Side, echo: SocketAddr) -> Self {
        let (address, home) = (free(), folder.join(side.as_str()));
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join("page"), "x".repeat(1_024)).unwrap();
        let log = home.join("access.log");
        let at = home.display();
        let text = format!(
            "daemon off; pid {at}/pid; error_log {at}/error.log; worker_processes 1;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\n  log_format one '$request_method $request_uri $status';\n  \
               access_log {} one;\n  client_body_temp_path {at}/b; proxy_temp_path {at}/p;\n  \
               fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n  \
               server {{\n    listen {address} backlog=4096; root {at};\n    add_header X-Backend {side} always;\n    \
               location /order {{ return 200 'ok'; }}\n    \
               location /slow {{ proxy_pass http://{echo}; }}\n    \
               location /socket {{ proxy_pass http://{echo}; proxy_http_version 1.1; \
               proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; \
               proxy_read_timeout 300s; }}\n  }}\n}}\n",
            log.display(),
        );
        let conf = home.join("nginx.conf");
        std::fs::write(&conf, text).unwrap();
        // Readable for workers of another user, if root runs this.
        let daemon = nginx(&home, &conf);
        let pid = daemon.0.id();
        Self { address, pid, log, _daemon: daemon }
    }

    /// Has its workers replaced, as log rotation and deployments do.
    pub(crate) fn reload(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }
}

fn nginx(home: &Path, conf: &Path) -> Daemon {
    let child = Command::new(program("nginx", "nginx-light"))
        .args(["-p".as_ref(), home.as_os_str(), "-c".as_ref(), conf.as_os_str()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Daemon(child.unwrap())
}

/// Echoes what comes on an upgraded connection; `/slow` takes 700 ms, and is counted.
async fn echo(slow: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let slow = slow.clone();
            tokio::spawn(async move {
                let Some(head) = super::super::support::head(&mut stream).await else { return };
                if head.starts_with("GET /slow") {
                    slow.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    let _ = stream
                        .write_all(
                            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
                        )
                        .await;
                    return;
                }
                let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                let mut bytes = [0; 256];
                while let Ok(n @ 1..) = stream.read(&mut bytes).await {
                    if stream.write_all(&bytes[..n]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

impl World {
    pub(crate) async fn start(kind: Kind) -> Self {
        let folder = tempfile::Builder::new().prefix("segue-px").tempdir_in("/var/tmp").unwrap();
        // nginx's workers may be another user's.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let slow = Arc::new(AtomicUsize::new(0));
        let echo = echo(slow.clone()).await;
        let servers = Sides::from_fn(|side| Server::start(folder.path(), side, echo));
        let front = free();
        let unit = unit(kind, folder.path(), front, &servers);
        let mut world = Self { kind, unit, front, servers, proxy: None, slow, folder };
        world.start_proxy();
        for address in [world.servers.source.address, world.servers.target.address] {
            until_open(address).await;
        }
        match kind {
            Kind::Own => {
                let server = world.servers.source.address;
                super::super::support::serve(&world.unit.fronts[0], server).await;
            }
            _ => world.until_up().await,
        }
        world
    }

    /// Waits until the proxy takes connections and questions: a former one's socket may lie there.
    pub(crate) async fn until_up(&self) {
        until_open(self.front).await;
        let (control, began) = (self.folder.path().join("control.sock"), Instant::now());
        while self.kind == Kind::Haproxy && UnixStream::connect(&control).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "nobody answers questions");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts the operator's proxy with what `segue fragments` prints and little else.
    pub(crate) fn start_proxy(&mut self) {
        let at = self.folder.path();
        let fragment = fragments(&[&self.unit]).into_iter().next();
        let Some(fragment) = fragment.filter(|_| self.kind != Kind::Own) else { return };
        std::fs::create_dir_all(at.join("segue")).unwrap();
        for (path, text) in &fragment.files {
            std::fs::write(path, text).unwrap();
        }
        for (path, text) in &fragment.once {
            if !path.exists() {
                std::fs::write(path, text).unwrap();
            }
        }
        let conf = at.join("proxy.conf");
        match self.kind {
            Kind::Haproxy => {
                let defaults = "defaults\n    timeout connect 5s\n    timeout client 60s\n    \
                                timeout server 60s\n    timeout tunnel 1h\n\n";
                std::fs::write(&conf, format!("{defaults}{}", fragment.text)).unwrap();
                let child = Command::new(program("haproxy", "haproxy"))
                    .args(["-db".as_ref(), "-f".as_ref(), conf.as_os_str()])
                    .stdout(Stdio::null())
                    .stderr(std::fs::File::create(at.join("haproxy.log")).unwrap())
                    .spawn();
                self.proxy = Some(Daemon(child.unwrap()));
            }
            _ => {
                let d = at.display();
                let text = format!(
                    "daemon off; pid {d}/proxy.pid; error_log {d}/proxy-error.log; worker_processes 1;\n\
                     events {{ worker_connections 4096; }}\nhttp {{\n  access_log off;\n  \
                     client_body_temp_path {d}/b; proxy_temp_path {d}/p; fastcgi_temp_path {d}/f; \
                     uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;\n{}\n}}\n",
                    fragment.text
                );
                std::fs::write(&conf, text).unwrap();
                self.proxy = Some(nginx(at, &conf));
            }
        }
    }

    /// Waits until a slow page runs.
    pub(crate) async fn until_slow(&self) {
        let began = Instant::now();
        while self.slow.load(Ordering::SeqCst) == 0 {
            assert!(began.elapsed() < Duration::from_secs(10), "no slow page ever ran");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns the fronts as a controller with this epoch has them.
    pub(crate) async fn fronts(&self, epoch: u64) -> Arc<Fronts> {
        let settings = FrontSettings {
            unit: self.unit.clone(),
            policy: Arc::new(Policy { harmless_paths: vec!["/page".into()], ..policy() }),
            run: run(),
            program: "none".into(),
        };
        let fronts = Fronts::new(settings);
        fronts.take_epoch(Epoch(epoch)).await.unwrap();
        fronts
    }
}

/// Returns what a step of an attempt is told.
pub(crate) fn call(phase: Phase, number: u32, epoch: u64) -> Call {
    Call {
        progress: Arc::new(NoProgress),
        authority: Authority {
            run: run(),
            unit: UnitName("shop".into()),
            step: StepName("hold".into()),
            attempt: Attempt { phase, number },
            epoch: Epoch(epoch),
        },
        prepared: serde_json::Value::Null,
        facts: Arc::default(),
        time_allowed: Duration::from_secs(3),
    }
}

fn unit(kind: Kind, folder: &Path, listen: SocketAddr, servers: &Sides<Server>) -> UnitPlan {
    let own = folder.join("segue");
    let proxy = match kind {
        Kind::Own => None,
        Kind::Haproxy => {
            Some(ProxyPlan::Haproxy(HaproxyPlan { config: folder.join("proxy.conf"), folder: own }))
        }
        Kind::Nginx => Some(ProxyPlan::Nginx(NginxPlan {
            folder: own,
            pid: folder.join("proxy.pid"),
            accept_reload_losses: true,
            accept_refusals: true,
        })),
    };
    let front = FrontPlan {
        name: "source".into(),
        side: Side::Source,
        ports: vec![PortPlan::http(listen, false)],
        egress: None,
        control: folder.join("control.sock"),
        state: folder.join("state.json"),
        trusted: Vec::new(),
        limits: FrontLimits::default(),
        metrics: None,
        access_log: None,
        proxy,
    };
    let backend = |server: &Server| backend(server.address);
    UnitPlan {
        name: "shop".into(),
        sites: vec![SitePlan {
            answer_timeout_s: None,
            name: "shop".into(),
            hosts: vec![HOST.into(), format!("www.{HOST}")],
            backends: Sides { source: backend(&servers.source), target: backend(&servers.target) },
            probe: None,
            rehearsal: None,
        }],
        requests_per_day: None,
        created: None,
        fronts: vec![front],
        databases: Vec::new(),
        trees: Vec::new(),
        zones: Vec::new(),
        cdns: Vec::new(),
        workers: Vec::new(),
        measures: MeasurePlan::default(),
    }
}

async fn until_open(address: SocketAddr) {
    let began = Instant::now();
    while TcpStream::connect(address).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "nobody listens at {address}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A client's connection that asks one thing after the other and repeats nothing.
pub(crate) struct Visitor {
    front: SocketAddr,
    stream: Option<TcpStream>,
    bytes: Vec<u8>,
}

/// What came back: status, and which side's server says that it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) from: Option<Side>,
    pub(crate) head: String,
}

impl Visitor {
    pub(crate) fn new(front: SocketAddr) -> Self {
        Self { front, stream: None, bytes: Vec::new() }
    }

    /// Sends a request with a body of `body` bytes and reads the whole answer.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
    ) -> std::io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.front).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        self.bytes.clear();
        let end = loop {
            if let Some(at) = self.bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut self.bytes).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        };
        let head = String::from_utf8_lossy(&self.bytes[..end]).to_ascii_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let length: usize =
            field("content-length: ").and_then(|n| n.trim().parse().ok()).unwrap_or(0);
        while self.bytes.len() < end + length {
            if stream.read_buf(&mut self.bytes).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        let from = match field("x-backend: ").map(str::trim) {
            Some("source") => Some(Side::Source),
            Some("target") => Some(Side::Target),
            _ => None,
        };
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        if field("connection: ").is_none_or(|how| how.trim() != "close") {
            self.stream = Some(stream);
        }
        Ok(Answer { status, from, head })
    }

    /// Reads a page and says whose it is.
    pub(crate) async fn side(&mut self) -> Option<Side> {
        self.ask("GET", "/page", "").await.unwrap().from
    }
}

/// Opens a WebSocket with the example's key (RFC 6455 1.3) and sees that it echoes.
pub(crate) async fn web_socket(front: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(front).await.unwrap();
    let ask = format!(
        "GET /socket HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    let head = super::super::support::head(&mut stream).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(echoes(&mut stream).await);
    stream
}

/// Says whether a WebSocket still lives.
pub(crate) async fn echoes(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 4];
    let echo = async {
        stream.write_all(b"ping").await?;
        stream.read_exact(&mut bytes).await
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), echo).await, Ok(Ok(_)))
        && &bytes == b"ping"
}
