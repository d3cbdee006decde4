//! What ten thousand sites cost a front: those of one unit, whose route is swapped or sent to the other
//! side in memory and released on disk; and those of as many units, which a front finds on disk when it
//! starts, and of which it changes one.
//!
//! Each measurement is printed as a line of JSON, `{"name", "value"}`; `cargo xtask bench
//! front` reads them and compares them with the goals. Nothing here is linked into `segue`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use segue_front::control::{Client, Mark, Reply, Request, SiteRoute};
use segue_front::testing::{Table, many_units, name_of};
use segue_front::{FrontOptions, Limits, PortOptions, run_until};
use segue_model::plan::{FrontLimits, PortKind};
use segue_model::{Epoch, Side, Sides};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SITES: usize = 10_000;

fn main() {
    // `cargo bench` adds a word of its own.
    let mut wanted = std::env::args().skip(1).filter(|word| word != "--bench");
    let folder = wanted.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("routes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let table = Table::new(SITES, options(&folder)).unwrap();
    let all: Vec<_> = (1..40).map(|to| table.swap(to)).collect();
    told("10,000 sites swapped, ms", ms(median(all)));
    let switched: Vec<_> = (0..40).map(|_| table.switch()).collect();
    told("unit of 10,000 sites switched, ms", ms(median(switched)));
    let one: Vec<_> = (0..SITES).map(|number| table.swap_one(number)).collect();
    told("one of 10,000 sites swapped, ms", ms(median(one)));
    let found: Vec<_> = (0..9).map(|_| table.find_all()).collect();
    told("one of 10,000 sites found, ns", ms(median(found)) * 1e6 / SITES as f64);
    drop(table);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(protocol(&folder));
    runtime.shutdown_background();
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Tells one measurement.
fn told(name: &str, value: f64) {
    println!("{}", serde_json::json!({ "name": name, "value": value }));
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn options(folder: &Path) -> FrontOptions {
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    FrontOptions {
        name: "bench".into(),
        side: Side::Source,
        run: None,
        ports: vec![PortOptions {
            tls: None,
            kind: PortKind::Http,
            listen,
            take_over: false,
            redirect: None,
            join: false,
            default_backend: listen,
            proxy_in: false,
            proxy_out: false,
            tcp: None,
        }],
        egress: None,
        control: folder.join("s"),
        state: folder.join("s.json"),
        trusted: Vec::new(),
        limits: FrontLimits::default(),
        metrics: None,
        access_log: None,
    }
}

fn backends() -> Sides<SocketAddr> {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Sides { source: address(80), target: address(8080) }
}

fn site(number: usize) -> SiteRoute {
    SiteRoute { hosts: vec![name_of(number).1], backends: backends(), reach: None }
}

/// What a controller waits for.
async fn protocol(folder: &Path) {
    let options = options(folder);
    many_units(&options.state, &"bench".into(), SITES, &backends()).unwrap();
    let control = options.control.clone();
    let began = Instant::now();
    tokio::spawn(run_until(options, Limits::default(), std::future::pending()));
    let client = loop {
        match Client::connect(&control).await {
            Ok(client) => break client.with_limit(Duration::from_secs(60)),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    client.call(&Request::Claim { run: "bench".into(), epoch: Epoch(1) }).await.unwrap();
    told("started with 10,000 units, s", began.elapsed().as_secs_f64());
    let mut generation = 0;
    let mut mark = || {
        generation += 1;
        Mark { run: "bench".into(), epoch: Epoch(1), generation }
    };
    let set = |mark, number: usize, sites| Request::SetRoute {
        mark,
        unit: name_of(number).0,
        sites,
        write_side: Side::Source,
        concurrency: Sides { source: 32, target: 32 },
    };
    let mut times = Vec::new();
    for number in (0..200).map(|number| number * 31) {
        let ask = set(mark(), number, vec![site(number)]);
        let began = Instant::now();
        client.call(&ask).await.unwrap();
        times.push(began.elapsed());
    }
    told("one of 10,000 units changed on disk, ms", ms(median(times)));
    let began = Instant::now();
    let Reply::Hello(hello) = client.call(&Request::Hello).await.unwrap() else { panic!("hello") };
    assert_eq!(hello.unit_count, SITES);
    told("greeted with 10,000 units, ms", ms(began.elapsed()));
}
