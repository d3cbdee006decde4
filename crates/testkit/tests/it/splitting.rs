//! Claims about splits: visitors who read go over share by share, nobody pays for a target that
//! fails, and the cutover takes everything along.
//!
//! They need the program `segue` beside the other binaries (`cargo build` makes it).

use crate::run::Run;
use segue_testkit::world::Side;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

/// Visitors who only read, each from an address of its own.
const READERS: u8 = 40;

/// What readers met: at which side each was answered last, and what failed.
struct Readers {
    at: Mutex<[Option<bool>; READERS as usize]>,
    asked: AtomicU64,
    failed: Mutex<Vec<String>>,
    stop: AtomicBool,
    path: &'static str,
}

impl Readers {
    fn start(front: SocketAddr, path: &'static str) -> (Arc<Self>, JoinHandle<()>) {
        let readers = Arc::new(Self {
            at: Mutex::new([None; READERS as usize]),
            asked: AtomicU64::new(0),
            failed: Mutex::default(),
            stop: AtomicBool::new(false),
            path,
        });
        let reading = Arc::clone(&readers);
        let task = tokio::spawn(async move {
            while !reading.stop.load(Ordering::SeqCst) {
                for reader in 0..READERS {
                    reading.read(front, reader).await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        });
        (readers, task)
    }

    async fn read(&self, front: SocketAddr, reader: u8) {
        let asked = ask(front, self.path, reader);
        let answer = tokio::time::timeout(Duration::from_secs(5), asked).await;
        self.asked.fetch_add(1, Ordering::SeqCst);
        match answer {
            Ok(Ok(head)) if head.starts_with("http/1.1 200") => {
                let target = head.contains("x-segue-side: target");
                self.at.lock().unwrap()[usize::from(reader)] = Some(target);
            }
            other => self.failed.lock().unwrap().push(format!("{other:?}")),
        }
    }

    fn at_target(&self) -> usize {
        self.at.lock().unwrap().iter().filter(|at| **at == Some(true)).count()
    }

    async fn leave(&self, task: JoinHandle<()>) {
        self.stop.store(true, Ordering::SeqCst);
        task.await.unwrap();
        let failed = self.failed.lock().unwrap();
        let asked = self.asked.load(Ordering::SeqCst);
        assert!(failed.is_empty(), "{} of {asked} failed: {:?}", failed.len(), failed.first());
        assert!(asked > 100, "{asked} questions");
    }
}

/// Asks for a page from an address of the reader's own; returns the answer's head.
async fn ask(front: SocketAddr, path: &str, reader: u8) -> std::io::Result<String> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 2, reader + 1], 0)))?;
    let mut stream = socket.connect(front).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: shop.example.test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await?;
    let text = String::from_utf8_lossy(&all).to_ascii_lowercase();
    Ok(text.split("\r\n\r\n").next().unwrap_or_default().to_owned())
}

/// A plan whose paths that begin so may be read at the target; shares of which no proof is asked.
fn plan(text: &str, harmless: &str) -> String {
    let policy = format!(
        "[policy]\nharmless_paths = [\"{harmless}\"]\nsplit = {{ shares = [50, 100], dwell_s = 4, \
         longest_s = 60, warm_s = 0, proof = false }}\n"
    );
    assert!(text.contains("\n[policy]\n"));
    text.replacen("[policy]\n", &policy, 1)
}

fn share(status: &Value) -> u64 {
    status["share"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_go_over_share_by_share_and_a_cutover_takes_everybody_along() {
    let run = Run::synced_with(|text| plan(&text, "/files/"));
    let hash = run.hash.clone();
    run.segue.must(&["cutover", &hash, "--prepare-only"], 0).unwrap();
    let front = *run.world.description().site.get(Side::Source);
    let (readers, task) = Readers::start(front, "/files/01/00001.txt");
    let all = usize::from(READERS);
    let mut split = run.segue.in_background(&["split", &hash]).unwrap();
    let some = |_: &Value| readers.at_target() > all / 5;
    run.segue.wait_for("half of them are there", Duration::from_secs(20), some).unwrap();
    // A controller that ends changes nothing for anybody; the next one goes on.
    run.segue.must(&["stop"], 0).unwrap();
    let _ = split.wait();
    let before = readers.asked.load(Ordering::SeqCst);
    while readers.asked.load(Ordering::SeqCst) < before + 80 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(readers.at_target() > all / 5, "{}", readers.at_target());
    let through = |status: &Value| share(status) == 100 && status["open"].is_null();
    run.segue.must(&["resume"], 0).unwrap();
    let status = run.segue.wait_for("it goes on", Duration::from_secs(30), through).unwrap();
    assert_eq!(status["stage"], "prepared");
    let there = |_: &Value| readers.at_target() == all;
    run.segue.wait_for("all readers are at the target", Duration::from_secs(10), there).unwrap();
    // What is split is not split again; taken back, everybody is at the source.
    assert_ne!(run.segue.show(&["split", &hash]).unwrap(), 0);
    run.segue.must(&["split", &hash, "--back"], 0).unwrap();
    let back = |_: &Value| readers.at_target() == 0;
    run.segue.wait_for("all readers are back", Duration::from_secs(10), back).unwrap();
    assert_eq!(share(&run.segue.status().unwrap()), 0);
    // With a split that stands the unit moves, and the split is over.
    run.segue.must(&["split", &hash], 0).unwrap();
    run.segue.must(&["cutover", &hash], 0).unwrap();
    let status = run.segue.status().unwrap();
    assert_eq!((status["write_side"]["at"].as_str(), share(&status)), (Some("target"), 0));
    readers.leave(task).await;
    let steps: Vec<String> = run
        .journal()
        .iter()
        .filter(|record| record["event"]["event"] == "step_done")
        .filter_map(|record| record["event"]["step"].as_str().map(str::to_owned))
        .filter(|step| step.starts_with("split_") || ["judge", "unsplit"].contains(&&**step))
        .collect();
    let of_split = ["split_50", "split_100", "judge", "unsplit", "split_50", "split_100", "judge"];
    assert_eq!(steps, of_split);
    let (_, failed) = run.visitors.as_ref().unwrap().counted();
    assert_eq!(failed, 0, "of the visitors who write as well");
}

/// What reads the database fails at the target until it is promoted: its logins are closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_fails_sends_everybody_home_and_nobody_notices() {
    let run = Run::synced_with(|text| plan(&text, "/catalogue"));
    let hash = run.hash.clone();
    run.segue.must(&["cutover", &hash, "--prepare-only"], 0).unwrap();
    let front = *run.world.description().site.get(Side::Source);
    let (readers, task) = Readers::start(front, "/catalogue?page=1");
    let asked = |_: &Value| readers.asked.load(Ordering::SeqCst) > 100;
    run.segue.wait_for("readers come", Duration::from_secs(10), asked).unwrap();
    run.segue.must(&["split", &hash], 5).unwrap();
    let status = run.segue.status().unwrap();
    assert_eq!((status["stage"].as_str(), share(&status)), (Some("prepared"), 0));
    assert_eq!(readers.at_target(), 0);
    readers.leave(task).await;
    let said = |record: &Value| {
        let because = record["event"]["because"].as_str().unwrap_or_default();
        record["event"]["event"] == "withdrawal_started" && because.contains("took the target out")
    };
    assert!(run.journal().iter().any(said), "the journal says why");
}
