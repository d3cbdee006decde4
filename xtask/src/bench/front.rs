//! Processor time that the front takes for a request, beside nginx and HAProxy.
//!
//! The proxy under test has CPU 0 to itself; wrk and the upstream share CPU 1. Rounds are
//! interleaved, so that whatever else the machine does meets all alike. Counted is the
//! processor time of the proxy's threads, not throughput: it does not depend on how busy
//! the other CPU is.

use super::result::Row;
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 7;
const ROUND_S: u64 = 3;
const CONNECTIONS: &str = "32";
const HOST: &str = "bench.example.test";

/// Our time may be so much more than a peer's.
const GOAL: f64 = 1.25;

/// Runs the rounds and compares the medians.
pub(super) fn run(target: &Path) -> Result<Vec<Row>> {
    let binary = target.join("release/segue");
    ensure!(binary.exists(), "`{}` is missing: cargo build --release", binary.display());
    ensure!(installed("wrk") && installed("taskset"), "wrk and taskset are needed: scripts/setup");
    ensure!(std::thread::available_parallelism()?.get() > 1, "two processors are needed");
    ensure!(installed("nginx"), "nginx is needed as the upstream: scripts/setup");
    let folder = Folder::new(target)?;
    let upstream = free()?;
    let _upstream = upstream_nginx(&folder.0, upstream)?;
    let mut subjects = vec![front(&binary, &folder.0, upstream)?, nginx(&folder.0, upstream)?];
    if installed("haproxy") {
        subjects.push(haproxy(&folder.0, upstream)?);
    }
    for subject in &subjects {
        load(subject.address, 1)?;
    }
    for round in 1..=ROUNDS {
        for subject in &mut subjects {
            subject.measure()?;
        }
        let latest =
            |s: &Subject| format!("{} {:.2}", s.name, s.rounds.last().map_or(f64::NAN, |r| r.us));
        let line: Vec<_> = subjects.iter().map(latest).collect();
        println!("round {round}/{ROUNDS}: us/request {}", line.join("  "));
    }
    Ok(compare(&subjects))
}

fn compare(subjects: &[Subject]) -> Vec<Row> {
    let cpu = |name| subjects.iter().find(|s| s.name == name).map(Subject::median_us);
    let ours = cpu("front").unwrap_or(f64::INFINITY);
    let what = "cpu per request, keepalive, 1 KB";
    let failed: u64 = subjects
        .iter()
        .filter(|s| s.name == "front")
        .flat_map(|s| &s.rounds)
        .map(|r| r.failed)
        .sum();
    vec![
        Row::ratio(what, "us", ours, "nginx", cpu("nginx"), GOAL),
        Row::ratio(what, "us", ours, "haproxy", cpu("haproxy"), GOAL),
        Row::bound("failed requests of the front", "requests", failed as f64, 0.0),
    ]
}

/// A proxy under test.
struct Subject {
    name: &'static str,
    process: Process,
    address: SocketAddr,
    rounds: Vec<Round>,
}

struct Round {
    us: f64,
    failed: u64,
}

impl Subject {
    fn measure(&mut self) -> Result<()> {
        let before = self.process.cpu_ns()?;
        let load = load(self.address, ROUND_S)?;
        let spent = self.process.cpu_ns()? - before;
        ensure!(load.requests > 0, "{}: no request was answered", self.name);
        let us = spent as f64 / 1_000.0 / load.requests as f64;
        self.rounds.push(Round { us, failed: load.failed });
        Ok(())
    }

