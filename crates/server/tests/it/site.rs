//! Two applications, the two fronts before them, and clients.

use segue_front::control::{Client, HoldId, Mark, Request, SiteRoute};
use segue_front::{FrontOptions, Limits, run_until};
use segue_model::plan::{FrontPlan, Plan, PortPlan};
use segue_model::{Epoch, RunId, Side, Sides};
use segue_traffic::{FrontSettings, Fronts};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const DEADLINE: Duration = Duration::from_secs(5);
/// Requests a second of the clients, more than any trigger wants behind a sample.
const RATE: u64 = 24;

/// How an application answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) status: u16,
    pub(crate) takes: Duration,
}

impl Manner {
    pub(crate) fn good() -> Self {
        Self { status: 200, takes: Duration::from_millis(2) }
    }
}

/// What clients do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habit {
    /// To whose address they come.
    pub(crate) front: Side,
    /// Requests a second.
    pub(crate) rate: u64,
    /// Whether every second request asks for the source's answer.
    pub(crate) both: bool,
}

impl Habit {
    pub(crate) fn at(front: Side) -> Self {
        Self { front, rate: RATE, both: false }
    }
}

pub(crate) struct Site {
    pub(crate) fronts: Arc<Fronts>,
    pub(crate) target: Arc<Mutex<Manner>>,
    pub(crate) habit: Arc<Mutex<Habit>>,
    over: Arc<AtomicBool>,
    controls: Vec<(Client, Sides<SocketAddr>)>,
    plan: Plan,
    _folder: TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn mark(generation: u64) -> Mark {
    Mark { run: run(), epoch: Epoch(1), generation }
}

pub(crate) fn run() -> RunId {
    RunId("run-1".into())
}

impl Site {
    /// Starts everything with clients; requests go to `write_side`.
    pub(crate) async fn start(mut plan: Plan, write_side: Side) -> Self {
        let folder = TempDir::new().unwrap();
        let target = Arc::new(Mutex::new(Manner::good()));
        let backends = Sides {
            source: application(Arc::new(Mutex::new(Manner::good()))).await,
            target: application(Arc::clone(&target)).await,
        };
        for front in &mut plan.unit.fronts {
            front.ports = vec![PortPlan::http(free(), false)];
            front.egress = None;
            front.control = folder.path().join(format!("{}.sock", front.side));
            front.state = folder.path().join(format!("{}.json", front.side));
        }
        plan.unit.sites[0].backends.source.address = backends.source;
        plan.unit.sites[0].backends.target.address = backends.target;
        let mut controls = Vec::new();
        for front in &plan.unit.fronts {
            controls.push((start_front(front, &backends).await, backends.clone()));
        }
        let fronts = Fronts::new(FrontSettings {
            unit: plan.unit.clone(),
            policy: plan.policy.clone(),
            run: run(),
            program: "none".into(),
        });
        let habit = Arc::new(Mutex::new(Habit::at(Side::Source)));
        let over = Arc::new(AtomicBool::new(false));
        let site = Self { fronts, target, habit, over, controls, plan, _folder: folder };
        site.route(write_side).await;
        site.fronts.take_epoch(Epoch(1)).await.unwrap();
        site.clients();
        site
    }

    /// Sends the unit's requests to `write_side`.
    async fn route(&self, write_side: Side) {
        for (control, backends) in &self.controls {
            let route = Request::SetRoute {
                mark: mark(1),
                unit: self.plan.unit.name.clone(),
                sites: vec![SiteRoute {
                    hosts: self.plan.unit.sites[0].hosts.clone(),
                    backends: backends.clone(),
                    reach: None,
                }],
                write_side,
                concurrency: Sides { source: 64, target: 64 },
            };
            control.call(&route).await.unwrap();
        }
    }

    /// Moves the unit to the target under a hold, as a cutover does.
    pub(crate) async fn switch(&self) {
        let (unit, hold_id) = (self.plan.unit.name.clone(), HoldId::from("hold-1"));
        for (control, _) in &self.controls {
            let hold = Request::Hold {
                mark: mark(2),
                unit: unit.clone(),
                hold_id: hold_id.clone(),
                lease_ms: 2_000,
                quiet_age_ms: 10_000,
                slow_paths: Vec::new(),
                age_max_ms: 5_000,
                count_max: 1_000,
            };
            control.call(&hold).await.unwrap();
        }
        for (control, _) in &self.controls {
            let (unit, hold_id) = (unit.clone(), hold_id.clone());
            let release = Request::Release { mark: mark(3), unit, hold_id, to: Side::Target };
            control.call(&release).await.unwrap();
        }
    }

    /// Sends requests at intended times, from several addresses, whatever the answers.
    fn clients(&self) {
        let (habit, over) = (Arc::clone(&self.habit), Arc::clone(&self.over));
        let host = self.plan.unit.sites[0].hosts[0].clone();
        let fronts = self.plan.unit.fronts.clone();
        tokio::spawn(async move {
            let mut number = 0_u64;
            while !over.load(Ordering::Relaxed) {
                let Habit { front, rate, both } = *habit.lock().unwrap();
                let address =
                    fronts.iter().find(|plan| plan.side == front).unwrap().ports[0].listen;
                number += 1;
                let to = if both && number.is_multiple_of(2) {
                    "X-Segue-To: source run-1\r\n"
                } else {
                    ""
                };
                let head =
                    format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{to}\r\n");
                let from = Ipv4Addr::new(127, 0, 9, 1 + (number % 13) as u8);
                tokio::spawn(ask(from, address, head));
                tokio::time::sleep(Duration::from_micros(1_000_000 / rate)).await;
            }
        });
    }
}

async fn ask(from: Ipv4Addr, to: SocketAddr, head: String) -> Option<()> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((from, 0).into()).ok()?;
    let mut stream = socket.connect(to).await.ok()?;
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    Some(())
}

pub(crate) fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(crate) async fn start_front(plan: &FrontPlan, backends: &Sides<SocketAddr>) -> Client {
    let options = FrontOptions::of(plan, backends.source.into(), &[]);
    tokio::spawn(run_until(options, Limits::default(), std::future::pending()));
    let began = Instant::now();
    let client = loop {
        match Client::connect(&plan.control).await {
            Ok(client) => break client,
            Err(fault) => assert!(began.elapsed() < DEADLINE, "front does not start: {fault}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    client.call(&Request::Claim { run: run(), epoch: Epoch(1) }).await.unwrap();
    client
}

async fn application(manner: Arc<Mutex<Manner>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&manner)));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, manner: Arc<Mutex<Manner>>) -> Option<()> {
    loop {
        head(&mut stream).await?;
        let Manner { status, takes } = *manner.lock().unwrap();
        tokio::time::sleep(takes).await;
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\nok");
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// Reads one head without a body; none at the end of the connection.
pub(crate) async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(text).ok()
}
