//! One suite for every kind of front: what a kind says that it can do, it does; what it says
//! that it cannot do is refused.

mod load;
mod switches;
mod world;

use segue_front::control::{HoldStatus, Reply, Request};
use segue_model::event::Phase;
use segue_model::plan::{Abilities, Queue};
use segue_model::{Finding, Severity, Side};
use segue_port::Observed;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use world::{Kind, Visitor, World, call, echoes, web_socket};

fn abilities(world: &World) -> Abilities {
    world.unit.fronts[0].proxy.as_ref().map_or(Abilities::OWN, |proxy| proxy.abilities())
}

/// Runs the whole suite against one kind. It is long, but a proxy takes a while to start.
async fn suite(kind: Kind) {
    let mut world = World::start(kind).await;
    let can = abilities(&world);
    let fronts = world.fronts(1).await;
    let findings = fronts.preflight().await;
    if kind == Kind::Haproxy {
        assert!(findings.is_empty(), "{kind:?}: {findings:?}");
    }
    if kind == Kind::Nginx {
        shows_what_it_loses(&findings);
    }
    let at = |number| call(Phase::Cutover, number, 1);

    // Insert: the unit's hosts go to the source, and everything else where it went.
    fronts.insert().run(&at(1)).await.unwrap();
    assert!(matches!(fronts.insert().observe(&at(1)).await.unwrap(), Observed::Applied(_)));
    assert_eq!(side(&world).await, Some(Side::Source), "{kind:?}");

    // A page that runs is waited for.
    let front = world.front;
    let slow = tokio::spawn(async move { Visitor::new(front).ask("GET", "/slow", "").await });
    world.until_slow().await;
    let mut socket = web_socket(world.front).await;
    if can.queue == Queue::Refuses {
        // There is nobody to end it: it would keep the hold from being idle.
        socket.shutdown().await.unwrap();
    }

    // Hold: nothing reaches a server.
    let began = Instant::now();
    fronts.hold().run(&at(1)).await.unwrap();
    assert!(began.elapsed() > Duration::from_millis(300), "{kind:?}: the page was not waited for");
    assert_eq!(slow.await.unwrap().unwrap().status, 200);
    assert!(matches!(fronts.hold().observe(&at(1)).await.unwrap(), Observed::Applied(_)));
    let waiting =
        tokio::spawn(async move { Visitor::new(front).ask("POST", "/order?1", "x").await });
    if can.queue == Queue::Refuses {
        let answer = waiting.await.unwrap().unwrap();
        assert!(answer.status == 503 && answer.head.contains("retry-after: "), "{answer:?}");
    } else {
        let began = Instant::now();
        while status(&world).await.held != 1 {
            assert!(!waiting.is_finished(), "{kind:?}: a request passed a hold");
            assert!(began.elapsed() < Duration::from_secs(10), "{kind:?}: nothing is held");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!echoes(&mut socket).await, "{kind:?}: a stream lives on after a hold");
        // Seal, then route: it is answered by the target.
        fronts.seal().run(&at(1)).await.unwrap();
        assert!(matches!(status(&world).await.hold, HoldStatus::Sealed { .. }));
        fronts.route().run(&at(1)).await.unwrap();
        let answer = waiting.await.unwrap().unwrap();
        assert_eq!((answer.status, answer.from), (200, Some(Side::Target)), "{kind:?}");
    }
    if can.queue == Queue::Refuses {
        fronts.seal().run(&at(1)).await.unwrap();
        fronts.route().run(&at(1)).await.unwrap();
    }
    assert!(matches!(fronts.route().observe(&at(1)).await.unwrap(), Observed::Applied(_)));
    assert_eq!(side(&world).await, Some(Side::Target), "{kind:?}");
    fences(&world).await;
    lapses(&world).await;
    counts(&world, &can).await;
    if kind != Kind::Own {
        survives(&mut world).await;
        forgets_what_is_over(&mut world).await;
    }
    // Back, and out again.
    let fronts = world.fronts(9).await;
    let back = call(Phase::Failback, 1, 9);
    fronts.hold().run(&back).await.unwrap();
    fronts.route().run(&back).await.unwrap();
    assert_eq!(side(&world).await, Some(Side::Source), "{kind:?}");
    fronts.insert().undo(&call(Phase::Cutover, 1, 9)).await.unwrap();
    if kind != Kind::Own {
        assert_eq!(side(&world).await, None, "{kind:?}: its hosts are still there");
    }
}

/// What is lost is shown, with the version of what runs.
fn shows_what_it_loses(findings: &[Finding]) {
    let [shown] = findings else { panic!("{findings:?}") };
    assert_eq!((shown.code.as_str(), shown.severity), ("SG0140", Severity::Warn), "{shown}");
    assert!(shown.text.contains("nginx 1.") && shown.text.contains("loses 1 to 2"), "{shown}");
}

/// Says whose page a new visitor gets.
async fn side(world: &World) -> Option<Side> {
    Visitor::new(world.front).side().await
}