    fn median_us(&self) -> f64 {
        median(self.rounds.iter().map(|r| r.us).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

// ---- load ----

#[derive(Debug, PartialEq)]
struct Load {
    requests: u64,
    failed: u64,
}

fn load(address: SocketAddr, seconds: u64) -> Result<Load> {
    let output = Command::new("taskset")
        .args(["-c", "1", "wrk", "-t1", "-c", CONNECTIONS, "-d", &format!("{seconds}s")])
        .args(["-H", &format!("Host: {HOST}"), &format!("http://{address}/1k")])
        .output()?;
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

// ---- processes ----

/// A child that ends with the benchmark.
struct Process(Child);

impl Process {
    fn start(program: &Path, cpu: &str, arguments: &[&str], log: &Path) -> Result<Self> {
        let log = fs::File::create(log)?;
        let child = Command::new("taskset")
            .args(["-c", cpu])
            .arg(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start `{}`", program.display()))?;
        Ok(Self(child))
    }

    /// Returns the processor time of all its threads, and of the workers it started.
    fn cpu_ns(&self) -> Result<u64> {
        let own = self.0.id();
        let workers = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let all = workers.split_ascii_whitespace().map(str::to_owned).chain([own.to_string()]);
        all.map(|process| cpu_ns_of(&process)).sum()
    }
}

fn cpu_ns_of(process: &str) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let spent = text.split(' ').next().context("schedstat is empty")?;
        sum += spent.parse::<u64>()?;
    }
    Ok(sum)
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked politely, it takes its workers along. Gone already if it failed at its start.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder of this run; goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(target: &Path) -> Result<Self> {
        let path = target.join("bench").join(format!("front.{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    // Daemons of Debian are not on everybody's path.
    let folders = std::env::split_paths(&paths).chain([PathBuf::from("/usr/sbin")]);
    folders.into_iter().any(|f| f.join(program).exists())
}

fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn wait_for(address: SocketAddr, what: &str, log: &Path) -> Result<()> {
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        if began.elapsed() > Duration::from_secs(10) {
            bail!("{what} does not listen: {}", fs::read_to_string(log).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

// ---- the proxies ----

const NGINX: &str = "daemon off; worker_processes 1; user root; pid FOLDER/pid;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000; tcp_nodelay on;
  client_body_temp_path FOLDER/b; proxy_temp_path FOLDER/p; fastcgi_temp_path FOLDER/f;
  uwsgi_temp_path FOLDER/u; scgi_temp_path FOLDER/s;
";

fn upstream_nginx(folder: &Path, address: SocketAddr) -> Result<Process> {
    let folder = folder.join("upstream");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("1k"), "x".repeat(1_024))?;
    let server = format!("server {{ listen {address}; root {}; }} }}", folder.display());
    start_nginx(&folder, &server, "1", address)
}

fn nginx(folder: &Path, upstream: SocketAddr) -> Result<Subject> {
    let folder = folder.join("nginx");
    fs::create_dir_all(&folder)?;
    let address = free()?;
    let server = format!(
        "upstream u {{ server {upstream}; keepalive 512; keepalive_requests 1000000000; }}
         server {{ listen {address}; location / {{ proxy_pass http://u; proxy_http_version 1.1;
         proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
         proxy_set_header X-Forwarded-Proto $scheme; }} }} }}"
    );
    let process = start_nginx(&folder, &server, "0", address)?;
    Ok(Subject { name: "nginx", process, address, rounds: Vec::new() })
}

fn start_nginx(folder: &Path, server: &str, cpu: &str, address: SocketAddr) -> Result<Process> {
    let place = folder.to_str().context("the target folder's name is not text")?;
    let (config, log) = (folder.join("nginx.conf"), folder.join("error.log"));
    fs::write(&config, NGINX.replace("FOLDER", place) + server)?;
    let config = config.to_str().context("the target folder's name is not text")?;
    let program = find("nginx");
    let process = Process::start(&program, cpu, &["-c", config, "-e", "stderr"], &log)?;
    wait_for(address, "nginx", &log)?;
    Ok(process)
}

fn haproxy(folder: &Path, upstream: SocketAddr) -> Result<Subject> {
    let (config, log) = (folder.join("haproxy.cfg"), folder.join("haproxy.log"));
    let address = free()?;
    fs::write(
        &config,
        format!(
            "global\n  nbthread 1\n  maxconn 4096\ndefaults\n  mode http\n  timeout connect 5s\n  \
             timeout client 60s\n  timeout server 60s\n  option forwardfor\n  http-reuse always\n\
             frontend f\n  bind {address}\n  http-request set-header X-Forwarded-Proto http\n  \
             default_backend b\nbackend b\n  server u {upstream}\n"
        ),
    )?;
    let name = config.to_str().context("the target folder's name is not text")?;
    let process = Process::start(&find("haproxy"), "0", &["-db", "-f", name], &log)?;
    wait_for(address, "haproxy", &log)?;
    Ok(Subject { name: "haproxy", process, address, rounds: Vec::new() })
}

/// Starts the front with a unit of its own, so that requests pass the gate of a unit.
fn front(binary: &Path, folder: &Path, upstream: SocketAddr) -> Result<Subject> {
    let address = free()?;
    let (control, state) = (folder.join("front.sock"), folder.join("front.json"));
    let log = folder.join("front.log");
    let text = |path: &Path| path.to_str().map(str::to_owned).context("folder name is not text");
    let (listen, backend) = (address.to_string(), upstream.to_string());
    let arguments = [
        "front",
        "--name=bench",
        "--side=source",
        &format!("--listen={listen}"),
        &format!("--control={}", text(&control)?),
        &format!("--state={}", text(&state)?),
        &format!("--default-backend={backend}"),
    ];
    let process = Process::start(binary, "0", &arguments, &log)?;
    wait_for(address, "segue front", &log)?;
    let mut stream = UnixStream::connect(&control)?;
    let mut answers = BufReader::new(stream.try_clone()?).lines();
    let backends = json!({ "source": upstream, "target": upstream });
    for request in [
        json!({ "request": "claim", "run": "bench", "epoch": 1 }),
        json!({
            "request": "set_route", "mark": { "run": "bench", "epoch": 1, "generation": 1 },
            "unit": "bench", "hosts": [HOST], "backends": backends, "write_side": "source",
            "concurrency": { "source": 64, "target": 64 },
        }),
    ] {
        writeln!(stream, "{request}")?;
        let answer = answers.next().context("the front gave no answer")??;
        ensure!(answer.contains("\"done\""), "{request}: {answer}");
    }
    Ok(Subject { name: "front", process, address, rounds: Vec::new() })
}

fn find(program: &str) -> PathBuf {
    let own = PathBuf::from("/usr/sbin").join(program);
    if own.exists() { own } else { PathBuf::from(program) }
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

    #[test]
    fn takes_the_middle_round() {
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
