//! Ports for TCP: a server that speaks first, and bytes that nobody understands.

use crate::support::*;
use segue_front::PortOptions;
use segue_front::control::{Reply, Request as Ask, Stats};
use segue_model::plan::TcpPlan;
use segue_model::{Side, Sides, UnitName};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A server that greets with its name, then repeats each line; at the client's end it says how
/// many lines there were, if the client still listens.
async fn server(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                write.write_all(format!("* OK {name}\n").as_bytes()).await?;
                let mut count = 0;
                while let Some(line) = lines.next_line().await? {
                    count += 1;
                    write.write_all(format!("{line}\n").as_bytes()).await?;
                }
                write.write_all(format!("{count} lines\n").as_bytes()).await
            });
        }
    });
    address
}

struct Mail {
    front: Running,
    listen: SocketAddr,
}

impl Mail {
    /// A front with one web port and one for TCP.
    async fn start(change: impl FnOnce(&mut PortOptions)) -> Self {
        let shop = Shop::start("source").await;
        let folder = Arc::new(TempDir::new().unwrap());
        let mut options = options(folder.path(), free_address(), shop.address);
        let backends = Sides { source: server("source").await, target: server("target").await };
        let tcp = TcpPlan { backends, proxy_out: false, by_name: false };
        let mut port = tcp_port(free_address(), tcp);
        change(&mut port);
        let listen = port.listen;
        options.trusted = vec!["127.0.0.1".parse().unwrap()];
        options.ports.push(port);
        let front = Running::start(options, quick(), folder).await;
        front.claim(1).await.unwrap();
        front.set_route(&shop, &shop, 64).await.unwrap();
        Self { front, listen }
    }

    async fn client(&self) -> BufReader<TcpStream> {
        BufReader::new(TcpStream::connect(self.listen).await.unwrap())
    }

    async fn stats(&self) -> Stats {
        match self.front.ask(Ask::UnitStats { unit: unit() }).await.unwrap() {
            Reply::Stats(stats) => stats,
            other => panic!("{other:?}"),
        }
    }
}

async fn line(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    within("a line", client.read_line(&mut line)).await.unwrap();
    line.trim_end().to_owned()
}

