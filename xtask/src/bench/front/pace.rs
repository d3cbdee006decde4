//! An open loop: requests go out when their time has come, whether or not the earlier ones
//! were answered in time.
//!
//! Requests take turns on a few connections. If the one before is still under way on its
//! connection, a request goes out late, and its time is counted from when it should have
//! gone out. Waking up takes the system some 60 us, in every row alike.

use super::HOST;
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const CONNECTIONS: u64 = 32;
const LENGTH: Duration = Duration::from_secs(4);
/// Until all threads are there.
const RUN_UP: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(5);

/// What came of it.
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

/// Asks for so many a second.
pub(super) fn run(address: SocketAddr, a_second: u64) -> Result<Paced> {
    let began = Instant::now() + RUN_UP;
    let gap = Duration::from_secs(1) / u32::try_from(a_second)?;
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|first| thread::spawn(move || client(address, began, first, gap)))
        .collect();
    let mut all = Paced { times: Vec::new(), failed: 0 };
    for thread in threads {
        let part = thread.join().ok().context("a client of the open loop broke off")?;
        all.times.extend(part.times);
        all.failed += part.failed;
    }
    ensure!(!all.times.is_empty(), "no request was answered");
    all.times.sort_by(f64::total_cmp);
    Ok(all)
}

/// Sends every `CONNECTIONS`th request.
fn client(address: SocketAddr, began: Instant, first: u64, gap: Duration) -> Paced {
    let mut part = Paced { times: Vec::new(), failed: 0 };
    let mut stream = None;
    let turns = (LENGTH.as_nanos() / (gap.as_nanos() * u128::from(CONNECTIONS))) as u64;
    for turn in 0..turns {
        let due = began + gap * (first + turn * CONNECTIONS) as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        match ask(&mut stream, address) {
            Ok(()) => part.times.push(due.elapsed().as_secs_f64() * 1e6),
            Err(_) => {
                part.failed += 1;
                stream = None;
            }
        }
    }
    part
}

fn ask(kept: &mut Option<TcpStream>, address: SocketAddr) -> Result<()> {
    let stream = match kept {
        Some(stream) => stream,
        None => kept.insert(connect(address)?),
    };
    stream.write_all(format!("GET /1k HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())?;
    let mut answer = [0; 4096];
    let mut read = 0;
    while whole(&answer[..read])?.is_none_or(|length| read < length) {
        ensure!(read < answer.len(), "the answer is too long");
        let more = stream.read(&mut answer[read..])?;
        ensure!(more > 0, "the answer is cut off");
        read += more;
    }
    Ok(())
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LATEST))?;
    Ok(stream)
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
        let paced = Paced { times: (1..=100).map(f64::from).collect(), failed: 0 };
        assert_eq!((paced.at(0.5), paced.at(0.99), paced.at(1.0)), (50.0, 99.0, 100.0));
    }
}
