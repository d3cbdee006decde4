//! Requests whose boundaries are unclear: nothing of them arrives, wherever the front stands.

use crate::corpus::{Case, corpus};
use crate::recorder::Recorder;
use crate::support::*;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends a case and returns the statuses of its answers; ends once there are so many.
async fn statuses(address: SocketAddr, text: &[u8], answers: usize) -> Vec<u16> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut input, mut output) = stream.into_split();
    let text = text.to_vec();
    // The other end may close before it has read everything.
    let sending = tokio::spawn(async move {
        let _ = output.write_all(&text).await;
        output
    });
    let mut answer = Vec::new();
    let whole = async {
        let mut room = [0; 4096];
        while found(&answer).len() < answers || !answer.ends_with(b"\n") {
            match input.read(&mut room).await {
                Ok(read) if read > 0 => answer.extend(&room[..read]),
                _ => break,
            }
        }
    };
    within("the answers", whole).await;
    drop(sending.await);
    found(&answer)
}

/// The statuses in what came back.
fn found(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    let lines = text.split("HTTP/1.").skip(1);
    lines.filter_map(|line| line.get(2..5)?.parse().ok()).collect()
}

/// What shall arrive of all cases.
fn expected(cases: &[Case]) -> usize {
    cases.iter().map(|case| case.seen).sum()
}

