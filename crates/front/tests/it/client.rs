//! Who a client is: what is believed about it, and what backends are told.

use crate::support::*;
use http::HeaderMap;
use segue_front::{FrontOptions, Limits};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const TOLD: [(&str, &str); 6] = [
    ("x-forwarded-for", "203.0.113.7, 198.51.100.1"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "www.example.test"),
    ("x-forwarded-port", "443"),
    ("forwarded", "for=198.51.100.1;proto=https"),
    ("x-real-ip", "198.51.100.1"),
];

async fn front(shop: &Shop, change: impl FnOnce(&mut FrontOptions)) -> Running {
    let folder = Arc::new(TempDir::new().unwrap());
    let mut options = options(folder.path(), free_address(), shop.address);
    change(&mut options);
    let limits = Limits { preface: Duration::from_millis(300), ..quick() };
    let front = Running::start(options, limits, folder).await;
    front.claim(1).await.unwrap();
    front.set_route(shop, shop, 64).await.unwrap();
    front
}

/// What the backend sees of a request that tells all this.
async fn seen(front: &Running, shop: &Shop, method: &str) -> HeaderMap {
    let mut request = request(method, "/", "");
    for (name, value) in TOLD {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    assert_eq!(within("an answer", send(front.address, request)).await.unwrap().status, 200);
    shop.seen().pop().unwrap().headers
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_anybody_says_of_himself_is_replaced() {
    let shop = Shop::start("source").await;
    let front = front(&shop, |_| {}).await;
    for method in ["GET", "POST"] {
        let seen = seen(&front, &shop, method).await;
        assert_eq!(all(&seen, "x-forwarded-for"), ["127.0.0.1"], "{method}");
        assert_eq!(all(&seen, "x-forwarded-proto"), ["http"]);
        assert_eq!(all(&seen, "x-forwarded-host"), [HOST]);
        assert_eq!(all(&seen, "x-forwarded-port"), [""; 0]);
        let forwarded = format!("for=127.0.0.1;proto=http;host=\"{HOST}\"");
        assert_eq!(all(&seen, "forwarded"), [forwarded]);
        assert_eq!(all(&seen, "x-real-ip"), ["198.51.100.1"], "nothing of ours");
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trusted_proxy_says_goes_on() {
    let shop = Shop::start("source").await;
    let front = front(&shop, |o| o.trusted = vec!["127.0.0.0/8".parse().unwrap()]).await;
    for method in ["GET", "POST"] {
        let seen = seen(&front, &shop, method).await;
        let from = ["203.0.113.7, 198.51.100.1, 127.0.0.1"];
        assert_eq!(all(&seen, "x-forwarded-for"), from, "{method}");
        assert_eq!(all(&seen, "x-forwarded-proto"), ["https"]);
        assert_eq!(all(&seen, "x-forwarded-host"), ["www.example.test"]);
        assert_eq!(all(&seen, "x-forwarded-port"), ["443"]);
        let own = format!("for=127.0.0.1;proto=http;host=\"{HOST}\"");
        assert_eq!(all(&seen, "forwarded"), [format!("for=198.51.100.1;proto=https, {own}")]);
    }
    // A scheme that is none does not go on.
    let mut odd = request("GET", "/", "");
    odd.headers_mut().insert("x-forwarded-proto", "gopher".parse().unwrap());
    send(front.address, odd).await.unwrap();
    let seen = shop.seen().pop().unwrap().headers;
    assert_eq!(all(&seen, "x-forwarded-proto"), ["http"]);
    assert!(!seen.contains_key("forwarded"), "nobody asked for it");
    front.stop().await;
}

/// How many clients the front told apart until now.
async fn clients(front: &Running, at_least: u64) -> u64 {
    let mut most = 0;
    until("a second is counted", async || {
        let windows = front.stats().await.windows.source;
        most = windows.iter().map(|w| w.clients).max().unwrap_or(0);
        most >= at_least
    })
    .await;
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_the_clients_behind_a_trusted_proxy_and_nobodys_inventions() {
    for (trusted, told_apart) in [(vec!["127.0.0.1".parse().unwrap()], 2), (Vec::new(), 1)] {
        let shop = Shop::start("source").await;
        let front = front(&shop, |o| o.trusted = trusted).await;
        for client in 0..64 {
            let mut request = request("GET", "/", "");
            let address = format!("192.0.2.{client}");
            request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
            send(front.address, request).await.unwrap();
        }
        let clients = clients(&front, told_apart).await;
        assert_eq!(clients > 1, told_apart > 1, "{clients} clients");
        front.stop().await;
    }
}

/// Sends bytes over a connection of its own, from an address, and returns what comes back.
async fn raw(front: SocketAddr, from: &str, text: &[u8]) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut stream: TcpStream = socket.connect(front).await.unwrap();
    let _ = stream.write_all(text).await;
    let mut answer = Vec::new();
    // The front may close with a reset what it did not read.
    let _ = within("the end", stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

const GET: &str = "GET /who HTTP/1.1\r\nHost: shop.example.test\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_says_with_the_proxy_protocol_who_the_client_is() {
    let shop = Shop::start("source").await;
    let front = front(&shop, |o| {
        o.ports[0].proxy_in = true;
        o.trusted = vec!["127.0.0.9".parse().unwrap()];
    })
    .await;
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\xc6\x33\x64\x01\x12\x67\0\x50";
    for (header, client) in [
        (&b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n"[..], "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.9"),
        (v2, "192.0.2.8"),
    ] {
        let answer = raw(front.address, "127.0.0.9", &[header, GET.as_bytes()].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{client}: {answer:?}");
        let seen = shop.seen().pop().unwrap().headers;
        assert_eq!(all(&seen, "x-forwarded-for"), [client]);
    }
    let asked = shop.seen().len();
    for text in [GET, "PROXY TCP4 a b c d\r\nGET / HTTP/1.1\r\n\r\n", "PROXY TC"] {
        assert_eq!(raw(front.address, "127.0.0.9", text.as_bytes()).await, "", "{text:?}");
    }
    assert_eq!(front.stats().await.turned_away, 3);
    // Anybody else is the one he is, and HTTP is what he speaks.
    let said = format!("PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n{GET}");
    assert!(raw(front.address, "127.0.0.1", said.as_bytes()).await.starts_with("HTTP/1.1 400"));
    assert_eq!(shop.seen().len(), asked);
    assert!(raw(front.address, "127.0.0.1", GET.as_bytes()).await.starts_with("HTTP/1.1 200"));
    assert_eq!(all(&shop.seen().pop().unwrap().headers, "x-forwarded-for"), ["127.0.0.1"]);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_is_found_and_a_namesake_is_none() {
    let shop = Shop::start("source").await;
    let inner = front(&shop, |_| {}).await;
    // Of the same name, before the other one.
    let folder = Arc::new(TempDir::new().unwrap());
    let before = options(folder.path(), free_address(), inner.address);
    let outer = Running::start(before, quick(), folder).await;
    assert_eq!(get(outer.address, "/").await.status, 200);
    let via = all(&shop.seen().pop().unwrap().headers, "x-segue-via").join(",");
    assert_eq!(via.matches("source.").count(), 2, "{via}");
    // One that is its own backend.
    let folder = Arc::new(TempDir::new().unwrap());
    let address = free_address();
    let circle = Running::start(options(folder.path(), address, address), quick(), folder).await;
    assert_eq!(get(circle.address, "/").await.status, 508);
    for front in [circle, outer, inner] {
        front.stop().await;
    }
}
