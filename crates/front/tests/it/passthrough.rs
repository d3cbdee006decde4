//! TLS that goes to the servers of a site unread.

use crate::certificates::*;
use crate::http2::{Http2, trusting};
use crate::support::*;
use crate::system::{End, watched};
use crate::tls::tls_options;
use crate::upstream_tls::Secured;
use segue_front::control::Request as Ask;
use segue_front::control::{Reach, Reply, Servers, SiteRoute, TcpTotals};
use segue_model::{Side, Sides};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const GET: &[u8] = b"GET /x HTTP/1.1\r\nHost: shop.example.test\r\n\r\n";

/// Asks over a connection that stands, and says who answered.
async fn asked(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(GET).await.unwrap();
    let mut room = [0; 4_096];
    let read = within("an answer", stream.read(&mut room)).await.unwrap();
    let text = String::from_utf8_lossy(&room[..read]).into_owned();
    text.rsplit("\r\n").next().unwrap().to_owned()
}

/// A front without certificates whose site goes unread to a server that has `theirs`; at the target
/// nobody listens. And those who trust that certificate.
async fn unread(theirs: &Certificate) -> (Running, Secured, Trust) {
    let shop = Shop::start("source").await;
    let server = Secured::before(&shop, theirs).await;
    let folder = Arc::new(TempDir::new().unwrap());
    let mut options = tls_options(folder.path(), free_address(), shop.address);
    options.ports[0].tls.as_mut().unwrap().certificates.clear();
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    let to = |address| Servers { passthrough: Some(address), ..Servers::default() };
    let servers = Sides { source: to(server.address), target: to(free_address()) };
    let reach = Reach { servers, ..Reach::default() };
    let backends = Sides { source: shop.address, target: free_address() };
    assert!(done(&front.reach(backends, reach).await));
    let trust = Trust::of(&[theirs], rustls::ALL_VERSIONS);
    (front, server, trust)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_no_certificate_of_the_fronts_own() {
    let theirs = Certificate::made(&[HOST]);
    let (front, _server, trust) = unread(&theirs).await;
    let mut client = trust.connect(front.address, HOST).await.unwrap();
    assert!(theirs.is_of(&client));
    assert_eq!(asked(&mut client).await, "source /x");
    drop(client);
    let other = trust.connect(front.address, "other.example.test").await.unwrap_err();
    assert!(other.contains("UnrecognisedName"), "{other}");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_to_the_write_side_waits_at_a_hold_and_stays_once_it_is_there() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let (own, theirs) =
        (Certificate::made(&[HOST, "other.example.test"]), Certificate::made(&[HOST]));
    let servers = Sides {
        source: Secured::before(&source, &theirs).await,
        target: Secured::before(&target, &theirs).await,
    };
    let folder = Arc::new(TempDir::new().unwrap());
    own.lay(&folder.path().join("certificates/own"));
    let options = tls_options(folder.path(), free_address(), source.address);
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    let route = |source: bool, target: bool| {
        let to = |named: bool, side| Servers {
            passthrough: named.then_some(Sides::get(&servers, side).address),
            ..Servers::default()
        };
        let named = Sides { source: to(source, Side::Source), target: to(target, Side::Target) };
        let reach = Some(Box::new(Reach { servers: named, ..Reach::default() }));
        let backends = Sides { source: free_address(), target: free_address() };
        Ask::SetRoute {
            mark: front.mark(),
            unit: unit(),
            sites: vec![SiteRoute { hosts: vec![HOST.into()], backends, reach }],
            write_side: Side::Source,
            concurrency: Sides { source: 64, target: 64 },
        }
    };
    assert_eq!(code(front.ask(route(true, false)).await), "SG0115");
    assert!(done(&front.ask(route(true, true)).await));
    let trust = Trust::of(&[&own, &theirs], rustls::ALL_VERSIONS);
    let mut first = trust.connect(front.address, HOST).await.unwrap();
    assert!(theirs.is_of(&first), "the site's own certificate");
    assert_eq!(asked(&mut first).await, "source /x");
    assert_eq!((front.status().await.streams, front.status().await.in_flight), (1, 0));
    until("both ends are watched", async || {
        let server = watched(servers.source.address, End::Other, 60);
        let client = watched(front.address, End::Own, 60);
        client.0 >= 1 && client.0 == client.1 && server == (1, 1)
    })
    .await;
    // A certificate's own protocol goes there as well.
    let authority = trust.connect_for(front.address, HOST, b"acme-tls/1").await.unwrap();
    assert!(theirs.is_of(&authority));
    drop(authority);
    // Another host of the front's certificate is served, and this one not over its connection.
    let client = Http2::open(front.address, &trusting(&own), "other.example.test").await;
    assert_eq!(client.get("other.example.test", "/y").await.status, 200);
    assert_eq!(client.get(HOST, "/y").await.status, 421);
    assert!(done(&front.hold("h1").await));
    let second = tokio::spawn({
        let (trust, address) = (trust.clone(), front.address);
        async move { trust.connect(address, HOST).await.unwrap() }
    });
    front.held(1).await;
    assert_eq!(asked(&mut first).await, "source /x", "stays");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!second.is_finished());
    assert!(done(&front.release("h1", Side::Target).await));
    let mut second = within("its turn", second).await.unwrap();
    assert_eq!(asked(&mut second).await, "target /x");
    assert_eq!(asked(&mut first).await, "source /x", "stays");
    // The front stands at the source: whoever still comes there is late. Who came before is not.
    let stats = match front.ask(Ask::UnitStats { unit: unit() }).await.unwrap() {
        Reply::Stats(stats) => stats,
        other => panic!("{other:?}"),
    };
    let [late] = stats.stragglers.as_slice() else { panic!("{:?}", stats.stragglers) };
    assert_eq!((stats.straggler_count, late.client), (1, "127.0.0.1".parse().unwrap()));
    assert_eq!(late.sides, Sides { source: 0, target: 1 });
    drop((first, second));
    until("both are gone", async || front.status().await.streams == 0).await;
    front.stop().await;
}

