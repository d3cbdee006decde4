//! Ports for TCP with TLS from the first byte, shared by units that clients name.

use crate::certificates::*;
use crate::support::*;
use segue_front::Limits;
use segue_front::control::{Reply, Request as Ask, SiteRoute, Stats};
use segue_model::plan::TcpPlan;
use segue_model::{Side, Sides, UnitName};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::client::TlsStream;

const MAIL: [&str; 2] = ["mail.shop.test", "mail.other.test"];
/// A host that no unit has; its server is there all the same.
const STRANGER: &str = "mail.stranger.test";

/// How long a client may take to say whom it comes for.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// A mail server: over TLS it greets with its name, then repeats lines.
async fn server(name: &'static str, certificate: &Certificate) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(certificate.for_server());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await?;
                let (read, mut write) = tokio::io::split(stream);
                write.write_all(format!("* OK {name}\n").as_bytes()).await?;
                let mut lines = BufReader::new(read).lines();
                while let Some(line) = lines.next_line().await? {
                    write.write_all(format!("{line}\n").as_bytes()).await?;
                }
                write.shutdown().await
            });
        }
    });
    address
}

struct Mail {
    front: Running,
    listen: SocketAddr,
    trust: Trust,
}

type Open = BufReader<TlsStream<TcpStream>>;

impl Mail {
    /// A front with one port that goes by name, and two units.
    async fn start() -> Self {
        let mail = Self::alone().await;
        for (unit, host) in [unit(), other()].into_iter().zip(MAIL) {
            mail.put(unit, host).await;
        }
        mail
    }

    /// A front with one port that goes by name, and no unit.
    async fn alone() -> Self {
        let certificate = Certificate::made(&[MAIL[0], MAIL[1], STRANGER]);
        let folder = Arc::new(TempDir::new().unwrap());
        let mut options = options(folder.path(), free_address(), free_address());
        let backends = Sides {
            source: server("source", &certificate).await,
            target: server("target", &certificate).await,
        };
        let listen = free_address();
        let tcp = TcpPlan { backends, proxy_out: false, by_name: true };
        options.ports.push(tcp_port(listen, tcp));
        let limits = Limits { handshake: HANDSHAKE, ..quick() };
        let front = Running::start(options, limits, folder).await;
        front.claim(1).await.unwrap();
        Self { front, listen, trust: Trust::of(&[&certificate], rustls::ALL_VERSIONS) }
    }

    /// Sets the route of a unit at the source.
    async fn put(&self, unit: UnitName, host: &str) {
        let set = Ask::SetRoute {
            mark: self.front.mark(),
            unit,
            sites: vec![SiteRoute {
                hosts: vec![host.into()],
                reach: None,
                backends: Sides { source: free_address(), target: free_address() },
            }],
            write_side: Side::Source,
            concurrency: Sides { source: 64, target: 64 },
        };
        assert!(done(&self.front.ask(set).await));
    }

    async fn open(&self, name: &str) -> Open {
        BufReader::new(within(name, self.trust.connect(self.listen, name)).await.unwrap())
    }

    async fn stats(&self, unit: UnitName) -> Stats {
        match self.front.ask(Ask::UnitStats { unit }).await.unwrap() {
            Reply::Stats(stats) => stats,
            reply => panic!("{reply:?}"),
        }
    }
}

fn other() -> UnitName {
    "other".into()
}

async fn line(client: &mut Open) -> String {
    let mut line = String::new();
    // An end without a word of TLS is an end.
    let _ = within("a line", client.read_line(&mut line)).await;
    line.trim_end().to_owned()
}

