//! HTTP/2 at a front's port for TLS.

use crate::certificates::*;
use crate::downgrade::{METHOD, NAMED, SCHEME};
use crate::raw_http2::*;
use crate::recorder::Recorder;
use crate::support::*;
use crate::tls::{tls_front, tls_options};
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use segue_front::Limits;
use segue_front::control::{HoldPolicy, Request as Ask};
use segue_model::Side;
use segue_model::plan::FrontLimits;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// A client's connection.
pub(crate) struct Http2 {
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    pub(crate) async fn open(address: SocketAddr, trust: &Trust, name: &str) -> Self {
        let stream = trust.connect_for(address, name, b"h2").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    pub(crate) async fn ask(
        &self,
        request: Request<()>,
        body: Option<&str>,
    ) -> Result<Answer, h2::Error> {
        let began = Instant::now();
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut stream) = sender.send_request(request, body.is_none())?;
        if let Some(body) = body {
            stream.send_data(Bytes::from(body.to_owned()), true)?;
        }
        let (parts, mut body) = response.await?.into_parts();
        let mut whole = Vec::new();
        while let Some(part) = body.data().await {
            let part = part?;
            body.flow_control().release_capacity(part.len())?;
            whole.extend(part);
        }
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(whole).unwrap(),
            took: began.elapsed(),
        })
    }

    pub(crate) async fn get(&self, host: &str, path: &str) -> Answer {
        within(path, self.ask(asking("GET", host, path), None)).await.unwrap()
    }

    /// Returns what sends a request, once one may be sent.
    pub(crate) async fn sender(&self) -> SendRequest<Bytes> {
        self.sender.clone().ready().await.unwrap()
    }

    /// Sends a request without a body and leaves what comes of it to the caller.
    pub(crate) async fn begin(&self, request: Request<()>) -> h2::client::ResponseFuture {
        let mut sender = self.sender.clone().ready().await.unwrap();
        sender.send_request(request, true).unwrap().0
    }
}

pub(crate) fn asking(method: &str, host: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("https://{host}{path}")).body(()).unwrap()
}

