//! A share of the visitors who read at the target, while the source writes.

use crate::certificates::Trust;
use crate::http2::{Http2, trusting};
use crate::support::*;
use crate::tls::{tls_front, tls_options};
use segue_front::Limits;
use segue_front::control::{Reply, Request as Ask, SplitRoute, Trial};
use segue_model::{Fault, Side};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn route(percent: u8) -> SplitRoute {
    SplitRoute {
        id: "run-1-split-3".into(),
        percent,
        paths: vec!["/static/".into(), "/error".into(), "/hang".into()],
        testers: vec!["127.0.9.9".parse().unwrap()],
        cookie: "segue-split".into(),
        warm_ms: 0,
        relayed: false,
        slow_ms: 300,
    }
}

async fn set(front: &Running, split: SplitRoute) -> Result<Reply, Fault> {
    front.ask(Ask::SetSplit { mark: front.mark(), unit: unit(), split }).await
}

async fn trial(front: &Running) -> Trial {
    match front.ask(Ask::UnitStats { unit: unit() }).await.unwrap() {
        Reply::Stats(stats) => *stats.trial.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn visit(front: &Running, visitor: u8, method: &str, path: &str) -> Answer {
    let client = format!("127.0.1.{visitor}");
    let asked = send_from(&client, front.address, request(method, path, ""));
    within(path, asked).await.unwrap()
}

/// Asks once for each of forty visitors; returns where each was sent.
async fn everybody(front: &Running, path: &str) -> BTreeMap<u8, String> {
    let mut sides = BTreeMap::new();
    for visitor in 1..=40 {
        let answer = visit(front, visitor, "GET", path).await;
        assert_eq!(answer.status, 200, "visitor {visitor}");
        assert_eq!(answer.body, format!("{} {path}", answer.side()));
        sides.insert(visitor, answer.side().to_owned());
    }
    sides
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rising_share_moves_visitors_who_read_and_none_comes_back() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    let mut moved: Vec<u8> = Vec::new();
    for percent in [5, 25, 50, 75, 100] {
        assert!(done(&set(&front, route(percent)).await));
        let sides = everybody(&front, "/static/a.css").await;
        let now: Vec<u8> = sides.iter().filter(|(_, s)| *s == "target").map(|(v, _)| *v).collect();
        assert!(moved.iter().all(|visitor| now.contains(visitor)), "{percent} %: {sides:?}");
        assert!(now.len() >= moved.len());
        moved = now;
        let counted = trial(&front).await;
        let cells = (counted.sides.source.cells, counted.sides.target.cells);
        assert!(cells.1.abs_diff(moved.len() as u64) <= 1, "{percent} %: {cells:?}");
    }
    assert_eq!(moved.len(), 40);
    // What may write stays, and so does who wrote.
    assert_eq!(visit(&front, 1, "GET", "/cart").await.side(), "source");
    let wrote = visit(&front, 1, "POST", "/static/a.css").await;
    assert_eq!(wrote.side(), "source");
    let cookie = wrote.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("segue-split="), "{cookie}");
    assert_eq!(visit(&front, 1, "GET", "/static/a.css").await.side(), "source");
    assert_eq!(visit(&front, 2, "GET", "/static/a.css").await.side(), "target");
    // Its cookie says so wherever it comes from; the application never sees it.
    let mut asked = request("GET", "/static/b.css", "");
    let pair = cookie.split(';').next().unwrap();
    asked.headers_mut().insert("cookie", format!("sid=1; {pair}").parse().unwrap());
    let answer = within("a cookie", send_from("127.0.1.3", front.address, asked)).await.unwrap();
    assert_eq!(answer.side(), "source");
    let seen = source.seen();
    let last = seen.iter().rfind(|seen| seen.path == "/static/b.css").unwrap();
    assert_eq!(last.headers["cookie"], "sid=1");
    // The run's own probes are no visitors.
    let mut probe = request("GET", "/static/a.css", "");
    probe.headers_mut().insert("x-segue-probe", "run-1".parse().unwrap());
    let answer = within("a probe", send_from("127.0.1.2", front.address, probe)).await.unwrap();
    assert_eq!(answer.side(), "source");
    // One step back at once.
    assert!(done(&set(&front, route(0)).await));
    let sides = everybody(&front, "/static/a.css").await;
    assert!(sides.values().all(|side| side == "source"));
    let tester = send_from("127.0.9.9", front.address, request("GET", "/static/a.css", ""));
    assert_eq!(within("a tester", tester).await.unwrap().side(), "target");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_that_the_target_fails() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    assert!(done(&set(&front, route(100)).await));
    // An error of its own, and no answer in time: the source answers.
    let answer = visit(&front, 1, "GET", "/error/target").await;
    assert_eq!((answer.status.as_u16(), answer.side()), (200, "source"));
    source.let_go();
    let answer = visit(&front, 2, "GET", "/hang").await;
    assert_eq!((answer.status.as_u16(), answer.side()), (200, "source"));
    assert!(answer.took < Duration::from_secs(3), "{:?}", answer.took);
    let split = front.status().await.split.unwrap();
    assert_eq!((split.open, split.saved), (false, 2));
    // The third in a row takes the target out, and nobody waits for it any more.
    assert_eq!(visit(&front, 3, "GET", "/error/target").await.status, 200);
    let split = front.status().await.split.unwrap();
    assert_eq!((split.open, split.opened, split.saved), (true, 1, 3));
    let before = target.paths().len();
    let sides = everybody(&front, "/static/a.css").await;
    assert!(sides.values().all(|side| side == "source"), "{sides:?}");
    assert_eq!(target.paths().len(), before);
    let counted = trial(&front).await;
    assert_eq!((counted.sides.target.failing, counted.sides.source.cells), (3, 0));
    // What the source fails too is the source's own.
    let answer = visit(&front, 4, "GET", "/error/source").await;
    assert_eq!((answer.status.as_u16(), answer.side()), (500, "source"));
    front.stop().await;
}

/// A target whose answers begin well, and then break off or stand still.
async fn half(breaks: bool) -> Shop {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4_096];
                let _ = stream.read(&mut head).await;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
                stream.write_all(answer).await.unwrap();
                if !breaks {
                    // Until the front leaves.
                    let _ = stream.read(&mut head).await;
                }
            });
        }
    });
    Shop::at(address, "target")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_whose_answers_end_half_way_is_taken_out_as_well() {
    let source = Shop::start("source").await;
    for breaks in [true, false] {
        let target = half(breaks).await;
        let limits = Limits { answer: Duration::from_millis(300), ..quick() };
        let front = Running::routed_with(&source, &target, limits, 64).await;
        assert!(done(&set(&front, route(100)).await));
        for visitor in 1..=3 {
            assert!(!front.status().await.split.unwrap().open, "after {visitor}");
            let client = format!("127.0.1.{visitor}");
            let asked = send_from(&client, front.address, request("GET", "/static/a.css", ""));
            assert!(within("an end", asked).await.is_err(), "breaks {breaks}: it is not whole");
        }
        // Nobody was spared these, and the next one is.
        let split = front.status().await.split.unwrap();
        assert_eq!((split.open, split.opened, split.saved), (true, 1, 0), "breaks {breaks}");
        let target = trial(&front).await.sides.target;
        assert_eq!((target.requests, target.failing), (3, 3), "breaks {breaks}");
        assert_eq!(visit(&front, 4, "GET", "/static/a.css").await.side(), "source");
        front.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_a_target_that_stands_still_says_so_and_who_leaves_at_once_does_not() {
    let (source, target) = (Shop::start("source").await, half(false).await);
    let front = Running::routed(&source, &target).await;
    assert!(done(&set(&front, route(100)).await));
    for (stays, requests, failing) in [(0, 1, 0), (600, 2, 1)] {
        let mut client = tokio::net::TcpStream::connect(front.address).await.unwrap();
        let ask = format!("GET /static/a.css HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        client.write_all(ask.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        within("a head", client.read_exact(&mut status)).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        tokio::time::sleep(Duration::from_millis(stays)).await;
        drop(client);
        until("it is counted", async || trial(&front).await.sides.target.requests == requests)
            .await;
        assert_eq!(trial(&front).await.sides.target.failing, failing, "after {stays} ms");
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_gone_costs_no_visitor_anything() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    let gone = SplitRoute { paths: vec!["/".into()], ..route(50) };
    assert!(done(&set(&front, gone).await));
    let absent = Shop::absent("target");
    assert!(done(&front.set_route(&source, &absent, 64).await));
    let sides = everybody(&front, "/static/a.css").await;
    assert!(sides.values().all(|side| side == "source"));
    assert!(front.status().await.split.unwrap().open);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_outlives_the_front_and_ends_with_the_cutover() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    assert!(done(&set(&front, route(100)).await));
    let address = front.address;
    let folder = front.stop().await;
    let options = options(folder.path(), address, source.address);
    let front = Running::start(options, quick(), folder).await;
    assert_eq!(front.status().await.split.unwrap().percent, 100);
    assert_eq!(visit(&front, 1, "GET", "/static/a.css").await.side(), "target");
    // A hold keeps readers too, and a release to the source leaves the share.
    assert!(done(&front.hold("h1").await));
    let waiting = later(front.address, "GET", "/static/held.css");
    front.held(1).await;
    assert!(done(&front.release("h1", Side::Source).await));
    assert_eq!(within("released", waiting).await.unwrap().unwrap().side(), "target");
    assert!(done(&front.hold("h2").await) && done(&front.seal("h2").await));
    assert!(done(&front.release("h2", Side::Target).await));
    let split = front.status().await.split.unwrap();
    assert_eq!((split.percent, visit(&front, 1, "POST", "/order").await.side()), (0, "target"));
    assert_eq!(code(set(&front, route(50)).await), "SG0116");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_that_makes_no_sense_is_refused() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    for bad in [
        route(101),
        SplitRoute { paths: Vec::new(), ..route(5) },
        SplitRoute { cookie: "a b".into(), ..route(5) },
        SplitRoute { id: String::new(), ..route(5) },
    ] {
        assert_eq!(code(set(&front, bad.clone()).await), "SG0115", "{bad:?}");
    }
    assert_eq!(front.status().await.split, None);
    assert_eq!(visit(&front, 1, "GET", "/static/a.css").await.side(), "source");
    front.stop().await;
}

/// What is left of a visitor's cookies at the application, and what an answer says of the split's.
async fn after_the_split(shop: &Shop, ask: impl AsyncFn(http::Request<()>) -> Answer) {
    for (method, path) in [("GET", "/account/orders"), ("POST", "/order")] {
        let asked = http::Request::builder().method(method).uri(format!("https://{HOST}{path}"));
        // HTTP/2 has a field for each.
        let asked = asked.header("cookie", "sid=1").header("cookie", "segue-split=1f.77; a=2");
        let answer = ask(asked.body(()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.side()), (200, "target"), "{path}");
        let set = answer.headers["set-cookie"].to_str().unwrap();
        assert!(set.starts_with("segue-split=;") && set.contains("Max-Age=0"), "{path}: {set}");
        let seen = shop.seen();
        let headers = &seen.iter().rfind(|seen| seen.path == path).unwrap().headers;
        let cookies: Vec<_> = headers.get_all("cookie").iter().collect();
        let all = cookies.iter().map(|c| c.to_str().unwrap()).collect::<Vec<_>>().join("; ");
        assert_eq!(all, "sid=1; a=2", "{path}");
    }
    // Who has none is given none, and what a shared cache may keep says nothing of one.
    for cookie in ["sid=1", "segue-split=1f.77"] {
        let path = if cookie == "sid=1" { "/account/none" } else { "/static/a.css" };
        let asked = http::Request::get(format!("https://{HOST}{path}")).header("cookie", cookie);
        let answer = ask(asked.body(()).unwrap()).await;
        assert_eq!((answer.side(), answer.headers.get("set-cookie")), ("target", None), "{path}");
    }
}

async fn in_http_1(front: &Running, trust: &Trust, asked: http::Request<()>) -> Answer {
    let (parts, ()) = asked.into_parts();
    let mut plain = request(parts.method.as_str(), parts.uri.path(), "");
    plain.headers_mut().extend(parts.headers);
    let stream = trust.connect(front.address, HOST).await.unwrap();
    within("an answer", exchange(stream, plain)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_cutover_no_cookie_of_the_split_is_left_also_at_the_next_front() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let (front, certificate) = tls_front(&source, &target, quick()).await;
    let trust = trusting(&certificate);
    assert!(done(&set(&front, route(100)).await));
    let mut asked = request("GET", "/static/a.css", "");
    asked.headers_mut().insert("cookie", "segue-split=1f.77".parse().unwrap());
    let stream = trust.connect(front.address, HOST).await.unwrap();
    let answer = within("an answer", exchange(stream, asked)).await.unwrap();
    assert_eq!(answer.side(), "target");
    assert!(done(&front.hold("h1").await) && done(&front.seal("h1").await));
    assert!(done(&front.release("h1", Side::Target).await));
    let both = async |front: &Running| {
        after_the_split(&target, async |asked| in_http_1(front, &trust, asked).await).await;
        let client = Http2::open(front.address, &trust, HOST).await;
        let ask = async |asked: http::Request<()>| {
            let body = (asked.method() == "POST").then_some("x");
            within("an answer", client.ask(asked, body)).await.unwrap()
        };
        after_the_split(&target, ask).await;
    };
    both(&front).await;
    let address = front.address;
    let folder = front.stop().await;
    let options = tls_options(folder.path(), address, source.address);
    let front = Running::start(options, quick(), folder).await;
    both(&front).await;
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_may_lead_elsewhere_stays_with_the_write_side() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    assert!(done(&set(&front, route(100)).await));
    for path in ["/static/..%2fcart", "/static/../cart", "/static/%2e%2e/cart", "/static/..;/x"] {
        assert_eq!(visit(&front, 1, "GET", path).await.side(), "source", "{path}");
    }
    assert_eq!(target.paths(), [""; 0]);
    assert_eq!(visit(&front, 1, "GET", "/static/..a").await.side(), "target");
    front.stop().await;
}
