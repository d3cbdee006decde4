//! A front that the packet filter leads connections to: before a live nginx in a network namespace,
//! under load, there and back; and what is left when all of its processes are killed.

use crate::keeper::Keeper;
use crate::support::*;
use crate::takeover::{Nginx, Tally, open_loop};
use rustix::process::{Signal, kill_process};
use segue_doors::nft::{LAPSES, Redirect, Standing, Table};
use segue_doors::process::find_program;
use segue_front::FrontOptions;
use segue_front::control::{HoldStatus, Reply, Request as Ask};
use segue_model::{Side, Sides};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

mod seals;

const INSIDE: &str = "SEGUE_TEST_REDIRECT";
const LIVE: &str = "10.9.8.1:80";
const CLIENT: &str = "10.9.8.7";
const EGRESS: &str = "10.9.8.250";

/// Rules of somebody else, in the words in which they are listed.
const FOREIGN: &str = "table ip nat {\n\tchain post {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n\t\tip saddr 192.0.2.0/24 masquerade\n\t}\n}\n";

/// Runs a test of this module in a namespace of its own; says whether this process is in it.
fn inside(test: &str) -> bool {
    inside_with(test, |_| {})
}

/// The same, in surroundings that `prepare` makes.
fn inside_with(test: &str, prepare: impl FnOnce(&mut Command)) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let script = format!(
        "ip link set lo up && for a in 10.9.8.1 {CLIENT} {EGRESS}; do \
         ip address add $a/32 dev lo || exit 1; done; exec \"$0\" --exact {test} --nocapture"
    );
    let mut room = Command::new("unshare");
    room.args(["--map-root-user", "--net", "sh", "-c", &script]);
    prepare(&mut room);
    let status = room.arg(std::env::current_exe().unwrap()).env(INSIDE, "1").status();
    let status = status.expect("unshare: apt-get install util-linux");
    assert!(status.success(), "in a namespace (needs user namespaces or root, and nftables)");
    false
}

fn live() -> SocketAddr {
    LIVE.parse().unwrap()
}

fn front_options(folder: &TempDir) -> FrontOptions {
    let mut options = options(folder.path(), live(), live());
    options.ports[0].redirect = Some(8_080);
    options.run = Some("run-1".into());
    options.egress = Some(EGRESS.parse().unwrap());
    options
}

fn table() -> Table {
    let redirects = vec![Redirect { from: live(), to: 8_080 }];
    Table::new("run-1", "source", redirects, EGRESS.parse().unwrap())
}

fn rules() -> String {
    let listed = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    String::from_utf8(listed.stdout).unwrap()
}

fn load(rules: &str) {
    let path = std::env::temp_dir().join(format!("segue-redirect-{}", std::process::id()));
    std::fs::write(&path, rules).unwrap();
    assert!(Command::new("nft").arg("-f").arg(&path).status().unwrap().success());
    std::fs::remove_file(path).unwrap();
}

async fn started(folder: &Arc<TempDir>) -> Keeper {
    let mut keeper = Keeper::start(front_options(folder), folder.clone()).await;
    keeper.generation = keeper.hello().await.unwrap().generation;
    keeper
}

/// A live server and a front before it, with the unit's route.
async fn routed(folder: &Arc<TempDir>) -> (Nginx, Keeper) {
    let nginx = Nginx::start_at(folder.path(), live()).await;
    let mut keeper = started(folder).await;
    keeper.route_to(Sides { source: nginx.address, target: nginx.address }).await;
    (nginx, keeper)
}

/// Who answers a new connection: the front, the live server, or nobody.
async fn who() -> &'static str {
    match tokio::time::timeout(DEADLINE, send(live(), request("GET", "/", ""))).await {
        Ok(Ok(answer)) if answer.headers.contains_key("x-segue-front") => "front",
        Ok(Ok(_)) => "server",
        _ => "nobody",
    }
}

/// Asks over an open connection; returns the answer's head.
async fn over(stream: &mut TcpStream) -> String {
    let ask = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut read = String::new();
    while !read.ends_with("live\n") {
        let mut bytes = [0; 1024];
        let count = within("an answer", stream.read(&mut bytes)).await.unwrap();
        assert!(count > 0, "closed after {read:?}");
        read += std::str::from_utf8(&bytes[..count]).unwrap();
    }
    read
}

