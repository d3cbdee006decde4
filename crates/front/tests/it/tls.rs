//! TLS at a front's port.

use crate::certificates::*;
use crate::support::*;
use crate::takeover::EGRESS;
use http_body_util::Full;
use rustls::HandshakeKind;
use segue_front::control::Request as Ask;
use segue_front::{FrontOptions, Limits};
use segue_model::plan::{PortKind, TlsPlan};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) fn tls_options(
    folder: &Path,
    listen: SocketAddr,
    default_backend: SocketAddr,
) -> FrontOptions {
    let mut options = options(folder, listen, default_backend);
    options.ports[0].kind = PortKind::Tls;
    let certificates = vec![folder.join("certificates")];
    let plan = TlsPlan { certificates, default_certificate: None, http2: true, strangers: None };
    options.ports[0].tls = Some(plan);
    options
}

fn often() -> Limits {
    Limits { certificates: Duration::from_millis(20), ..quick() }
}

/// A front for TLS with a certificate for the unit's host.
pub(crate) async fn tls_front(
    source: &Shop,
    target: &Shop,
    limits: Limits,
) -> (Running, Certificate) {
    let folder = Arc::new(TempDir::new().unwrap());
    let certificate = Certificate::made(&[HOST]);
    certificate.lay(&folder.path().join("certificates/shop"));
    let options = tls_options(folder.path(), free_address(), source.address);
    let front = Running::start(options, limits, folder).await;
    front.claim(1).await.unwrap();
    front.set_route(source, target, 64).await.unwrap();
    (front, certificate)
}