/// What was counted of connections that go by unread.
async fn passed(front: &Running) -> Sides<TcpTotals> {
    match front.ask(Ask::UnitStats { unit: unit() }).await.unwrap() {
        Reply::Stats(stats) => stats.tcp.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_whom_it_passed_on_and_who_found_nobody() {
    let theirs = Certificate::made(&[HOST]);
    let (front, _server, trust) = unread(&theirs).await;
    let mut client = trust.connect(front.address, HOST).await.unwrap();
    assert_eq!(asked(&mut client).await, "source /x");
    drop(client);
    until("it is gone", async || front.status().await.streams == 0).await;
    let Sides { source, target } = passed(&front).await;
    assert_eq!((source.connections, source.failed), (1, 0));
    assert!(source.received > GET.len() as u64 && source.sent > source.received, "{source:?}");
    assert_eq!((target.connections, target.failed), (0, 0));
    // One waits and finds no server at the other side; there is no room for a second one.
    let mut hold = front.hold_request("h1");
    if let Ask::Hold { count_max, .. } = &mut hold {
        *count_max = 1;
    }
    assert!(done(&front.ask(hold).await));
    let waits = tokio::spawn({
        let (trust, address) = (trust.clone(), front.address);
        async move { trust.connect(address, HOST).await.is_ok() }
    });
    front.held(1).await;
    assert!(trust.connect(front.address, HOST).await.is_err());
    assert_eq!(passed(&front).await.source.failed, 1);
    assert!(done(&front.release("h1", Side::Target).await));
    assert!(!within("its end", waits).await.unwrap());
    let Sides { source, target } = passed(&front).await;
    assert_eq!((source.failed, target.connections, target.failed), (1, 0, 1));
    front.stop().await;
}
