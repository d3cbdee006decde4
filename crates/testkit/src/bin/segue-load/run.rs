//! One run of the load: sends what is due, prints a line a second, waits for the last
//! answers.

use crate::clients::{Client, Visits};
use crate::events;
use crate::ledger::{Ledger, Past};
use crate::mix::{Kind, Mix};
use crate::requests::{Job, perform};
use crate::resolver::{Habit, Resolver};
use crate::site::{Clock, Site};
use crate::stats::Stats;
use crate::world::World;
use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Resolvers that the clients share.
const RESOLVERS: usize = 20;
/// Event streams held open.
const STREAMS: usize = 4;
/// Requests a second in one visit: some 20 in its 6 s, so that few visitors ask for
/// several pages at once.
const VISIT_RATE: f64 = 3.5;
/// Products that any shop has.
const PRODUCTS: u32 = 100;
/// Seed of the choices; the same load makes the same choices.
const SEED: u64 = 7;

/// Describes the site and its clients for a run.
///
/// # Errors
/// If the world has no static files or its host is not a name.
pub(crate) fn site(
    world: &World,
    past: &Past,
    ledger: Ledger,
    clients: usize,
    rate: f64,
) -> Result<Arc<Site>> {
    let resolvers = (0..RESOLVERS)
        .map(|index| {
            let habit = Habit::of(index, RESOLVERS);
            Resolver::new(habit, &world.host, world.zone.servers.clone(), index)
        })
        .collect::<Result<Vec<_>>>()?;
    let client = |number: usize| {
        let name = format!("c{}", number + 1);
        let last_seq = past.last_seq(&name);
        Client::new(name, Arc::clone(&resolvers[number % RESOLVERS]), last_seq)
    };
    let mut rng = StdRng::seed_from_u64(SEED);
    Ok(Arc::new(Site {
        host: world.host.clone(),
        port: world.site_port,
        files: world.static_files()?,
        products: world.rows.as_ref().map_or(PRODUCTS, |rows| rows.products).max(1),
        clients: (0..clients).map(client).collect(),
        present: Default::default(),
        visits: Visits::new((rate / 2.0 / VISIT_RATE).ceil() as usize, &mut rng),
        ledger,
        stats: Stats::default(),
        clock: Clock::new(),
        next_id: AtomicU64::new(past.next_id),
        tasks: TaskTracker::new(),
    }))
}

/// Runs the load until `stop`, then waits for the last answers.
///
/// # Errors
/// If the ledger's writer ended, or standard output cannot be written.
pub(crate) async fn run(
    site: Arc<Site>,
    mix: Mix,
    stop: CancellationToken,
    writer: &JoinHandle<Result<()>>,
) -> Result<()> {
    let start = Instant::now();
    for stream in 0..STREAMS {
        let client = stream * 5 % site.clients.len();
        site.tasks.spawn(events::hold(Arc::clone(&site), client, stop.clone()));
    }
    let sender = tokio::spawn(send(Arc::clone(&site), mix, start, stop.clone()));
    let mut ticks =
        tokio::time::interval_at(start + Duration::from_secs(1), Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut second, mut orders) = (0, 0);
    loop {
        let over = tokio::select! {
            () = site.tasks.wait() => true,
            _ = ticks.tick() => false,
        };
        second += 1;
        let durable = site.ledger.durable_orders();
        print(&site.stats.line(second, durable - orders))?;
        orders = durable;
        if writer.is_finished() {
            stop.cancel();
            // The writer's own error is the one to show.
            return Ok(());
        }
        if over {
            sender.await?;
            return Ok(());
        }
    }
}

