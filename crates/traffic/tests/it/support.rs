//! An application, the two fronts before it, and a plain client.

use segue_front::control::{Client, Mark, Reply, Request, SiteRoute};
use segue_front::{FrontOptions, Limits, run_until};
use segue_model::event::{Attempt, Phase};
use segue_model::plan::{Backend, FrontLimits, FrontPlan, Policy, PortPlan, SitePlan, UnitPlan};
use segue_model::{Epoch, RunId, Side, Sides, StepName, UnitName};
use segue_port::{Authority, Call, NoProgress};
use segue_traffic::{FrontSettings, Fronts};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HOST: &str = "shop.example.test";
const DEADLINE: Duration = Duration::from_secs(10);

/// Life of an unrenewed hold in these tests.
pub(crate) const LEASE_MS: u64 = 800;

pub(crate) struct Site {
    pub(crate) fronts: Arc<Fronts>,
    pub(crate) unit: UnitPlan,
    pub(crate) source_front: SocketAddr,
    pub(crate) target_front: SocketAddr,
    /// Tells visitors to end.
    pub(crate) over: Arc<AtomicBool>,
    slow: Arc<AtomicUsize>,
    controls: Sides<Client>,
    _folder: TempDir,
}

impl Site {
    /// Starts everything; the unit is at the source.
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let slow = Arc::new(AtomicUsize::new(0));
        let live = application(slow.clone()).await;
        let (source_front, target_front) = (free(), free());
        // The source's front asks the live server itself; as the plan and the target's front
        // see it, the source is reached where the source's front stands.
        let reached = Sides { source: source_front, target: live };
        let unit = unit(folder.path(), source_front, target_front, &reached);
        let [source, target] = &unit.fronts[..] else { panic!("a front a side") };
        let controls = Sides {
            source: start_front(source, Sides { source: live, target: live }).await,
            target: start_front(target, reached).await,
        };
        let settings = FrontSettings {
            unit: unit.clone(),
            policy: Arc::new(policy()),
            run: run(),
            program: "none".into(),
        };
        let fronts = Fronts::new(settings);
        fronts.take_epoch(Epoch(1)).await.unwrap();
        let over = Arc::new(AtomicBool::new(false));
        Self { fronts, unit, source_front, target_front, over, slow, controls, _folder: folder }
    }

    /// Returns what a step of cutover `number` is told.
    pub(crate) fn call(&self, number: u32) -> Call {
        Call {
            progress: Arc::new(NoProgress),
            authority: Authority {
                run: run(),
                unit: UnitName("shop".into()),
                step: StepName("hold".into()),
                attempt: Attempt { phase: Phase::Cutover, number },
                epoch: Epoch(1),
            },
            prepared: serde_json::Value::Null,
            facts: Arc::default(),
            time_allowed: Duration::from_secs(3),
        }
    }

    /// Moves the unit to the target.
    pub(crate) async fn cut_over(&self) {
        self.fronts.hold().run(&self.call(1)).await.unwrap();
        self.fronts.route().run(&self.call(1)).await.unwrap();
    }

    /// Returns what a step of failback `number` is told.
    pub(crate) fn call_back(&self, number: u32) -> Call {
        let mut call = self.call(number);
        call.authority.attempt.phase = Phase::Failback;
        call
    }

    /// Waits until a slow page runs.
    pub(crate) async fn until_slow(&self) {
        let began = Instant::now();
        while self.slow.load(Ordering::SeqCst) == 0 {
            assert!(began.elapsed() < DEADLINE, "no slow page ever ran");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Its age is the subject: long enough to be no quick request any more.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }

    /// Waits until a request waits at the front of a side.
    pub(crate) async fn until_held(&self, side: Side) {
        let began = Instant::now();
        let greet = Request::Greet { unit: UnitName("shop".into()) };
        loop {
            match self.controls.get(side).call(&greet).await.unwrap() {
                Reply::Hello(hello) if hello.units[0].held == 1 => return,
                Reply::Hello(_) => assert!(began.elapsed() < DEADLINE, "nothing is held"),
                other => panic!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(crate) fn run() -> RunId {
    RunId("run-1".into())
}

pub(crate) fn policy() -> Policy {
    Policy {
        pause_budget_ms: 200,
        failback_budget_ms: 1_600,
        seal_reserve_ms: 100,
        lease_ms: LEASE_MS,
        hold_age_max_ms: 5_000,
        hold_count_max: 1_000,
        quiet_wait_ms: 1_000,
        slow_paths: vec!["/slow".into()],
        harmless_paths: Vec::new(),
        hold_bytes_max: Policy::usual_hold_bytes_max(),
        hold_page: None,
        split: None,
        gate_wait_s: 10,
        commit_timer_s: 0,
        stable_for_s: 1,
        straggler_days: 7,
        maintenance_budget_ms: None,
        triggers: Vec::new(),
        gates: Vec::new(),
    }
}

pub(crate) fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A web server in clear of which nothing else is said.
pub(crate) fn backend(address: SocketAddr) -> Backend {
    Backend {
        beside: Vec::new(),
        check: Default::default(),
        tls: None,
        probe_address: None,
        passthrough: None,
        acme_tls: None,
        proxy_out: false,
        address,
        health_path: "/".into(),
        access_log: None,
        concurrency: 64,
    }
}

pub(crate) fn unit(
    folder: &Path,
    source_front: SocketAddr,
    target_front: SocketAddr,
    reached: &Sides<SocketAddr>,
) -> UnitPlan {
    let front = |side: Side, listen| FrontPlan {
        name: side.as_str().into(),
        side,
        ports: vec![PortPlan::http(listen, false)],
        egress: None,
        control: folder.join(format!("{side}.sock")),
        state: folder.join(format!("{side}.json")),
        trusted: Vec::new(),
        limits: FrontLimits::default(),
        metrics: None,
        access_log: None,
        proxy: None,
    };
    UnitPlan {
        name: UnitName("shop".into()),
        sites: vec![SitePlan {
            answer_timeout_s: None,
            name: UnitName("shop".into()),
            hosts: vec![HOST.into()],
            backends: Sides { source: backend(reached.source), target: backend(reached.target) },
            probe: None,
            rehearsal: None,
        }],
        requests_per_day: None,
        created: None,
        fronts: vec![front(Side::Source, source_front), front(Side::Target, target_front)],
        databases: Vec::new(),
        trees: Vec::new(),
        zones: Vec::new(),
        cdns: Vec::new(),
        workers: Vec::new(),
        measures: segue_model::plan::MeasurePlan::default(),
    }
}

/// Starts a front in this process and waits until it answers.
pub(crate) async fn serve(plan: &FrontPlan, default_backend: SocketAddr) -> Client {
    let options = FrontOptions::of(plan, default_backend.into(), &[]);
    tokio::spawn(run_until(options, Limits::default(), std::future::pending()));
    let began = Instant::now();
    loop {
        match Client::connect(&plan.control).await {
            Ok(client) => return client,
            Err(fault) => assert!(began.elapsed() < DEADLINE, "front does not start: {fault}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Starts a front in this process, claims it and routes the unit to the source.
async fn start_front(plan: &FrontPlan, backends: Sides<SocketAddr>) -> Client {
    let client = serve(plan, backends.source).await;
    client.call(&Request::Claim { run: run(), epoch: Epoch(1) }).await.unwrap();
    let route = Request::SetRoute {
        mark: Mark { run: run(), epoch: Epoch(1), generation: 1 },
        unit: UnitName("shop".into()),
        sites: vec![SiteRoute { hosts: vec![HOST.into()], backends, reach: None }],
        write_side: Side::Source,
        concurrency: Sides { source: 64, target: 64 },
    };
    client.call(&route).await.unwrap();
    client
}

/// Answers everything: `/broken` with 500, `/slow` after 600 ms, `/slowest` after 1200,
/// `/stuck` never within a test, the rest after 2 ms.
async fn application(slow: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let slow = slow.clone();
            tokio::spawn(async move {
                while let Some(head) = head(&mut stream).await {
                    let status = if head.starts_with("GET /broken ") { 500 } else { 200 };
                    for (page, takes) in [("/slow", 600), ("/slowest", 1_200), ("/stuck", 60_000)] {
                        if head.starts_with(&format!("GET {page} ")) {
                            slow.fetch_add(1, Ordering::SeqCst);
                            tokio::time::sleep(Duration::from_millis(takes)).await;
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\nok");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Reads one head without a body; none at the end of the connection.
pub(crate) async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(text).ok()
}

/// Asks over a new connection; returns the status.
pub(crate) async fn ask(address: SocketAddr, path: &str, headers: &str) -> u16 {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer.split(' ').nth(1).expect("a status line").parse().unwrap()
    };
    tokio::time::timeout(DEADLINE, asking).await.expect("an answer")
}