async fn front_before(backend: SocketAddr) -> Running {
    let folder = std::sync::Arc::new(tempfile::TempDir::new().unwrap());
    let options = options(folder.path(), free_address(), backend);
    Running::start(options, quick(), folder).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_every_case_as_the_corpus_says_and_lets_nothing_of_a_refused_one_through() {
    let recorder = Recorder::start().await;
    let front = front_before(recorder.address).await;
    let cases = corpus();
    let mut wrong = Vec::new();
    for case in &cases {
        let before = recorder.requests().len();
        let refused = usize::from(case.status != 200);
        let got = statuses(front.address, &case.text, case.seen + refused).await;
        let mut want = vec![200; case.seen];
        want.extend((refused > 0).then_some(case.status));
        let arrived = recorder.requests().split_off(before);
        let good = arrived.len() == case.seen && arrived.iter().all(|r| r.target.contains("/ok"));
        if got != want || !good {
            wrong.push(format!("{}: answers {got:?}, arrived {arrived:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // CONNECT is refused as well, and can be read in one way only.
    let unclear = |case: &&Case| !matches!(case.status, 200 | 405);
    let refused = cases.iter().filter(unclear).count() as u64;
    until("all are counted", async || front.stats().await.unclear == refused).await;
    assert_eq!(recorder.requests().len(), expected(&cases));
    for request in recorder.requests() {
        assert!(!request.text().contains("/bad"), "{}", request.text());
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_turns_bad_half_way_is_never_whole_at_the_backend() {
    let recorder = Recorder::start().await;
    let front = front_before(recorder.address).await;
    let mut client = TcpStream::connect(front.address).await.unwrap();
    let head = "POST /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    until("the first chunk arrives", async || recorder.bytes().ends_with(b"hello\r\n")).await;
    let rest = "5\nhello\r\n0\r\n\r\nGET /bad HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = within("the end", client.read_to_end(&mut answer)).await;
    assert_eq!(found(&answer), [400]);
    assert!(recorder.requests().is_empty(), "{:?}", recorder.requests());
    assert!(recorder.bytes().ends_with(b"hello\r\n"), "{}", recorder.bytes().escape_ascii());
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_piece_of_a_request_may_come_alone() {
    let recorder = Recorder::start().await;
    let front = front_before(recorder.address).await;
    let mut client = TcpStream::connect(front.address).await.unwrap();
    client.set_nodelay(true).unwrap();
    let text = "POST /ok1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                3;x\r\nabc\r\n0\r\nT: 1\r\n\r\nGET /ok2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for byte in text.bytes() {
        client.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
    let mut answer = Vec::new();
    let _ = within("the end", client.read_to_end(&mut answer)).await;
    assert_eq!(found(&answer), [200, 200]);
    let bodies: Vec<_> = recorder.requests().into_iter().map(|r| (r.target, r.body)).collect();
    assert_eq!(bodies, [("/ok1".into(), b"abc".to_vec()), ("/ok2".into(), Vec::new())]);
    front.stop().await;
}

// ---- other servers before and behind ----

/// A server of somebody else's; ended when dropped.
struct Server {
    child: Child,
    log: PathBuf,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts nginx; `place` stands in its `location`. Its log has a target and a status a line.
    async fn nginx(folder: &Path, place: &str) -> Self {
        let (address, log) = (free_address(), folder.join("access"));
        let folder = folder.display();
        let config = format!(
            "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error;\n\
             events {{}}\n\
             http {{\n\
             log_format plain '$request_uri $status $upstream_status';\n\
             access_log {folder}/access plain; client_body_temp_path {folder}/b;\n\
             proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;\n\
             uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             large_client_header_buffers 4 64k;
             server {{ listen {address}; location / {{ {place} }} }}\n\
             }}\n"
        );
        let path = Path::new(&folder.to_string()).join("conf");
        std::fs::write(&path, config).unwrap();
        let child = Command::new("nginx").arg("-c").arg(&path).stderr(Stdio::null()).spawn();
        Self::up(child.expect("nginx: run scripts/setup"), log, address).await
    }

    /// Starts HAProxy before `backend`, with a log of the same form.
    async fn haproxy(folder: &Path, backend: SocketAddr) -> Self {
        let (address, log) = (free_address(), folder.join("log"));
        let config = format!(
            "global\n log stdout format raw local0\n\
             defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
             frontend f\n bind {address}\n log global\n log-format \"%HU %ST %s\"\n\
             default_backend b\nbackend b\n server one {backend}\n"
        );
        let path = folder.join("conf");
        std::fs::write(&path, config).unwrap();
        let output = std::fs::File::create(&log).unwrap();
        let mut program = Command::new("haproxy");
        program.arg("-db").arg("-f").arg(&path).stdout(output).stderr(Stdio::null());
        let child = program.spawn();
        Self::up(child.expect("haproxy: run scripts/setup"), log, address).await
    }

    async fn up(child: Child, log: PathBuf, address: SocketAddr) -> Self {
        let server = Self { child, log, address };
        until("it listens", async || TcpStream::connect(address).await.is_ok()).await;
        server
    }

    /// Lines of its log that are about a case, as words.
    fn lines(&self) -> Vec<Vec<String>> {
        let text = std::fs::read(&self.log).unwrap();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| line.contains("/ok") || line.contains("/bad"));
        lines.map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }
}

/// The number of a case that a target names, whatever a hop made of the rest.
fn number(target: &str) -> String {
    let from = target.rfind("/ok").map(|at| at + 3).or(target.rfind("/bad").map(|at| at + 4));
    let rest = &target[from.unwrap_or(0)..];
    rest.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect()
}

/// Sends every case by way of `hop`, with nobody waiting longer than a moment.
async fn all_by(hop: SocketAddr, cases: &[Case]) {
    let mut sending = tokio::task::JoinSet::new();
    for text in cases.iter().map(|case| case.text.clone()) {
        sending.spawn(async move {
            let mut stream = TcpStream::connect(hop).await.unwrap();
            let _ = stream.write_all(&text).await;
            let mut answer = Vec::new();
            let whole = stream.read_to_end(&mut answer);
            let _ = tokio::time::timeout(Duration::from_millis(1_500), whole).await;
        });
    }
    while sending.join_next().await.is_some() {}
}

/// What a hop before the front counts as answered by it is what arrived, and nothing else did.
async fn judge_hop(hop: &Server, answered: impl Fn(&[String]) -> bool, recorder: &Recorder) {
    let arrived = || {
        let mut arrived: Vec<_> = recorder.requests().iter().map(|r| number(&r.target)).collect();
        arrived.sort();
        arrived
    };
    let told = || {
        let lines = hop.lines().into_iter().filter(|line| answered(line));
        let mut told: Vec<_> = lines.map(|line| number(&line[0])).collect();
        told.sort();
        told
    };
    until("the log is written", async || told().len() >= arrived().len()).await;
    assert_eq!(told(), arrived());
    assert!(arrived().len() > 10, "{:?}", arrived());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_before_the_front_sees_the_same_requests() {
    let (recorder, folder) = (Recorder::start().await, tempfile::tempdir().unwrap());
    let front = front_before(recorder.address).await;
    let place = format!(
        "proxy_pass http://{}; proxy_http_version 1.1; proxy_request_buffering off;",
        front.address
    );
    let hop = Server::nginx(folder.path(), &place).await;
    all_by(hop.address, &corpus()).await;
    judge_hop(&hop, |line| line[2] == "200", &recorder).await;
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_before_the_front_sees_the_same_requests() {
    let (recorder, folder) = (Recorder::start().await, tempfile::tempdir().unwrap());
    let front = front_before(recorder.address).await;
    let hop = Server::haproxy(folder.path(), front.address).await;
    all_by(hop.address, &corpus()).await;
    judge_hop(&hop, |line| line[1] == "200" && line[2] == "one", &recorder).await;
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_behind_the_front_sees_the_same_requests() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Server::nginx(folder.path(), "return 200 ok;").await;
    let front = front_before(backend.address).await;
    let cases = corpus();
    all_by(front.address, &cases).await;
    let told = || backend.lines().iter().map(|line| line[0].clone()).collect::<Vec<_>>();
    until("the log is written", async || told().len() >= expected(&cases)).await;
    assert_eq!(told().len(), expected(&cases), "{:?}", told());
    let good = |line: &Vec<String>| line[0].contains("/ok") && line[1] == "200";
    assert!(backend.lines().iter().all(good), "{:?}", backend.lines());
    front.stop().await;
}