fn print(line: &crate::stats::Line) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Starts every request at its intended time, whatever became of those before it.
async fn send(site: Arc<Site>, mut mix: Mix, start: Instant, stop: CancellationToken) {
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut logins = 0;
    while let Some((kind, after)) = mix.next() {
        let intended = start + after;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep_until(intended) => {}
        }
        let (seat, client) = match kind {
            // A person sends one order at a time; somebody else sends this one.
            Kind::Order if rng.random_bool(0.5) => (None, site.pick_free(&mut rng)),
            Kind::Login => {
                logins += 1;
                (None, logins - 1)
            }
            Kind::Report | Kind::Events => (None, site.pick(&mut rng)),
            _ if rng.random_bool(0.5) => {
                let (seat, client) = site.visits.board(&site.present(), &mut rng);
                (Some(seat), client)
            }
            _ => (None, site.pick(&mut rng)),
        };
        let job = Job { id: site.take_id(), kind, client, seat, intended };
        site.stats.begin();
        site.tasks.spawn(perform(Arc::clone(&site), job));
    }
    site.tasks.close();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::standin::{Shop, Whim, authority};
    use crate::world::{Trees, Zone};
    use serde_json::Value;
    use std::sync::atomic::Ordering;

    struct Outcome {
        shop: Arc<Shop>,
        requests: Vec<Value>,
        acks: Vec<Value>,
    }

    impl Outcome {
        fn of(&self, kind: &str) -> Vec<&Value> {
            self.requests.iter().filter(|line| line["kind"] == kind).collect()
        }

        /// The reasons given for failures of a kind, each once.
        fn fails(&self, kind: &str) -> Vec<String> {
            let fails = self.of(kind).into_iter().filter(|line| line["ok"] == false);
            let mut fails: Vec<_> =
                fails.map(|line| line["fail"].as_str().unwrap().to_owned()).collect();
            fails.sort();
            fails.dedup();
            fails
        }
    }

    /// Runs the load for `seconds` on a stand-in shop with the given whims.
    async fn load(seconds: f64, rate: f64, orders: f64, whims: &[(&str, Whim)]) -> Outcome {
        let dir = tempfile::tempdir().unwrap();
        let files = dir.path().join("site/files/01");
        std::fs::create_dir_all(&files).unwrap();
        std::fs::write(files.join("00123.txt"), "file 00123\n").unwrap();
        let (shop, address) = Shop::start().await;
        for (path, whim) in whims {
            shop.whims.lock().unwrap().insert((*path).to_owned(), *whim);
        }
        let world = World {
            host: "shop.example.test".into(),
            site_port: address.port(),
            zone: Zone { servers: vec![authority("127.0.0.1").await.address] },
            trees: Trees { source: dir.path().join("site"), target: dir.path().into() },
            rows: None,
            ledger_dir: dir.path().join("ledger"),
        };
        let (ledger, writer) = Ledger::open(&world.ledger_dir).unwrap();
        let past = Past::read(&world.ledger_dir).unwrap();
        let site = site(&world, &past, ledger, 10, rate).unwrap();
        let stop = CancellationToken::new();
        let mix = Mix::new(rate, orders, 10).unwrap();
        let end = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            end.cancel();
        });
        run(site, mix, stop, &writer).await.unwrap();
        writer.join().unwrap().unwrap();
        let lines = |name: &str| -> Vec<Value> {
            let text = std::fs::read_to_string(world.ledger_dir.join(name)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        Outcome { shop, requests: lines("requests.jsonl"), acks: lines("acks.jsonl") }
    }

    #[tokio::test]
    async fn a_good_shop_gets_every_kind_and_no_failure() {
        let seen = load(2.0, 300.0, 75.0, &[]).await;
        let failed: Vec<_> = seen.requests.iter().filter(|line| line["ok"] == false).collect();
        assert!(failed.is_empty(), "{failed:?}");
        for kind in
            ["catalogue", "static", "account", "order", "upload", "login", "report", "events"]
        {
            assert!(!seen.of(kind).is_empty(), "no {kind}");
        }
        assert_eq!(seen.of("login").len(), 10, "each client logs in once");
        assert!(seen.of("events").len() > 4, "a cleanly ended stream is opened again");
        let writes = seen.requests.iter().filter(|line| {
            matches!(line["kind"].as_str(), Some("order" | "account" | "upload" | "login"))
        });
        assert_eq!(seen.acks.len(), writes.count(), "every write was acknowledged once");
        assert_eq!(seen.shop.most_orders_at_once.load(Ordering::SeqCst), 1);
        let opened = seen.requests.iter().filter(|line| line["new_connection"] == true).count();
        assert_eq!(opened, seen.shop.connections.load(Ordering::SeqCst));
        let share = opened as f64 / seen.requests.len() as f64;
        assert!((0.4..0.8).contains(&share), "share of new connections: {share}");
    }

    #[tokio::test]
    async fn each_way_to_fail_is_told_apart_and_never_retried() {
        let seen = load(
            1.0,
            200.0,
            50.0,
            &[
                ("catalogue", Whim::Status(503)),
                ("account", Whim::Status(401)),
                ("files", Whim::Reset),
                ("order", Whim::Hang),
                ("upload", Whim::Other),
            ],
        )
        .await;
        assert_eq!(seen.fails("catalogue"), ["status 503"]);
        assert_eq!(seen.fails("account"), ["session lost"]);
        assert_eq!(seen.fails("static"), ["reset"]);
        assert_eq!(seen.fails("order"), ["eof"]);
        assert_eq!(seen.fails("upload"), ["marker"]);
        for kind in ["catalogue", "account", "static", "order", "upload"] {
            assert!(seen.of(kind).iter().all(|line| line["ok"] == false));
            assert!(seen.acks.iter().all(|ack| ack["kind"] != kind), "{kind} acknowledged");
        }
        let orders = seen.shop.seen.lock().unwrap();
        let sent = orders.iter().filter(|line| *line == "POST /order").count();
        assert_eq!(sent, seen.of("order").len());
    }

    #[tokio::test]
    async fn a_slow_shop_does_not_slow_the_schedule_and_orders_stay_in_order() {
        let seen =
            load(1.5, 200.0, 50.0, &[("catalogue", Whim::Slow(700)), ("order", Whim::Slow(300))])
                .await;
        let pages = seen.of("catalogue");
        let spread = |key: &str| {
            let times = pages.iter().map(|line| line[key].as_u64().unwrap());
            times.clone().max().unwrap() - times.min().unwrap()
        };
        assert!(pages.len() > 60 && spread("sent_ms") < 1100, "sent over {}", spread("sent_ms"));
        assert!(pages.iter().all(|line| line["latency_ms"].as_f64().unwrap() >= 700.0));
        // 50 orders of 10 clients at 300 ms each: they wait for each other at the client,
        // and the wait is part of their latency.
        let orders = seen.of("order");
        assert_eq!(seen.shop.most_orders_at_once.load(Ordering::SeqCst), 1);
        assert!(orders.iter().any(|line| line["latency_ms"].as_f64().unwrap() > 500.0));
        for client in orders.iter().map(|line| line["client"].clone()) {
            let mut own: Vec<_> = orders.iter().filter(|line| line["client"] == client).collect();
            own.sort_by_key(|line| line["sent_ms"].as_u64());
            assert!(own.windows(2).all(|two| two[0]["seq"].as_u64() < two[1]["seq"].as_u64()));
        }
    }

    #[tokio::test]
    async fn an_answer_five_seconds_late_is_a_failure() {
        let seen = load(0.6, 30.0, 5.0, &[("catalogue", Whim::Slow(5500))]).await;
        assert_eq!(seen.fails("catalogue"), ["timeout"]);
        let pages = seen.of("catalogue");
        assert!(pages.iter().all(|line| line["latency_ms"].as_f64().unwrap() < 5200.0));
    }
}