/// Asks once over a connection of its own.
async fn ask(
    address: SocketAddr,
    trust: &Trust,
    name: &str,
    request: http::Request<Full<bytes::Bytes>>,
) -> Result<(Answer, HandshakeKind), String> {
    let stream = trust.connect(address, name).await?;
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    Ok((exchange(stream, request).await?, kind))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serves_both_versions_of_tls_resumes_and_says_so_to_the_backend() {
    let shop = Shop::start("source").await;
    let (front, certificate) = tls_front(&shop, &shop, quick()).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let trust = Trust::of(&[&certificate], &[version]);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let asked = ask(front.address, &trust, HOST, request("GET", "/x", ""));
            let (answer, kind) = within("an answer", asked).await.unwrap();
            assert_eq!((answer.body.as_str(), kind), ("source /x", expected), "{version:?}");
        }
    }
    let long = "0123456789".repeat(100_000);
    let trust = Trust::of(&[&certificate], rustls::ALL_VERSIONS);
    let asked = ask(front.address, &trust, HOST, request("POST", "/up", &long));
    assert_eq!(within("an answer", asked).await.unwrap().0.status, 200);
    let seen = shop.seen();
    assert!(seen.iter().all(|s| s.headers["x-forwarded-proto"] == "https"));
    assert_eq!(seen.last().unwrap().body.len(), long.len());
    let hello = front.hello().await;
    let told = hello.ports[0].certificates.clone().unwrap();
    assert_eq!((told.pairs, told.names, told.faults.len()), (1, 1, 0));
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tells_a_client_that_its_name_is_unknown_and_whoever_speaks_no_tls() {
    let shop = Shop::start("source").await;
    let (front, certificate) = tls_front(&shop, &shop, quick()).await;
    let trust = Trust::of(&[&certificate], rustls::ALL_VERSIONS);
    let error = trust.connect(front.address, "other.example.test").await.unwrap_err();
    assert!(error.contains("UnrecognisedName"), "{error}");
    let mut plain = TcpStream::connect(front.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: shop.example.test\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = within("the end", plain.read_to_end(&mut answer)).await;
    assert_eq!(answer.first(), Some(&21), "an alert: {}", answer.escape_ascii());
    until("both are counted", async || front.stats().await.unshaken == 2).await;
    assert_eq!(shop.paths(), [] as [&str; 0]);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_a_renewed_certificate_under_load_and_never_half_of_one() {
    let shop = Shop::start("source").await;
    let (front, first) = tls_front(&shop, &shop, often()).await;
    let place = front.folder.path().join("certificates/shop");
    let second = Certificate::made(&[HOST, "new.example.test"]);
    let trust = Arc::new(Trust::of(&[&first, &second], rustls::ALL_VERSIONS));
    let (address, over) = (front.address, Arc::new(AtomicBool::new(false)));
    let asking = {
        let (trust, over) = (trust.clone(), over.clone());
        tokio::spawn(async move {
            let mut asked = 0;
            while !over.load(Ordering::SeqCst) {
                let answer = ask(address, &trust, HOST, request("GET", "/", "")).await;
                assert_eq!(answer.unwrap().0.status, 200);
                asked += 1;
            }
            asked
        })
    };
    let served = async || trust.connect(address, HOST).await.is_ok_and(|s| second.is_of(&s));
    let faults = async || front.hello().await.ports[0].certificates.clone().unwrap().faults;
    second.lay_chain(&place);
    until("half of it is told of", async || !faults().await.is_empty()).await;
    let fault = faults().await.remove(0);
    assert!(fault.code == "SG0123" && fault.cause.contains("do not fit"), "{fault}");
    assert!(!served().await);
    second.lay(&place);
    until("the new one is served", served).await;
    until("nothing is wrong any more", async || faults().await.is_empty()).await;
    assert!(trust.connect(address, "new.example.test").await.is_ok());
    over.store(true, Ordering::SeqCst);
    assert!(within("the clients", asking).await.unwrap() > 3);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_message_may_come_in_pieces_and_a_slow_one_keeps_nobody_waiting() {
    let shop = Shop::start("source").await;
    let limits = Limits { handshake: Duration::from_millis(800), handshakes_max: 4, ..quick() };
    let (front, certificate) = tls_front(&shop, &shop, limits).await;
    let trust = Trust::of(&[&certificate], rustls::ALL_VERSIONS);
    let stream = TcpStream::connect(front.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    trust.shake(HOST, Pieces(stream)).await.unwrap();
    // As many as there is room for, and more, say nothing.
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(front.address).await.unwrap());
    }
    let asked = ask(front.address, &trust, HOST, request("GET", "/x", ""));
    // The client waits for its turn; it is told nothing if that is too late, and tries again.
    let first = within("an end", asked).await;
    let again = ask(front.address, &trust, HOST, request("GET", "/x", ""));
    assert!(first.is_ok() || within("an answer", again).await.is_ok());
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = within("they are let go", stream.read_to_end(&mut rest)).await;
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_is_served() {
    let shop = Shop::start("source").await;
    let (front, _) = tls_front(&shop, &shop, quick()).await;
    let chain = front.folder.path().join("certificates/shop/fullchain.pem");
    for version in ["-tls1_2", "-tls1_3"] {
        let mut child = tokio::process::Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-servername", HOST, version])
            .arg("-CAfile")
            .arg(&chain)
            .args(["-connect", &front.address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("openssl: run scripts/setup");
        let text = format!("GET /s HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        child.stdin.as_mut().unwrap().write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let output = child.stdout.as_mut().unwrap();
        within("an answer", output.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.ends_with("source /s"), "{version}: {answer}");
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_begin_without_a_certificate() {
    let folder = TempDir::new().unwrap();
    let options = tls_options(folder.path(), free_address(), free_address());
    let front = segue_front::run_until(options, quick(), std::future::pending());
    assert_eq!(within("its end", front).await.unwrap_err().code, "SG0124");
}

/// nginx with TLS for two names.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Nginx {
    async fn start(folder: &Path, address: SocketAddr, names: [&str; 2]) -> Self {
        Self::listening(folder, address, &[format!("{address} ssl")], names).await
    }

    /// Each of the servers listens so; `address` is one of the addresses.
    async fn listening(
        folder: &Path,
        address: SocketAddr,
        listen: &[String],
        names: [&str; 2],
    ) -> Self {
        let folder = folder.display();
        let lines: String = listen.iter().map(|line| format!("listen {line}; ")).collect();
        let server = |name: &str, lines: &str| {
            format!(
                "server {{ {lines} server_name {name};\n\
                 ssl_certificate {folder}/{name}/fullchain.pem;\n\
                 ssl_certificate_key {folder}/{name}/privkey.pem;\n\
                 location / {{ return 200 \"live {name}\"; }} }}\n"
            )
        };
        let config = format!(
            "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error;\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;\n\
             fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             {}{} }}\n",
            server(names[0], &lines),
            // Said once of an address, for all of its servers.
            server(names[1], &lines.replace(" reuseport", "")),
        );
        let path = format!("{folder}/conf");
        std::fs::write(&path, config).unwrap();
        let child = Command::new("nginx").args(["-c", &path]).stderr(Stdio::null()).spawn();
        let server = Self(child.expect("nginx: run scripts/setup"));
        until("nginx listens", async || TcpStream::connect(address).await.is_ok()).await;
        server
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_was_taken_over_still_serves_names_that_are_not_moved() {
    const STAYS: &str = "stays.example.test";
    let folder = Arc::new(TempDir::new().unwrap());
    let (live, ours) = (Certificate::made(&[HOST]), Certificate::made(&[HOST]));
    let stays = Certificate::made(&[STAYS]);
    live.lay(&folder.path().join(HOST));
    stays.lay(&folder.path().join(STAYS));
    ours.lay(&folder.path().join("certificates/shop"));
    let free = std::net::TcpListener::bind("127.0.0.22:0").unwrap().local_addr().unwrap();
    let _nginx = Nginx::start(folder.path(), free, [HOST, STAYS]).await;
    let shop = Shop::start("source").await;
    let mut options = tls_options(folder.path(), free, shop.address);
    options.ports[0].take_over = true;
    options.egress = Some(EGRESS.parse().unwrap());
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    front.set_route(&shop, &shop, 8).await.unwrap();
    let trust = Trust::of(&[&live, &ours, &stays], rustls::ALL_VERSIONS);
    let stream = trust.connect(free, HOST).await.unwrap();
    assert!(ours.is_of(&stream), "the front's own certificate");
    let plain = |name: &str| {
        let mut request = request("GET", "/", "");
        request.headers_mut().insert("host", name.parse().unwrap());
        request
    };
    let answer = ask(free, &trust, HOST, plain(HOST)).await.unwrap().0;
    assert_eq!(answer.body, "source /");
    let answer = ask(free, &trust, STAYS, plain(STAYS)).await.unwrap().0;
    assert_eq!(answer.body, format!("live {STAYS}"), "passed on, unread");
    let stream = trust.connect_for(free, HOST, b"acme-tls/1").await;
    // This nginx speaks no such protocol; what counts is who said so.
    assert!(stream.is_err() || live.is_of(&stream.unwrap()));
    assert!(done(&front.ask(Ask::Bypass { mark: front.mark() }).await));
    let stream = trust.connect(free, HOST).await.unwrap();
    assert!(live.is_of(&stream), "the live server has its port back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_was_joined_passes_names_on_that_are_not_moved() {
    const STAYS: &str = "stays.example.test";
    let folder = Arc::new(TempDir::new().unwrap());
    let (live, ours) = (Certificate::made(&[HOST]), Certificate::made(&[HOST]));
    let stays = Certificate::made(&[STAYS]);
    live.lay(&folder.path().join(HOST));
    stays.lay(&folder.path().join(STAYS));
    ours.lay(&folder.path().join("certificates/shop"));
    let free = std::net::TcpListener::bind("127.0.0.22:0").unwrap().local_addr().unwrap();
    let beside = free_address();
    let listen = [format!("{free} ssl reuseport"), format!("{beside} ssl")];
    let _nginx = Nginx::listening(folder.path(), free, &listen, [HOST, STAYS]).await;
    let shop = Shop::start("source").await;
    let mut options = tls_options(folder.path(), free, shop.address);
    options.ports[0].join = true;
    options.ports[0].tls.as_mut().unwrap().strangers = Some(beside);
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    front.set_route(&shop, &shop, 8).await.unwrap();
    let trust = Trust::of(&[&live, &ours, &stays], rustls::ALL_VERSIONS);
    let to = |name: &str| {
        let mut request = request("GET", "/", "");
        request.headers_mut().insert("host", name.parse().unwrap());
        request
    };
    for _ in 0..10 {
        let stream = trust.connect(free, HOST).await.unwrap();
        assert!(ours.is_of(&stream), "the front's own certificate");
        assert_eq!(exchange(stream, to(HOST)).await.unwrap().body, "source /");
        let stream = trust.connect(free, STAYS).await.unwrap();
        assert!(stays.is_of(&stream), "the live server's");
        let answer = exchange(stream, to(STAYS)).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body), (200, format!("live {STAYS}")));
    }
    // This nginx speaks no such protocol; what counts is who was asked.
    let stream = trust.connect_for(free, HOST, b"acme-tls/1").await;
    assert!(stream.is_err() || live.is_of(&stream.unwrap()));
    assert_eq!(front.stats().await.unshaken, 0, "the front itself refuses nobody");
    assert!(done(&front.ask(Ask::Bypass { mark: front.mark() }).await));
    let stream = trust.connect(free, HOST).await.unwrap();
    assert!(live.is_of(&stream), "the live server has its connections back");
}
