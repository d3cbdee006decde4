//! A server that answers every connection as it is told at that moment.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Manner {
    Good,
    /// The head comes, the body ends early.
    Cut,
    Close,
    Reset,
    Status503,
    WrongBody,
    /// Answers are kept back until the manner changes.
    Stall,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) from: IpAddr,
    pub(crate) connection: u64,
    pub(crate) head: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let manner = Arc::new(Mutex::new(Manner::Good));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (told, note) = (manner.clone(), seen.clone());
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let (stream, from) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, from, connection, told.clone(), note.clone()));
            }
        });
        Self { address, manner, seen, task }
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    from: SocketAddr,
    connection: u64,
    manner: Arc<Mutex<Manner>>,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer).await {
                Ok(n @ 1..) => head.extend_from_slice(&buffer[..n]),
                _ => return,
            }
        }
        let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
        seen.lock().unwrap().push(Seen { from: from.ip(), connection, head: text });
        let told = || *manner.lock().unwrap();
        while told() == Manner::Stall {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (status, body) = match told() {
            Manner::Close => return,
            Manner::Reset => {
                let socket = stream.into_std().unwrap();
                // A linger of zero makes the close a reset.
                let _ = rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
                return;
            }
            Manner::Cut => ("200 OK", "segue"),
            Manner::Status503 => ("503 Service Unavailable", "busy"),
            Manner::WrongBody => ("200 OK", "another page"),
            Manner::Good | Manner::Stall => ("200 OK", "a page with segue-shop inside"),
        };
        let length = if told() == Manner::Cut { 100 } else { body.len() };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nx-segue-side: source\r\n\r\n{body}"
        );
        if stream.write_all(answer.as_bytes()).await.is_err() || told() == Manner::Cut {
            return;
        }
    }
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
