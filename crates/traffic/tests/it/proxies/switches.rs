//! Many switches under load while the servers behind replace their workers.
//!
//! A few in the ordinary tests; `make front` asks for a thousand of each kind
//! (`SEGUE_SWITCHES`, `SEGUE_SWITCH_RATE`).

use super::load::{Load, Met};
use super::world::{Kind, World, call, echoes, web_socket};
use segue_model::event::Phase;
use segue_model::plan::SplitPlan;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// What became of it.
struct Outcome {
    met: Met,
    switches: u64,
    /// Longest time from a hold to its release.
    pause: Duration,
    /// Orders that were acknowledged and stand in no server's log, or twice.
    lost: u64,
    doubled: u64,
    reloads: u64,
}

async fn switch(kind: Kind, switches: u64, every: Duration) -> Outcome {
    let world = World::start(kind).await;
    let fronts = world.fronts(1).await;
    fronts.insert().run(&call(Phase::Cutover, 1, 1)).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let load = Load::start(world.front, asked("SEGUE_SWITCH_RATE", 1_000));
    let (mut pause, mut reloads, mut last) = (Duration::ZERO, 0, Instant::now());
    for number in 0..switches {
        let phase = if number % 2 == 0 { Phase::Cutover } else { Phase::Failback };
        let at = call(phase, u32::try_from(number + 2).unwrap(), 1);
        let began = Instant::now();
        fronts.hold().run(&at).await.unwrap_or_else(|fault| panic!("{kind:?} {number}: {fault}"));
        fronts.seal().run(&at).await.unwrap();
        fronts.route().run(&at).await.unwrap();
        pause = pause.max(began.elapsed());
        tokio::time::sleep(every.saturating_sub(began.elapsed())).await;
        if last.elapsed() > Duration::from_millis(250) {
            world.servers.source.reload();
            world.servers.target.reload();
            (last, reloads) = (Instant::now(), reloads + 2);
        }
    }
    over.store(true, Ordering::Relaxed);
    let met = load.stop().await;
    // The servers write their logs as they answer; their workers are asked to end meanwhile. That
    // no request comes twice is the subject: one that does may show last.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    for server in [&world.servers.source, &world.servers.target] {
        for line in std::fs::read_to_string(&server.log).unwrap().lines() {
            if let Some(rest) = line.strip_prefix("POST /order?")
                && let Some(number) = rest.split(' ').next().and_then(|n| n.parse().ok())
            {
                *seen.entry(number).or_default() += 1;
            }
        }
    }
    let count = |times: &dyn Fn(u64) -> bool| {
        let of = |order: &&u64| times(seen.get(order).copied().unwrap_or(0));
        met.orders.iter().filter(of).count() as u64
    };
    let (lost, doubled) = (count(&|n| n == 0), count(&|n| n > 1));
    Outcome { met, switches, pause, lost, doubled, reloads }
}

/// Prints it, and makes sure that there was load: a thousand switches want 300,000 requests.
fn print(kind: Kind, outcome: &Outcome) {
    let Outcome { met, switches, pause, lost, doubled, reloads } = outcome;
    println!(
        "{kind:?}: {switches} switches, {reloads} reloads of servers, {} requests, {} failed, {} \
         refused, {} orders: {lost} lost, {doubled} doubled; longest hold {} ms, longest request {} ms",
        met.requests,
        met.failed,
        met.refused,
        met.orders.len(),
        pause.as_millis(),
        met.longest.as_millis(),
    );
    for failure in &met.first {
        println!("  {failure}");
    }
    assert!(met.requests >= if *switches < 1_000 { 500 } else { 300_000 }, "there was no load");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_front_of_ours_lose_nothing() {
    let outcome = switch(Kind::Own, asked("SEGUE_SWITCHES", 40), Duration::from_millis(100)).await;
    print(Kind::Own, &outcome);
    assert_eq!((outcome.met.failed, outcome.met.refused), (0, 0), "{:?}", outcome.met.first);
    assert_eq!((outcome.lost, outcome.doubled), (0, 0));
    assert!(outcome.met.orders.len() > 500, "no orders");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_haproxy_lose_nothing() {
    let outcome =
        switch(Kind::Haproxy, asked("SEGUE_SWITCHES", 20), Duration::from_millis(150)).await;
    print(Kind::Haproxy, &outcome);
    assert_eq!((outcome.met.failed, outcome.met.refused), (0, 0), "{:?}", outcome.met.first);
    assert_eq!((outcome.lost, outcome.doubled), (0, 0));
    assert!(outcome.met.orders.len() > 500, "no orders");
}

/// What it loses is said and bounded; what it acknowledged is there exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn of_nginx_lose_what_its_reloads_lose() {
    let outcome = switch(Kind::Nginx, asked("SEGUE_SWITCHES", 4), Duration::from_millis(300)).await;
    print(Kind::Nginx, &outcome);
    assert!(outcome.met.refused > 0, "a hold without a queue refuses");
    // Each switch is three reloads; each may close the connections of all visitors.
    let most = outcome.switches * 3 * 64;
    assert!(outcome.met.failed <= most, "{} failed", outcome.met.failed);
    assert_eq!((outcome.lost, outcome.doubled), (0, 0));
}

/// The shares that a split goes through, there and back.
const SHARES: [u8; 9] = [5, 25, 50, 75, 100, 50, 0, 100, 0];

/// A WebSocket lives through changes of a split under load, while the servers behind replace their
/// workers, and ends after a hold began.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_split_leave_web_sockets_alone() {
    let world = World::start(Kind::Own).await;
    let fronts = world.fronts(1).await;
    fronts.insert().run(&call(Phase::Cutover, 1, 1)).await.unwrap();
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(web_socket(world.front).await);
    }
    let load = Load::start(world.front, asked("SEGUE_SWITCH_RATE", 1_000) / 2);
    let plan = SplitPlan {
        shares: vec![5, 25, 50, 75, 100],
        dwell_s: 1,
        longest_s: 1,
        warm_s: 0,
        slow_ms: 2_000,
        false_alarm: 0.01,
        failing_margin: 0.01,
        p50_factor: 1.1,
        p95_factor: 1.1,
        proof: false,
        testers: Vec::new(),
        cookie: "segue".into(),
    };
    let mut former = 0;
    let rounds = (asked("SEGUE_SWITCHES", 18) / SHARES.len() as u64).max(1);
    let shares = (0..rounds).flat_map(|_| SHARES);
    let mut changes = 0;
    for share in shares {
        changes += 1;
        let at = call(Phase::Split, changes, 1);
        fronts.split(&plan, share, former).run(&at).await.unwrap();
        former = share;
        // Their workers go on for the connections that they have.
        world.servers.source.reload();
        world.servers.target.reload();
        for _ in 0..3 {
            for socket in &mut sockets {
                assert!(echoes(socket).await, "a WebSocket ended at {share} %");
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
    let met = load.stop().await;
    println!("{changes} changes of a split, {} requests, {} failed", met.requests, met.failed);
    assert_eq!((met.failed, met.refused), (0, 0), "{:?}", met.first);
    assert!(met.orders.len() > 200, "there was no load");
    let at = call(Phase::Cutover, 2, 1);
    fronts.hold().run(&at).await.unwrap();
    for socket in &mut sockets {
        assert!(!echoes(socket).await, "a WebSocket lives on after a hold");
    }
    fronts.route().run(&at).await.unwrap();
    let holds = fronts.totals().await.unwrap().holds;
    assert_eq!(holds.last().map(|hold| hold.closed_streams), Some(4));
}
