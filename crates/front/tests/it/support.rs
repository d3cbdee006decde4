//! A front in this process, backends that do as they are told, and plain clients.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use segue_front::control::Request as Ask;
use segue_front::control::{
    Client, Hello, HoldId, Mark, Reach, Reply, SiteRoute, Stats, UnitStatus,
};
use segue_front::{FrontOptions, Limits, PortOptions, run_until};
use segue_model::plan::{FrontLimits, PortKind, TcpPlan};
use segue_model::{Epoch, Fault, RunId, Side, Sides, UnitName};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub(crate) const HOST: &str = "shop.example.test";
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(value) => value,
        Err(_) => panic!("not within {DEADLINE:?}: {what}"),
    }
}

pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

// ---- backends ----

#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An application. `/hang...` answers once `let_go` was called; `/events` is a stream;
/// everything else answers at once with its name and the path.
pub(crate) struct Shop {
    pub(crate) address: SocketAddr,
    pub(crate) name: &'static str,
    seen: Mutex<Vec<Seen>>,
    finished: AtomicUsize,
    at_once: AtomicUsize,
    at_once_max: AtomicUsize,
    go: watch::Sender<bool>,
}

impl Shop {
    /// An application that does not run.
    pub(crate) fn absent(name: &'static str) -> Self {
        Self::at(free_address(), name)
    }

    pub(crate) fn at(address: SocketAddr, name: &'static str) -> Self {
        Self {
            address,
            name,
            seen: Mutex::default(),
            finished: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            at_once_max: AtomicUsize::new(0),
            go: watch::Sender::new(false),
        }
    }

    pub(crate) async fn start(name: &'static str) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shop = Arc::new(Self::at(listener.local_addr().unwrap(), name));
        let serving = shop.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shop = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| shop.clone().answer(request));
                    let io = TokioIo::new(stream);
                    let _ = server::Builder::new().serve_connection(io, service).await;
                });
            }
        });
        shop
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|s| s.path).collect()
    }

    pub(crate) fn finished(&self) -> usize {
        self.finished.load(Ordering::SeqCst)
    }

    pub(crate) fn at_once_max(&self) -> usize {
        self.at_once_max.load(Ordering::SeqCst)
    }

    pub(crate) fn let_go(&self) {
        self.go.send_replace(true);
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
        let (parts, body) = request.into_parts();
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.at_once_max.fetch_max(at_once, Ordering::SeqCst);
        let path = parts.uri.path().to_owned();
        let whole = body.collect().await;
        if let Ok(body) = whole {
            self.seen.lock().unwrap().push(Seen {
                path: path.clone(),
                headers: parts.headers,
                body: body.to_bytes(),
            });
        }
        if path.starts_with("/hang") {
            let mut go = self.go.subscribe();
            go.wait_for(|go| *go).await.unwrap();
        }
        if path.starts_with("/short") {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        self.finished.fetch_add(1, Ordering::SeqCst);
        if path == "/events" {
            let ticks = futures_util::stream::unfold(0, |n| async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Ok(Frame::data(Bytes::from(format!("data: {n}\n\n")))), n + 1))
            });
            let response = Response::builder().header("content-type", "text/event-stream");
            return Ok(response.body(StreamBody::new(ticks).boxed()).unwrap());
        }
        let text = format!("{} {path}", self.name);
        let unknown = path.split("/known-to-").nth(1).is_some_and(|side| side != self.name);
        let status = match path.as_str() {
            "/error" => 500,
            _ if path == format!("/error/{}", self.name) => 500,
            _ if unknown => 404,
            _ => 200,
        };
        let mut response = Response::builder().status(status);
        if path.starts_with("/account") {
            response = response.header("cache-control", "private");
        }
        Ok(response.body(Full::new(Bytes::from(text)).boxed()).unwrap())
    }
}

// ---- clients ----

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn side(&self) -> &str {
        self.headers.get("x-segue-side").map_or("", |v| v.to_str().unwrap())
    }
}

pub(crate) fn request(method: &str, path: &str, body: &str) -> Request<Full<Bytes>> {
    let body = Full::new(Bytes::from(body.to_owned()));
    Request::builder().method(method).uri(path).header("host", HOST).body(body).unwrap()
}

/// Sends one request over a connection of its own.
pub(crate) async fn send(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    send_from(if address.is_ipv4() { "127.0.0.1" } else { "::1" }, address, request).await
}

