//! A front with as many units as a hosting company has.

use crate::support::*;
use segue_front::control::{Reply, Request as Ask, SiteRoute};
use segue_front::testing::{many_units, name_of};
use segue_model::{Fault, Side, Sides};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const UNITS: usize = 10_000;

fn site(number: usize, backend: SocketAddr) -> SiteRoute {
    let backends = Sides { source: backend, target: backend };
    SiteRoute { hosts: vec![name_of(number).1], backends, reach: None }
}

/// Sets the route of one of many units.
async fn set(front: &Running, number: usize, sites: Vec<SiteRoute>) -> Result<Reply, Fault> {
    let concurrency = Sides { source: 64, target: 64 };
    let (mark, unit) = (front.mark(), name_of(number).0);
    front.ask(Ask::SetRoute { mark, unit, sites, write_side: Side::Source, concurrency }).await
}

async fn ask_host(front: SocketAddr, number: usize) -> String {
    let mut ask = request("GET", "/", "");
    let host = format!("acc{number:06}.example.test");
    ask.headers_mut().insert("host", host.parse().unwrap());
    within("an answer", send(front, ask)).await.unwrap().side().to_owned()
}

async fn greeted(front: &Running) -> segue_front::control::Hello {
    match front.ask(Ask::Hello).await.unwrap() {
        Reply::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_units_are_there_change_and_come_back() {
    let shop = Shop::start("source").await;
    let folder = Arc::new(TempDir::new().unwrap());
    let options = options(folder.path(), free_address(), shop.address);
    let listen = options.ports[0].listen;
    let backends = Sides { source: shop.address, target: shop.address };
    many_units(&options.state, &run_id(), UNITS, &backends).unwrap();
    let began = Instant::now();
    let front = Running::start(options.clone(), quick(), folder).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    front.claim(1).await.unwrap();
    front.route_to(shop.address, shop.address).await.unwrap();
    // What is said about all of them is one line of the protocol.
    let hello = greeted(&front).await;
    assert_eq!((hello.unit_count, hello.units.len()), (UNITS + 1, 0));
    front.stats().await;

    let began = Instant::now();
    for number in (0..100).map(|number| number * 97) {
        assert!(done(&set(&front, number, vec![site(number, shop.address)]).await));
    }
    let each = began.elapsed() / 100;
    assert!(each < Duration::from_millis(100), "{each:?} a change");
    assert_eq!(ask_host(listen, 9_700).await, "source");
    let mark = front.mark();
    assert!(done(&front.ask(Ask::Leave { mark, unit: name_of(9_700).0 }).await));
    assert_eq!(ask_host(listen, 9_700).await, "source", "as a host of no unit: the same shop");
    assert_eq!(ask_host(listen, 9_999).await, "source");

    let folder = front.stop().await;
    let front = Running::start(options, quick(), folder).await;
    assert_eq!(greeted(&front).await.unit_count, UNITS);
    assert_eq!(ask_host(listen, 5_000).await, "source");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_of_ten_thousand_sites_is_switched_as_a_whole() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    let backends = Sides { source: source.address, target: target.address };
    let site = |number| SiteRoute {
        hosts: vec![name_of(number).1],
        backends: backends.clone(),
        reach: None,
    };
    let ask = Ask::SetRoute {
        mark: front.mark(),
        unit: unit(),
        sites: (0..UNITS).map(site).collect(),
        write_side: Side::Source,
        concurrency: Sides { source: 64, target: 64 },
    };
    assert!(done(&front.ask(ask).await));
    for number in [0, 5_000, 9_999] {
        assert_eq!(ask_host(front.address, number).await, "source");
    }
    assert!(done(&front.hold("h1").await));
    let began = Instant::now();
    assert!(done(&front.release("h1", Side::Target).await));
    println!("released, with what is written, in {:?}", began.elapsed());
    for number in [0, 5_000, 9_999] {
        assert_eq!(ask_host(front.address, number).await, "target");
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_is_set_whole_or_not_at_all() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    let own = |number| site(number, source.address);
    let of_shop = SiteRoute { hosts: vec![HOST.to_uppercase()], ..own(2) };
    let sites = vec![own(2), of_shop];
    assert_eq!(code(set(&front, 2, sites).await), "SG0115", "another unit's");
    assert_eq!(code(set(&front, 2, Vec::new()).await), "SG0115", "no host");
    let (mark, unit, concurrency) = (front.mark(), name_of(2).0, Sides { source: 64, target: 0 });
    let (sites, write_side) = (vec![own(2)], Side::Source);
    let no_room = Ask::SetRoute { mark, unit, sites, write_side, concurrency };
    assert_eq!(code(front.ask(no_room).await), "SG0115", "no room");
    assert_eq!(greeted(&front).await.unit_count, 1, "nothing of them is there");
    assert!(done(&set(&front, 1, vec![own(1), own(3)]).await));
    let of_one = SiteRoute { hosts: vec!["acc000001.example.test.".into()], ..own(2) };
    assert_eq!(code(set(&front, 2, vec![own(2), of_one.clone()]).await), "SG0115");

    // A mark that is used up sets nothing, and one unit's hold is none of another's.
    assert!(done(&front.hold("h1").await));
    let moved = site(1, target.address);
    let (sites, concurrency) = (vec![moved.clone()], Sides { source: 64, target: 64 });
    let mut used = front.mark();
    used.generation = 2;
    let late = Ask::SetRoute { mark: used, unit: name_of(1).0, sites, write_side, concurrency };
    assert_eq!(code(front.ask(late).await), "SG0112");
    let counts = || (source.paths().len(), target.paths().len());
    let (before, _) = counts();
    ask_host(front.address, 1).await;
    assert_eq!(counts(), (before + 1, 0));
    assert!(done(&set(&front, 1, vec![moved.clone()]).await));
    ask_host(front.address, 1).await;
    assert_eq!(counts(), (before + 1, 1));
    ask_host(front.address, 3).await;
    assert_eq!(counts(), (before + 2, 1), "its host went: as one of no unit");
    assert!(done(&front.release("h1", Side::Source).await));
    assert_eq!(get(front.address, "/").await.side(), "source");
    // A host goes from one unit to another in two steps.
    assert_eq!(code(set(&front, 2, vec![of_one.clone()]).await), "SG0115");
    let renamed = SiteRoute { hosts: vec!["new.test".into()], ..moved };
    assert!(done(&set(&front, 1, vec![renamed]).await));
    assert!(done(&set(&front, 2, vec![of_one]).await));
    front.stop().await;
}
