//! What a certificate authority asks by TLS (RFC 8737), for a site whose TLS ends at the front.

use crate::certificates::*;
use crate::support::*;
use crate::tls::tls_options;
use segue_front::control::Request as Ask;
use segue_front::control::{Reach, ServerTls, Servers, SiteRoute, Verify};
use segue_model::{Side, Sides};
use std::net::SocketAddr;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const ACME: &[u8] = b"acme-tls/1";

/// A server that speaks nothing but an authority's protocol.
async fn answering(certificate: &Certificate) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = (*certificate.for_server()).clone();
    config.alpn_protocols = vec![ACME.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { acceptor.accept(stream).await.map(drop) });
        }
    });
    address
}

async fn route(front: &Running, shop: &Shop, servers: Sides<Servers>) {
    let reach = Some(Box::new(Reach { servers, ..Reach::default() }));
    let backends = Sides { source: shop.address, target: shop.address };
    let set = Ask::SetRoute {
        mark: front.mark(),
        unit: unit(),
        sites: vec![SiteRoute { hosts: vec![HOST.into()], backends, reach }],
        write_side: front.status().await.write_side,
        concurrency: Sides { source: 64, target: 64 },
    };
    assert!(done(&front.ask(set).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_to_the_write_sides_own_tls_and_nothing_else_does() {
    let shop = Shop::start("source").await;
    let [own, source, target] = [(); 3].map(|()| Certificate::made(&[HOST]));
    let servers = Sides { source: answering(&source).await, target: answering(&target).await };
    let folder = Arc::new(TempDir::new().unwrap());
    own.lay(&folder.path().join("certificates/own"));
    let options = tls_options(folder.path(), free_address(), shop.address);
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    front.set_route(&shop, &shop, 64).await.unwrap();
    let trust = Trust::of(&[&own, &source, &target], rustls::ALL_VERSIONS);
    let authority = || trust.connect_for(front.address, HOST, ACME);

    let refused = authority().await.unwrap_err();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    assert_eq!(front.stats().await.unshaken, 1);

    let to = |side| Servers { acme_tls: Some(*servers.get(side)), ..Servers::default() };
    route(&front, &shop, Sides::from_fn(to)).await;
    let stream = authority().await.unwrap();
    assert!(source.is_of(&stream));
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(ACME));
    drop(stream);
    let ordinary = trust.connect_for(front.address, HOST, b"http/1.1").await.unwrap();
    assert!(own.is_of(&ordinary));
    let both = trust.connect_for_all(front.address, HOST, &[ACME, b"http/1.1"]).await.unwrap();
    assert!(own.is_of(&both), "an authority names its protocol alone");

    assert!(done(&front.hold("h1").await));
    assert!(source.is_of(&authority().await.unwrap()), "it does not wait");
    assert!(done(&front.release("h1", Side::Target).await));
    assert!(target.is_of(&authority().await.unwrap()), "where the site is now");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_to_a_server_that_is_reached_over_tls() {
    let shop = Shop::start("source").await;
    let [own, theirs] = [(); 2].map(|()| Certificate::made(&[HOST]));
    let server = answering(&theirs).await;
    let folder = Arc::new(TempDir::new().unwrap());
    own.lay(&folder.path().join("certificates/own"));
    let options = tls_options(folder.path(), free_address(), shop.address);
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    let tls = Some(ServerTls { name: None, verify: Verify::Off });
    let source = Servers { tls, ..Servers::default() };
    let set = Ask::SetRoute {
        mark: front.mark(),
        unit: unit(),
        sites: vec![SiteRoute {
            hosts: vec![HOST.into()],
            backends: Sides { source: server, target: shop.address },
            reach: Some(Box::new(Reach {
                servers: Sides { source, target: Servers::default() },
                ..Reach::default()
            })),
        }],
        write_side: Side::Source,
        concurrency: Sides { source: 64, target: 64 },
    };
    assert!(done(&front.ask(set).await));
    let trust = Trust::of(&[&own, &theirs], rustls::ALL_VERSIONS);
    assert!(theirs.is_of(&trust.connect_for(front.address, HOST, ACME).await.unwrap()));
    front.stop().await;
}