async fn says(client: &mut Open, text: &str) -> String {
    client.write_all(format!("{text}\n").as_bytes()).await.unwrap();
    line(client).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_unit_waits_and_switches_by_the_name_that_its_clients_ask_for() {
    let mail = Mail::start().await;
    let (mut shop, mut others) = (mail.open(MAIL[0]).await, mail.open(MAIL[1]).await);
    assert_eq!(
        (line(&mut shop).await, line(&mut others).await),
        ("* OK source".into(), "* OK source".into())
    );
    assert_eq!(says(&mut shop, "a NOOP").await, "a NOOP");
    assert!(done(&mail.front.hold("h1").await));
    assert_eq!(line(&mut shop).await, "", "it ended after the hold began");
    assert_eq!(says(&mut others, "a NOOP").await, "a NOOP", "the other unit is not held");
    let waits = tokio::spawn({
        let (trust, listen) = (mail.trust.clone(), mail.listen);
        async move { trust.connect(listen, MAIL[0]).await.unwrap() }
    });
    mail.front.held(1).await;
    let mut later = mail.open(MAIL[1]).await;
    assert_eq!(line(&mut later).await, "* OK source");
    // Longer than a handshake that passes takes: that nothing comes is what is looked at.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waits.is_finished(), "not even its handshake");
    assert!(done(&mail.front.release("h1", Side::Target).await));
    let mut shop = BufReader::new(within("its turn", waits).await.unwrap());
    assert_eq!(line(&mut shop).await, "* OK target");
    // A host is a host in any case of its letters, as ever.
    assert_eq!(line(&mut mail.open("MAIL.Shop.Test").await).await, "* OK target");
    assert_eq!(line(&mut mail.open(MAIL[1]).await).await, "* OK source");

    let (shop, other) = (mail.stats(unit()).await, mail.stats(other()).await);
    assert_eq!((shop.tcp.source.connections, shop.tcp.target.connections), (1, 2));
    assert_eq!((other.tcp.source.connections, other.tcp.target.connections), (3, 0));
    assert_eq!((shop.holds[0].closed_streams, other.holds.len()), (1, 0));
    assert_eq!((shop.straggler_count, other.straggler_count), (1, 0));
    // The first message counts with the rest: it alone is longer than what was said since.
    assert!(shop.tcp.target.received > 200, "{:?}", shop.tcp);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_names_no_unit_comes_to_the_fronts_own_side_and_who_speaks_no_tls_nowhere() {
    let mail = Mail::start().await;
    assert!(done(&mail.front.hold("h1").await));
    assert!(done(&mail.front.release("h1", Side::Target).await));
    assert_eq!(line(&mut mail.open(STRANGER).await).await, "* OK source");
    // An address is no name: such a client sends none.
    let stream = TcpStream::connect(mail.listen).await.unwrap();
    let refused = within("an answer", mail.trust.shake("127.0.0.1", stream)).await.unwrap_err();
    assert!(refused.contains("not valid for name"), "the server's certificate came: {refused}");
    let before = mail.front.stats().await.unshaken;
    let mut plain = TcpStream::connect(mail.listen).await.unwrap();
    plain.write_all(b"a LOGIN one x\r\n").await.unwrap();
    let mut answer = Vec::new();
    within("its end", plain.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer[0], 21, "an alert");
    assert_eq!(mail.front.stats().await.unshaken, before + 1);
    // Who never says a word looks whether somebody is there; who stops in the middle does not.
    let mut silent = TcpStream::connect(mail.listen).await.unwrap();
    let mut halfway = TcpStream::connect(mail.listen).await.unwrap();
    halfway.write_all(b"GET /").await.unwrap();
    for stream in [&mut silent, &mut halfway] {
        let _ = within("its end", stream.read_to_end(&mut answer)).await;
    }
    assert_eq!(mail.front.stats().await.unshaken, before + 2);
    let own = mail.stats(unit()).await.tcp;
    assert_eq!((own.source.connections, own.target.connections), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_another_host_than_the_only_units_is_not_that_units() {
    let mail = Mail::alone().await;
    mail.put(unit(), MAIL[0]).await;
    let mut stranger = mail.open(STRANGER).await;
    assert_eq!(line(&mut stranger).await, "* OK source");
    assert!(done(&mail.front.hold("h1").await));
    assert_eq!(says(&mut stranger, "a NOOP").await, "a NOOP", "it is not held");
    assert_eq!(line(&mut mail.open(STRANGER).await).await, "* OK source", "nor who comes then");
    assert!(done(&mail.front.release("h1", Side::Target).await));
    assert_eq!(line(&mut mail.open(STRANGER).await).await, "* OK source", "nor moved");
    assert_eq!(line(&mut mail.open(MAIL[0]).await).await, "* OK target");
    // An address is no name: such a client sends none.
    let stream = TcpStream::connect(mail.listen).await.unwrap();
    assert!(within("an answer", mail.trust.shake("127.0.0.1", stream)).await.is_err());
    let stats = mail.stats(unit()).await;
    assert_eq!((stats.tcp.source.connections, stats.tcp.target.connections), (0, 1));
    assert_eq!(stats.holds[0].closed_streams, 0);
    // Strangers count for the front alone.
    let all = mail.front.stats().await.tcp;
    assert_eq!((all.source.connections, all.target.connections), (4, 1));
    assert!(all.source.received > 800, "four first messages of TLS: {all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_there_before_the_unit_came_is_held_with_it() {
    let mail = Mail::alone().await;
    let (mut early, mut stranger) = (mail.open(MAIL[0]).await, mail.open(STRANGER).await);
    assert_eq!(line(&mut early).await, "* OK source");
    assert_eq!(line(&mut stranger).await, "* OK source");
    mail.put(unit(), MAIL[0]).await;
    until("it is one of the unit's", async || mail.front.status().await.streams == 1).await;
    assert_eq!(says(&mut early, "a NOOP").await, "a NOOP", "it goes on");
    assert!(done(&mail.front.hold("h1").await));
    assert_eq!(line(&mut early).await, "", "it ended after the hold began");
    assert_eq!(says(&mut stranger, "a NOOP").await, "a NOOP");
    assert_eq!(mail.front.status().await.streams, 0);
}
