//! A front with as many units as a hosting company has.

use crate::support::*;
use segue_front::control::{Reply, Request as Ask, SiteRoute, UnitRoute};
use segue_model::{Side, Sides};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const UNITS: usize = 10_000;

fn route(number: usize, backend: SocketAddr) -> UnitRoute {
    UnitRoute {
        unit: format!("acc{number:06}").as_str().into(),
        sites: vec![SiteRoute {
            hosts: vec![format!("acc{number:06}.example.test")],
            backends: Sides { source: backend, target: backend },
            reach: None,
        }],
        write_side: Side::Source,
        concurrency: Sides { source: 64, target: 64 },
    }
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
async fn ten_thousand_units_come_in_change_and_come_back() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    let listen = front.address;
    let began = Instant::now();
    for first in (0..UNITS).step_by(UNITS / 4) {
        let routes = (first..first + UNITS / 4).map(|n| route(n, shop.address)).collect();
        assert!(done(&front.ask(Ask::SetRoutes { mark: front.mark(), routes }).await));
    }
    let came = began.elapsed();
    assert!(came < Duration::from_secs(10), "{came:?}");
    // What is said about all of them is one line of the protocol.
    let hello = greeted(&front).await;
    assert_eq!((hello.unit_count, hello.units.len()), (UNITS + 1, 0));
    front.stats().await;

    let began = Instant::now();
    for number in 0..100 {
        let UnitRoute { unit, sites, write_side, .. } = route(number * 97, shop.address);
        let concurrency = Sides { source: 1, target: 1 };
        let ask = Ask::SetRoute { mark: front.mark(), unit, sites, write_side, concurrency };
        assert!(done(&front.ask(ask).await));
    }
    let each = began.elapsed() / 100;
    assert!(each < Duration::from_millis(100), "{each:?} a change");
    assert_eq!(ask_host(listen, 9_700).await, "source");
    let mark = front.mark();
    assert!(done(&front.ask(Ask::Leave { mark, unit: "acc009700".into() }).await));
    assert_eq!(ask_host(listen, 9_700).await, "source", "as a host of no unit: the same shop");
    assert_eq!(ask_host(listen, 9_999).await, "source");

    let folder = front.stop().await;
    let began = Instant::now();
    let again = options(folder.path(), listen, shop.address);
    let front = Running::start(again, quick(), folder).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(greeted(&front).await.unit_count, UNITS);
    assert_eq!(ask_host(listen, 5_000).await, "source");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_are_set_all_or_none() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    let (one, two) = (route(1, source.address), route(2, source.address));
    let set = async |routes: Vec<UnitRoute>| {
        front.ask(Ask::SetRoutes { mark: front.mark(), routes }).await
    };
    let mut of_shop = two.clone();
    of_shop.sites[0].hosts.push(HOST.to_uppercase());
    let mut of_one = two.clone();
    of_one.sites[0].hosts.push("acc000001.example.test.".into());
    let mut no_room = two.clone();
    no_room.concurrency.target = 0;
    for (wrong, why) in [(of_shop, "another unit"), (of_one, "both"), (no_room, "no room")] {
        assert_eq!(code(set(vec![one.clone(), wrong]).await), "SG0115", "{why}");
    }
    assert_eq!(code(set(vec![one.clone(), one.clone()]).await), "SG0115", "twice");
    assert_eq!(greeted(&front).await.unit_count, 1, "none of them is there");
    assert!(done(&set(vec![one.clone(), two.clone()]).await));

    // While one is held, none of a request is set; and a mark that is used up sets none.
    assert!(done(&front.hold("h1").await));
    let mut shop = route(3, source.address);
    shop.unit = unit();
    let moved = route(1, target.address);
    assert_eq!(code(set(vec![moved.clone(), shop]).await), "SG0116");
    assert!(done(&front.release("h1", Side::Source).await));
    assert_eq!(get(front.address, "/").await.side(), "source");
    let mut used = front.mark();
    used.generation = 2;
    let late = Ask::SetRoutes { mark: used, routes: vec![moved.clone(), route(4, target.address)] };
    assert_eq!(code(front.ask(late).await), "SG0112");
    let before = source.paths().len();
    ask_host(front.address, 1).await;
    assert_eq!((source.paths().len(), target.paths().len()), (before + 1, 0));
    assert!(done(&set(vec![moved]).await));
    ask_host(front.address, 1).await;
    assert_eq!((source.paths().len(), target.paths().len()), (before + 1, 1));
    // A host goes from one unit to another in two steps.
    let mut other = route(2, source.address);
    other.sites[0].hosts = vec!["acc000001.example.test".into()];
    assert_eq!(code(set(vec![other.clone()]).await), "SG0115");
    let renamed =
        SiteRoute { hosts: vec!["new.test".into()], ..route(1, target.address).sites[0].clone() };
    let renamed = UnitRoute { sites: vec![renamed], ..route(1, target.address) };
    assert!(done(&set(vec![renamed]).await));
    assert!(done(&set(vec![other]).await));
    front.stop().await;
}
