//! Many sites behind one address: units of a run at the same two fronts.

use crate::support::{LEASE_MS, backend, free, head, policy, run, serve};
use segue_front::control::{HoldStatus, Reply, Request};
use segue_model::event::{Attempt, Phase};
use segue_model::plan::{Backend, FrontLimits, FrontPlan, PortPlan, SitePlan, UnitPlan};
use segue_model::{Epoch, Side, Sides, StepName, UnitName};
use segue_port::{Authority, Call, NoProgress, Observed};
use segue_traffic::{FrontSettings, Fronts};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const DEADLINE: Duration = Duration::from_secs(10);

/// Two fronts, and what every unit's plan says about them.
struct Place {
    fronts: Vec<FrontPlan>,
    folder: TempDir,
}

impl Place {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let front = |side: Side| FrontPlan {
            name: side.as_str().into(),
            side,
            ports: vec![PortPlan::http(free(), false)],
            egress: None,
            control: folder.path().join(format!("{side}.sock")),
            state: folder.path().join(format!("{side}.json")),
            trusted: Vec::new(),
            limits: FrontLimits::default(),
            metrics: None,
            access_log: None,
            proxy: None,
        };
        let fronts = vec![front(Side::Source), front(Side::Target)];
        let nobody = server("nobody").await;
        for plan in &fronts {
            serve(plan, nobody).await;
        }
        Self { fronts, folder }
    }

    /// A unit with a site for each of `hosts`, its front clients ready.
    async fn unit(&self, name: &str, hosts: &[&str]) -> Arc<Fronts> {
        let mut sites = Vec::new();
        for host in hosts {
            let backend = async |side: Side| Backend {
                concurrency: 16,
                ..backend(server(&format!("{host}@{side}")).await)
            };
            sites.push(SitePlan {
                answer_timeout_s: None,
                name: UnitName(name.into()),
                hosts: vec![(*host).into()],
                backends: Sides {
                    source: backend(Side::Source).await,
                    target: backend(Side::Target).await,
                },
                probe: None,
                rehearsal: None,
            });
        }
        let unit = UnitPlan {
            name: UnitName(name.into()),
            sites,
            fronts: self.fronts.clone(),
            databases: Vec::new(),
            trees: Vec::new(),
            zones: Vec::new(),
            cdns: Vec::new(),
            workers: Vec::new(),
            requests_per_day: None,
            created: None,
            measures: segue_model::plan::MeasurePlan::default(),
        };
        let settings =
            FrontSettings { unit, policy: Arc::new(policy()), run: run(), program: "none".into() };
        let fronts = Fronts::new(settings);
        fronts.take_epoch(Epoch(1)).await.unwrap();
        fronts
    }

    fn address(&self, side: Side) -> SocketAddr {
        self.fronts.iter().find(|front| front.side == side).unwrap().ports[0].listen
    }

    async fn control(&self, side: Side, request: Request) -> Reply {
        let plan = self.fronts.iter().find(|front| front.side == side).unwrap();
        let client = segue_front::control::Client::connect(&plan.control).await.unwrap();
        client.call(&request).await.unwrap()
    }
}

fn call(unit: &str, phase: Phase) -> Call {
    Call {
        progress: Arc::new(NoProgress),
        authority: Authority {
            run: run(),
            unit: UnitName(unit.into()),
            step: StepName("step".into()),
            attempt: Attempt { phase, number: 1 },
            epoch: Epoch(1),
        },
        prepared: serde_json::Value::Null,
        facts: Arc::default(),
        time_allowed: Duration::from_secs(3),
    }
}

