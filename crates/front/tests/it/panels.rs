//! A panel and webmail at ports of their own, with servers of their own, beside the site.

use crate::certificates::*;
use crate::support::*;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use segue_front::control::{Reply, Request as Ask, SiteRoute};
use segue_model::plan::TcpPlan;
use segue_model::{Side, Sides, UnitName};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const OTHER: &str = "other.example.test";
/// The name of the machine, that no unit has.
const MACHINE: &str = "server1.example.test";

async fn answers(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, name: String) {
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let text = format!("{name} {}", request.uri().path());
        async move { Ok::<_, Infallible>(http::Response::new(text)) }
    });
    let _ = server::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A web server of its own, with its own certificate or in clear, that says its name.
async fn program(name: String, certificate: Option<&Certificate>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = certificate.map(|one| TlsAcceptor::from(one.for_server()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, name) = (acceptor.clone(), name.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => answers(stream, name).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            answers(stream, name).await;
                        }
                    }
                }
            });
        }
    });
    address
}

/// A front with the site's port and those of panel, webmail and the panel in clear.
struct Host {
    front: Running,
    panel: SocketAddr,
    webmail: SocketAddr,
    clear: SocketAddr,
    trust: Trust,
}

impl Host {
    async fn start(source: &Shop, target: &Shop) -> Self {
        let certificate = Certificate::made(&[HOST, OTHER, MACHINE]);
        let folder = Arc::new(TempDir::new().unwrap());
        let mut options = options(folder.path(), free_address(), source.address);
        let [panel, webmail, clear] = [(); 3].map(|()| free_address());
        for (listen, name, tls) in
            [(panel, "panel", true), (webmail, "webmail", true), (clear, "clear", false)]
        {
            let certificate = tls.then_some(&certificate);
            let backends = Sides {
                source: program(format!("{name} of source"), certificate).await,
                target: program(format!("{name} of target"), certificate).await,
            };
            let tcp = TcpPlan { backends, proxy_out: false, by_name: true };
            options.ports.push(tcp_port(listen, tcp));
        }
        let front = Running::start(options, quick(), folder).await;
        front.claim(1).await.unwrap();
        front.set_route(source, target, 64).await.unwrap();
        let set = Ask::SetRoute {
            mark: front.mark(),
            unit: UnitName::from("other"),
            sites: vec![SiteRoute {
                hosts: vec![OTHER.into()],
                backends: Sides { source: source.address, target: target.address },
                reach: None,
            }],
            write_side: Side::Source,
            concurrency: Sides { source: 64, target: 64 },
        };
        assert!(done(&front.ask(set).await));
        let trust = Trust::of(&[&certificate], rustls::ALL_VERSIONS);
        Self { front, panel, webmail, clear, trust }
    }

    async fn ask(&self, listen: SocketAddr, host: &str) -> String {
        let mut asked = request("GET", "/login", "");
        let named = format!("{host}:{}", listen.port());
        asked.headers_mut().insert("host", named.parse().unwrap());
        let answer = if listen == self.clear {
            exchange(TcpStream::connect(listen).await.unwrap(), asked).await
        } else {
            exchange(self.trust.connect(listen, host).await.unwrap(), asked).await
        };
        answer.unwrap().body
    }

    /// What all ports answer for a host.
    async fn all(&self, host: &str) -> [String; 3] {
        let asked = async {
            [
                self.ask(self.panel, host).await,
                self.ask(self.webmail, host).await,
                self.ask(self.clear, host).await,
            ]
        };
        within(host, asked).await
    }
}

fn of(side: &str) -> [String; 3] {
    ["panel", "webmail", "clear"].map(|name| format!("{name} of {side} /login"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panel_and_webmail_follow_their_unit_to_servers_of_their_own() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let host = Host::start(&source, &target).await;
    for name in [HOST, OTHER, MACHINE] {
        assert_eq!(host.all(name).await, of("source"), "{name}");
    }
    assert_eq!(get(host.front.address, "/").await.body, "source /");
    // In a hold a visitor of the panel waits as one of the site does, and nobody else.
    assert!(done(&host.front.hold("h1").await) && done(&host.front.seal("h1").await));
    let waits = {
        let mut asked = request("GET", "/login", "");
        asked.headers_mut().insert("host", HOST.to_uppercase().parse().unwrap());
        tokio::spawn(send(host.clear, asked))
    };
    host.front.held(1).await;
    assert_eq!(host.all(OTHER).await, of("source"));
    assert!(!waits.is_finished());
    assert!(done(&host.front.release("h1", Side::Target).await));
    let answer = within("released", waits).await.unwrap().unwrap();
    assert_eq!(answer.body, "clear of target /login");
    assert_eq!(host.all(HOST).await, of("target"));
    assert_eq!(get(host.front.address, "/").await.body, "target /");
    // Who has not moved, and names that nobody has, are where they were.
    for name in [OTHER, MACHINE] {
        assert_eq!(host.all(name).await, of("source"), "{name}");
    }
    let Reply::Stats(stats) = host.front.ask(Ask::UnitStats { unit: unit() }).await.unwrap() else {
        panic!("no stats")
    };
    assert_eq!((stats.tcp.source.connections, stats.tcp.target.connections), (3, 4));
    // No panel was taken for the site.
    assert!(source.paths().iter().chain(&target.paths()).all(|path| path == "/"));
    host.front.stop().await;
}
