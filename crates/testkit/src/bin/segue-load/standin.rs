//! Stand-ins for tests: a name server and a shop that can be told to misbehave.
#![allow(clippy::unwrap_used)]

use crate::wire::Body;
use domain::base::iana::{Class, Rcode};
use domain::base::{Message, MessageBuilder};
use domain::rdata::A;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// An authoritative server for one address with a TTL of 1 s.
pub(crate) struct Authority {
    pub(crate) address: SocketAddr,
    pub(crate) answer: Arc<Mutex<Ipv4Addr>>,
    pub(crate) asked: Arc<AtomicUsize>,
}

/// Starts a name server whose answer can be changed.
pub(crate) async fn authority(first: &str) -> Authority {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let answer = Arc::new(Mutex::new(first.parse().unwrap()));
    let asked = Arc::new(AtomicUsize::new(0));
    let (current, count) = (Arc::clone(&answer), Arc::clone(&asked));
    tokio::spawn(async move {
        let mut bytes = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut bytes).await {
            count.fetch_add(1, Ordering::SeqCst);
            let query = Message::from_octets(&bytes[..length]).unwrap();
            assert!(!query.header().rd(), "an authoritative server is not asked to recurse");
            let address = A::new(*current.lock().unwrap());
            let mut reply = MessageBuilder::new_vec().start_answer(&query, Rcode::NOERROR).unwrap();
            let name = query.first_question().unwrap().qname().to_owned();
            reply.push((name, Class::IN, 1, address)).unwrap();
            socket.send_to(&reply.finish(), peer).await.unwrap();
        }
    });
    Authority { address, answer, asked }
}

/// How the stand-in shop treats a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whim {
    /// As the shop does.
    Serve,
    /// With this status and no body.
    Status(u16),
    /// With a body that is not the one asked for.
    Other,
    /// By ending the connection.
    Hang,
    /// By resetting the connection.
    Reset,
    /// After so many milliseconds.
    Slow(u64),
}

/// A shop in memory.
#[derive(Default)]
pub(crate) struct Shop {
    /// By first part of the path, such as `order`.
    pub(crate) whims: Mutex<HashMap<String, Whim>>,
    /// Requests as `METHOD PATH`, in order of arrival.
    pub(crate) seen: Mutex<Vec<String>>,
    /// Orders under way of a client at the same time, at most.
    pub(crate) most_orders_at_once: AtomicUsize,
    /// Connections accepted.
    pub(crate) connections: AtomicUsize,
    under_way: Mutex<HashMap<String, usize>>,
}

impl Shop {
    /// Starts the shop and returns its address.
    pub(crate) async fn start() -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shop = Arc::new(Self::default());
        let own = Arc::clone(&shop);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shop.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(Arc::clone(&shop).serve(stream));
            }
        });
        (own, address)
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        while let Some((head, body)) = read_request(&mut stream).await {
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            self.seen.lock().unwrap().push(format!("{method} {path}"));
            let first = path[1..].split(['/', '?']).next().unwrap().to_owned();
            let whim = self.whims.lock().unwrap().get(&first).copied().unwrap_or(Whim::Serve);
            match whim {
                Whim::Hang => return,
                Whim::Reset => {
                    let socket = socket2::SockRef::from(&stream);
                    return socket.set_linger(Some(Duration::ZERO)).unwrap();
                }
                _ => {}
            }
            if first == "events" {
                return events(&mut stream).await;
            }
            let client = client_of(&head, &body);
            self.enter(&first, &client);
            if let Whim::Slow(ms) = whim {
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            let mut answer = answer(&first, path, &client, &body);
            match whim {
                Whim::Status(status) => answer = reply(status, "", ""),
                Whim::Other => answer = reply(answer_status(&answer), "", "something else"),
                _ => {}
            }
            self.leave(&first, &client);
            // The client may have given up.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }

    fn enter(&self, first: &str, client: &str) {
        if first == "order" {
            let mut under_way = self.under_way.lock().unwrap();
            let count = under_way.entry(client.to_owned()).or_default();
            *count += 1;
            self.most_orders_at_once.fetch_max(*count, Ordering::SeqCst);
        }
    }

    fn leave(&self, first: &str, client: &str) {
        if first == "order" {
            *self.under_way.lock().unwrap().get_mut(client).unwrap() -= 1;
        }
    }
}

/// Sends one event and ends the stream cleanly.
async fn events(stream: &mut TcpStream) {
    let text = "HTTP/1.1 200 OK\r\nx-shop-side: source\r\nTransfer-Encoding: chunked\r\n\r\n\
        7\r\nid: 5\n\n\r\n";
    let _ = stream.write_all(text.as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let _ = stream.write_all(b"0\r\n\r\n").await;
}

/// The name of the client out of cookie, form or JSON.
fn client_of(head: &str, body: &[u8]) -> String {
    let text = format!("{head}\n{}", String::from_utf8_lossy(body));
    for start in ["sid=token-", "client=", "\"client\":\""] {
        if let Some((_, rest)) = text.split_once(start) {
            return rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        }
    }
    String::new()
}

fn answer(first: &str, path: &str, client: &str, body: &[u8]) -> String {
    match first {
        "catalogue" => reply(200, "", "<h1>segue-shop catalogue</h1>"),
        "files" => {
            let number = &path[path.len() - 9..path.len() - 4];
            reply(200, "", &format!("file {number}\nrest"))
        }
        "account" => reply(200, "", &format!("account of {client}")),
        "login" => reply(204, &format!("Set-Cookie: sid=token-{client}; Path=/\r\n"), ""),
        "upload" => reply(201, "", &blake3::hash(body).to_hex()),
        "order" => reply(201, "", &String::from_utf8_lossy(body)),
        _ => reply(200, "", "report"),
    }
}

fn answer_status(answer: &str) -> u16 {
    answer[9..12].parse().unwrap()
}

fn reply(status: u16, more: &str, body: &str) -> String {
    let length =
        if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("HTTP/1.1 {status} X\r\nx-shop-side: source\r\n{more}{length}\r\n{body}")
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = Body::Length(length.map_or(0, |length| length.parse().unwrap()));
    let mut out = Vec::new();
    body.take(&bytes[end..], &mut out).unwrap();
    while !body.complete() {
        let mut more = Vec::new();
        if stream.read_buf(&mut more).await.ok()? == 0 {
            return None;
        }
        body.take(&more, &mut out).unwrap();
    }
    Some((head, out))
}
