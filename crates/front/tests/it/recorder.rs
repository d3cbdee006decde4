//! A backend that keeps every octet it gets, and reads requests in its own few lines.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A whole request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) head: String,
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
}

impl Arrived {
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.head, String::from_utf8_lossy(&self.body))
    }
}

/// The backend.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    answer: &'static str,
    requests: Mutex<Vec<Arrived>>,
    bytes: Mutex<Vec<u8>>,
}

impl Recorder {
    pub(crate) async fn start() -> Arc<Self> {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").await
    }

    /// A backend that says the same to everybody.
    pub(crate) async fn answering(answer: &'static str) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let this =
            Arc::new(Self { address, answer, requests: Mutex::default(), bytes: Mutex::default() });
        let serving = this.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        this
    }

    /// Every request that arrived whole.
    pub(crate) fn requests(&self) -> Vec<Arrived> {
        self.requests.lock().unwrap().clone()
    }

    /// Everything that arrived.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let (mut kept, mut room) = (Vec::new(), [0; 8192]);
        loop {
            while let Some((arrived, length)) = arrived(&kept) {
                kept.drain(..length);
                self.requests.lock().unwrap().push(arrived);
                if stream.write_all(self.answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            match stream.read(&mut room).await {
                Ok(read) if read > 0 => {
                    kept.extend(&room[..read]);
                    self.bytes.lock().unwrap().extend(&room[..read]);
                }
                _ => return,
            }
        }
    }
}

/// Takes the first request out of what arrived, once it is whole, and says how long it was.
fn arrived(bytes: &[u8]) -> Option<(Arrived, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    let lower = head.to_ascii_lowercase();
    let value = |name: &str| lower.split(name).nth(1).map(|rest| rest.lines().next().unwrap());
    let (mut body, mut at) = (Vec::new(), end);
    if value("\r\ntransfer-encoding:").is_some() {
        loop {
            let line = bytes[at..].windows(2).position(|two| two == b"\r\n")?;
            let size = String::from_utf8_lossy(&bytes[at..at + line]).into_owned();
            let size = usize::from_str_radix(&size, 16).unwrap();
            at += line + 2;
            if size > 0 {
                body.extend(bytes.get(at..at + size + 2)?.split_last_chunk::<2>()?.0);
                at += size + 2;
            }
            if size == 0 {
                // What stands after it belongs to the request.
                let rest = bytes[at - 2..].windows(4).position(|four| four == b"\r\n\r\n")?;
                at += rest + 2;
                break;
            }
        }
    } else if let Some(length) = value("\r\ncontent-length:") {
        at += length.trim().parse::<usize>().unwrap();
        body.extend(bytes.get(end..at)?);
    }
    Some((Arrived { head, target, body }, at))
}

/// Reads up to a mark; all there is, if the end comes first.
pub(crate) async fn read_to(stream: &mut TcpStream, mark: &str) -> String {
    let (mut text, mut room) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&text).contains(mark) {
        match stream.read(&mut room).await {
            Ok(read) if read > 0 => text.extend(&room[..read]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}
