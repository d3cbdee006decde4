//! An open loop: requests go out when their time has come, whether or not the earlier ones
//! were answered in time.
//!
//! Requests take turns on a few connections. If the one before is still under way on its
//! connection, a request goes out late, and its time is counted from when it should have
//! gone out. Waking up takes the system some 60 us, in every row alike.

use super::kinds::{Kind, Talk};
use super::{HOST, Subject};
use anyhow::{Context, Result, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const CONNECTIONS: u64 = 32;
const LENGTH: Duration = Duration::from_secs(4);
/// Until all threads are there.
const RUN_UP: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(5);
/// Longest head of an answer.
const HEAD: usize = 4096;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Paced {
    /// Sorted, microseconds.
    times: Vec<f64>,
    pub(super) failed: u64,
}

impl Paced {
    /// Returns the time that so much of the requests did not exceed, microseconds.
    pub(super) fn at(&self, quantile: f64) -> f64 {
        let place = (self.times.len() as f64 * quantile).ceil() as usize;
        self.times.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }
}

impl Paced {
    /// Makes it of times in any order, microseconds.
    pub(super) fn of(mut times: Vec<f64>, failed: u64) -> Result<Self> {
        ensure!(!times.is_empty(), "no request was answered");
        times.sort_by(f64::total_cmp);
        Ok(Self { times, failed })
    }
}

/// Asks for as many a second as the kind of load says, in HTTP/1.
pub(super) fn run(subject: &Subject, kind: &Kind, tls: &Arc<ClientConfig>) -> Result<Paced> {
    let asking = Asking {
        address: if kind.talk == Talk::Clear { subject.at } else { subject.secure },
        tls: (kind.talk == Talk::Tls).then(|| Arc::clone(tls)),
        path: kind.path,
        new_connections: kind.new_connections,
    };
    let began = Instant::now() + RUN_UP;
    let gap = Duration::from_secs(1) / u32::try_from(kind.pace)?;
    let clients = (0..CONNECTIONS).map(|first| {
        let asking = asking.clone();
        thread::spawn(move || client(&asking, began, first, gap))
    });
    let clients: Vec<_> = clients.collect();
    let (mut times, mut failed) = (Vec::new(), 0);
    for client in clients {
        let part = client.join().ok().context("a client of the open loop broke off")?;
        times.extend(part.0);
        failed += part.1;
    }
    Paced::of(times, failed)
}

/// What is asked, and how.
#[derive(Clone)]
struct Asking {
    address: std::net::SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    path: &'static str,
    new_connections: bool,
}

/// Sends every `CONNECTIONS`th request; returns times and failures.
fn client(asking: &Asking, began: Instant, first: u64, gap: Duration) -> (Vec<f64>, u64) {
    let (mut times, mut failed) = (Vec::new(), 0);
    let mut stream = None;
    let turns = (LENGTH.as_nanos() / (gap.as_nanos() * u128::from(CONNECTIONS))) as u64;
    for turn in 0..turns {
        let due = began + gap * (first + turn * CONNECTIONS) as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        match asking.ask(&mut stream) {
            Ok(()) => times.push(due.elapsed().as_secs_f64() * 1e6),
            Err(_) => {
                failed += 1;
                stream = None;
            }
        }
    }
    (times, failed)
}

/// What reads and writes, in clear or not.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Asking {
    fn ask(&self, kept: &mut Option<Box<dyn Stream>>) -> Result<()> {
        if self.new_connections {
            *kept = None;
        }
        let stream = match kept {
            Some(stream) => stream,
            None => kept.insert(self.connect()?),
        };
        let close = if self.new_connections { "Connection: close\r\n" } else { "" };
        let ask = format!("GET {} HTTP/1.1\r\nHost: {HOST}\r\n{close}\r\n", self.path);
        stream.write_all(ask.as_bytes())?;
        stream.flush()?;
        let mut answer = [0; 64 * 1024];
        let (mut read, mut length) = (0, None);
        while length.is_none_or(|length| read < length) {
            // Of a long answer only the head is kept.
            let free = if length.is_some() { 0 } else { read };
            let more = stream.read(&mut answer[free..])?;
            ensure!(more > 0, "the answer is cut off");
            read += more;
            if length.is_none() {
                length = whole(&answer[..read])?;
                ensure!(length.is_some() || read < HEAD, "the head is too long");
            }
        }
        Ok(())
    }

    fn connect(&self) -> Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LATEST))?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let connection =
                    ClientConnection::new(Arc::clone(tls), ServerName::try_from(HOST)?)?;
                Box::new(StreamOwned::new(connection, stream))
            }
        })
    }
}

/// Returns how long an answer is as a whole, once its head is there.
fn whole(answer: &[u8]) -> Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 200 "), "not the answer: {head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("an answer without a length")?.trim().parse()?;
    Ok(Some(end + 4 + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_an_answer_that_is_whole_from_one_that_is_not() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(whole(answer).ok().flatten(), Some(answer.len()));
        assert!(whole(&answer[..30]).is_ok_and(|length| length.is_none()));
        assert!(whole(b"HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n").is_err());
    }

    #[test]
    fn tells_the_middle_from_the_tail() {
        let paced = Paced::of((1..=100).rev().map(f64::from).collect(), 0).unwrap_or_default();
        assert_eq!((paced.at(0.5), paced.at(0.99), paced.at(1.0)), (50.0, 99.0, 100.0));
        assert!(Paced::of(Vec::new(), 7).is_err());
    }
}
