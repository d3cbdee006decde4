//! A front as a process of its own: its keeper, and the workers that come and go.

use crate::support::*;
use crate::takeover::{EGRESS, Nginx};
use rustix::process::{Pid, Signal, kill_process};
use segue_front::control::{Client, HoldStatus, Reply, Request as Ask};
use segue_front::{FrontOptions, Program};
use segue_model::{Fault, Side, Sides};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// Names the file with the options of the front that this program is to be.
const OPTIONS: &str = "SEGUE_TEST_FRONT";

fn told() -> Option<FrontOptions> {
    let path = std::env::var_os(OPTIONS)?;
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    Some(FrontOptions::read(Path::new(&path)).expect("options of the front"))
}

fn itself(role: &str) -> Program {
    let args = ["--exact", role, "--nocapture", "--test-threads=1"];
    let path = std::env::current_exe().unwrap();
    Program { path, args: args.into_iter().map(Into::into).collect() }
}

/// What a keeper's process runs; nothing among the other tests.
#[test]
fn as_keeper() {
    let Some(options) = told() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kept = segue_front::keep(options, itself("keeper::as_worker"));
    if let Err(fault) = runtime.block_on(kept) {
        panic!("{fault}");
    }
}

/// What a worker's process runs.
#[test]
fn as_worker() {
    let Some(options) = told() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let Err(fault) = runtime.block_on(segue_front::work(options)) {
        panic!("{fault}");
    }
}

