//! Copies of users' requests for the target.

use crate::support::*;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use segue_front::control::Request as Ask;
use segue_front::control::{HoldPolicy, MirrorRoute, Mirrored, Reply};
use segue_model::compare::Kind;
use segue_model::plan::MirrorPlan;
use segue_model::{Fault, Side, Sides};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

type Seen = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// A site; `page` gets path, head and how many requests came before. It hangs where there is none.
struct Site {
    address: SocketAddr,
    seen: Seen,
}

impl Site {
    async fn start(
        page: impl Fn(&str, &HeaderMap, usize) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, page) = (Seen::default(), Arc::new(page));
        let noted = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, page) = (noted.clone(), page.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (noted, page) = (noted.clone(), page.clone());
                    async move {
                        let (path, headers) = (request.uri().to_string(), request.headers());
                        let before = {
                            let mut noted = noted.lock().unwrap();
                            noted.push((path.clone(), headers.clone()));
                            noted.len()
                        };
                        let Some((status, body)) = page(&path, headers, before) else {
                            return std::future::pending().await;
                        };
                        let response = Response::builder().status(status);
                        let body = Full::new(Bytes::from(body));
                        Ok::<_, Infallible>(response.body(body).unwrap())
                    }
                });
                tokio::spawn(async move {
                    let _ = server::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, seen }
    }

    fn paths(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }
}

fn plan() -> MirrorPlan {
    MirrorPlan {
        paths: vec!["/a".into()],
        percent: 100,
        at_once: 2,
        body_bytes_max: 1 << 16,
        cookies: false,
        authorization: false,
        headers: vec!["content-type".into(), "location".into()],
        noise: vec!["nonce".into()],
    }
}

async fn set(front: &Running, mirror: Option<MirrorRoute>) -> Result<Reply, Fault> {
    front.ask(Ask::SetMirror { mark: front.mark(), unit: unit(), mirror }).await
}

async fn front(source: SocketAddr, target: SocketAddr, plan: MirrorPlan) -> Running {
    let folder = Arc::new(tempfile::TempDir::new().unwrap());
    let options = options(folder.path(), free_address(), source);
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    front.route_to(source, target).await.unwrap();
    let relayed = Sides { source: false, target: true };
    assert!(done(&set(&front, Some(MirrorRoute { plan, relayed })).await));
    front
}