pub(crate) fn trusting(certificate: &Certificate) -> Trust {
    Trust::of(&[certificate], rustls::ALL_VERSIONS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_share_a_connection_and_the_backend_sees_http_1() {
    let shop = Shop::start("source").await;
    let (front, certificate) = tls_front(&shop, &shop, quick()).await;
    let client = Arc::new(Http2::open(front.address, &trusting(&certificate), HOST).await);
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..100 {
        let client = client.clone();
        asked.spawn(async move { (number, client.get(HOST, &format!("/short{number}")).await) });
    }
    let began = Instant::now();
    while let Some(answered) = asked.join_next().await {
        let (number, answer) = answered.unwrap();
        assert_eq!(answer.body, format!("source /short{number}"));
        assert_eq!((answer.side(), answer.headers.get("connection")), ("source", None));
    }
    assert!(shop.at_once_max() > 10, "{} in {:?}", shop.at_once_max(), began.elapsed());
    let long = "0123456789".repeat(100_000);
    let mut request = asking("POST", HOST, "/up");
    for crumb in ["a=1", "b=2"] {
        request.headers_mut().append("cookie", crumb.parse().unwrap());
    }
    let answer = within("an upload", client.ask(request, Some(&long))).await.unwrap();
    assert_eq!(answer.body, "source /up");
    let seen = shop.seen().pop().unwrap();
    assert_eq!(
        (seen.body.len(), &seen.headers["cookie"]),
        (long.len(), &"a=1; b=2".parse().unwrap())
    );
    assert_eq!(
        (&seen.headers["host"], &seen.headers["x-forwarded-proto"]),
        (&HOST.parse().unwrap(), &"https".parse().unwrap())
    );
    let answer = within("HEAD", client.ask(asking("HEAD", HOST, "/x"), None)).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
    assert_eq!(answer.headers["content-length"], "9");
    assert_eq!(front.stats().await.connections, 1);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_a_long_answer_fits_into_a_record_of_tls() {
    let body = "0123456789abcdef".repeat(40_000);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let server = Recorder::answering(answer.leak()).await;
    let shop = Shop::at(server.address, "source");
    let (front, certificate) = tls_front(&shop, &shop, quick()).await;
    let client = Http2::open(front.address, &trusting(&certificate), HOST).await;
    let answer = within("its head", client.begin(asking("GET", HOST, "/long")).await).await;
    let mut answer = answer.unwrap().into_body();
    let (mut whole, mut longest) = (Vec::new(), 0);
    while let Some(part) = within("a part", answer.data()).await {
        let part = part.unwrap();
        answer.flow_control().release_capacity(part.len()).unwrap();
        longest = longest.max(part.len());
        whole.extend(part);
    }
    assert!(whole == body.as_bytes(), "{} of {} bytes", whole.len(), body.len());
    assert_eq!(longest, 16_384 - 9);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_may_be_without_it_and_http_1_is_always_there() {
    let folder = Arc::new(TempDir::new().unwrap());
    let certificate = Certificate::made(&[HOST]);
    certificate.lay(&folder.path().join("certificates/shop"));
    let mut options = tls_options(folder.path(), free_address(), free_address());
    options.ports[0].tls.as_mut().unwrap().http2 = false;
    let front = Running::start(options, quick(), folder).await;
    let trust = trusting(&certificate);
    assert!(trust.connect_for(front.address, HOST, b"h2").await.is_err());
    assert!(trust.connect_for(front.address, HOST, b"http/1.1").await.is_ok());
    front.stop().await;
    let shop = Shop::start("source").await;
    let (front, certificate) = tls_front(&shop, &shop, quick()).await;
    let trust = trusting(&certificate);
    for (protocol, expected) in [(&b"http/1.1"[..], Some(&b"http/1.1"[..])), (b"h2", Some(b"h2"))] {
        let stream = trust.connect_for(front.address, HOST, protocol).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), expected);
    }
    assert_eq!(trust.connect(front.address, HOST).await.unwrap().get_ref().1.alpn_protocol(), None);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_of_another_certificate_is_asked_for_elsewhere() {
    const OTHER: &str = "other.example.net";
    let folder = Arc::new(TempDir::new().unwrap());
    let own = Certificate::made(&[HOST, "*.shop.example.test"]);
    let other = Certificate::made(&[OTHER]);
    own.lay(&folder.path().join("certificates/shop"));
    other.lay(&folder.path().join("certificates/other"));
    let shop = Shop::start("source").await;
    let options = tls_options(folder.path(), free_address(), shop.address);
    let front = Running::start(options, quick(), folder).await;
    let client = Http2::open(front.address, &trusting(&own), HOST).await;
    assert_eq!(client.get("img.shop.example.test", "/1").await.status, 200);
    assert_eq!(client.get(OTHER, "/2").await.status, 421);
    assert_eq!(client.get(HOST, "/3").await.status, 200, "goes on");
    assert_eq!(shop.paths(), ["/1", "/3"]);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_reset_while_it_waits_is_gone_and_one_at_its_backend_is_waited_for() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let (front, certificate) = tls_front(&source, &target, quick()).await;
    let client = Http2::open(front.address, &trusting(&certificate), HOST).await;
    let hanging = client.begin(asking("POST", HOST, "/hang")).await;
    until("it is at the backend", async || source.paths().len() == 1).await;
    drop(hanging);
    // One that the client left is at its backend still, and the unit not idle.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(front.status().await.in_flight, 1);
    source.let_go();
    until("its answer came", async || front.status().await.in_flight == 0).await;
    assert!(done(&front.hold("h1").await));
    let gone = client.begin(asking("POST", HOST, "/gone")).await;
    let stays = client.begin(asking("POST", HOST, "/stays")).await;
    front.held(2).await;
    drop(gone);
    front.held(1).await;
    assert!(done(&front.release("h1", Side::Target).await));
    assert_eq!(within("an answer", stays).await.unwrap().status(), 200);
    assert_eq!(target.paths(), ["/stays"]);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bypass_ends_connections_once_their_answers_are_there() {
    let shop = Shop::start("source").await;
    let (front, certificate) = tls_front(&shop, &shop, quick()).await;
    let trust = trusting(&certificate);
    let (idle, busy) = (
        Http2::open(front.address, &trust, HOST).await,
        Http2::open(front.address, &trust, HOST).await,
    );
    assert_eq!(idle.get(HOST, "/before").await.status, 200);
    let hanging = busy.begin(asking("GET", HOST, "/hang")).await;
    until("it is at the backend", async || shop.paths().len() == 2).await;
    assert!(done(&front.ask(Ask::Bypass { mark: front.mark() }).await));
    // Told in a frame of its own, without an answer that could have said so.
    assert!(within("the idle one ends", idle.connection).await.unwrap().is_ok());
    until("the other is told", async || busy.sender.clone().ready().await.is_err()).await;
    shop.let_go();
    assert_eq!(within("its answer", hanging).await.unwrap().status(), 200);
    assert!(within("the busy one ends", busy.connection).await.unwrap().is_ok());
    within("the front ends", front.task).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_and_resetting_streams_asks_no_more_of_a_backend_than_connections_would() {
    let shop = Shop::start("source").await;
    let (front, certificate) = tls_front(&shop, &shop, Limits { streams: 4, ..quick() }).await;
    let trust = trusting(&certificate);
    let mut raw = Raw::connect(front.address, &trust, HOST, &[]).await;
    let fields = [METHOD, SCHEME, NAMED, (":path", "/hang")];
    // As fast as can be: what was reset before anybody saw it does not arrive.
    for _ in 0..500 {
        let Ok(stream) = raw.ask(&fields, END_STREAM).await else { break };
        let _ = raw.send(RESET, 0, stream, &8_u32.to_be_bytes()).await;
    }
    assert_ne!(within("an outcome", raw.outcome(u32::MAX)).await, "200");
    // Slowly: each one is seen, and stays counted.
    let mut raw = Raw::connect(front.address, &trust, HOST, &[]).await;
    for _ in 0..60 {
        let Ok(stream) = raw.ask(&fields, END_STREAM).await else { break };
        tokio::time::sleep(Duration::from_millis(2)).await;
        let _ = raw.send(RESET, 0, stream, &8_u32.to_be_bytes()).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Sixteen of each connection, which is four times as many as may be open.
    assert!(shop.paths().len() <= 32, "{}", shop.paths().len());
    shop.let_go();
    let client = Http2::open(front.address, &trust, HOST).await;
    assert_eq!(client.get(HOST, "/others").await.status, 200);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_client_are_bounded_over_all_its_connections() {
    let shop = Shop::start("source").await;
    let folder = Arc::new(TempDir::new().unwrap());
    let certificate = Certificate::made(&[HOST]);
    certificate.lay(&folder.path().join("certificates/shop"));
    let mut options = tls_options(folder.path(), free_address(), shop.address);
    options.limits =
        FrontLimits { connections_per_client: Some(4), headers: Some(20), ..options.limits };
    let front = Running::start(options, quick(), folder).await;
    let trust = trusting(&certificate);
    let client = Http2::open(front.address, &trust, HOST).await;
    let mut hanging = Vec::new();
    for _ in 0..4 {
        hanging.push(client.begin(asking("GET", HOST, "/hang")).await);
    }
    until("they are at the backend", async || shop.paths().len() == 4).await;
    let answer = client.get(HOST, "/fifth").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    let stats = front.stats().await;
    assert_eq!((stats.turned_away, stats.other.failed), (1, 1));
    assert!(trust.connect(front.address, HOST).await.is_err(), "nor a connection");
    shop.let_go();
    for answer in hanging {
        assert_eq!(within("an answer", answer).await.unwrap().status(), 200);
    }
    until("there is room again", async || client.get(HOST, "/again").await.status == 200).await;
    let mut many = asking("GET", HOST, "/many");
    for number in 0..21 {
        many.headers_mut().append("x", number.to_string().parse().unwrap());
    }
    assert_eq!(within("an answer", client.ask(many, None)).await.unwrap().status, 431);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_nothing_of_an_answer_or_asks_for_nothing_is_let_go() {
    let shop = Shop::start("source").await;
    let limits = Limits {
        taken_idle: Duration::from_millis(300),
        head_read: Duration::from_millis(400),
        ..quick()
    };
    let (front, certificate) = tls_front(&shop, &shop, limits).await;
    let trust = trusting(&certificate);
    // A window of nothing: SETTINGS_INITIAL_WINDOW_SIZE is 0.
    let mut raw = Raw::connect(front.address, &trust, HOST, &[(4, 0)]).await;
    let stream = raw.ask(&[METHOD, SCHEME, NAMED, (":path", "/x")], END_STREAM).await.unwrap();
    assert_eq!(within("its head", raw.outcome(stream)).await, "200");
    assert_eq!(within("its end", raw.outcome(stream)).await, "reset 8");
    let client = Http2::open(front.address, &trust, HOST).await;
    let hanging = client.begin(asking("GET", HOST, "/hang")).await;
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    assert!(!client.connection.is_finished(), "a request runs");
    shop.let_go();
    assert_eq!(within("its answer", hanging).await.unwrap().status(), 200);
    assert!(within("the idle one ends", client.connection).await.unwrap().is_ok());
    // One that never says a word after its handshake ends as well.
    let silent = trust.connect_for(front.address, HOST, b"h2").await.unwrap();
    let (mut silent, _) = tokio::io::split(silent);
    let mut rest = Vec::new();
    let _ = within("it ends", tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut rest)).await;
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_refused_counts_as_one_that_failed_and_as_none_of_the_site() {
    let shop = Shop::start("source").await;
    let (front, certificate) = tls_front(&shop, &shop, Limits { streams: 1, ..quick() }).await;
    let client = Http2::open(front.address, &trusting(&certificate), HOST).await;
    // Four that were reset are at their backend still.
    for count in 1..=4 {
        let hanging = client.begin(asking("GET", HOST, "/hang")).await;
        until("it is at the backend", async || shop.paths().len() == count).await;
        drop(hanging);
    }
    assert_eq!(client.get(HOST, "/fifth").await.status, 503);
    let mut probe = asking("GET", HOST, "/sixth");
    probe.headers_mut().insert("x-segue-probe", "run-1".parse().unwrap());
    assert_eq!(within("an answer", client.ask(probe, None)).await.unwrap().status, 503);
    let stats = front.stats().await;
    assert_eq!((stats.turned_away, stats.other.failed), (2, 2));
    assert_eq!((stats.sides.source.failed, stats.sides.target.failed), (0, 0));
    shop.let_go();
    until("there is room again", async || client.get(HOST, "/again").await.status == 200).await;
    assert_eq!(front.stats().await.sides.target.requests, 0);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_waits_at_a_hold_weighs_what_may_come_of_it() {
    let shop = Shop::start("source").await;
    let (front, certificate) = tls_front(&shop, &shop, quick()).await;
    let policy = HoldPolicy { bytes_max: Some(300_000), ..HoldPolicy::default() };
    let ask = Ask::SetHoldPolicy { mark: front.mark(), unit: unit(), policy };
    assert!(done(&front.ask(ask).await));
    assert!(done(&front.hold("h1").await));
    let trust = trusting(&certificate);
    let mut waiting = Vec::new();
    // Of a body of unknown length a client may send 128 KiB before anybody asks for it.
    for count in 1..=2 {
        let client = Http2::open(front.address, &trust, HOST).await;
        let (answer, mut body) =
            client.sender().await.send_request(asking("POST", HOST, "/up"), false).unwrap();
        body.reserve_capacity(200_000);
        until("its window is full", async || {
            let room = body.capacity().min(16 << 10);
            if room > 0 {
                body.send_data(Bytes::from(vec![b'x'; room]), false).unwrap();
            }
            tokio::task::yield_now().await;
            room == 0 && count == front.status().await.held
        })
        .await;
        waiting.push((client, answer, body));
    }
    let (client, ..) = &waiting[0];
    let large = client.ask(asking("POST", HOST, "/large"), Some("x"));
    assert_eq!(within("an answer", large).await.unwrap().status, 503);
    // One that says how short it is weighs that.
    let mut small = asking("POST", HOST, "/small");
    small.headers_mut().insert("content-length", 1_u64.into());
    let small = client.ask(small, Some("x"));
    let released = async {
        front.held(3).await;
        assert!(done(&front.release("h1", Side::Source).await));
    };
    let (small, ()) = within("an answer", async { tokio::join!(small, released) }).await;
    assert_eq!(small.unwrap().status, 200);
    assert_eq!(front.stats().await.holds[0].refused_503, 1);
    for (_client, answer, mut body) in waiting {
        body.send_data(Bytes::new(), true).unwrap();
        assert_eq!(within("an answer", answer).await.unwrap().status(), 200);
    }
    front.stop().await;
}
