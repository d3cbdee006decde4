//! Whoever comes around a front shows in the web server's own log, whichever way the front has to
//! that server and whoever the log shows. Real web servers and proxies.

use crate::site::{run, start_front};
use segue_engine::gates::BoundGate;
use segue_engine::{Board, Gate, GateContext, SystemClock};
use segue_model::event::{Attempt, Phase};
use segue_model::gate::Verdict;
use segue_model::plan::{HaproxyPlan, Plan, PortPlan, ProxyPlan, UnitPlan};
use segue_model::{Epoch, Side, Sides, StepName, What};
use segue_port::{Authority, Call, NoProgress};
use segue_server::around::samplers;
use segue_traffic::{FrontSettings, Fronts, fragments};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::AbortHandle;

const DEADLINE: Duration = Duration::from_secs(20);
/// How long the gate wants nobody to have come around.
const QUIET_MS: u64 = 3_000;
/// Somebody who is none of the visitors.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 200);
/// The address from which a process of this machine reaches it: a front's as well.
const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGTERM lets nginx take its workers along.
        let id = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

fn daemon(program: &str, words: &[&str]) -> Daemon {
    let mut command = Command::new(program);
    command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
    Daemon(command.spawn().unwrap_or_else(|e| panic!("{program}: {e}: run scripts/setup")))
}