/// Kills every process of a front at once.
async fn kill_all(mut keeper: Keeper) -> Instant {
    let worker = keeper.worker().await;
    keeper.signal(Signal::KILL);
    let _ = rustix::process::kill_process(worker, Signal::KILL);
    let killed = Instant::now();
    keeper.child.wait().unwrap();
    killed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_led_to_a_front_and_back_and_none_fails() {
    if !inside("redirect::connections_are_led_to_a_front_and_back_and_none_fails") {
        return;
    }
    load(FOREIGN);
    let folder = Arc::new(TempDir::new().unwrap());
    let nginx = Nginx::start_at(folder.path(), live()).await;
    let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let clients = tokio::spawn(open_loop(live(), tally.clone(), stop.clone()));
    let mut early = TcpStream::connect(live()).await.unwrap();
    over(&mut early).await;
    for _ in 0..2 {
        let mut keeper = started(&folder).await;
        keeper.route_to(Sides { source: nginx.address, target: nginx.address }).await;
        assert_eq!(who().await, "front");
        assert!(!over(&mut early).await.contains("x-segue-front"), "open before: it goes on");
        let answer = send_from(CLIENT, live(), request("GET", "/", "")).await;
        let headers = answer.unwrap().headers;
        assert_eq!(headers["x-seen-from"], EGRESS);
        assert_eq!(headers["x-forwarded"], CLIENT, "who the client is");
        let mut led = TcpStream::connect(live()).await.unwrap();
        assert!(over(&mut led).await.contains("x-segue-front"));
        // Longer than it lasts if nobody renews it; meanwhile a firewall is loaded anew.
        tokio::time::sleep(LAPSES / 2).await;
        load(&format!("flush ruleset\n{FOREIGN}"));
        tokio::time::sleep(LAPSES).await;
        assert_eq!(who().await, "front", "made again: {}", keeper.log());

        let mark = keeper.mark();
        assert!(matches!(keeper.ask(Ask::Bypass { mark }).await, Reply::Done { .. }));
        assert_eq!(who().await, "server");
        assert_ne!(rules(), FOREIGN, "the table stays for the connection that is open");
        assert!(over(&mut led).await.contains("x-segue-front"), "it goes on");
        drop(led);
        assert!(keeper.ended().await, "{}", keeper.log());
        assert_eq!(rules(), FOREIGN, "to the byte");
        assert!(!over(&mut early).await.contains("x-segue-front"));
    }
    stop.store(true, Ordering::SeqCst);
    clients.await.unwrap();
    let (by_front, by_server) = tally.counts();
    println!("{by_front} by the front, {by_server} by the server");
    assert_eq!(tally.failed(), [] as [String; 0]);
    assert!(by_front > 1_000 && by_server > 50, "{by_front} {by_server}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_is_killed_gives_its_port_back_unless_it_guards_it() {
    if !inside("redirect::a_front_that_is_killed_gives_its_port_back_unless_it_guards_it") {
        return;
    }
    let folder = Arc::new(TempDir::new().unwrap());
    let (_nginx, keeper) = routed(&folder).await;
    assert_eq!(who().await, "front");
    let killed = kill_all(keeper).await;
    until("the live server has its port back", async || who().await == "server").await;
    let gap = killed.elapsed();
    println!("served again {} ms after the kill", gap.as_millis());
    assert!(gap < LAPSES + Duration::from_millis(300), "{gap:?}");
    assert_eq!(table().standing().await.unwrap(), Standing::Lapsed);

    // It comes up again with its route, and is sealed: then nothing opens by itself.
    let mut keeper = started(&folder).await;
    assert_eq!(who().await, "front");
    let hold = keeper.hold("h1");
    assert!(matches!(keeper.ask(hold).await, Reply::Done { .. }));
    let seal = Ask::SealHold { mark: keeper.mark(), unit: unit(), hold_id: "h1".into() };
    let answer = keeper.ask(seal).await;
    assert!(matches!(answer, Reply::Done { .. }), "{answer:?}");
    kill_all(keeper).await;
    let began = Instant::now();
    while began.elapsed() < LAPSES + Duration::from_millis(500) {
        assert_eq!(who().await, "nobody", "sealed: the live server gets no request");
        // Between two looks: the time in which nothing may open is what is looked at.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut keeper = started(&folder).await;
    let mark = keeper.mark();
    let back = Ask::Release { mark, unit: unit(), hold_id: "h1".into(), to: Side::Source };
    assert!(matches!(keeper.ask(back).await, Reply::Done { .. }));
    assert_eq!(who().await, "front");
    kill_all(keeper).await;
    until("the port is given back", async || who().await == "server").await;

    // A worker that dies alone costs nobody the way here.
    let mut keeper = started(&folder).await;
    rustix::process::kill_process(keeper.worker().await, Signal::KILL).unwrap();
    until("another worker serves", async || who().await == "front").await;
    keeper.signal(Signal::TERM);
    assert!(keeper.ended().await);
    assert_eq!((who().await, table().standing().await.unwrap()), ("server", Standing::None));
}

/// A tool for the packet filter that takes its time as long as the file that is returned is there
/// (one beside it, `asked`, says that it does), and refuses as long as another is, `refuse`.
fn slow_nft(folder: &Path) -> (PathBuf, String) {
    let (tools, slow) = (folder.join("tools"), folder.join("slow"));
    std::fs::create_dir(&tools).unwrap();
    let real = find_program("nft").unwrap_or_else(|| "/usr/sbin/nft".into());
    let script = format!(
        "#!/bin/sh\nif [ -e '{}' ]; then : > '{}'; sleep 30; fi\nif [ -e '{}' ]; then exit 1; fi\n\
         exec '{}' \"$@\"\n",
        slow.display(),
        slow.with_file_name("asked").display(),
        slow.with_file_name("refuse").display(),
        real.display()
    );
    std::fs::write(tools.join("nft"), script).unwrap();
    std::fs::set_permissions(tools.join("nft"), PermissionsExt::from_mode(0o755)).unwrap();
    (slow, format!("{}:{}", tools.display(), std::env::var("PATH").unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_filter_that_takes_its_time_keeps_no_worker_waiting() {
    if !inside("redirect::a_packet_filter_that_takes_its_time_keeps_no_worker_waiting") {
        return;
    }
    let folder = Arc::new(TempDir::new().unwrap());
    let nginx = Nginx::start_at(folder.path(), live()).await;
    let (slow, path) = slow_nft(folder.path());
    let options = front_options(&folder);
    let with_tool = |front: &mut Command| {
        front.env("PATH", path);
    };
    let mut keeper = Keeper::start_with(options, folder.clone(), with_tool).await;
    keeper.generation = keeper.hello().await.unwrap().generation;
    keeper.route_to(Sides { source: nginx.address, target: nginx.address }).await;
    assert_eq!(who().await, "front");

    std::fs::write(&slow, "").unwrap();
    let began = Instant::now();
    let asked = slow.with_file_name("asked");
    until("a renewal is under way", async || asked.exists()).await;
    let former = keeper.worker().await;
    kill_process(former, Signal::KILL).unwrap();
    let killed = Instant::now();
    until("another worker answers", async || {
        keeper.hello().await.is_some_and(|hello| hello.pid as i32 != former.as_raw_nonzero().get())
    })
    .await;
    let restarted = killed.elapsed();
    assert!(restarted < Duration::from_secs(1), "restarted after {restarted:?}");
    // It is doubted before the live server can have its port back.
    until("it is not sure that connections come", async || {
        keeper.hello().await.is_some_and(|hello| !hello.listening)
    })
    .await;
    let doubted = began.elapsed();
    assert!(doubted < LAPSES + Duration::from_millis(200), "doubted after {doubted:?}");
    println!("restarted after {restarted:?}, doubted after {doubted:?}");
    until("the live server has its port back", async || who().await == "server").await;

    // What cannot be guarded is not sealed.
    let hold = keeper.hold("h1");
    assert!(matches!(keeper.ask(hold).await, Reply::Done { .. }));
    let seal = |keeper: &mut Keeper| {
        let mark = keeper.mark();
        Ask::SealHold { mark, unit: unit(), hold_id: "h1".into() }
    };
    let ask = seal(&mut keeper);
    let asked = Instant::now();
    let renew = Ask::Renew {
        run: run_id(),
        epoch: segue_model::Epoch(1),
        unit: unit(),
        hold_id: "h1".into(),
    };
    let sealing = async { (code(keeper.try_ask(ask).await), asked.elapsed()) };
    let renewing = async {
        // By then the seal waits for the tool.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let renewed = keeper.ask(renew).await;
        assert!(matches!(renewed, Reply::Done { .. }), "{renewed:?}");
        keeper.hello().await.expect("an answer");
        asked.elapsed()
    };
    let ((refusal, refused), renewed) = tokio::join!(sealing, renewing);
    assert_eq!(refusal, "SG0190");
    assert!(refused < Duration::from_millis(1_400), "refused after {refused:?}");
    assert!(renewed + Duration::from_millis(200) < refused, "{renewed:?}, {refused:?}");

    std::fs::remove_file(&slow).unwrap();
    until("connections come again", async || {
        keeper.hello().await.is_some_and(|hello| hello.listening)
    })
    .await;
    let ask = seal(&mut keeper);
    assert!(matches!(keeper.ask(ask).await, Reply::Done { .. }));
    let mark = keeper.mark();
    let back = Ask::Release { mark, unit: unit(), hold_id: "h1".into(), to: Side::Source };
    assert!(matches!(keeper.ask(back).await, Reply::Done { .. }));
    assert_eq!(who().await, "front");

    // One that refuses need not be waited for: the table may be gone already.
    let (refuse, began) = (slow.with_file_name("refuse"), Instant::now());
    std::fs::write(&refuse, "").unwrap();
    until("it is not sure that connections come", async || {
        keeper.hello().await.is_some_and(|hello| !hello.listening)
    })
    .await;
    let doubted = began.elapsed();
    assert!(doubted < Duration::from_millis(1_200), "doubted after {doubted:?}");
    std::fs::remove_file(&refuse).unwrap();
    until("connections come again", async || {
        keeper.hello().await.is_some_and(|hello| hello.listening)
    })
    .await;
    keeper.signal(Signal::TERM);
    assert!(keeper.ended().await);
    assert_eq!((who().await, table().standing().await.unwrap()), ("server", Standing::None));
}