async fn says(client: &mut BufReader<TcpStream>, text: &str) -> String {
    client.write_all(format!("{text}\n").as_bytes()).await.unwrap();
    line(client).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_ends_what_is_open_and_greets_those_who_wait_from_the_other_side() {
    let mail = Mail::start(|_| {}).await;
    let mut open = mail.client().await;
    assert_eq!(line(&mut open).await, "* OK source");
    assert_eq!(says(&mut open, "a001 NOOP").await, "a001 NOOP");
    let status = mail.front.status().await;
    assert_eq!((status.in_flight, status.streams), (0, 1), "nothing that a hold waits for");
    assert!(done(&mail.front.hold("h1").await));
    assert_eq!(line(&mut open).await, "", "it ended after the hold began");
    let mut waits = mail.client().await;
    mail.front.held(1).await;
    let greeting = tokio::time::timeout(Duration::from_millis(100), waits.fill_buf()).await;
    assert!(greeting.is_err(), "nobody greets while the unit is held");
    assert!(done(&mail.front.release("h1", Side::Target).await));
    assert_eq!(line(&mut waits).await, "* OK target");
    assert_eq!(says(&mut waits, "a002 NOOP").await, "a002 NOOP");

    let stats = mail.stats().await;
    assert_eq!(stats.holds[0].closed_streams, 1);
    let [source, target] = [&stats.tcp.source, &stats.tcp.target];
    assert_eq!((source.connections, source.failed), (1, 0));
    assert_eq!((source.received, source.sent), (10, 22));
    assert_eq!((target.connections, target.received, target.sent), (1, 10, 22));
    // The front stands at the source: whoever still comes there is late.
    assert_eq!(get(mail.front.address, "/").await.side(), "target");
    let stats = mail.stats().await;
    assert_eq!((stats.straggler_count, stats.stragglers.len()), (1, 1));
    let late = &stats.stragglers[0];
    assert_eq!((late.client, &late.unit), ("127.0.0.1".parse().unwrap(), &unit()));
    assert_eq!(late.sides, Sides { source: 0, target: 2 });
    assert!(late.last_ms <= stats.boot_ms && late.last_ms + 10_000 > stats.boot_ms);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_lasts_until_its_own_end() {
    let mail = Mail::start(|_| {}).await;
    let mut client = mail.client().await;
    assert_eq!(line(&mut client).await, "* OK source");
    client.write_all(b"one\ntwo\n").await.unwrap();
    client.shutdown().await.unwrap();
    let mut rest = String::new();
    within("the rest", client.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest, "one\ntwo\n2 lines\n");
    until("its stream is over", async || mail.front.status().await.streams == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_said_all_still_hears() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = listener.local_addr().unwrap();
    let plan = TcpPlan {
        backends: Sides { source: backend, target: backend },
        proxy_out: false,
        by_name: false,
    };
    let mail = Mail::start(|port| port.tcp = Some(plan)).await;
    let mut client = mail.client().await;
    let (mut server, _) = within("a connection", listener.accept()).await.unwrap();
    server.write_all(b"bye\n").await.unwrap();
    server.shutdown().await.unwrap();
    let mut rest = String::new();
    within("the server's end", client.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest, "bye\n");
    client.write_all(b"last words").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    within("the client's end", server.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "last words");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transfer_is_whole_and_counted_while_it_runs() {
    let mail = Mail::start(|_| {}).await;
    let client = TcpStream::connect(mail.listen).await.unwrap();
    let (read, mut write) = client.into_split();
    let mut read = BufReader::new(read);
    let mut greeting = String::new();
    read.read_line(&mut greeting).await.unwrap();
    let sending = tokio::spawn(async move {
        let line = [vec![b'x'; 65_535], b"\n".to_vec()].concat();
        for _ in 0..128 {
            write.write_all(&line).await.unwrap();
        }
    });
    let mut back = vec![0; 128 << 16];
    within("all of it", read.read_exact(&mut back)).await.unwrap();
    sending.await.unwrap();
    assert!(back.chunks(1 << 16).all(|line| line[0] == b'x' && line[65_535] == b'\n'));
    let source = mail.stats().await.tcp.source;
    assert_eq!(source.received, 128 << 16);
    assert!(source.sent >= (128 << 16) + 12, "with the greeting: {}", source.sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_the_client_is_goes_on_to_the_server() {
    let seen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = seen.local_addr().unwrap();
    let mail = Mail::start(|port| {
        let backends = Sides { source: backend, target: backend };
        (port.proxy_in, port.tcp) =
            (true, Some(TcpPlan { backends, proxy_out: true, by_name: false }));
    })
    .await;
    let mut client = TcpStream::connect(mail.listen).await.unwrap();
    client.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 993\r\nhello").await.unwrap();
    let (mut server, _) = within("a connection", seen.accept()).await.unwrap();
    let mut header = [0; 33];
    within("a header", server.read_exact(&mut header)).await.unwrap();
    assert_eq!(&header[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    assert_eq!(
        (&header[16..20], &header[24..26]),
        (&[192, 0, 2, 7][..], &4711_u16.to_be_bytes()[..])
    );
    assert_eq!(&header[26..28], mail.listen.port().to_be_bytes());
    assert_eq!(&header[28..], b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_unit_has_no_place_beside_a_port_for_tcp() {
    let mail = Mail::start(|_| {}).await;
    let address = mail.front.address;
    let set = Ask::SetRoute {
        mark: mail.front.mark(),
        unit: UnitName::from("other"),
        sites: vec![segue_front::control::SiteRoute {
            hosts: vec!["other.test".into()],
            reach: None,
            backends: Sides { source: address, target: address },
        }],
        write_side: Side::Source,
        concurrency: Sides { source: 1, target: 1 },
    };
    assert_eq!(code(mail.front.ask(set).await), "SG0116");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_served_is_told_by_the_end_of_the_connection() {
    let gone = free_address();
    let backends = Sides { source: gone, target: gone };
    let change = |port: &mut PortOptions| {
        port.tcp = Some(TcpPlan { backends, proxy_out: false, by_name: false })
    };
    let mail = Mail::start(change).await;
    let mut client = mail.client().await;
    assert_eq!(line(&mut client).await, "");
    assert_eq!(mail.stats().await.tcp.source.failed, 1);
    let mut hold = mail.front.hold_request("h1");
    if let Ask::Hold { age_max_ms, .. } = &mut hold {
        *age_max_ms = 150;
    }
    assert!(done(&mail.front.ask(hold).await));
    let (mut client, began) = (mail.client().await, Instant::now());
    assert_eq!(line(&mut client).await, "", "it waited for as long as it may");
    assert!(began.elapsed() >= Duration::from_millis(150));
    let stats = mail.stats().await;
    assert_eq!((stats.tcp.source.failed, stats.holds[0].refused_503), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_overtaken_by_a_hold_on_the_way_to_a_server_waits_as_well() {
    // A server whose queue is full: a connection to it stands only after it has taken others.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let source = full.local_addr().unwrap();
    let mut before = Vec::new();
    let waits = Duration::from_millis(200);
    while let Ok(stream) = tokio::time::timeout(waits, TcpStream::connect(source)).await {
        before.push(stream.unwrap());
    }
    let target = server("target").await;
    let backends = Sides { source, target };
    let plan = TcpPlan { backends, proxy_out: false, by_name: false };
    let mail = Mail::start(|port| port.tcp = Some(plan)).await;
    let mut client = mail.client().await;
    until("it is on its way", async || mail.front.status().await.in_flight == 1).await;
    assert!(done(&mail.front.hold("h1").await));
    let taking = tokio::spawn(async move {
        let mut taken = Vec::new();
        loop {
            taken.push(full.accept().await);
        }
    });
    mail.front.held(1).await;
    assert!(done(&mail.front.release("h1", Side::Target).await));
    assert_eq!(line(&mut client).await, "* OK target");
    let stats = mail.stats().await;
    assert_eq!((stats.tcp.source.connections, stats.tcp.target.connections), (0, 1));
    assert_eq!((stats.tcp.source.failed, stats.holds[0].closed_streams), (0, 0));
    taking.abort();
}