/// Answers every request with its name.
async fn server(name: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, name) = (listener.local_addr().unwrap(), name.to_owned());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let name = name.clone();
            tokio::spawn(async move {
                while head(&mut stream).await.is_some() {
                    let length = name.len();
                    let answer =
                        format!("HTTP/1.1 200 x\r\nContent-Length: {length}\r\n\r\n{name}");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Asks a front for a host; returns who answered.
async fn ask(front: SocketAddr, host: &str) -> String {
    let asking = async {
        let mut stream = TcpStream::connect(front).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        answer.rsplit("\r\n\r\n").next().unwrap().to_owned()
    };
    tokio::time::timeout(DEADLINE, asking).await.expect("an answer")
}

/// Runs the way of a cutover through the fronts; `meanwhile` runs under the sealed hold.
async fn cut_over(fronts: &Arc<Fronts>, unit: &str, meanwhile: impl Future<Output = ()>) {
    let call = call(unit, Phase::Cutover);
    fronts.hold().run(&call).await.unwrap();
    fronts.seal().run(&call).await.unwrap();
    meanwhile.await;
    fronts.route().run(&call).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_unit_at_one_front_is_held_and_routed_by_itself() {
    let place = Place::start().await;
    let (one, two) = (place.unit("one", &["a.test"]).await, place.unit("two", &["b.test"]).await);
    let (insert, other) = (call("one", Phase::Prepare), call("two", Phase::Prepare));
    // At once, as in a wave.
    let (first, second) = (one.insert(), two.insert());
    let both = tokio::join!(first.run(&insert), second.run(&other));
    both.0.unwrap();
    both.1.unwrap();
    let front = place.address(Side::Source);
    cut_over(&one, "one", async {
        let waiting = tokio::spawn(async move { ask(front, "a.test").await });
        for _ in 0..20 {
            assert_eq!(ask(front, "b.test").await, "b.test@source", "the other is not held");
        }
        assert!(!waiting.is_finished(), "the held one waits");
        // The other goes its own way meanwhile: nothing of it is superseded.
        let second = call("two", Phase::Cutover);
        two.hold().run(&second).await.unwrap();
        two.hold().undo(&second).await.unwrap();
        tokio::spawn(async move {
            assert_eq!(waiting.await.unwrap(), "a.test@target", "held, then sent to the target");
        });
    })
    .await;
    for side in [Side::Source, Side::Target] {
        assert_eq!(ask(place.address(side), "a.test").await, "a.test@target");
        assert_eq!(ask(place.address(side), "b.test").await, "b.test@source");
    }
    let (of_one, of_two) = (one.totals().await.unwrap(), two.totals().await.unwrap());
    assert_eq!((of_one.requests, of_two.requests), (3, 22), "each has its own, once");
    assert_eq!((of_one.holds.len(), of_two.holds.len()), (2, 2), "one at each front");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_two_units_at_once_never_supersede_each_other() {
    let place = Place::start().await;
    let mut tasks = Vec::new();
    for number in 0..6 {
        let name = format!("unit{number}");
        let host = format!("{name}.test");
        let fronts = place.unit(&name, &[&host]).await;
        tasks.push(tokio::spawn(async move {
            fronts.insert().run(&call(&name, Phase::Prepare)).await.unwrap();
            for attempt in 1..=10 {
                let mut call = call(&name, Phase::Cutover);
                call.authority.attempt.number = attempt;
                fronts.hold().run(&call).await.unwrap();
                fronts.seal().run(&call).await.unwrap();
                fronts.seal().undo(&call).await.unwrap();
                fronts.hold().undo(&call).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hold_holds_every_site_of_a_joined_unit() {
    let place = Place::start().await;
    let fronts = place.unit("both", &["a.test", "b.test"]).await;
    fronts.insert().run(&call("both", Phase::Prepare)).await.unwrap();
    let front = place.address(Side::Source);
    assert_eq!(ask(front, "a.test").await, "a.test@source");
    assert_eq!(ask(front, "b.test").await, "b.test@source");
    let mut waiting = Vec::new();
    cut_over(&fronts, "both", async {
        for host in ["a.test", "b.test"] {
            waiting.push(tokio::spawn(async move { ask(front, host).await }));
        }
        let began = Instant::now();
        loop {
            let unit = UnitName("both".into());
            let Reply::Hello(hello) = place.control(Side::Source, Request::Greet { unit }).await
            else {
                panic!("a greeting")
            };
            assert!(matches!(hello.units[0].hold, HoldStatus::Sealed { .. }));
            if hello.units[0].held == 2 {
                break;
            }
            assert!(began.elapsed() < DEADLINE, "both sites are held by one hold");
        }
        // Longer than the lease: it is sealed for both.
        tokio::time::sleep(Duration::from_millis(LEASE_MS + 100)).await;
        assert!(waiting.iter().all(|asked| !asked.is_finished()));
    })
    .await;
    let mut answers = Vec::new();
    for asked in waiting {
        answers.push(asked.await.unwrap());
    }
    assert_eq!(answers, ["a.test@target", "b.test@target"]);
    assert_eq!(fronts.totals().await.unwrap().requests, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_stays_until_its_last_unit_leaves() {
    let place = Place::start().await;
    let (one, two) = (place.unit("one", &["a.test"]).await, place.unit("two", &["b.test"]).await);
    let (insert, other) = (call("one", Phase::Prepare), call("two", Phase::Prepare));
    one.insert().run(&insert).await.unwrap();
    two.insert().run(&other).await.unwrap();
    one.insert().undo(&insert).await.unwrap();
    let front = place.address(Side::Source);
    assert_eq!(ask(front, "a.test").await, "nobody", "as before the unit came");
    assert_eq!(ask(front, "b.test").await, "b.test@source");
    assert!(matches!(one.insert().observe(&insert).await.unwrap(), Observed::NotApplied));
    assert!(matches!(two.insert().observe(&other).await.unwrap(), Observed::Applied(_)));
    one.insert().run(&insert).await.unwrap();
    assert_eq!(ask(front, "a.test").await, "a.test@source", "it may come again");
    one.insert().undo(&insert).await.unwrap();
    two.insert().undo(&other).await.unwrap();
    let began = Instant::now();
    while TcpStream::connect(front).await.is_ok() {
        assert!(began.elapsed() < DEADLINE, "the last unit takes the front along");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Nobody starts a front again that no unit needs.
    two.tend().await;
    assert!(TcpStream::connect(front).await.is_err());
    assert!(place.folder.path().join("source.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_that_serves_other_ports_than_the_plan_says_is_refused() {
    let mut place = Place::start().await;
    let (insert, second) = (call("one", Phase::Prepare), free());
    place.fronts[0].ports.push(PortPlan::http(second, false));
    let one = place.unit("one", &["a.test"]).await;
    let fault = one.insert().run(&insert).await.unwrap_err();
    assert_eq!(fault.code, "SG0162", "{fault}");
    assert!(fault.cause.contains(&second.to_string()), "{fault}");
    let found: Vec<_> = one.preflight().await.into_iter().map(|finding| finding.code).collect();
    assert_eq!(found, ["SG0162"]);
    // With the port that it serves it is the plan's again.
    place.fronts[0].ports.pop();
    let one = place.unit("one", &["a.test"]).await;
    one.insert().run(&insert).await.unwrap();
    assert!(matches!(one.insert().observe(&insert).await.unwrap(), Observed::Applied(_)));
    // Where it was taken over is another matter, too.
    place.fronts[0].ports[0].take_over = true;
    let one = place.unit("one", &["a.test"]).await;
    assert!(matches!(one.insert().observe(&insert).await.unwrap(), Observed::NotApplied));
    assert_eq!(one.insert().run(&insert).await.unwrap_err().code, "SG0162");
}
