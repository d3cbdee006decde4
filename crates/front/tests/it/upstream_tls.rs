//! Servers that are reached over TLS.

use crate::certificates::*;
use crate::support::*;
use rustls::HandshakeKind;
use segue_front::control::{Reach, Reply, ServerTls, Servers, Verify};
use segue_model::{Fault, Sides};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// TLS before a shop.
pub(crate) struct Secured {
    pub(crate) address: SocketAddr,
    handshakes: Arc<Mutex<Vec<HandshakeKind>>>,
}

impl Secured {
    pub(crate) async fn before(shop: &Shop, certificate: &Certificate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, behind) = (listener.local_addr().unwrap(), shop.address);
        let acceptor = TlsAcceptor::from(certificate.for_server());
        let handshakes = Arc::<Mutex<Vec<HandshakeKind>>>::default();
        let noted = handshakes.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, noted) = (acceptor.clone(), noted.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    noted.lock().unwrap().push(stream.get_ref().1.handshake_kind().unwrap());
                    let mut plain = TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
                });
            }
        });
        Self { address, handshakes }
    }
}

async fn front() -> Running {
    let folder = Arc::new(tempfile::TempDir::new().unwrap());
    let options = options(folder.path(), free_address(), free_address());
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    front
}

/// Sends the unit to a server over TLS.
async fn reach(front: &Running, server: SocketAddr, verify: Verify) -> Result<Reply, Fault> {
    let tls = Some(ServerTls { name: None, verify });
    let source = Servers { tls, ..Servers::default() };
    let reach = Reach { servers: Sides { source, ..Sides::default() }, ..Reach::default() };
    let backends = Sides { source: server, target: free_address() };
    front.reach(backends, reach).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_bodies_pass_and_sessions_are_resumed() {
    let (shop, front) = (Shop::start("a").await, front().await);
    let certificate = Certificate::made(&[HOST]);
    certificate.lay(front.folder.path());
    let server = Secured::before(&shop, &certificate).await;
    let file = Some(front.folder.path().join("fullchain.pem"));
    assert!(done(&reach(&front, server.address, Verify::Roots { file }).await));
    for _ in 0..3 {
        assert_eq!(get(front.address, "/x").await.body, "a /x");
    }
    assert_eq!(server.handshakes.lock().unwrap().len(), 1, "kept");
    let long = "0123456789".repeat(50_000);
    for _ in 0..3 {
        assert_eq!(post(front.address, "/up", &long).await.status, 200);
    }
    assert_eq!(shop.seen().pop().unwrap().body.len(), long.len());
    let kinds = server.handshakes.lock().unwrap().clone();
    assert!(kinds[1..].contains(&HandshakeKind::Resumed), "{kinds:?}");
    assert_eq!(shop.seen()[0].headers["x-forwarded-proto"], "http", "what the client spoke");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_certificate_that_was_said_is_taken() {
    let (shop, front) = (Shop::start("a").await, front().await);
    let (good, bad) = (Certificate::made(&[HOST]), Certificate::made(&[HOST]));
    let other_name = Certificate::made(&["other.example.test"]);
    let folder = front.folder.path().to_owned();
    let roots = |certificate: &Certificate, name: &str| {
        certificate.lay(&folder.join(name));
        Verify::Roots { file: Some(folder.join(name).join("fullchain.pem")) }
    };
    let pin = |certificate: &Certificate| Verify::Pins { sha256: vec![certificate.sha256()] };
    for (shown, verify, status) in [
        (&good, roots(&good, "good"), 200),
        (&bad, roots(&good, "good"), 502),
        (&other_name, roots(&other_name, "other"), 502),
        (&good, pin(&good), 200),
        (&other_name, pin(&other_name), 200),
        (&bad, pin(&good), 502),
        (&bad, Verify::Off, 200),
    ] {
        let server = Secured::before(&shop, shown).await;
        assert!(done(&reach(&front, server.address, verify.clone()).await));
        let before = shop.paths().len();
        assert_eq!(get(front.address, "/x").await.status, status, "{verify:?}");
        assert_eq!(post(front.address, "/x", "body").await.status, status, "{verify:?}");
        assert_eq!(shop.paths().len() - before, if status == 200 { 2 } else { 0 });
    }
    // Who speaks no TLS gets nothing in clear.
    assert!(done(&reach(&front, shop.address, Verify::Off).await));
    let before = shop.paths().len();
    assert_eq!(get(front.address, "/x").await.status, 502);
    assert_eq!(shop.paths().len(), before);
    for wrong in [
        Verify::Roots { file: Some(folder.join("nowhere.pem")) },
        Verify::Roots { file: Some(folder.join("good/privkey.pem")) },
        Verify::Pins { sha256: vec!["abcd".into()] },
    ] {
        assert_eq!(code(reach(&front, shop.address, wrong).await), "SG0134");
    }
    front.stop().await;
}
