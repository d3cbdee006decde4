//! Clients that want to keep the front from serving others.

use crate::support::*;
use crate::system::Peak;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use segue_front::Limits;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: shop.example.test\r\n\r\n";

/// Lets this process open as many files as a front needs for so many connections.
fn make_room(connections: u64) {
    let needed = connections * 2 + 64;
    let now = getrlimit(Resource::Nofile);
    let maximum = now.maximum.map(|most| most.max(needed));
    let current = maximum.map_or(Some(needed), |most| Some(most.max(needed)));
    let raised = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    assert!(
        raised.is_ok(),
        "{connections} connections need {needed} open files, and {now:?} are allowed: set \
         `ulimit -Hn {needed}`, or LimitNOFILE={needed} of the service, or run this as root"
    );
}

/// A client that behaves, from another address. It asks again and again; none of its
/// requests may fail or take long.
struct Neighbour {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<usize>,
}

impl Neighbour {
    fn of(front: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let asking = tokio::spawn(async move {
            let mut served = 0;
            while !until.load(Ordering::Relaxed) {
                let began = Instant::now();
                let mut stream = connect(front, "127.0.0.2").await.unwrap();
                stream.write_all(GET).await.unwrap();
                let mut answer = [0; 15];
                within("an answer", stream.read_exact(&mut answer)).await.unwrap();
                assert_eq!(&answer, b"HTTP/1.1 200 OK");
                assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
                served += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            served
        });
        Self { stop, asking }
    }

    async fn was_served(self) {
        self.stop.store(true, Ordering::Relaxed);
        assert!(within("the neighbour ends", self.asking).await.unwrap() > 0);
    }
}

async fn connect(front: SocketAddr, from: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{from}:0").parse().unwrap())?;
    socket.connect(front).await
}

/// Connections that say nothing, from a process of their own: together with the other ends
/// they would be more files than one may have open. They come from a hundred addresses, so
/// that those which other tests used lately leave enough ports.
struct Idle(Child);

impl Idle {
    async fn start(front: SocketAddr, count: u64) -> Self {
        let script = format!(
            "use Socket; for (1..{count}) {{ socket($s[$_], PF_INET, SOCK_STREAM, 0) or die; \
             bind($s[$_], sockaddr_in(0, inet_aton('127.0.6.' . (1 + $_ % 100)))) or die \"$_: $!\"; \
             connect($s[$_], sockaddr_in({}, inet_aton('{}'))) or die \"$_: $!\" }} \
             print \"there\\n\"; close STDOUT; <STDIN>",
            front.port(),
            front.ip()
        );
        let mut perl = Command::new("perl");
        perl.args(["-e", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = perl.kill_on_drop(true).spawn().expect("perl: apt-get install perl");
        let mut said = String::new();
        let mut out = child.stdout.take().unwrap();
        let read = out.read_to_string(&mut said);
        tokio::time::timeout(DEADLINE * 3, read).await.expect("all connect").unwrap();
        assert_eq!(said, "there\n");
        Self(child)
    }

    async fn end(mut self) {
        self.0.kill().await.unwrap();
    }
}

/// Whether the other end has closed, with or without having read everything.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 4_096];
    loop {
        match stream.read(&mut bytes).await {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => {
                return matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
            }
        }
    }
}

async fn front(limits: Limits) -> (Running, Arc<Shop>) {
    let shop = Shop::start("source").await;
    (Running::routed_with(&shop, &shop, limits, 64).await, shop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_of_one_client_leave_room_for_others() {
    let (front, _shop) = front(Limits { connections_per_client: 50, ..quick() }).await;
    let neighbour = Neighbour::of(front.address);
    let peak = Peak::begin();
    let mut kept = Vec::new();
    for _ in 0..10_000 {
        let mut stream = connect(front.address, "127.0.0.1").await.unwrap();
        // Refused ones are seen closed at once.
        let probe = tokio::time::timeout(Duration::from_millis(1), is_closed(&mut stream)).await;
        if probe != Ok(true) {
            kept.push(stream);
        }
        kept.truncate(500);
    }
    let stats = front.stats().await;
    assert!(stats.connections <= 50 + 2, "{} connections are open", stats.connections);
    assert!(stats.turned_away > 9_000, "{} were turned away", stats.turned_away);
    assert!(peak.grown_mib() < 64, "{} MiB", peak.grown_mib());
    drop(kept);
    neighbour.was_served().await;
    // Whoever leaves makes room.
    until("there is room again", async || {
        let mut stream = connect(front.address, "127.0.0.1").await.unwrap();
        let _ = stream.write_all(GET).await;
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.is_ok_and(|_| &answer == b"HTTP/1.1 200 OK")
    })
    .await;
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_connections_cost_little_each() {
    // What 20,000 open files are enough for, which is what some machines let nobody exceed.
    const MOST: u64 = 9_900;
    make_room(MOST + 10);
    let limits = Limits { connections_per_client: 100_000, ..quick() };
    let (front, _shop) = front(limits).await;
    let neighbour = Neighbour::of(front.address);
    let peak = Peak::begin();
    let idle = Idle::start(front.address, MOST).await;
    until("all are taken", async || front.stats().await.connections >= MOST).await;
    let grown = peak.grown_mib();
    assert!(grown * 1_024 < MOST * 24, "{grown} MiB for {MOST} connections");
    neighbour.was_served().await;
    idle.end().await;
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_may_be_are_refused_and_the_others_served() {
    let (front, _shop) = front(Limits { connections: 20, ..quick() }).await;
    let mut all = Vec::new();
    for _ in 0..60 {
        all.push(connect(front.address, "127.0.0.1").await.unwrap());
    }
    until("they were refused", async || front.stats().await.turned_away >= 40).await;
    assert_eq!(front.stats().await.connections, 20);
    all.truncate(10);
    until("there is room again", async || {
        send(front.address, request("GET", "/", "")).await.is_ok_and(|a| a.status == 200)
    })
    .await;
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_never_end_end_with_their_time() {
    let limits = Limits { head_read: Duration::from_millis(600), ..quick() };
    let (front, _shop) = front(limits).await;
    let neighbour = Neighbour::of(front.address);
    let slow = |front: SocketAddr| async move {
        let mut stream = connect(front, "127.0.0.1").await.unwrap();
        let began = Instant::now();
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example.test\r\nX: ").await;
        while stream.write_all(b"x").await.is_ok() {
            assert!(began.elapsed() < DEADLINE, "the head may go on for ever");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let peak = Peak::begin();
    let all: Vec<_> = (0..200).map(|_| tokio::spawn(slow(front.address))).collect();
    for one in all {
        within("a slow head ends", one).await.unwrap();
    }
    assert!(peak.grown_mib() < 16, "{} MiB", peak.grown_mib());
    neighbour.was_served().await;
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_drip_are_ended_and_slow_ones_are_not() {
    let limits = Limits { body_grace: Duration::from_millis(400), body_rate: 1_000, ..quick() };
    let (front, shop) = front(limits).await;
    let neighbour = Neighbour::of(front.address);
    let post = |bytes: &'static [u8], pause: u64| {
        let front = front.address;
        tokio::spawn(async move {
            let mut stream = connect(front, "127.0.0.1").await.unwrap();
            let head =
                "POST /up HTTP/1.1\r\nHost: shop.example.test\r\nContent-Length: 6000\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            for _ in 0..6_000 / bytes.len() {
                if stream.write_all(bytes).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            let mut answer = vec![0; 12];
            let _ = stream.read_exact(&mut answer).await;
            String::from_utf8(answer).unwrap()
        })
    };
    let drips: Vec<_> = (0..50).map(|_| post(b"x", 20)).collect();
    let slow = post(&[b'x'; 600], 100);
    for drip in drips {
        let answer = within("a body that drips ends", drip).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408") || answer.starts_with('\0'), "{answer}");
    }
    assert_eq!(within("a slow body arrives", slow).await.unwrap(), "HTTP/1.1 200");
    assert_eq!(shop.paths().iter().filter(|path| *path == "/up").count(), 1);
    neighbour.was_served().await;
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_too_long_or_with_too_many_fields_are_refused() {
    let (front, shop) = front(Limits { headers: 20, ..quick() }).await;
    let begin = "GET / HTTP/1.1\r\nHost: shop.example.test\r\n";
    let many = "A: b\r\n".repeat(20);
    let long = format!("X: {}\r\n", "x".repeat(70_000));
    for fields in [&many, &long] {
        let mut stream = connect(front.address, "127.0.0.1").await.unwrap();
        let _ = stream.write_all(format!("{begin}{fields}\r\n").as_bytes()).await;
        let mut answer = [0; 12];
        let read = within("an answer", stream.read_exact(&mut answer)).await;
        assert!(read.is_err() || &answer == b"HTTP/1.1 431", "{}", answer.escape_ascii());
    }
    assert_eq!(shop.paths(), [] as [&str; 0]);
    assert_eq!(get(front.address, "/").await.status, 200);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_without_end_is_kept_up_to_where_it_is_refused() {
    let (front, _shop) = front(quick()).await;
    let line = format!("X: {}\r\n", "x".repeat(8_000));
    let peak = Peak::begin();
    let endless = |front: SocketAddr, line: String| async move {
        let mut stream = connect(front, "127.0.0.1").await.unwrap();
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example.test\r\n").await;
        let mut sent = 0;
        while sent < 64 << 20 && stream.write_all(line.as_bytes()).await.is_ok() {
            sent += line.len();
        }
        sent
    };
    let all: Vec<_> =
        (0..100).map(|_| tokio::spawn(endless(front.address, line.clone()))).collect();
    for one in all {
        assert!(within("an endless head ends", one).await.unwrap() < 64 << 20);
    }
    // 64 KiB each, twice while they move, and not 64 MiB.
    assert!(peak.grown_mib() < 48, "{} MiB", peak.grown_mib());
    until("all are counted", async || front.stats().await.unclear == 100).await;
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_closed_connections_do_not_stay() {
    let (front, _shop) = front(quick()).await;
    let neighbour = Neighbour::of(front.address);
    let peak = Peak::begin();
    let mut all = Vec::new();
    for text in [&b""[..], b"GET / HT", GET].into_iter().cycle().take(300) {
        let mut stream = connect(front.address, "127.0.0.1").await.unwrap();
        stream.write_all(text).await.unwrap();
        stream.shutdown().await.unwrap();
        all.push(stream);
    }
    until("they are gone", async || front.stats().await.connections < 10).await;
    assert!(peak.grown_mib() < 16, "{} MiB", peak.grown_mib());
    neighbour.was_served().await;
    drop(all);
    front.stop().await;
}

/// A backend whose answers are long.
async fn fountain() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
                let water = vec![b'w'; 64 << 10];
                let mut sent = stream.write_all(head).await;
                while sent.is_ok() {
                    sent = stream.write_all(&water).await;
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_and_does_not_read_is_left() {
    let folder = Arc::new(TempDir::new().unwrap());
    let options = options(folder.path(), free_address(), fountain().await);
    let limits = Limits { taken_idle: Duration::from_millis(500), ..quick() };
    let front = Running::start(options, limits, folder).await;
    let peak = Peak::begin();
    let mut all = Vec::new();
    for _ in 0..30 {
        let mut stream = connect(front.address, "127.0.0.1").await.unwrap();
        stream.write_all(GET).await.unwrap();
        all.push(stream);
    }
    until("they are taken", async || front.stats().await.connections >= 30).await;
    // Other tests of the process grow meanwhile; unbounded, thirty answers of a gigabyte would more.
    assert!(peak.grown_mib() < 256, "{} MiB", peak.grown_mib());
    until("they are gone", async || front.stats().await.connections < 5).await;
    drop(all);
    front.stop().await;
}
