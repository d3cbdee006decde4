//! Fronts in this process, one behind the other, as they stand while DNS still names
//! both sides: the target's reaches the source at the port that the source's took over.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs
)]

mod cdn;
mod join;
mod proxies;
mod redirect;
mod shared;
mod support;

use segue_model::Side;
use segue_port::Observed;
use segue_traffic::{FrontSettings, Fronts, late_at};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use support::{Site, ask, policy, run};

#[tokio::test(flavor = "multi_thread")]
async fn counts_a_request_once_that_passes_two_fronts() {
    let site = Site::start().await;
    for _ in 0..3 {
        assert_eq!(ask(site.source_front, "/", "").await, 200);
        assert_eq!(ask(site.target_front, "/", "").await, 200);
    }
    let totals = site.fronts.totals().await.unwrap();
    assert_eq!((totals.requests, totals.failed), (6, 0));
    assert_eq!(totals.by_front, [("source".into(), 3), ("target".into(), 3)]);
    assert_eq!(ask(site.target_front, "/broken", "").await, 500);
    let totals = site.fronts.totals().await.unwrap();
    assert_eq!((totals.requests, totals.failed), (7, 1), "failed once, not at each front");
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_a_request_that_only_claims_to_come_from_a_front() {
    let site = Site::start().await;
    let claim = "X-Segue-Via: target\r\n";
    assert_eq!(ask(site.source_front, "/", claim).await, 200);
    assert_eq!(ask(site.source_front, "/broken", claim).await, 500);
    let totals = site.fronts.totals().await.unwrap();
    assert_eq!((totals.requests, totals.failed), (2, 1));
}

/// Held at the second front, a request would run at the first one until the pause is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_never_waits_for_a_request_that_it_holds_itself() {
    let site = Site::start().await;
    let visitors: Vec<_> = (0..8)
        .map(|_| {
            let (front, over) = (site.target_front, site.over.clone());
            tokio::spawn(async move {
                let mut asked = 0;
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(ask(front, "/", "").await, 200);
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    for number in 1..=40 {
        let (hold, call) = (site.fronts.hold(), site.call(number));
        let began = Instant::now();
        hold.run(&call).await.unwrap();
        assert!(matches!(hold.observe(&call).await.unwrap(), Observed::Applied(_)));
        hold.undo(&call).await.unwrap();
        assert!(began.elapsed() < Duration::from_millis(700), "{number}: {:?}", began.elapsed());
    }
    site.over.store(true, Ordering::Relaxed);
    for visitor in visitors {
        assert!(visitor.await.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_tries_again_where_one_front_is_busy_at_first() {
    let site = Site::start().await;
    let front = site.source_front;
    let slow = tokio::spawn(async move { ask(front, "/slow", "").await });
    site.until_slow().await;
    let (hold, call) = (site.fronts.hold(), site.call(1));
    let began = Instant::now();
    hold.run(&call).await.unwrap();
    assert!(began.elapsed() > Duration::from_millis(100), "it waited for the slow page");
    let waiting = tokio::spawn(async move { ask(front, "/", "").await });
    site.until_held(Side::Source).await;
    hold.undo(&call).await.unwrap();
    assert_eq!((slow.await.unwrap(), waiting.await.unwrap()), (200, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_gives_up_while_a_slow_page_runs_and_leaves_nothing_held() {
    let site = Site::start().await;
    let front = site.target_front;
    let slow = tokio::spawn(async move { ask(front, "/slow", "").await });
    site.until_slow().await;
    let mut call = site.call(1);
    call.time_allowed = Duration::from_millis(100);
    let fault = site.fronts.hold().run(&call).await.unwrap_err();
    assert_eq!(fault.code.as_str(), "SG0155", "{fault}");
    for front in [site.source_front, site.target_front] {
        assert_eq!(ask(front, "/", "").await, 200, "nothing is held");
    }
    assert_eq!(slow.await.unwrap(), 200);
}

/// A cutover can be put off; a failback is wanted because the side that is left is slow.
#[tokio::test(flavor = "multi_thread")]
async fn a_failback_begins_its_hold_while_slow_pages_run_and_waits_for_them() {
    let site = Site::start().await;
    site.cut_over().await;
    let front = site.target_front;
    let slow = tokio::spawn(async move { ask(front, "/slow", "").await });
    site.until_slow().await;
    let over = site.over.clone();
    // There is never a moment without one.
    let others = tokio::spawn(async move {
        let mut pages = Vec::new();
        while !over.load(Ordering::Relaxed) {
            pages.push(tokio::spawn(async move { ask(front, "/slow", "").await }));
            // More often than one ends.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        pages
    });
    let (hold, call) = (site.fronts.hold(), site.call_back(1));
    let output = hold.run(&call).await.unwrap();
    assert_eq!(output.get("left_running"), None, "{output}");
    assert!(output["waited_for_in_flight_ms"].as_u64().unwrap() > 100, "{output}");
    site.over.store(true, Ordering::Relaxed);
    hold.undo(&call).await.unwrap();
    assert_eq!(slow.await.unwrap(), 200);
    for page in others.await.unwrap() {
        assert_eq!(page.await.unwrap(), 200);
    }
}

/// A page that begins between the gate and the hold takes longer than a failback waits for
/// requests in flight.
#[tokio::test(flavor = "multi_thread")]
async fn a_failback_holds_nobody_while_a_slow_page_may_still_end() {
    let site = Site::start().await;
    site.cut_over().await;
    let front = site.target_front;
    let slow = tokio::spawn(async move { ask(front, "/slowest", "").await });
    site.until_slow().await;
    let (hold, call) = (site.fronts.hold(), site.call_back(1));
    let running = tokio::spawn(async move { hold.run(&call).await });
    // That a hold does not begin meanwhile is what is looked at.
    tokio::time::sleep(Duration::from_millis(250)).await;
    let visitor = tokio::time::timeout(Duration::from_millis(200), ask(front, "/", ""));
    assert_eq!(visitor.await.expect("not held"), 200);
    let output = running.await.unwrap().unwrap();
    assert_eq!(output.get("left_running"), None, "{output}");
    site.fronts.hold().undo(&site.call_back(1)).await.unwrap();
    assert_eq!(slow.await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failback_leaves_a_page_running_that_never_ends() {
    let site = Site::start().await;
    site.cut_over().await;
    let front = site.target_front;
    let stuck = tokio::spawn(async move { ask(front, "/stuck", "").await });
    site.until_slow().await;
    let (hold, call) = (site.fronts.hold(), site.call_back(1));
    let began = Instant::now();
    let output = hold.run(&call).await.unwrap();
    let budget = Duration::from_millis(support::policy().failback_budget_ms);
    assert!(began.elapsed() < budget, "{:?}", began.elapsed());
    assert!(output["left_running"][0].as_str().unwrap().contains("/stuck"), "{output}");
    let waiting = tokio::spawn(async move { ask(front, "/", "").await });
    site.until_held(Side::Target).await;
    hold.undo(&call).await.unwrap();
    assert_eq!(waiting.await.unwrap(), 200);
    stuck.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn seal_is_refused_once_the_lease_ran_out() {
    let site = Site::start().await;
    let (hold, seal, call) = (site.fronts.hold(), site.fronts.seal(), site.call(1));
    hold.run(&call).await.unwrap();
    site.fronts.close();
    // That nobody renews for so long is the subject.
    tokio::time::sleep(Duration::from_millis(support::LEASE_MS + 200)).await;
    let fault = seal.run(&call).await.unwrap_err();
    assert_eq!(fault.code.as_str(), "SG0154", "{fault}");
    assert_eq!(ask(site.source_front, "/", "").await, 200, "the source answers again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_still_comes_is_asked_at_the_address_that_was_left() {
    let site = Site::start().await;
    assert_eq!(ask(site.source_front, "/", "").await, 200);
    let came = async |side| {
        let known = late_at(&site.unit, side).await;
        let [(_, Some(front))] = known.as_slice() else { panic!("{known:?}") };
        front.clone()
    };
    // A front that sends clients to its own side sees nobody who is late, however long it stands.
    let own = came(Side::Source).await;
    assert_eq!(own.since_ms, None);
    assert_eq!(own.uncounted.as_deref(), Some("it sends the unit's clients to its own side"));
    site.cut_over().await;
    let since = came(Side::Source).await;
    assert_eq!((since.count, since.open, since.uncounted), (0, 0, None), "nobody since");
    assert_eq!(since.dropped_ms, None);
    for _ in 0..3 {
        assert_eq!(ask(site.source_front, "/", "").await, 200);
        assert_eq!(ask(site.target_front, "/", "").await, 200);
    }
    let front = came(Side::Source).await;
    assert_eq!((front.count, front.latest.len()), (1, 1));
    let late = &front.latest[0];
    assert_eq!((late.client.to_string().as_str(), late.sides.target), ("127.0.0.1", 3));
    let since_ms = front.since_ms.unwrap();
    assert!(since_ms <= late.last_ms && late.last_ms <= front.boot_ms, "{front:?}");
    assert_eq!(came(Side::Target).await.count, 0, "that is where they belong");
    assert_eq!(came(Side::Target).await.since_ms, None);
    // What is open there now is told as long as it is.
    let page = tokio::spawn(ask(site.source_front, "/slowest", ""));
    site.until_slow().await;
    assert_eq!(came(Side::Source).await.open, 1);
    assert_eq!(page.await.unwrap(), 200);
    let began = Instant::now();
    while came(Side::Source).await.open > 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "it stays open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A front without the unit sees none of its clients.
    let mut other = site.unit.clone();
    other.name = "other".into();
    let known = late_at(&other, Side::Source).await;
    let [(_, Some(front))] = known.as_slice() else { panic!("{known:?}") };
    assert_eq!((front.since_ms, front.count), (None, 0));
    assert_eq!(front.uncounted.as_deref(), Some("it does not have the unit"));
    // One that does not answer says nothing.
    let mut unit = site.unit.clone();
    unit.fronts.iter_mut().for_each(|front| front.control = "/nowhere/control.sock".into());
    let known = late_at(&unit, Side::Source).await;
    assert!(matches!(known.as_slice(), [(_, None)]), "{known:?}");
    // Nor does it of copies, and that is told; one that makes none is no such front.
    assert!(site.fronts.mirrored().await.is_empty());
    let (policy, program) = (Arc::new(policy()), "none".into());
    let silent = Fronts::new(FrontSettings { unit, policy, run: run(), program });
    let named = silent.mirrored().await;
    let told: Vec<_> =
        named.iter().map(|one| (one.front.as_str(), one.silent, one.mirrored.is_none())).collect();
    assert_eq!(told, [("source", true, true), ("target", true, true)]);
}