/// Sends one request from an address of the loopback network.
pub(crate) async fn send_from(
    client: &str,
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    let began = Instant::now();
    let v4 = address.is_ipv4();
    let socket = if v4 { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|e| e.to_string())?;
    socket.bind(SocketAddr::new(client.parse().unwrap(), 0)).map_err(|e| e.to_string())?;
    let stream = socket.connect(address).await.map_err(|e| e.to_string())?;
    let answer = exchange(stream, request).await?;
    Ok(Answer { took: began.elapsed(), ..answer })
}

/// Sends one request over a connection that is given up then.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    let began = Instant::now();
    let (mut sender, connection) =
        client::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
    drop(sender);
    connection.abort();
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
        took: began.elapsed(),
    })
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    within(path, send(address, request("GET", path, ""))).await.unwrap()
}

pub(crate) async fn post(address: SocketAddr, path: &str, body: &str) -> Answer {
    within(path, send(address, request("POST", path, body))).await.unwrap()
}

/// Sends in the background.
pub(crate) fn later(
    address: SocketAddr,
    method: &str,
    path: &str,
) -> JoinHandle<Result<Answer, String>> {
    tokio::spawn(send(address, request(method, path, "")))
}

// ---- the front ----

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    pub(crate) folder: Arc<TempDir>,
    end: Option<oneshot::Sender<()>>,
    pub(crate) task: JoinHandle<Result<(), Fault>>,
    generation: AtomicU64,
}

pub(crate) fn unit() -> UnitName {
    "shop".into()
}

pub(crate) fn run_id() -> RunId {
    "run-1".into()
}

/// Returns an address at which nobody listens: its port is free at an address of its own, where
/// no connection of another test takes it meanwhile.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let last = NEXT.fetch_add(1, Ordering::SeqCst) % 250 + 1;
    std::net::TcpListener::bind(format!("127.0.5.{last}:0")).unwrap().local_addr().unwrap()
}

/// A port for HTTP in clear, at an address of its own.
pub(crate) fn port(listen: SocketAddr, default_backend: SocketAddr) -> PortOptions {
    PortOptions {
        kind: PortKind::Http,
        listen,
        take_over: false,
        redirect: None,
        join: false,
        default_backend,
        tls: None,
        proxy_in: false,
        proxy_out: false,
        tcp: None,
    }
}

/// A port for TCP.
pub(crate) fn tcp_port(listen: SocketAddr, tcp: TcpPlan) -> PortOptions {
    let backend = tcp.backends.source;
    PortOptions { kind: PortKind::Tcp, tcp: Some(tcp), ..port(listen, backend) }
}

pub(crate) fn options(
    folder: &Path,
    listen: SocketAddr,
    default_backend: SocketAddr,
) -> FrontOptions {
    FrontOptions {
        name: "source".into(),
        side: Side::Source,
        run: None,
        ports: vec![port(listen, default_backend)],
        egress: None,
        control: folder.join("control.sock"),
        state: folder.join("state.json"),
        trusted: Vec::new(),
        limits: FrontLimits::default(),
        metrics: None,
        access_log: None,
    }
}

pub(crate) fn quick() -> Limits {
    Limits { finish: Duration::from_millis(200), ..Limits::default() }
}

impl Running {
    pub(crate) async fn start(options: FrontOptions, limits: Limits, folder: Arc<TempDir>) -> Self {
        let (end, ended) = oneshot::channel::<()>();
        let (address, control) = (options.ports[0].listen, options.control.clone());
        let task = tokio::spawn(run_until(options, limits, async {
            let _ = ended.await;
        }));
        let mut client = None;
        until("the front answers", async || {
            assert!(!task.is_finished(), "the front ended at its start");
            client = Client::connect(&control).await.ok();
            client.is_some()
        })
        .await;
        let client = client.unwrap();
        let this =
            Self { address, client, folder, end: Some(end), task, generation: AtomicU64::new(0) };
        let hello = this.hello().await;
        this.generation.store(hello.generation, Ordering::SeqCst);
        until("the front listens", async || TcpStream::connect(address).await.is_ok()).await;
        this
    }

    /// A front at an address of its own, claimed, with the unit routed to the source.
    pub(crate) async fn routed(source: &Shop, target: &Shop) -> Self {
        Self::routed_with(source, target, quick(), 64).await
    }

