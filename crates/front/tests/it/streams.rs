//! Answers that never end by themselves.

use crate::recorder::{Recorder, read_to};
use crate::support::*;
use crate::system::{End, watched};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1 as client;
use hyper_util::rt::TokioIo;
use segue_front::control::{Reply, Request as Ask, SiteRoute};
use segue_model::Side;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_event_streams_cleanly_at_a_hold_and_counts_them() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    let stream = TcpStream::connect(front.address).await.unwrap();
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = request("GET", "/events", "").map(|_| Full::<bytes::Bytes>::default());
    let response = within("a head", sender.send_request(request)).await.unwrap();
    let mut body = response.into_body();
    let first = within("an event", body.frame()).await.unwrap().unwrap();
    assert!(first.into_data().unwrap().starts_with(b"data: "));
    let status = front.status().await;
    assert_eq!((status.in_flight, status.streams), (0, 1));
    // It is older than what is quiet, and yet does not keep the hold from beginning.
    let mut ask = front.hold_request("h1");
    if let Ask::Hold { quiet_age_ms, .. } = &mut ask {
        *quiet_age_ms = 0;
    }
    assert!(done(&front.ask(ask).await));
    let idle = Ask::WaitIdle { unit: unit(), timeout_ms: 1_000 };
    assert!(matches!(front.ask(idle).await, Ok(Reply::Idle { .. })));
    // The last chunk came: an error here would be a torn connection.
    within("the end", body.collect()).await.unwrap();
    until("it is gone", async || front.status().await.streams == 0).await;
    assert_eq!(front.stats().await.holds[0].closed_streams, 1);
    assert!(done(&front.release("h1", Side::Target).await));
    assert_eq!(front.stats().await.sides.source.failed, 0);
    front.stop().await;
}

/// A backend that changes the protocol and then sends back what it gets.
async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                assert!(
                    String::from_utf8_lossy(&head).to_ascii_lowercase().contains("upgrade: echo")
                );
                let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                               Upgrade: echo\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_upgraded_connections_on_and_ends_them_at_a_hold() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    let backend = echo().await;
    let route = Ask::SetRoute {
        mark: front.mark(),
        unit: unit(),
        sites: vec![SiteRoute {
            hosts: vec![HOST.into()],
            backends: segue_model::Sides { source: backend, target: backend },
            reach: None,
        }],
        write_side: Side::Source,
        concurrency: segue_model::Sides { source: 1, target: 1 },
    };
    assert!(done(&front.ask(route).await));
    let mut client = TcpStream::connect(front.address).await.unwrap();
    let head = "GET /ws HTTP/1.1\r\nHost: shop.example.test\r\nConnection: keep-alive, Upgrade\r\n\
                Upgrade: echo\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(within("a head", client.read_u8()).await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101") && answer.contains("upgrade: echo"), "{answer}");
    client.write_all(b"ping").await.unwrap();
    let mut echoed = [0; 4];
    within("the echo", client.read_exact(&mut echoed)).await.unwrap();
    assert_eq!(&echoed, b"ping");
    until("it counts as a stream", async || front.status().await.streams == 1).await;
    // A client that vanishes, or a server, is found out about by the kernel.
    until("both ends are watched", async || {
        let (client, server) =
            (watched(front.address, End::Own, 60), watched(backend, End::Other, 60));
        client.0 >= 1 && client.0 == client.1 && server == (1, 1)
    })
    .await;
    assert!(done(&front.hold("h1").await));
    assert_eq!(within("the end", client.read(&mut echoed)).await.unwrap(), 0);
    until("it is gone", async || front.status().await.streams == 0).await;
    assert_eq!(front.stats().await.holds[0].closed_streams, 1);
    front.stop().await;
}

/// A backend that reads a request with the body it says it has, changes the protocol, and sends
/// back what comes then. It declines what is asked for at `/no`.
struct Attach {
    address: std::net::SocketAddr,
    met: AtomicUsize,
    asked: Mutex<Vec<String>>,
}

