//! Closed-loop load by wrk: as many requests as the proxy answers.

use super::HOST;
use super::kinds::Kind;
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::process::Command;

const CONNECTIONS: &str = "32";

/// What wrk counted.
#[derive(Debug, PartialEq)]
pub(super) struct Load {
    pub(super) requests: u64,
    pub(super) failed: u64,
}

/// Loads a proxy for so many seconds.
pub(super) fn run(address: SocketAddr, kind: &Kind, seconds: u64) -> Result<Load> {
    let mut wrk = Command::new("taskset");
    wrk.args(["-c", "1", "wrk", "-t1", "-c", CONNECTIONS, "-d", &format!("{seconds}s")]);
    wrk.args(["-H", &format!("Host: {HOST}")]);
    if kind.new_connections {
        wrk.args(["-H", "Connection: close"]);
    }
    let output = wrk.arg(format!("http://{address}{}", kind.path)).output()?;
    ensure!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr));
    parse(&String::from_utf8_lossy(&output.stdout)).context("wrk's output is not understood")
}

/// Reads wrk's summary.
fn parse(text: &str) -> Option<Load> {
    let mut load = Load { requests: 0, failed: 0 };
    let mut understood = false;
    for line in text.lines().map(str::trim) {
        if let Some((count, _)) = line.split_once(" requests in ") {
            load.requests = count.parse().ok()?;
            understood = true;
        } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses: ") {
            load.failed += count.trim().parse::<u64>().ok()?;
        } else if let Some(counts) = line.strip_prefix("Socket errors: ") {
            for word in counts.split([' ', ',']) {
                load.failed += word.parse::<u64>().unwrap_or(0);
            }
        }
    }
    understood.then_some(load)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_requests_and_every_kind_of_failure() {
        let text = "Running 3s test @ http://127.0.0.1:1/\n  42 requests in 3.00s, 9.00MB read\n  \
                    Socket errors: connect 1, read 2, write 0, timeout 3\n  \
                    Non-2xx or 3xx responses: 5\nRequests/sec: 14.0\n";
        assert_eq!(parse(text), Some(Load { requests: 42, failed: 11 }));
        assert_eq!(parse("unable to connect"), None);
    }
}