async fn mirrored(front: &Running) -> Mirrored {
    match front.ask(Ask::UnitStats { unit: unit() }).await.unwrap() {
        Reply::Stats(stats) => *stats.mirror.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn asked(front: &Running, path: &str, field: Option<(&'static str, &str)>) -> Answer {
    let mut request = request("GET", path, "");
    if let Some((name, value)) = field {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    within(path, send(front.address, request)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_differs_is_told_and_what_changes_by_itself_is_not() {
    let page = |own: &'static str| {
        move |path: &str, headers: &HeaderMap, number: usize| {
            let has = |name| headers.contains_key(name);
            Some(match path {
                "/a/noise" => (200, format!("top\n{own}{number}\nend\n")),
                "/a/nonce" => (200, format!("top\nnonce {own}\nend\n")),
                "/a/torn?key=secret" => (200, format!("top\n{own}\nend\n")),
                "/a/gone" if own == "target" => (404, "x\n".into()),
                "/a/cookie" if has("cookie") => (200, "hello\n".into()),
                "/a/known" if has("if-none-match") => (304, String::new()),
                _ => (200, "x\n".into()),
            })
        }
    };
    let (source, target) = (Site::start(page("source")).await, Site::start(page("target")).await);
    let front = front(source.address, target.address, plan()).await;
    let users = [
        ("/a/same", None),
        ("/a/noise", None),
        ("/a/nonce", None),
        ("/a/torn?key=secret", None),
        ("/a/gone", None),
        ("/a/cookie", Some(("cookie", "id=1"))),
        ("/a/known", Some(("if-none-match", "\"1\""))),
        ("/a/secret", Some(("authorization", "Basic eDp5"))),
        ("/b", None),
    ];
    for (at, (path, field)) in users.into_iter().enumerate() {
        assert_eq!(asked(&front, path, field).await.side(), "source", "{path}");
        let copies = (at + 1).min(7);
        until("its copy", async || mirrored(&front).await.compared.asked == copies).await;
    }
    post(front.address, "/a/written", "x").await;
    let found = mirrored(&front).await;
    assert_eq!((found.dropped, found.ended), (0, 0));
    let all = found.compared;
    assert_eq!((all.asked, all.same, all.noisy), (7, 5, 1), "{all:?}");
    let told = all.differences.iter();
    let mut told: Vec<_> =
        told.map(|one| (one.kind, one.text.as_str(), one.count, one.examples.join(" "))).collect();
    told.sort();
    let gone = (Kind::Status, "200 at the source, 404 at the target", 1, "/a/gone".to_owned());
    assert_eq!(told, [gone, (Kind::Body, "body", 1, "/a/torn?key=*".to_owned())]);
    assert!(all.time_ratio.unwrap() > 0.0 && all.time_bounds.is_some());

    let copies = target.seen.lock().unwrap().clone();
    assert_eq!(copies.len(), 7, "one copy each, of nothing else: {:?}", target.paths());
    for (path, headers) in &copies {
        assert!(
            !headers.contains_key("cookie") && !headers.contains_key("if-none-match"),
            "{path}"
        );
        assert_eq!(headers["x-segue-mirror"], "1");
        assert_eq!(headers["accept-encoding"], "identity");
        assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
        // Another front stands there.
        assert_eq!(
            (&headers["x-segue-to"], &headers["x-segue-probe"]),
            (
                &http::HeaderValue::from_static("target run-1"),
                &http::HeaderValue::from_static("run-1")
            )
        );
    }
    let again = source.seen.lock().unwrap().clone();
    let again: Vec<_> = again.iter().filter(|(_, h)| h.contains_key("x-segue-mirror")).collect();
    let paths: Vec<&str> = again.iter().map(|(path, _)| path.as_str()).collect();
    let fresh = ["/a/noise", "/a/torn?key=secret", "/a/gone", "/a/cookie", "/a/known"];
    assert_eq!(paths, fresh, "asked again only where it has to be");
    assert!(again.iter().all(|(_, headers)| !headers.contains_key("x-segue-to")));
    let stats = front.stats().await;
    assert_eq!((stats.sides.source.requests, stats.sides.target.requests), (10, 0), "no visitors");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_not_harmed_by_a_target_that_hangs_or_is_not_there() {
    let source = Site::start(|_, _, _| Some((200, "x\n".into()))).await;
    let target = Site::start(|_, _, _| None).await;
    let front = front(source.address, target.address, plan()).await;
    for number in 0..20 {
        let answer = asked(&front, &format!("/a/{number}"), None).await;
        assert!(answer.status == 200 && answer.took < Duration::from_secs(1), "{answer:?}");
    }
    until("the others are dropped", async || mirrored(&front).await.dropped == 18).await;
    assert_eq!(target.paths().len(), 2, "as many at once as may");
    assert_eq!(mirrored(&front).await.compared.asked, 0);

    front.route_to(source.address, free_address()).await.unwrap();
    let route = MirrorRoute { plan: plan(), relayed: Sides::default() };
    assert!(done(&set(&front, Some(route)).await));
    for number in 1..=3 {
        let answer = asked(&front, "/a/dead", None).await;
        assert!(answer.status == 200 && answer.took < Duration::from_secs(1), "{answer:?}");
        until("it is told", async || mirrored(&front).await.compared.asked == number).await;
    }
    let all = mirrored(&front).await.compared;
    let [dead] = all.differences.as_slice() else { panic!("{all:?}") };
    assert_eq!((dead.kind, dead.count), (Kind::Unanswered, 3));
    assert_eq!(
        (dead.text.as_str(), dead.examples.join(" ")),
        ("no answer at the target", "/a/dead".to_owned())
    );
    assert_eq!((all.time_ratio, source.paths().len()), (None, 23), "the source is not asked again");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_is_copied_during_a_hold_or_once_the_unit_has_left() {
    let source = Site::start(|_, _, _| Some((200, "x\n".into()))).await;
    let target =
        Site::start(|path, _, _| (!path.contains("hang")).then(|| (200, "x\n".into()))).await;
    let front = front(source.address, target.address, plan()).await;
    let policy = HoldPolicy { harmless_paths: vec!["/a".into()], ..HoldPolicy::default() };
    let said = Ask::SetHoldPolicy { mark: front.mark(), unit: unit(), policy };
    assert!(done(&front.ask(said).await));
    asked(&front, "/a/hang", None).await;
    until("it is copied", async || target.paths().len() == 1).await;
    assert!(done(&front.hold("h1").await));
    until("its copy ends", async || mirrored(&front).await.ended == 1).await;
    assert_eq!(asked(&front, "/a/held", None).await.side(), "source", "passes the hold");
    assert!(done(&front.release("h1", Side::Source).await));
    asked(&front, "/a/back", None).await;
    until("it is copied", async || mirrored(&front).await.compared.asked == 1).await;
    assert_eq!(target.paths(), ["/a/hang", "/a/back"]);

    assert!(done(&front.hold("h2").await));
    assert!(done(&front.release("h2", Side::Target).await));
    assert_eq!(asked(&front, "/a/there", None).await.side(), "target");
    assert_eq!(front.status().await.mirror, None, "not even after a restart");
    let route = MirrorRoute { plan: plan(), relayed: Sides::default() };
    assert_eq!(code(set(&front, Some(route)).await), "SG0116");
    assert!(done(&front.hold("h3").await));
    assert!(done(&front.release("h3", Side::Source).await));
    assert_eq!(asked(&front, "/a/failback", None).await.side(), "source");
    // Longer than a copy takes to come: that none does is what is looked at.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(target.paths(), ["/a/hang", "/a/back", "/a/there"], "nor after a failback");
    let wrong = [
        MirrorPlan { paths: vec!["a".into()], ..plan() },
        MirrorPlan { percent: 0, ..plan() },
        MirrorPlan { percent: 101, ..plan() },
        MirrorPlan { headers: vec!["Location".into()], ..plan() },
    ];
    for plan in wrong {
        let route = MirrorRoute { plan, relayed: Sides::default() };
        assert_eq!(code(set(&front, Some(route)).await), "SG0115");
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_of_a_hundred_are_copied() {
    let source = Site::start(|_, _, _| Some((200, "x\n".into()))).await;
    let target = Site::start(|_, _, _| Some((200, "x\n".into()))).await;
    let (percent, at_once) = (10, 64);
    let front =
        front(source.address, target.address, MirrorPlan { percent, at_once, ..plan() }).await;
    for number in 0..100 {
        asked(&front, &format!("/a/{number}"), None).await;
    }
    until("all are compared", async || mirrored(&front).await.compared.asked == 10).await;
    assert_eq!(target.paths().len(), 10);
    front.stop().await;
}

/// Reads until what was read ends so; false at the end.
async fn read_to(stream: &mut TcpStream, end: &str) -> bool {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        match stream.read_u8().await {
            Ok(byte) => read.push(byte),
            Err(_) => return false,
        }
    }
    true
}

/// A site whose answers stop half way, each until it may go on.
async fn halting() -> (SocketAddr, Arc<Semaphore>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let more = Arc::new(Semaphore::new(0));
    let may = more.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let may = may.clone();
            tokio::spawn(async move {
                while read_to(&mut stream, "\r\n\r\n").await {
                    let half = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab";
                    stream.write_all(half.as_bytes()).await.unwrap();
                    may.acquire().await.unwrap().forget();
                    let _ = stream.write_all(b"cd").await;
                }
            });
        }
    });
    (address, more)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_answers_are_kept_than_copies_may_be_under_way() {
    let (source, more) = halting().await;
    let target = Site::start(|_, _, _| Some((200, "abcd".into()))).await;
    let front = front(source, target.address, plan()).await;
    let user = async || {
        let mut user = TcpStream::connect(front.address).await.unwrap();
        let ask = format!("GET /a/half HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        user.write_all(ask.as_bytes()).await.unwrap();
        assert!(within("half an answer", read_to(&mut user, "ab")).await);
        user
    };
    let mut users = Vec::new();
    for _ in 0..10 {
        users.push(user().await);
    }
    let found = mirrored(&front).await;
    assert_eq!((found.dropped, found.compared.asked), (8, 0), "none has passed, two are kept");

    // Those who go away leave their room to others.
    users.drain(..2);
    let (mut dropped, mut later) = (8, Vec::new());
    until("another one is kept", async || {
        later.push(user().await);
        let former = std::mem::replace(&mut dropped, mirrored(&front).await.dropped);
        former == dropped
    })
    .await;
    assert_eq!(target.paths().len(), 0);
    more.add_permits(100);
    for user in users.iter_mut().chain(&mut later) {
        assert!(within("the rest", read_to(user, "cd")).await);
    }
    until("its copy is compared", async || mirrored(&front).await.compared.same == 1).await;
    assert_eq!(target.paths(), ["/a/half"]);
    // What was compared leaves its room as well.
    for number in 2..6 {
        asked(&front, "/a/whole", None).await;
        until("its copy", async || mirrored(&front).await.compared.asked == number).await;
    }
    assert_eq!(mirrored(&front).await.dropped, dropped);
    front.stop().await;
}
