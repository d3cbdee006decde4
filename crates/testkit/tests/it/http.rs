//! A plain client: one connection for each request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Returns a header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// Sends a GET, with a cookie if given.
pub(crate) fn get(address: SocketAddr, path: &str, cookie: Option<&str>) -> Answer {
    let cookie = cookie.map(|value| format!("Cookie: sid={value}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.0\r\nHost: shop.example.test\r\n{cookie}\r\n");
    let mut stream = send(address, &request);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    parse(&all)
}

/// Sends a POST.
pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> Answer {
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: shop.example.test\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = send(address, &request);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    parse(&all)
}

/// Sends a GET and reads until `marker` came.
pub(crate) fn read_until(address: SocketAddr, path: &str, marker: &str) -> String {
    let mut stream =
        send(address, &format!("GET {path} HTTP/1.0\r\nHost: shop.example.test\r\n\r\n"));
    let (mut text, mut buffer) = (String::new(), [0; 1024]);
    while !text.contains(marker) {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "ended before `{marker}`: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    text
}

fn send(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn parse(all: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(all).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
