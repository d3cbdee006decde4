//! Which requests are sent again when a backend's connection turns out to be stale.

use crate::support::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A backend that answers one request a connection, keeps the connection open, and
/// closes it without a word when a second request comes: an idle connection that is
/// closed in the very moment it is used. Notes the method of every request it read.
struct Stale {
    address: SocketAddr,
    read: Arc<Mutex<Vec<String>>>,
}

impl Stale {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stale =
            Self { address: listener.local_addr().unwrap(), read: Arc::new(Mutex::default()) };
        let read = stale.read.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Self::serve(stream, read.clone()));
            }
        });
        stale
    }

    async fn serve(mut stream: TcpStream, read: Arc<Mutex<Vec<String>>>) {
        for round in 0.. {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                    return;
                }
                head.push(byte[0]);
            }
            let method = String::from_utf8_lossy(&head).split(' ').next().unwrap().to_owned();
            let dies = round > 0 || String::from_utf8_lossy(&head).contains("/die");
            read.lock().unwrap().push(method);
            if dies {
                return;
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
        }
    }

    fn read(&self) -> Vec<String> {
        self.read.lock().unwrap().clone()
    }
}

async fn front_before(address: SocketAddr) -> Running {
    let folder = Arc::new(tempfile::TempDir::new().unwrap());
    let options = options(folder.path(), free_address(), address);
    Running::start(options, quick(), folder).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replays_a_get_whose_reused_connection_was_closed() {
    let backend = Stale::start().await;
    let front = front_before(backend.address).await;
    for _ in 0..20 {
        assert_eq!(get(front.address, "/").await.status, 200);
    }
    // Every second request met a stale connection and was read twice.
    assert!(backend.read().len() > 25, "{}", backend.read().len());
    assert_eq!(front.stats().await.other.failed, 0);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_sends_a_post_twice_nor_over_a_used_connection() {
    let backend = Stale::start().await;
    let front = front_before(backend.address).await;
    for _ in 0..10 {
        assert_eq!(get(front.address, "/").await.status, 200);
        // A used connection lies ready now, and would be closed on this request.
        assert_eq!(post(front.address, "/", "").await.status, 200);
    }
    let posts = backend.read().iter().filter(|m| *m == "POST").count();
    assert_eq!(posts, 10);
    assert_eq!(post(front.address, "/die", "").await.status, 502);
    let posts = backend.read().iter().filter(|m| *m == "POST").count();
    assert_eq!(posts, 11, "the one that got no answer was not sent again");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replays_a_get_only_once() {
    let backend = Stale::start().await;
    let front = front_before(backend.address).await;
    assert_eq!(get(front.address, "/").await.status, 200);
    assert_eq!(get(front.address, "/die").await.status, 502);
    assert_eq!(backend.read().len(), 3, "{:?}", backend.read());
    assert_eq!(front.stats().await.other.failed, 1);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_502_and_504_for_backends_that_do_not() {
    let nobody = free_address();
    let front = front_before(nobody).await;
    assert_eq!(get(front.address, "/").await.status, 502);
    front.stop().await;

    let shop = Shop::start("source").await;
    let limits = segue_front::Limits { answer: std::time::Duration::from_millis(50), ..quick() };
    let front = Running::routed_with(&shop, &shop, limits, 1).await;
    assert_eq!(get(front.address, "/hang").await.status, 504);
    // The backend still works on it, so that the unit is not idle.
    assert_eq!(front.status().await.in_flight, 1);
    shop.let_go();
    until("the request ended", async || front.status().await.in_flight == 0).await;
    front.stop().await;
}
