//! Memory of a plain request that waits at a held unit.

use super::HOST;
use super::own::Front;
use anyhow::{Result, ensure};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const REQUESTS: u64 = 5_000;
/// As many before, so that what is grown once does not count.
const FIRST: u64 = 200;
const LATEST: Duration = Duration::from_secs(30);

/// Returns resident memory of the front divided by the requests that wait, KiB.
pub(super) fn kib_a_request(front: &mut Front) -> Result<f64> {
    front.hold()?;
    let mut clients = Vec::new();
    wait(front, &mut clients, FIRST)?;
    let before = front.process.resident_kib()?;
    wait(front, &mut clients, FIRST + REQUESTS)?;
    let after = front.process.resident_kib()?;
    Ok(after.saturating_sub(before) as f64 / REQUESTS as f64)
}

/// Sends requests until so many wait.
fn wait(front: &mut Front, clients: &mut Vec<TcpStream>, until: u64) -> Result<()> {
    while (clients.len() as u64) < until {
        let mut client = TcpStream::connect(front.listen)?;
        client.write_all(
            format!("GET /1k HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: bench\r\n\r\n").as_bytes(),
        )?;
        clients.push(client);
    }
    let began = Instant::now();
    while front.held()? < until {
        ensure!(began.elapsed() < LATEST, "{} of {until} requests wait", front.held()?);
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