async fn status(world: &World) -> segue_front::control::UnitStatus {
    match ask(world, &Request::Greet { unit: "shop".into() }).await {
        Reply::Hello(hello) => hello.units.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Asks the front itself, around every effect.
async fn ask(world: &World, request: &Request) -> Reply {
    segue_traffic::testing::ask(&world.unit.fronts[0], request).await.unwrap()
}

/// A controller that was replaced changes nothing any more.
async fn fences(world: &World) {
    let (former, now) = (world.fronts(2).await, world.fronts(3).await);
    let fault = former.hold().run(&call(Phase::Cutover, 2, 2)).await.unwrap_err();
    assert_eq!(fault.code, "SG0111", "{fault}");
    assert_eq!(side(world).await, Some(Side::Target));
    now.hold().run(&call(Phase::Failback, 2, 3)).await.unwrap();
    let back = call(Phase::Failback, 2, 3);
    now.hold().undo(&back).await.unwrap();
    assert_eq!(side(world).await, Some(Side::Target));
}

/// A hold that nobody renews ends by itself and cannot be sealed then.
async fn lapses(world: &World) {
    let fronts = world.fronts(4).await;
    let at = call(Phase::Failback, 3, 4);
    fronts.hold().run(&at).await.unwrap();
    // As if the controller had been killed: nobody renews.
    fronts.close();
    let began = Instant::now();
    let mut visitor = Visitor::new(world.front);
    loop {
        let answer = visitor.ask("POST", "/order?2", "x").await.unwrap();
        if answer.status == 200 {
            assert_eq!(answer.from, Some(Side::Target), "it ends where the writes are");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it never ended: {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let fault = fronts.seal().run(&at).await.unwrap_err();
    assert_eq!(fault.code, "SG0154", "{fault}");
    let stats = match ask(world, &Request::UnitStats { unit: "shop".into() }).await {
        Reply::Stats(stats) => stats,
        other => panic!("{other:?}"),
    };
    let last = stats.holds.last().unwrap();
    assert!(last.lapsed && last.released_to.is_none_or(|to| to == Side::Target), "{last:?}");
}

/// What was answered is counted by side.
async fn counts(world: &World, can: &Abilities) {
    let fronts = world.fronts(5).await;
    let before = fronts.totals().await.unwrap();
    let mut visitor = Visitor::new(world.front);
    for _ in 0..5 {
        visitor.side().await;
    }
    assert_eq!(visitor.ask("GET", "/nowhere", "").await.unwrap().status, 404);
    let after = fronts.totals().await.unwrap();
    let more = after.by_side.unwrap().target - before.by_side.unwrap().target;
    assert_eq!(more, if can.counts { 6 } else { 0 }, "{:?}", world.kind);
}

/// A proxy that the operator starts anew has its routes and a sealed hold.
async fn survives(world: &mut World) {
    let fronts = world.fronts(6).await;
    let at = call(Phase::Failback, 4, 6);
    fronts.hold().run(&at).await.unwrap();
    fronts.seal().run(&at).await.unwrap();
    world.proxy = None;
    world.start_proxy();
    world.until_up().await;
    // Before anybody looks at it: a request that comes right after the start is held.
    let mut visitor = Visitor::new(world.front);
    let passed = visitor.ask("POST", "/order?3", "x");
    match tokio::time::timeout(Duration::from_millis(500), passed).await {
        Err(_) => {}
        Ok(answer) => assert_eq!(answer.unwrap().status, 503, "{:?}: it passed", world.kind),
    }
    assert!(matches!(status(world).await.hold, HoldStatus::Sealed { .. }), "{:?}", world.kind);
    fronts.seal().undo(&at).await.unwrap();
    fronts.hold().undo(&at).await.unwrap();
    assert_eq!(side(world).await, Some(Side::Target));
}

/// A controller that ended after a release and before it was written down leaves nothing behind
/// that a later restart of the proxy would bring back.
async fn forgets_what_is_over(world: &mut World) {
    let path = &world.unit.fronts[0].state;
    let fronts = world.fronts(7).await;
    let at = call(Phase::Failback, 5, 7);
    fronts.hold().run(&at).await.unwrap();
    fronts.seal().run(&at).await.unwrap();
    let sealed = std::fs::read(path).unwrap();
    fronts.route().run(&at).await.unwrap();
    std::fs::write(path, sealed).unwrap();
    world.fronts(8).await;
    world.proxy = None;
    world.start_proxy();
    world.until_up().await;
    let status = status(world).await;
    assert_eq!(
        (status.hold, status.write_side),
        (HoldStatus::Open, Side::Source),
        "{:?}",
        world.kind
    );
    let forth = call(Phase::Cutover, 6, 8);
    let fronts = world.fronts(8).await;
    fronts.hold().run(&forth).await.unwrap();
    fronts.route().run(&forth).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn own() {
    suite(Kind::Own).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy() {
    suite(Kind::Haproxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx() {
    suite(Kind::Nginx).await;
}

/// What `docs/proxies.md` says of each kind is what the code says.
#[test]
fn the_manual_says_what_each_kind_can_do() {
    let manual = include_str!("../../../../../docs/proxies.md");
    let all = [Abilities::OWN, Abilities::HAPROXY, Abilities::NGINX].map(|can| can.rows());
    for (index, (what, own)) in all[0].iter().enumerate() {
        let line = format!("| {what} | {own} | {} | {} |", all[1][index].1, all[2][index].1);
        println!("{line}");
        assert!(manual.contains(&line), "docs/proxies.md says otherwise: {line}");
    }
}