async fn until_open(address: SocketAddr) {
    let began = Instant::now();
    while TcpStream::connect(address).await.is_err() {
        assert!(began.elapsed() < DEADLINE, "nobody listens at {address}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn free(ip: &str) -> SocketAddr {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// A front before nginx, which it reaches at another port than visitors do.
struct World {
    plan: Plan,
    fronts: Arc<Fronts>,
    board: Board,
    folder: TempDir,
    visitors: AbortHandle,
    _daemons: Vec<Daemon>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.visitors.abort();
    }
}

/// Returns the template's plan with one front before a server that is reached at `behind`.
fn plan(folder: &Path, front: SocketAddr, behind: SocketAddr) -> Plan {
    let mut plan = segue_plan::parse(segue_plan::template(), "plan.toml").unwrap();
    let unit = &mut plan.unit;
    unit.fronts.retain(|front| front.side == Side::Source);
    let own = &mut unit.fronts[0];
    (own.ports, own.egress) = (vec![PortPlan::http(front, false)], None);
    own.control = folder.join("front.sock");
    own.state = folder.join("front.json");
    let servers = &mut unit.sites[0].backends;
    for server in [&mut servers.source, &mut servers.target] {
        (server.address, server.health_path) = (behind, "/healthz".into());
    }
    servers.source.access_log = Some(folder.join("access.log"));
    plan
}

/// Starts nginx with a log in a format that `http` makes.
async fn nginx(
    folder: &Path,
    shared: Option<SocketAddr>,
    behind: SocketAddr,
    http: &str,
) -> Daemon {
    let at = folder.display();
    let shared = shared.map_or_else(String::new, |at| format!("listen {at} reuseport;"));
    let text = format!(
        "user root; daemon off; worker_processes 1; pid {at}/nginx.pid;\n\
         error_log {at}/nginx.log; events {{ }}\nhttp {{ {http}\nclient_body_temp_path {at}/b;\n\
         proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u;\n\
         scgi_temp_path {at}/s; server {{ {shared} listen {behind}; return 200; }} }}\n"
    );
    let path = folder.join("nginx.conf");
    std::fs::write(&path, text).unwrap();
    let log = folder.join("nginx.log");
    let words = ["-c", path.to_str().unwrap(), "-e", log.to_str().unwrap()];
    let nginx = daemon("nginx", &words);
    until_open(behind).await;
    nginx
}

fn combined(folder: &Path) -> String {
    format!("access_log {}/access.log combined;", folder.display())
}

/// Returns what `segue fragments` prints for nginx about visitors' addresses.
fn as_printed(unit: &UnitPlan) -> String {
    let all = fragments(&[unit]);
    let own = all.iter().find(|one| one.title.ends_with("at the web servers of the source"));
    let (nginx, rest) = own.unwrap().text.split_once("\n# Apache, with").unwrap();
    let (_, rest) = rest.split_once("log_format ").unwrap();
    let (logged, _) = rest.split_once("\n# Apache, for").unwrap();
    format!("{nginx}\nlog_format {logged}")
}

fn call() -> Call {
    Call {
        progress: Arc::new(NoProgress),
        authority: Authority {
            run: run(),
            unit: "shop".into(),
            step: StepName("insert".into()),
            attempt: Attempt { phase: Phase::Cutover, number: 1 },
            epoch: Epoch(1),
        },
        prepared: serde_json::Value::Null,
        facts: Arc::default(),
        time_allowed: Duration::from_secs(5),
    }
}

impl World {
    /// Puts the front in, lets visitors come, and measures.
    async fn with(plan: Plan, folder: TempDir, daemons: Vec<Daemon>) -> Self {
        let settings = FrontSettings {
            unit: plan.unit.clone(),
            policy: plan.policy.clone(),
            run: run(),
            program: "none".into(),
        };
        let fronts = Fronts::new(settings);
        fronts.take_epoch(Epoch(1)).await.unwrap();
        fronts.insert().run(&call()).await.unwrap();
        let (host, front) =
            (plan.unit.sites[0].hosts[0].clone(), plan.unit.fronts[0].ports[0].listen);
        let visitors = tokio::spawn(async move {
            for number in (0..13_u8).cycle() {
                assert_eq!(ask(Ipv4Addr::new(127, 0, 9, 1 + number), front, &host).await, 200);
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
        });
        let board = Board::without_samplers(Arc::new(SystemClock));
        for sampler in samplers(&plan.unit, &fronts) {
            board.add(sampler);
        }
        let visitors = visitors.abort_handle();
        Self { plan, fronts, board, folder, visitors, _daemons: daemons }
    }

    /// A front that joins nginx, whose log a part of its configuration makes.
    async fn joined(http: impl Fn(&Plan) -> String) -> Self {
        let folder = TempDir::new().unwrap();
        let (shared, behind) = (free("127.0.0.33"), free("127.0.0.34"));
        let mut plan = plan(folder.path(), shared, behind);
        plan.unit.fronts[0].ports[0].join = true;
        let nginx = nginx(folder.path(), Some(shared), behind, &http(&plan)).await;
        let backends = Sides { source: behind, target: behind };
        start_front(&plan.unit.fronts[0], &backends).await;
        Self::with(plan, folder, vec![nginx]).await
    }

    /// HAProxy as the front, in a process of its own.
    async fn haproxy() -> Self {
        let folder = TempDir::new().unwrap();
        let at = folder.path();
        let (front, behind) = (free("127.0.0.35"), free("127.0.0.34"));
        let mut plan = plan(at, front, behind);
        let (config, own) = (at.join("haproxy.cfg"), at.join("segue"));
        std::fs::create_dir(&own).unwrap();
        let proxy = HaproxyPlan { config: config.clone(), folder: own };
        plan.unit.fronts[0].proxy = Some(ProxyPlan::Haproxy(proxy));
        let printed = fragments(&[&plan.unit]).remove(0);
        for (path, text) in printed.files.iter().chain(&printed.once) {
            std::fs::write(path, text).unwrap();
        }
        let defaults = "defaults\n    timeout connect 5s\n    timeout client 60s\n    \
                        timeout server 60s\n\n";
        std::fs::write(&config, format!("{defaults}{}", printed.text)).unwrap();
        let nginx = nginx(at, None, behind, &combined(at)).await;
        let haproxy = daemon("haproxy", &["-db", "-f", config.to_str().unwrap()]);
        until_open(front).await;
        Self::with(plan, folder, vec![haproxy, nginx]).await
    }

    fn behind(&self) -> SocketAddr {
        self.plan.unit.sites[0].backends.source.address
    }

    /// Asks the plan's own gate, which wants less patience here.
    async fn gate(&self) -> (Verdict, String) {
        let mut gates = self.plan.policy.gates.iter();
        let mut gate = gates.find(|gate| gate.name == "all_traffic").unwrap().clone();
        gate.for_ms = QUIET_MS;
        let context = GateContext {
            board: self.board.clone(),
            clock: Arc::new(SystemClock),
            facts: Arc::default(),
            state: Arc::default(),
        };
        let answer = BoundGate::of(&gate).ask(&context).await;
        (answer.verdict, answer.because)
    }

    async fn until(&self, wanted: Verdict) {
        let began = Instant::now();
        loop {
            let (verdict, because) = self.gate().await;
            if verdict == wanted {
                return;
            }
            let faults = self.board.faults();
            assert!(began.elapsed() < DEADLINE, "not {wanted}: {verdict}: {because} {faults:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks the server itself; the gate has to see it, and to pass again after a while.
    async fn sees(&self, from: Ipv4Addr) {
        let host = &self.plan.unit.sites[0].hosts[0];
        for _ in 0..3 {
            assert_eq!(ask(from, self.behind(), host).await, 200);
        }
        let began = Instant::now();
        while self.board.latest(What::DirectRequests).is_none_or(|sample| sample.value < 1.0) {
            assert!(began.elapsed() < DEADLINE, "nobody saw {from}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (verdict, because) = self.gate().await;
        assert_eq!(verdict, Verdict::Wait, "{because}");
        self.until(Verdict::Pass).await;
    }
}

/// Asks from an address; returns the status.
async fn ask(from: Ipv4Addr, to: SocketAddr, host: &str) -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joined_front_passes_the_gate_and_whoever_comes_around_it_is_seen() {
    let world = World::joined(|plan| combined(plan.unit.fronts[0].control.parent().unwrap())).await;
    world.until(Verdict::Pass).await;
    world.sees(STRANGER).await;
    // The same address as the front's: only numbers tell.
    world.sees(LOCAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_as_the_front_passes_the_gate_and_whoever_comes_around_it_is_seen() {
    let world = World::haproxy().await;
    world.until(Verdict::Pass).await;
    world.sees(STRANGER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_as_fragments_print_it_tells_where_a_front_has_several_units() {
    let world = World::joined(|plan| as_printed(&plan.unit)).await;
    let mut other = world.plan.unit.clone();
    (other.name, other.sites[0].name) = ("other".into(), "other".into());
    other.sites[0].hosts = vec!["other.example.test".into()];
    let settings = FrontSettings {
        unit: other,
        policy: world.plan.policy.clone(),
        run: run(),
        program: "none".into(),
    };
    let mut call = call();
    call.authority.unit = "other".into();
    let others = Fronts::new(settings);
    others.take_epoch(Epoch(1)).await.unwrap();
    others.insert().run(&call).await.unwrap();
    let why = world.fronts.passed(Side::Source).await.unwrap_err();
    assert_eq!(why, "front `source` serves other units as well");
    world.until(Verdict::Pass).await;
    let log = std::fs::read_to_string(world.folder.path().join("access.log")).unwrap();
    assert!(log.contains("127.0.9.3 - - ") && log.contains("\" peer=127.0.0.1\n"), "{log}");
    world.sees(STRANGER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_visitors_alone_says_why_it_tells_nothing() {
    let world = World::joined(|plan| {
        let printed = as_printed(&plan.unit);
        printed.replace(" peer=$realip_remote_addr", "")
    })
    .await;
    // One unit: numbers tell.
    world.until(Verdict::Pass).await;
    world.sees(STRANGER).await;
    let mut mirrored = world.plan.unit.clone();
    mirrored.measures.mirror = Some(segue_model::plan::MirrorPlan {
        paths: vec!["/".into()],
        percent: 100,
        at_once: 1,
        body_bytes_max: 1,
        cookies: false,
        authorization: false,
        headers: Vec::new(),
        noise: Vec::new(),
    });
    let settings = FrontSettings {
        unit: mirrored.clone(),
        policy: world.plan.policy.clone(),
        run: run(),
        program: "none".into(),
    };
    let sampler = samplers(&mirrored, &Fronts::new(settings)).remove(0);
    let began = Instant::now();
    let fault = loop {
        match sampler.sample(1).await {
            Err(fault) => break fault,
            Ok(samples) => assert!(samples.iter().all(|sample| sample.value < 1.0), "{samples:?}"),
        }
        assert!(began.elapsed() < DEADLINE, "nothing is said");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(fault.code, "SG0540");
    assert!(fault.cause.contains("[measure.mirror]"), "{fault}");
}