pub(crate) struct Keeper {
    pub(crate) child: Child,
    pub(crate) options: FrontOptions,
    file: PathBuf,
    pub(crate) folder: Arc<TempDir>,
    pub(crate) generation: u64,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Keeper {
    pub(crate) async fn start(options: FrontOptions, folder: Arc<TempDir>) -> Self {
        Self::start_with(options, folder, |_| {}).await
    }

    /// One whose command `change` has changed.
    pub(crate) async fn start_with(
        options: FrontOptions,
        folder: Arc<TempDir>,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let command = |program: &Program| {
            let mut command = Command::new(&program.path);
            command.args(&program.args).stdin(Stdio::null());
            change(&mut command);
            command
        };
        Self::started(options, folder, command).await
    }

    async fn started(
        options: FrontOptions,
        folder: Arc<TempDir>,
        command: impl FnOnce(&Program) -> Command,
    ) -> Self {
        let file = FrontOptions::beside(&options.state);
        options.write(&file).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = command(&itself("keeper::as_keeper"))
            .env(OPTIONS, &file)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut keeper = Self { child, options, file, folder, generation: 0 };
        until("the front serves", async || {
            assert!(keeper.child.try_wait().unwrap().is_none(), "{}", keeper.log());
            keeper.client().await.is_some()
        })
        .await;
        keeper.claimed().await;
        keeper
    }

    /// A front at an address of its own, with the unit routed.
    pub(crate) async fn routed(source: &Shop, target: &Shop) -> Self {
        let folder = Arc::new(TempDir::new().unwrap());
        let options = options(folder.path(), free_address(), source.address);
        let mut keeper = Self::start(options, folder).await;
        keeper.route(source, target).await;
        keeper
    }

    pub(crate) async fn claimed(&mut self) {
        self.ask(Ask::Claim { run: run_id(), epoch: segue_model::Epoch(1) }).await;
    }

    async fn route(&mut self, source: &Shop, target: &Shop) {
        self.route_to(Sides { source: source.address, target: target.address }).await;
    }

    pub(crate) async fn route_to(&mut self, backends: Sides<std::net::SocketAddr>) {
        let site =
            segue_front::control::SiteRoute { hosts: vec![HOST.into()], backends, reach: None };
        let set = Ask::SetRoute {
            mark: self.mark(),
            unit: unit(),
            sites: vec![site],
            write_side: Side::Source,
            concurrency: Sides { source: 64, target: 64 },
        };
        self.ask(set).await;
    }

    pub(crate) fn mark(&mut self) -> segue_front::control::Mark {
        self.generation += 1;
        let (run, epoch) = (run_id(), segue_model::Epoch(1));
        segue_front::control::Mark { run, epoch, generation: self.generation }
    }

    pub(crate) fn hold(&mut self, id: &str) -> Ask {
        Ask::Hold {
            mark: self.mark(),
            unit: unit(),
            hold_id: id.into(),
            lease_ms: 20_000,
            quiet_age_ms: 5_000,
            slow_paths: Vec::new(),
            age_max_ms: 20_000,
            count_max: 1_000,
        }
    }

    async fn client(&self) -> Option<Client> {
        Client::connect(&self.options.control).await.ok()
    }

    pub(crate) async fn ask(&self, ask: Ask) -> Reply {
        self.try_ask(ask).await.unwrap()
    }

    pub(crate) async fn try_ask(&self, ask: Ask) -> Result<Reply, Fault> {
        let client = self.client().await.expect("a front that answers");
        within("an answer", client.call(&ask)).await
    }

    pub(crate) async fn hello(&self) -> Option<segue_front::control::Hello> {
        match self.client().await?.call(&Ask::Greet { unit: unit() }).await.ok()? {
            Reply::Hello(hello) => Some(hello),
            _ => None,
        }
    }

    pub(crate) async fn worker(&self) -> Pid {
        let mut pid = None;
        until("a worker answers", async || {
            pid = self.hello().await.map(|hello| hello.pid);
            pid.is_some()
        })
        .await;
        Pid::from_raw(i32::try_from(pid.unwrap()).unwrap()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) async fn ended(&mut self) -> bool {
        let mut status = None;
        until("the keeper ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().success()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

fn runs(pid: Pid) -> bool {
    rustix::process::test_kill_process(pid).is_ok()
}

/// What a client met.
struct Met {
    began: Instant,
    ended: Instant,
    outcome: Result<(), String>,
}

/// Asks again and again over new connections, eight clients at once.
struct Load {
    stop: Arc<AtomicBool>,
    met: Arc<Mutex<Vec<Met>>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn on(address: std::net::SocketAddr) -> Self {
        let (stop, met) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
        let clients = (0..8).map(|_| {
            let (stop, met) = (stop.clone(), Arc::clone(&met));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let began = Instant::now();
                    let asked = send(address, request("GET", "/", ""));
                    let outcome = match tokio::time::timeout(DEADLINE, asked).await {
                        Ok(Ok(answer)) if answer.status == 200 => Ok(()),
                        Ok(Ok(answer)) => Err(format!("status {}", answer.status)),
                        Ok(Err(why)) => Err(why),
                        Err(_) => Err("no answer".into()),
                    };
                    let one = Met { began, ended: Instant::now(), outcome };
                    let met: &Mutex<Vec<Met>> = &met;
                    met.lock().unwrap().push(one);
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            })
        });
        let clients = clients.collect();
        Self { stop, met, clients }
    }

    /// Waits until somebody was answered who asked after that moment; returns how long it took.
    async fn answered_after(&self, moment: Instant) -> Duration {
        let mut first = None;
        until("somebody is answered", async || {
            let met = self.met.lock().unwrap();
            let later = met.iter().filter(|m| m.began > moment && m.outcome.is_ok());
            first = later.map(|m| m.ended).min();
            first.is_some()
        })
        .await;
        first.unwrap() - moment
    }

    async fn end(self) -> Vec<Met> {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            within("a client", client).await.unwrap();
        }
        std::mem::take(&mut *self.met.lock().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_takes_only_its_own_requests_along() {
    let shop = Shop::start("source").await;
    let keeper = Keeper::routed(&shop, &shop).await;
    let load = Load::on(keeper.options.ports[0].listen);
    let (mut kills, mut gaps) = (Vec::new(), Vec::new());
    let mut former = None;
    for _ in 0..20 {
        let pid = keeper.worker().await;
        assert_ne!(former.replace(pid), Some(pid), "another worker");
        tokio::time::sleep(Duration::from_millis(150)).await;
        let killed = Instant::now();
        kill_process(pid, Signal::KILL).unwrap();
        kills.push(killed);
        gaps.push(load.answered_after(killed + Duration::from_millis(5)).await.as_millis());
    }
    let hello = keeper.hello().await.unwrap();
    assert_eq!(hello.keeper, Some(Pid::from_child(&keeper.child).as_raw_nonzero().get()));
    assert!(hello.unit(&unit()).is_some(), "its route came back");
    let met = load.end().await;
    gaps.sort_unstable();
    let (quick, median, longest) = (gaps[2], gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    let failed: Vec<_> = met.iter().filter(|m| m.outcome.is_err()).collect();
    println!(
        "{} requests, {} failed; first answer after a kill: the third of twenty {quick} ms, median \
         {median} ms, longest {longest} ms",
        met.len(),
        failed.len(),
    );
    for Met { began, outcome, .. } in failed {
        let why = outcome.as_ref().unwrap_err();
        assert!(!why.contains("refused"), "nobody is refused: {why}");
        // The worker had its connection; a process takes a moment to die.
        let died = |kill: &Instant| *began < *kill + Duration::from_millis(50);
        assert!(kills.iter().any(|kill| died(kill) && *began + DEADLINE > *kill), "{why}");
        let lately = kills.iter().any(|kill| {
            died(kill) && kill.saturating_duration_since(*began) < Duration::from_millis(500)
        });
        assert!(lately, "{why}: long before the next kill");
    }
    // With its last routes within 200 ms. A machine that does something else besides may make
    // single ones longer.
    assert!(quick < 200 && longest < 1_000, "{gaps:?} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_worker_takes_the_place_of_one_that_finishes_what_runs() {
    let shop = Shop::start("source").await;
    let mut keeper = Keeper::routed(&shop, &shop).await;
    let listen = keeper.options.ports[0].listen;
    let load = Load::on(listen);
    let former = keeper.worker().await;
    let runs_on = later(listen, "POST", "/hang/1");
    until("it runs", async || shop.paths().contains(&"/hang/1".to_owned())).await;
    let client = keeper.client().await.unwrap();
    let hello = || Ask::Hello;
    client.call(&hello()).await.unwrap();

    keeper.signal(Signal::USR2);
    until("another one serves", async || keeper.worker().await != former).await;
    let present = keeper.worker().await;
    // What a controller had open is found closed before anything is asked on it.
    until("the former one answers no controller", async || {
        matches!(client.call(&hello()).await, Ok(Reply::Hello(hello))
            if hello.pid == u32::try_from(present.as_raw_nonzero().get()).unwrap())
    })
    .await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(300) {
        let hold = keeper.hold("h1");
        assert!(matches!(keeper.ask(hold).await, Reply::Busy { count: 1, .. }), "held too early");
    }
    let idle = Ask::WaitIdle { unit: unit(), timeout_ms: 50 };
    assert!(matches!(keeper.ask(idle).await, Reply::Busy { .. }));
    // Another one is not started meanwhile.
    keeper.signal(Signal::USR2);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(keeper.worker().await, present);
    assert!(runs(former));

    shop.let_go();
    assert_eq!(within("its answer", runs_on).await.unwrap().unwrap().body, "source /hang/1");
    until("the former one ended", async || !runs(former)).await;
    let mut held = false;
    until("a hold begins", async || {
        let hold = keeper.hold("h1");
        held = matches!(keeper.ask(hold).await, Reply::Done { .. });
        held
    })
    .await;
    let met = load.end_while_held(&mut keeper).await;
    let failed: Vec<_> = met.iter().filter_map(|m| m.outcome.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), met.len());
    assert!(keeper.log().contains("another one begins or ends"), "{}", keeper.log());
}

impl Load {
    /// A worker is not replaced while it holds; then everything that waits is released.
    async fn end_while_held(self, keeper: &mut Keeper) -> Vec<Met> {
        let present = keeper.worker().await;
        keeper.signal(Signal::USR2);
        until("it is said", async || keeper.log().contains("a unit is held")).await;
        assert_eq!(keeper.worker().await, present);
        let (mark, unit, hold_id) = (keeper.mark(), unit(), "h1".into());
        let release = Ask::Release { mark, unit, hold_id, to: Side::Target };
        assert!(matches!(keeper.ask(release).await, Reply::Done { .. }), "it may be changed");
        self.end().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_at_the_keeper_ends_everything_in_order() {
    let shop = Shop::start("source").await;
    let mut keeper = Keeper::routed(&shop, &shop).await;
    let listen = keeper.options.ports[0].listen;
    let worker = keeper.worker().await;
    let runs_on = later(listen, "POST", "/short");
    until("it runs", async || !shop.paths().is_empty()).await;
    keeper.signal(Signal::TERM);
    assert!(keeper.ended().await, "{}", keeper.log());
    assert_eq!(within("its answer", runs_on).await.unwrap().unwrap().status, 200);
    assert!(!runs(worker));
    assert!(TcpStream::connect(listen).await.is_err(), "the port is closed");
    assert!(!keeper.options.control.exists());
}

/// Before nginx, with the unit at nginx on the source side.
async fn before_nginx(nginx: &Nginx, folder: &Arc<TempDir>, target: &Shop) -> Keeper {
    let mut options = options(folder.path(), nginx.address, nginx.address);
    options.ports[0].take_over = true;
    options.egress = Some(EGRESS.parse().unwrap());
    let mut keeper = Keeper::start(options, folder.clone()).await;
    let source = Shop::at(nginx.address, "source");
    keeper.route(&source, target).await;
    assert!(by_front(nginx).await);
    keeper
}

async fn by_front(nginx: &Nginx) -> bool {
    get(nginx.address, "/").await.headers.contains_key("x-segue-front")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_keeper_a_worker_ends_and_the_port_falls_to_the_server() {
    let folder = Arc::new(TempDir::new().unwrap());
    let nginx = Nginx::start(folder.path()).await;
    let keeper = before_nginx(&nginx, &folder, &Shop::absent("target")).await;
    assert!(segue_front::is_kept(&keeper.options.state));
    let worker = keeper.worker().await;
    keeper.signal(Signal::KILL);
    until("the worker is gone", async || !runs(worker)).await;
    assert!(!by_front(&nginx).await);
    assert!(!segue_front::is_kept(&keeper.options.state));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_whose_workers_all_die_returns_to_its_server_unless_writes_would() {
    let folder = Arc::new(TempDir::new().unwrap());
    let nginx = Nginx::start(folder.path()).await;
    let target = Shop::start("target").await;
    let mut keeper = before_nginx(&nginx, &folder, &target).await;
    // No worker that starts from now on comes far.
    let (good, file) = (std::fs::read(&keeper.file).unwrap(), keeper.file.clone());
    let spoil = || std::fs::write(&file, "{}").unwrap();
    let hold = keeper.hold("h1");
    assert!(matches!(keeper.ask(hold).await, Reply::Done { .. }));
    let (mark, unit_name) = (keeper.mark(), unit());
    let seal = Ask::SealHold { mark, unit: unit_name, hold_id: "h1".into() };
    assert!(matches!(keeper.ask(seal).await, Reply::Done { .. }));
    spoil();
    kill_process(keeper.worker().await, Signal::KILL).unwrap();
    until("they end again and again", async || keeper.log().contains("again and again")).await;
    let waits = later(nginx.address, "GET", "/");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waits.is_finished(), "nobody is let through to a side that is sealed off");
    std::fs::write(&keeper.file, &good).unwrap();
    let sealed = HoldStatus::Sealed { hold_id: "h1".into() };
    let worker = keeper.worker().await;
    assert_eq!(keeper.hello().await.unwrap().unit(&unit()).unwrap().hold, sealed);
    let (mark, unit_name, hold_id) = (keeper.mark(), unit(), "h1".into());
    let back = Ask::Release { mark, unit: unit_name, hold_id, to: Side::Source };
    assert!(matches!(keeper.ask(back).await, Reply::Done { .. }));
    assert_eq!(within("its answer", waits).await.unwrap().unwrap().body, "live\n");

    // With the unit at its server, that one is as good as the front.
    spoil();
    tokio::time::sleep(Duration::from_millis(150)).await;
    kill_process(worker, Signal::KILL).unwrap();
    assert!(!keeper.ended().await, "it ends with an error");
    assert!(keeper.log().contains("SG0126"), "{}", keeper.log());
    assert!(!by_front(&nginx).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_the_socket_that_a_service_manager_hands_in() {
    let shop = Shop::start("source").await;
    let folder = Arc::new(TempDir::new().unwrap());
    let socket = std::net::TcpListener::bind(free_address()).unwrap();
    let listen = socket.local_addr().unwrap();
    let options = options(folder.path(), listen, shop.address);
    // It is open already, so that the front cannot bind it; who connects now waits.
    let waits = later(listen, "GET", "/early");
    let handed = socket.try_clone().unwrap();
    let keeper = Keeper::started(options, folder, |program| {
        let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
        let mut sh = Command::new("sh");
        sh.args(["-c", script]).arg(&program.path).args(&program.args);
        sh.stdin(Stdio::from(std::os::fd::OwnedFd::from(handed)));
        sh
    })
    .await;
    assert_eq!(within("its answer", waits).await.unwrap().unwrap().body, "source /early");
    kill_process(keeper.worker().await, Signal::KILL).unwrap();
    assert_eq!(get(listen, "/again").await.body, "source /again");
    drop(socket);
}
