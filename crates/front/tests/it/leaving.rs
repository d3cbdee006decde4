//! Clients that leave before their answer, and a front that is told to end.

use crate::support::*;
use crate::takeover::patient;
use segue_front::control::Request as Ask;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn carries_a_forwarded_post_to_its_end_when_the_client_leaves() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    let mut client = TcpStream::connect(front.address).await.unwrap();
    let head = "POST /hang HTTP/1.1\r\nHost: shop.example.test\r\nContent-Length: 3\r\n\r\nabc";
    client.write_all(head.as_bytes()).await.unwrap();
    until("it runs", async || shop.seen().len() == 1).await;
    drop(client);
    until("the front noticed", async || front.stats().await.connections == 0).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let status = front.status().await;
    assert_eq!((status.in_flight, shop.finished()), (1, 0), "still at the backend");
    shop.let_go();
    until("it ended", async || front.status().await.in_flight == 0).await;
    assert_eq!(shop.finished(), 1);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_leaves_begins_no_hold_and_seals_none() {
    let shop = Shop::start("source").await;
    let front = Running::routed_with(&shop, &shop, patient(), 64).await;
    assert!(done(&front.hold("h1").await));
    let waits = later(front.address, "GET", "/");
    front.held(1).await;
    assert!(done(&front.ask(Ask::Bypass { mark: front.mark() }).await));
    assert_eq!(code(front.seal("h1").await), "SG0116", "new connections are elsewhere");
    assert!(done(&front.release("h1", segue_model::Side::Source).await));
    let answer = within("its answer", waits).await.unwrap().unwrap();
    assert_eq!(answer.status, 200);
    within("the end", front.task).await.unwrap().unwrap();

    let front = Running::routed_with(&shop, &shop, patient(), 64).await;
    let runs_on = later(front.address, "GET", "/hang");
    until("it runs", async || front.status().await.in_flight == 1).await;
    assert!(done(&front.ask(Ask::Bypass { mark: front.mark() }).await));
    assert_eq!(code(front.hold("h1").await), "SG0116");
    shop.let_go();
    assert_eq!(within("its answer", runs_on).await.unwrap().unwrap().status, 200);
    within("the end", front.task).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_pass_on_a_body_that_did_not_arrive_whole() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    for part in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"]
    {
        let mut client = TcpStream::connect(front.address).await.unwrap();
        let head = format!("POST /part HTTP/1.1\r\nHost: shop.example.test\r\n{part}");
        client.write_all(head.as_bytes()).await.unwrap();
        until("it runs", async || front.status().await.in_flight == 1).await;
        drop(client);
        until("it is over", async || front.status().await.in_flight == 0).await;
    }
    assert_eq!(shop.paths(), [] as [&str; 0], "the backend saw no whole request");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gives_up_on_a_client_that_stops_sending_its_body() {
    let shop = Shop::start("source").await;
    let limits = segue_front::Limits { body_idle: Duration::from_millis(50), ..quick() };
    let front = Running::routed_with(&shop, &shop, limits, 8).await;
    let mut client = TcpStream::connect(front.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: shop.example.test\r\nContent-Length: 10\r\n\r\nabc";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut client, &mut answer);
    within("the end", end).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    until("it is over", async || front.status().await.in_flight == 0).await;
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finishes_running_requests_before_it_ends() {
    let shop = Shop::start("source").await;
    let limits = segue_front::Limits { finish: Duration::from_secs(5), ..quick() };
    let front = Running::routed_with(&shop, &shop, limits, 8).await;
    let address = front.address;
    let running = later(address, "POST", "/hang");
    until("it runs", async || shop.seen().len() == 1).await;
    let ending = tokio::spawn(front.stop());
    until("nobody listens", async || TcpStream::connect(address).await.is_err()).await;
    shop.let_go();
    let answer = within("its answer", running).await.unwrap().unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.headers["connection"].as_bytes()),
        (200, &b"close"[..])
    );
    within("the end", ending).await.unwrap();
}