    pub(crate) async fn routed_with(
        source: &Shop,
        target: &Shop,
        limits: Limits,
        concurrency: usize,
    ) -> Self {
        let folder = Arc::new(TempDir::new().unwrap());
        let options = options(folder.path(), free_address(), source.address);
        let front = Self::start(options, limits, folder).await;
        front.claim(1).await.unwrap();
        front.set_route(source, target, concurrency).await.unwrap();
        front
    }

    /// Sends the unit's host to servers that are reached in a way of their own.
    pub(crate) async fn reach(
        &self,
        backends: Sides<SocketAddr>,
        reach: Reach,
    ) -> Result<Reply, Fault> {
        let reach = Some(Box::new(reach));
        self.ask(Ask::SetRoute {
            mark: self.mark(),
            unit: unit(),
            sites: vec![SiteRoute { hosts: vec![HOST.into()], backends, reach }],
            write_side: Side::Source,
            concurrency: Sides { source: 64, target: 64 },
        })
        .await
    }

    pub(crate) fn mark(&self) -> Mark {
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        Mark { run: run_id(), epoch: Epoch(1), generation }
    }

    pub(crate) async fn ask(&self, ask: Ask) -> Result<Reply, Fault> {
        within("an answer", self.client.call(&ask)).await
    }

    pub(crate) async fn hello(&self) -> Hello {
        match self.ask(Ask::Greet { unit: unit() }).await.unwrap() {
            Reply::Hello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn status(&self) -> UnitStatus {
        self.hello().await.unit(&unit()).unwrap().clone()
    }

    pub(crate) async fn stats(&self) -> Stats {
        match self.ask(Ask::Stats).await.unwrap() {
            Reply::Stats(stats) => stats,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn claim(&self, epoch: u64) -> Result<Reply, Fault> {
        self.ask(Ask::Claim { run: run_id(), epoch: Epoch(epoch) }).await
    }

    pub(crate) async fn set_route(
        &self,
        source: &Shop,
        target: &Shop,
        concurrency: usize,
    ) -> Result<Reply, Fault> {
        let backends = Sides { source: source.address, target: target.address };
        self.route(backends, concurrency).await
    }

    /// Sends the unit to backends at these addresses.
    pub(crate) async fn route_to(
        &self,
        source: SocketAddr,
        target: SocketAddr,
    ) -> Result<Reply, Fault> {
        self.route(Sides { source, target }, 64).await
    }

    async fn route(&self, backends: Sides<SocketAddr>, concurrency: usize) -> Result<Reply, Fault> {
        self.ask(Ask::SetRoute {
            mark: self.mark(),
            unit: unit(),
            sites: vec![SiteRoute { hosts: vec![HOST.to_uppercase()], backends, reach: None }],
            write_side: Side::Source,
            concurrency: Sides { source: concurrency, target: concurrency },
        })
        .await
    }

    pub(crate) fn hold_request(&self, id: &str) -> Ask {
        Ask::Hold {
            mark: self.mark(),
            unit: unit(),
            hold_id: id.into(),
            lease_ms: 5_000,
            quiet_age_ms: 5_000,
            slow_paths: vec!["/report".into()],
            age_max_ms: 8_000,
            count_max: 1_000,
        }
    }

    pub(crate) async fn hold(&self, id: &str) -> Result<Reply, Fault> {
        self.ask(self.hold_request(id)).await
    }

    pub(crate) async fn seal(&self, id: &str) -> Result<Reply, Fault> {
        let ask = Ask::SealHold { mark: self.mark(), unit: unit(), hold_id: HoldId::from(id) };
        self.ask(ask).await
    }

    pub(crate) async fn release(&self, id: &str, to: Side) -> Result<Reply, Fault> {
        let (mark, hold_id) = (self.mark(), HoldId::from(id));
        self.ask(Ask::Release { mark, unit: unit(), hold_id, to }).await
    }

    pub(crate) async fn held(&self, count: usize) {
        until("so many requests wait", async || self.status().await.held == count).await;
    }

    /// Ends the front as SIGTERM would.
    pub(crate) async fn stop(mut self) -> Arc<TempDir> {
        let _ = self.end.take().unwrap().send(());
        within("the front ends", &mut self.task).await.unwrap().unwrap();
        self.folder.clone()
    }
}

pub(crate) fn done(reply: &Result<Reply, Fault>) -> bool {
    matches!(reply, Ok(Reply::Done { .. }))
}

pub(crate) fn code(reply: Result<Reply, Fault>) -> String {
    reply.unwrap_err().code
}
