//! A front at several ports: one route for all, and all of them or none.

use crate::support::*;
use crate::takeover::{EGRESS, Nginx, Tally, open_loop_every, patient};
use http::Request;
use segue_front::control::{PortStatus, Request as Ask};
use segue_front::{FrontOptions, PortOptions, run_until};
use segue_model::plan::PortKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A port that is taken over from a live server, or not.
fn taken(listen: SocketAddr, take_over: bool, default_backend: SocketAddr) -> PortOptions {
    PortOptions { take_over, ..port(listen, default_backend) }
}

/// Asks for a host that belongs to no unit.
async fn stranger(address: SocketAddr) -> String {
    let mut ask = request("GET", "/", "");
    ask.headers_mut().insert("host", "elsewhere.example.test".parse().unwrap());
    let (parts, body) = ask.into_parts();
    send(address, Request::from_parts(parts, body)).await.unwrap().body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serves_a_unit_at_every_port_and_strangers_by_the_port_they_came_to() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let folder = Arc::new(TempDir::new().unwrap());
    let (first, second) = (free_address(), free_address());
    let mut options = options(folder.path(), first, source.address);
    options.ports.push(taken(second, false, target.address));
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    front.set_route(&source, &target, 8).await.unwrap();

    for address in [first, second] {
        assert_eq!(get(address, "/x").await.body, "source /x", "one route for all ports");
    }
    assert_eq!(stranger(first).await, "source /");
    assert_eq!(stranger(second).await, "target /");
    let hello = front.hello().await;
    let status = |listen| PortStatus {
        kind: PortKind::Http,
        listen,
        taken_over: false,
        redirect: None,
        joined: false,
        tcp: None,
        tls: None,
        proxy_in: false,
        certificates: None,
    };
    assert_eq!((hello.ports, hello.listening), (vec![status(first), status(second)], true));

    // A hold is for what comes in anywhere.
    assert!(done(&front.hold("hold-1").await));
    let waiting = [later(first, "GET", "/a"), later(second, "GET", "/b")];
    front.held(2).await;
    front.release("hold-1", segue_model::Side::Target).await.unwrap();
    for answer in waiting {
        assert_eq!(within("it", answer).await.unwrap().unwrap().side(), "target");
    }

    assert!(done(&front.ask(Ask::Bypass { mark: front.mark() }).await));
    for address in [first, second] {
        assert!(TcpStream::connect(address).await.is_err(), "{address} is left");
    }
    within("the end", front.task).await.unwrap().unwrap();
}

async fn refused(options: FrontOptions) -> String {
    // What came in meanwhile is served to its end, however busy the machine is.
    let refusal = run_until(options, patient(), std::future::pending());
    tokio::time::timeout(Duration::from_secs(60), refusal)
        .await
        .expect("a refusal")
        .unwrap_err()
        .code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn has_all_of_its_ports_or_none() {
    let folder = Arc::new(TempDir::new().unwrap());
    let nginx = Nginx::start(folder.path()).await;
    let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    // Clients, server and front share this process: it must not be busy with clients alone.
    let tick = Duration::from_millis(8);
    let load = open_loop_every(tick, nginx.address, tally.clone(), stop.clone());
    let load = tokio::spawn(load);
    until("load runs", async || tally.counts().1 > 100).await;

    let mut wanted = options(folder.path(), nginx.address, nginx.address);
    wanted.egress = Some(EGRESS.parse().unwrap());
    wanted.ports = vec![taken(nginx.address, true, nginx.address)];

    // A port of somebody else: the live one is not even touched.
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut busy = wanted.clone();
    busy.ports.push(taken(stranger.local_addr().unwrap(), false, nginx.address));
    assert_eq!(refused(busy).await, "SG0121");
    assert_eq!(tally.counts().0, 0, "nobody came through the front");

    // A port with nobody to take it over from: the live one goes back, and the free one.
    let (free, dead) = (free_address(), free_address());
    wanted.ports.push(taken(free, false, nginx.address));
    wanted.ports.push(taken(dead, true, nginx.address));
    for _ in 0..4 {
        assert_eq!(refused(wanted.clone()).await, "SG0130");
        assert!(TcpStream::connect(free).await.is_err(), "the free port is free again");
    }
    for _ in 0..20 {
        let answer = get(nginx.address, "/").await;
        assert!(!answer.headers.contains_key("x-segue-front"), "back at the server");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.store(true, Ordering::SeqCst);
    within("the load", load).await.unwrap();
    let failed = tally.failed();
    let log = std::fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
    assert!(failed.is_empty(), "{} failed: {:?}\n{log}", failed.len(), &failed[..1]);
}
