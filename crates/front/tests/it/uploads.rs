//! Requests whose bodies take longer than answers may.

use crate::http2::{Http2, asking, trusting};
use crate::recorder::read_to;
use crate::support::*;
use crate::system::Peak;
use crate::tls::tls_front;
use bytes::Bytes;
use segue_front::Limits;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const ANSWER: Duration = Duration::from_millis(400);
const PART: &[u8] = &[b'p'; 1_000];

fn limits() -> Limits {
    Limits { answer: ANSWER, ..quick() }
}

fn head(path: &str, length: u64) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n")
}

/// Sends so many parts, each a while after the other.
async fn drip(stream: &mut TcpStream, parts: u32) {
    for _ in 0..parts {
        tokio::time::sleep(ANSWER / 4).await;
        stream.write_all(PART).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_may_take_several_times_as_long_as_an_answer() {
    let shop = Shop::start("source").await;
    let front = Running::routed_with(&shop, &shop, limits(), 64).await;
    let mut client = TcpStream::connect(front.address).await.unwrap();
    let began = Instant::now();
    client.write_all(head("/long", 12_000).as_bytes()).await.unwrap();
    drip(&mut client, 12).await;
    assert!(began.elapsed() >= ANSWER * 3);
    let answer = within("an answer", read_to(&mut client, "source /long")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(shop.seen()[0].body, PART.repeat(12));
    // How long the client took is not how long the answer took.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let windows = front.stats().await.windows.source;
    let longest = windows.iter().map(|window| window.max_ms).fold(0.0, f64::max);
    assert!(longest > 0.0 && longest < 300.0, "{windows:?}");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_over_http_2_may_as_well() {
    let shop = Shop::start("source").await;
    let (front, certificate) = tls_front(&shop, &shop, limits()).await;
    let client = Http2::open(front.address, &trusting(&certificate), HOST).await;
    let (answer, mut body) =
        client.sender().await.send_request(asking("POST", HOST, "/long"), false).unwrap();
    for number in 1..=12 {
        tokio::time::sleep(ANSWER / 4).await;
        body.send_data(Bytes::from_static(PART), number == 12).unwrap();
    }
    assert_eq!(within("an answer", answer).await.unwrap().status(), 200);
    assert_eq!(shop.seen()[0].body, PART.repeat(12));
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stalls_ends_by_the_rule_for_bodies() {
    let shop = Shop::start("source").await;
    let limits = Limits { body_idle: ANSWER * 3, ..limits() };
    let front = Running::routed_with(&shop, &shop, limits, 64).await;
    let mut client = TcpStream::connect(front.address).await.unwrap();
    client.write_all(head("/stalls", 12_000).as_bytes()).await.unwrap();
    drip(&mut client, 3).await;
    let stalled = Instant::now();
    let answer = within("an answer", read_to(&mut client, "\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let took = stalled.elapsed();
    assert!(took > ANSWER * 2 && took < ANSWER * 8, "{took:?}");
    assert_eq!(shop.paths(), [] as [&str; 0], "it is not whole there");
    assert_eq!(front.stats().await.sides.source.failed, 0, "the client's own doing");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_never_answers_has_its_time_from_the_last_byte_on() {
    let shop = Shop::start("source").await;
    let front = Running::routed_with(&shop, &shop, limits(), 64).await;
    let mut client = TcpStream::connect(front.address).await.unwrap();
    client.write_all(head("/hang", 8_000).as_bytes()).await.unwrap();
    drip(&mut client, 8).await;
    let sent = Instant::now();
    let answer = within("an answer", read_to(&mut client, "\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    let took = sent.elapsed();
    assert!(took > ANSWER * 3 / 4 && took < ANSWER * 6, "{took:?}");
    assert_eq!(front.stats().await.sides.source.failed, 1);
    shop.let_go();
    front.stop().await;
}

/// A backend of one request. It says something when it has the head, takes the body slowly, and says
/// the rest.
struct Sink {
    address: SocketAddr,
    taken: Arc<AtomicU64>,
    ended: Arc<AtomicU64>,
}

struct Habit {
    early: &'static str,
    /// Before the first part.
    first: Duration,
    part: usize,
    pause: Duration,
    whole: u64,
    late: &'static str,
}

impl Sink {
    async fn start(habit: Habit) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // So that what it does not take stays with the front.
        socket.set_recv_buffer_size(64 << 10).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(16).unwrap();
        let address = listener.local_addr().unwrap();
        let (taken, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (count, over) = (taken.clone(), ended.clone());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(habit.early.as_bytes()).await.unwrap();
            tokio::time::sleep(habit.first).await;
            let (mut part, mut filled) = (vec![0; habit.part], 0);
            while count.load(Ordering::SeqCst) < habit.whole {
                match stream.read(&mut part[filled..]).await {
                    Ok(more) if more > 0 => {
                        count.fetch_add(more as u64, Ordering::SeqCst);
                        filled += more;
                    }
                    _ => break,
                }
                if filled == part.len() {
                    filled = 0;
                    tokio::time::sleep(habit.pause).await;
                }
            }
            let _ = stream.write_all(habit.late.as_bytes()).await;
            over.store(1, Ordering::SeqCst);
            let _ = stream.read(&mut part).await;
        });
        Self { address, taken, ended }
    }

    fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    fn shop(&self) -> Shop {
        Shop::at(self.address, "source")
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_takes_nothing_is_late_and_gets_no_more_of_it() {
    const WHOLE: u64 = 64 << 20;
    let (part, pause) = (64 << 10, Duration::ZERO);
    // It looks at the body long after the client was told that it failed.
    let habit = Habit { early: "", first: ANSWER * 6, part, pause, whole: WHOLE, late: OK };
    let sink = Sink::start(habit).await;
    let front = Running::routed_with(&sink.shop(), &sink.shop(), limits(), 64).await;
    let client = TcpStream::connect(front.address).await.unwrap();
    let (mut read, mut write) = client.into_split();
    let sending = tokio::spawn(async move {
        let _ = write.write_all(head("/stuck", WHOLE).as_bytes()).await;
        let part = vec![b'p'; 64 << 10];
        while write.write_all(&part).await.is_ok() {}
    });
    let began = Instant::now();
    assert_eq!(within("an answer", status(&mut read)).await, "HTTP/1.1 504");
    assert!(began.elapsed() < ANSWER * 5, "{:?}", began.elapsed());
    until("the backend sees its end", async || sink.ended.load(Ordering::SeqCst) == 1).await;
    assert!(sink.taken() < WHOLE / 2, "{} of {WHOLE} bytes", sink.taken());
    assert_eq!(front.stats().await.sides.source.failed, 1);
    until("nothing of it runs", async || front.status().await.in_flight == 0).await;
    sending.abort();
    front.stop().await;
}

async fn status(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    String::from_utf8(line.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_began_before_the_upload_was_over_waits_for_it() {
    let habit = Habit {
        early: "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab",
        first: Duration::ZERO,
        part: 1_000,
        pause: Duration::ZERO,
        whole: 12_000,
        late: "cd",
    };
    let sink = Sink::start(habit).await;
    let front = Running::routed_with(&sink.shop(), &sink.shop(), limits(), 64).await;
    let mut client = TcpStream::connect(front.address).await.unwrap();
    client.write_all(head("/both", 12_000).as_bytes()).await.unwrap();
    drip(&mut client, 12).await;
    let answer = within("an answer", read_to(&mut client, "abcd")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("abcd"), "{answer}");
    assert_eq!(sink.taken(), 12_000);
    front.stop().await;
}

/// What a large upload is made of.
const LARGE: u64 = 200 << 20;
static PIECE: [u8; 64 << 10] = [b'l'; 64 << 10];

/// A backend that takes it in three times as long as an answer may take, at least.
async fn slow_reader() -> Sink {
    let (first, pause) = (ANSWER / 2, Duration::from_millis(6));
    Sink::start(Habit { early: "", first, part: 1 << 20, pause, whole: LARGE, late: OK }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_upload_takes_no_more_memory_than_a_small_one() {
    let sink = slow_reader().await;
    let front = Running::routed_with(&sink.shop(), &sink.shop(), limits(), 64).await;
    let (peak, began) = (Peak::begin(), Instant::now());
    let mut client = TcpStream::connect(front.address).await.unwrap();
    client.write_all(head("/large", LARGE).as_bytes()).await.unwrap();
    let sending = async {
        for _ in 0..LARGE / PIECE.len() as u64 {
            client.write_all(&PIECE).await.unwrap();
        }
        status(&mut client).await
    };
    assert_eq!(tokio::time::timeout(DEADLINE * 3, sending).await.unwrap(), "HTTP/1.1 200");
    assert!(began.elapsed() > ANSWER * 3, "{:?}", began.elapsed());
    assert_eq!(sink.taken(), LARGE);
    assert!(peak.grown_mib() < 32, "{} MiB", peak.grown_mib());
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_upload_over_http_2_does_not_either() {
    let sink = slow_reader().await;
    let (front, certificate) = tls_front(&sink.shop(), &sink.shop(), limits()).await;
    let client = Http2::open(front.address, &trusting(&certificate), HOST).await;
    let (peak, began) = (Peak::begin(), Instant::now());
    let mut request = asking("POST", HOST, "/large");
    request.headers_mut().insert("content-length", LARGE.into());
    let (answer, mut body) = client.sender().await.send_request(request, false).unwrap();
    let sending = async {
        let mut left = LARGE;
        while left > 0 {
            body.reserve_capacity(PIECE.len().min(left as usize));
            let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
            let length = room.min(PIECE.len()).min(left as usize);
            left -= length as u64;
            body.send_data(Bytes::from_static(&PIECE[..length]), left == 0).unwrap();
        }
        answer.await.unwrap().status()
    };
    assert_eq!(tokio::time::timeout(DEADLINE * 3, sending).await.unwrap(), 200);
    assert!(began.elapsed() > ANSWER * 3, "{:?}", began.elapsed());
    assert_eq!(sink.taken(), LARGE);
    assert!(peak.grown_mib() < 32, "{} MiB", peak.grown_mib());
    front.stop().await;
}
