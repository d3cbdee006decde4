//! Closed-loop load by wrk, or h2load for HTTP/2: as many requests as the proxy answers.

use super::kinds::{Kind, Talk};
use super::pace::Paced;
use super::{HOST, Subject};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

const CONNECTIONS: &str = "32";

/// Connections of HTTP/2, with so many requests at once on each: in all as many as of HTTP/1.
const SHARED: &str = "4";
const AT_ONCE: &str = "8";

/// Seconds of a round in which latency is measured.
const PACED: &str = "4";

/// What was counted.
#[derive(Debug, PartialEq)]
pub(super) struct Load {
    pub(super) requests: u64,
    pub(super) failed: u64,
}

/// Loads a proxy for so many seconds.
pub(super) fn run(subject: &Subject, kind: &Kind, seconds: u64) -> Result<Load> {
    let (scheme, address) = match kind.talk {
        Talk::Clear => ("http", subject.at),
        Talk::Tls => ("https", subject.secure),
        Talk::Http2 => return shared(subject, kind, seconds),
    };
    let mut wrk = Command::new("taskset");
    wrk.args(["-c", "1", "wrk", "-t1", "-c", CONNECTIONS, "-d", &format!("{seconds}s")]);
    wrk.args(["-H", &format!("Host: {HOST}")]);
    if kind.new_connections {
        wrk.args(["-H", "Connection: close"]);
    }
    let output = wrk.arg(format!("{scheme}://{address}{}", kind.path)).output()?;
    ensure!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr));
    parse(&String::from_utf8_lossy(&output.stdout)).context("wrk's output is not understood")
}

/// Loads a proxy in HTTP/2.
fn shared(subject: &Subject, kind: &Kind, seconds: u64) -> Result<Load> {
    let output = Command::new("taskset")
        .args(["-c", "1", "h2load", "-t1", "-c", SHARED, "-m", AT_ONCE])
        .args(["-D", &seconds.to_string(), &format!("--connect-to={}", subject.secure)])
        .arg(format!("https://{HOST}{}", kind.path))
        .output()?;
    ensure!(output.status.success(), "h2load: {}", String::from_utf8_lossy(&output.stderr));
    parse_shared(&String::from_utf8_lossy(&output.stdout))
        .context("h2load's output is not understood")
}

/// Asks a proxy in HTTP/2 for as many a second as the kind says. The time of a request counts
/// from when it went out: at this rate none waits for another one.
pub(super) fn paced(subject: &Subject, kind: &Kind, folder: &Path) -> Result<Paced> {
    let log = folder.join("h2load.log");
    let clients: u64 = SHARED.parse()?;
    let output = Command::new("taskset")
        .args(["-c", "1", "h2load", "-t1", "-c", SHARED, "-m", AT_ONCE, "-D", PACED])
        .args([format!("--rps={}", kind.pace / clients), format!("--log-file={}", log.display())])
        .arg(format!("--connect-to={}", subject.secure))
        .arg(format!("https://{HOST}{}", kind.path))
        .output()?;
    ensure!(output.status.success(), "h2load: {}", String::from_utf8_lossy(&output.stderr));
    let (times, failed) =
        parse_log(&fs::read_to_string(&log)?).context("h2load's log is not understood")?;
    fs::remove_file(log)?;
    Paced::of(times, failed)
}

/// Reads h2load's log: when a request began, its status, and what it took, microseconds.
fn parse_log(text: &str) -> Option<(Vec<f64>, u64)> {
    let (mut times, mut failed) = (Vec::new(), 0);
    for line in text.lines() {
        let mut columns = line.split('\t').skip(1);
        let (status, took) = (columns.next()?, columns.next()?);
        match status {
            "200" => times.push(took.parse().ok()?),
            _ => failed += 1,
        }
    }
    Some((times, failed))
}

/// Reads h2load's summary. What was under way when the time was over is no failure.
fn parse_shared(text: &str) -> Option<Load> {
    let line = text.lines().find_map(|line| line.strip_prefix("requests: "))?;
    let count = |what: &str| {
        let part = line.split(", ").find(|part| part.ends_with(what))?;
        part.split(' ').next()?.parse::<u64>().ok()
    };
    // An answer of another protocol would be quick, and no comparison.
    let spoken = text.lines().any(|line| line == "Application protocol: h2");
    let load = Load { requests: count(" succeeded")?, failed: count(" failed")? };
    spoken.then_some(load)
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
    fn reads_requests_of_http_2_only() {
        let text = "Application protocol: h2\nfinished in 2.00s, 9999.00 req/s, 10MB/s\n\
                    requests: 130 total, 150 started, 130 done, 120 succeeded, 10 failed, \
                    3 errored, 0 timeout\nstatus codes: 120 2xx, 0 3xx, 10 4xx, 0 5xx\n";
        assert_eq!(parse_shared(text), Some(Load { requests: 120, failed: 10 }));
        assert_eq!(parse_shared(&text.replace("l: h2", "l: http/1.1")), None);
        assert_eq!(parse_shared("unable to connect"), None);
    }

    #[test]
    fn reads_a_log_of_requests() {
        let log = "1600000000\t200\t150\n1600000001\t503\t9\n1600000002\t200\t70\n";
        assert_eq!(parse_log(log), Some((vec![150.0, 70.0], 1)));
        assert_eq!(parse_log("no log"), None);
    }

    #[test]
    fn reads_requests_and_every_kind_of_failure() {
        let text = "Running 3s test @ http://127.0.0.1:1/\n  42 requests in 3.00s, 9.00MB read\n  \
                    Socket errors: connect 1, read 2, write 0, timeout 3\n  \
                    Non-2xx or 3xx responses: 5\nRequests/sec: 14.0\n";
        assert_eq!(parse(text), Some(Load { requests: 42, failed: 11 }));
        assert_eq!(parse("unable to connect"), None);
    }
}
