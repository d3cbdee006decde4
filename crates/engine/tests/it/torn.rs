//! Storage that lies: every journal is refused or whole, never shorter and never other.

use segue_engine::{Journal, SystemClock};
use segue_model::FaultKind;
use segue_model::event::{Actor, Event, Record, UnitEntry};
use segue_model::{RunId, UnitName};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const DIR: &str = "SEGUE_TORN_DIR";
/// A page of SQLite's log and the head before it.
const FRAME: usize = 24 + 4096;
const LOG_HEAD: usize = 32;
/// Every so many bytes one bit is flipped; no divisor of a page's length.
const FLIP_EVERY: usize = 23;

fn open(dir: &Path) -> Result<Journal, segue_model::Fault> {
    Journal::open(dir, Arc::new(SystemClock))
}

async fn filled(dir: &Path, notes: usize) -> Vec<Record> {
    let journal = open(dir).unwrap();
    let event = Event::RunStarted {
        run: RunId::from("run"),
        name: "plan".into(),
        plan_hash: "hash".into(),
        units: vec![UnitEntry { unit: UnitName::from("shop"), plan_hash: "own".into(), wave: 1 }],
        by: Actor::Controller,
    };
    journal.append(event).await.unwrap();
    for n in 0..notes {
        journal.append(noted(&format!("note {n} {}", "of some length ".repeat(4)))).await.unwrap();
    }
    // The writer still has it open, so the log is not folded in: as after a kill.
    for name in ["journal.db", "journal.db-wal", "journal.head"] {
        std::fs::copy(dir.join(name), dir.join(format!("{name}.kept"))).unwrap();
    }
    Journal::read_all(dir).unwrap()
}

fn noted(text: &str) -> Event {
    Event::Noted { text: text.into() }
}

/// Files of a journal in memory, to be damaged again and again.
struct Files(Vec<(&'static str, Vec<u8>)>);

impl Files {
    fn of(dir: &Path) -> Self {
        let read =
            |name: &'static str| (name, std::fs::read(dir.join(format!("{name}.kept"))).unwrap());
        Self(["journal.db", "journal.db-wal", "journal.head"].map(read).into())
    }

    fn get(&self, name: &str) -> &[u8] {
        &self.0.iter().find(|(of, _)| *of == name).unwrap().1
    }

    /// Opens a copy in which `name` has another content. True if it was refused; otherwise it
    /// must be whole, take a record, and be whole again.
    async fn refused_or_whole(&self, name: &str, content: &[u8], records: &[Record]) -> bool {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for (of, sound) in &self.0 {
            let bytes = if *of == name { content } else { sound };
            std::fs::write(dir.path().join(of), bytes).unwrap();
        }
        let journal = match open(dir.path()) {
            Ok(journal) => journal,
            Err(fault) => {
                assert!(fault.code.starts_with("SG060"), "{fault}");
                return true;
            }
        };
        let read = match Journal::read_all(dir.path()) {
            Ok(read) => read,
            Err(_) => return true,
        };
        assert!(read == records, "{} records of {}", read.len(), records.len());
        if journal.append(noted("goes on")).await.is_ok() {
            let now = Journal::read_all(dir.path());
            if let Ok(now) = now {
                assert_eq!(now.len(), records.len() + 1);
                assert!(now[..records.len()] == *records);
            }
        }
        false
    }
}

#[tokio::test]
async fn a_log_cut_at_every_record_and_within_is_refused_or_whole() {
    let dir = tempfile::tempdir().unwrap();
    let records = filled(dir.path(), 24).await;
    let files = Files::of(dir.path());
    let log = files.get("journal.db-wal").to_vec();
    let frames = (log.len() - LOG_HEAD) / FRAME;
    assert!(frames >= 24, "{frames} pages");
    let (mut cuts, mut refused) = (0, 0);
    for frame in 0..frames {
        let begin = LOG_HEAD + frame * FRAME;
        for cut in [begin, begin + 1, begin + 24, begin + FRAME / 2, begin + FRAME - 1] {
            refused +=
                usize::from(files.refused_or_whole("journal.db-wal", &log[..cut], &records).await);
            cuts += 1;
        }
    }
    assert!(refused * 10 > cuts * 9, "only {refused} of {cuts} cuts were refused");
    assert!(!files.refused_or_whole("journal.db-wal", &log, &records).await, "uncut it is whole");
}

#[tokio::test]
async fn a_bit_flipped_anywhere_is_refused_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let records = filled(dir.path(), 8).await;
    let files = Files::of(dir.path());
    let mut refused = 0;
    for name in ["journal.db-wal", "journal.db", "journal.head"] {
        let sound = files.get(name).to_vec();
        let every = if name == "journal.head" { 1 } else { FLIP_EVERY };
        for at in (0..sound.len()).step_by(every) {
            let mut damaged = sound.clone();
            damaged[at] ^= 1 << (at % 8);
            refused += usize::from(files.refused_or_whole(name, &damaged, &records).await);
        }
    }
    assert!(refused > 100, "only {refused} flips were refused");
}

/// The part in a mount of its own; by itself it does nothing.
#[test]
fn in_a_small_place() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(fill_up(Path::new(&dir)));
}

async fn fill_up(dir: &Path) {
    let mount = |options: &str, flag: &[&str]| {
        let done = Command::new("mount").args(flag).args(["-o", options]).arg(dir).status();
        assert!(done.unwrap().success(), "mount {options}");
    };
    mount("size=512k", &["-t", "tmpfs", "none"]);
    std::fs::write(dir.join("ballast"), vec![0; 64 << 10]).unwrap();
    let journal = open(dir).unwrap();
    let long = "x".repeat(3_000);
    let mut written = 0;
    let fault = loop {
        match journal.append(noted(&long)).await {
            Ok(_) => written += 1,
            Err(fault) => break fault,
        }
        assert!(written < 1_000, "the place has an end");
    };
    assert_eq!((fault.code.as_str(), fault.kind), ("SG0608", FaultKind::Busy), "{fault}");
    assert_eq!(Journal::read_all(dir).unwrap().len(), written, "nothing is half written");
    std::fs::remove_file(dir.join("ballast")).unwrap();
    journal.append(noted("there is space again")).await.unwrap();
    assert_eq!(Journal::read_all(dir).unwrap().len(), written + 1);
    drop(journal);
    std::fs::write(dir.join("done"), b"").unwrap();
    let read_only = tempfile::tempdir().unwrap();
    let dir = read_only.path();
    let done = Command::new("mount").args(["-t", "tmpfs", "-o", "ro", "none"]).arg(dir).status();
    assert!(done.unwrap().success());
    assert_eq!(segue_engine::Lease::take(dir).unwrap_err().code, "SG0611");
    assert_eq!(open(dir).err().unwrap().code, "SG0601");
}

#[test]
fn a_full_disk_refuses_a_record_and_loses_none() {
    let dir = tempfile::tempdir().unwrap();
    let root = rustix::process::geteuid().is_root();
    let done = Command::new("unshare")
        .arg(if root { "-m" } else { "-Urm" })
        .arg(std::env::current_exe().unwrap())
        .args(["torn::in_a_small_place", "--exact", "--nocapture"])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "needs mounts of its own (`unshare`, `mount`): {said}");
}