impl Attach {
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let this = Arc::new(Self { address, met: AtomicUsize::new(0), asked: Mutex::default() });
        let serving = this.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.met.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        this
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let length =
            head.split("content-length: ").nth(1).map_or("0", |v| v.lines().next().unwrap());
        for _ in 0..length.parse::<usize>().unwrap() {
            request.push(stream.read_u8().await.unwrap());
        }
        if head.starts_with("get /no ") {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno";
            return stream.write_all(answer).await.unwrap();
        }
        self.asked.lock().unwrap().push(String::from_utf8(request).unwrap());
        let answer = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_any_method_may_leave_http_and_its_body_goes_first() {
    let backend = Attach::start().await;
    let shop = Shop::at(backend.address, "source");
    let front = Running::routed(&shop, &shop).await;
    for (count, body) in [(1, r#"{"Detach":false,"Tty":true}"#), (2, "")] {
        let mut client = TcpStream::connect(front.address).await.unwrap();
        // What was declined before on the same connection changes nothing.
        let ask = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
        let no = format!("GET /no HTTP/1.1\r\nHost: {HOST}\r\n{ask}\r\n");
        client.write_all(no.as_bytes()).await.unwrap();
        let answer = within("an answer", read_to(&mut client, "\r\n\r\nno")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let head = format!(
            "POST /exec/1/start HTTP/1.1\r\nHost: {HOST}\r\n{ask}Content-Length: {}\r\n\r\n",
            body.len()
        );
        client.write_all(head.as_bytes()).await.unwrap();
        if !body.is_empty() {
            client.write_all(&body.as_bytes()[..5]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(backend.met.load(Ordering::SeqCst), 1, "nothing goes on before it is whole");
            client.write_all(&body.as_bytes()[5..]).await.unwrap();
        }
        let answer = within("a head", read_to(&mut client, "\r\n\r\n")).await.to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 101") && answer.contains("upgrade: tcp"), "{answer}");
        client.write_all(b"ls\n").await.unwrap();
        assert_eq!(within("the echo", read_to(&mut client, "\n")).await, "ls\n");
        let asked = backend.asked.lock().unwrap().clone();
        assert_eq!(asked.len(), count);
        let (head, rest) = asked[count - 1].split_once("\r\n\r\n").unwrap();
        assert_eq!(rest, body);
        let head = head.to_ascii_lowercase();
        assert!(head.contains("upgrade: tcp") && head.contains("connection: upgrade"), "{head}");
        until("it is a stream", async || front.status().await.streams == 1).await;
        drop(client);
        until("it is gone", async || front.status().await.streams == 0).await;
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_unknown_length_or_a_long_one_stays_in_http() {
    let recorder = Recorder::start().await;
    let shop = Shop::at(recorder.address, "source");
    let front = Running::routed(&shop, &shop).await;
    let long = "x".repeat((16 << 10) + 1);
    let chunked = "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".to_owned();
    let sized = format!("Content-Length: {}\r\n\r\n{long}", long.len());
    for (rest, body) in [(chunked, "hi"), (sized, long.as_str())] {
        let mut client = TcpStream::connect(front.address).await.unwrap();
        let ask = format!(
            "POST /up HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n{rest}\
             GET /next HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        );
        client.write_all(ask.as_bytes()).await.unwrap();
        let mut answers = String::new();
        while answers.matches("HTTP/1.1 200 OK").count() < 2 || !answers.ends_with("ok\n") {
            let mut room = [0; 4_096];
            let read = within("both answers", client.read(&mut room)).await.unwrap();
            assert!(read > 0, "{answers}");
            answers += std::str::from_utf8(&room[..read]).unwrap();
        }
        let seen = recorder.requests();
        let [.., up, next] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!((up.target.as_str(), next.target.as_str()), ("/up", "/next"));
        assert_eq!(up.body, body.as_bytes());
        assert!(!up.head.to_ascii_lowercase().contains("upgrade"), "{}", up.head);
    }
    front.stop().await;
}
