//! Several servers at one side.

use crate::support::*;
use segue_front::control::{Reach, Servers};
use segue_model::Sides;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A front before the servers of a source, the first of which `front` was started with.
async fn reaching(source: &[SocketAddr], target: &Shop, reach: Reach) -> Running {
    let (first, beside) = source.split_first().unwrap();
    let folder = Arc::new(tempfile::TempDir::new().unwrap());
    let options = options(folder.path(), free_address(), *first);
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    let servers = Servers { beside: beside.to_vec(), ..reach.servers.source };
    let reach = Reach { servers: Sides { source: servers, ..reach.servers }, ..reach };
    let backends = Sides { source: *first, target: target.address };
    assert!(done(&front.reach(backends, reach).await));
    front
}

fn checked(path: &str) -> Reach {
    let source = Servers { check: Some(path.into()), ..Servers::default() };
    Reach { servers: Sides { source, ..Sides::default() }, ..Reach::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn share_what_comes_by_what_is_under_way() {
    let (a, b, target) =
        (Shop::start("a").await, Shop::start("b").await, Shop::start("target").await);
    let front = reaching(&[a.address, b.address], &target, Reach::default()).await;
    let mut asked = Vec::new();
    for number in 0..12 {
        let method = if number % 3 == 0 { "POST" } else { "GET" };
        asked.push(later(front.address, method, "/hang"));
        until("it is there", async || a.paths().len() + b.paths().len() == number + 1).await;
    }
    assert_eq!((a.paths().len(), b.paths().len()), (6, 6));
    a.let_go();
    until("they end", async || a.finished() == 6).await;
    for number in 1..=6 {
        asked.push(later(front.address, "GET", "/hang"));
        until("it is there", async || a.paths().len() == 6 + number).await;
    }
    b.let_go();
    for answer in asked {
        assert_eq!(within("an answer", answer).await.unwrap().unwrap().status, 200);
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_refuses_fails_no_request_and_none_goes_to_the_other_side() {
    let (absent, b, target) =
        (Shop::absent("a"), Shop::start("b").await, Shop::start("target").await);
    let front = reaching(&[absent.address, b.address], &target, Reach::default()).await;
    for number in 0..6 {
        let answer = if number % 2 == 0 {
            get(front.address, "/x").await
        } else {
            post(front.address, "/x", "body").await
        };
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "b /x"));
    }
    assert_eq!(front.status().await.out, [absent.address]);
    front.stop().await;
    let front = reaching(&[absent.address, free_address()], &target, Reach::default()).await;
    for _ in 0..3 {
        assert_eq!(get(front.address, "/x").await.status, 502);
        assert_eq!(post(front.address, "/x", "body").await.status, 502);
    }
    assert!(target.paths().is_empty());
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_answer_its_path_is_out_until_it_does() {
    let (a, b, target) =
        (Shop::start("a").await, Shop::start("b").await, Shop::start("target").await);
    // It answers 500 at `b`, and well at any other.
    let front = reaching(&[a.address, b.address], &target, checked("/error/b")).await;
    until("b is out", async || front.status().await.out == [b.address]).await;
    let before = b.paths().iter().filter(|path| *path == "/x").count();
    for _ in 0..6 {
        assert_eq!(get(front.address, "/x").await.body, "a /x");
    }
    assert_eq!(b.paths().iter().filter(|path| *path == "/x").count(), before);
    assert_eq!(a.seen()[0].headers["host"], HOST);
    front.stop().await;
    // By a connection alone it is well.
    let front = reaching(&[a.address, b.address], &target, Reach::default()).await;
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert!(front.status().await.out.is_empty());
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_comes_back_is_asked_again() {
    let (a, target) = (Shop::start("a").await, Shop::start("target").await);
    let away = free_address();
    let front = reaching(&[a.address, away], &target, Reach::default()).await;
    until("it is out", async || front.status().await.out == [away]).await;
    let listener = tokio::net::TcpListener::bind(away).await.unwrap();
    until("it is in again", async || front.status().await.out.is_empty()).await;
    drop(listener);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_has_a_time_of_its_own_for_answers() {
    let (a, target) = (Shop::start("a").await, Shop::start("target").await);
    let reach = Reach { answer_ms: Some(300), ..Reach::default() };
    let front = reaching(&[a.address], &target, reach).await;
    for method in ["GET", "POST"] {
        let began = Instant::now();
        let answer = within("504", later(front.address, method, "/hang")).await;
        assert_eq!(answer.unwrap().unwrap().status, 504, "{method}");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    a.let_go();
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused() {
    let target = Shop::absent("target");
    let folder = Arc::new(tempfile::TempDir::new().unwrap());
    let options = options(folder.path(), free_address(), target.address);
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    let first = free_address();
    let twice = Servers { beside: vec![first], ..Servers::default() };
    let twice = Reach { servers: Sides { source: twice, ..Sides::default() }, ..Reach::default() };
    let never = Reach { answer_ms: Some(0), ..Reach::default() };
    for reach in [twice, never, checked("health"), checked("/a b"), checked("/a\r\nX: y")] {
        let backends = Sides { source: first, target: target.address };
        assert_eq!(code(front.reach(backends, reach).await), "SG0115");
    }
    front.stop().await;
}
