//! The ledger: what was asked, what was answered, what was acknowledged.
//!
//! **Invariant.** An acknowledged write counts only once its line is durable. One
//! thread writes both files and makes many acknowledgements durable with one sync.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time in which lines gather before they are written together.
const GATHER: Duration = Duration::from_millis(15);
/// Distance kept from the numbers of a former run, whose last requests may have been
/// cut off before they reached the ledger.
const GAP: u64 = 1000;

/// One finished request.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Record {
    /// Number of the request.
    pub(crate) id: u64,
    /// Who asked.
    pub(crate) client: String,
    /// The client's order number.
    pub(crate) seq: Option<u64>,
    /// What was asked.
    pub(crate) kind: &'static str,
    /// When it was to be sent; wall clock, milliseconds.
    pub(crate) intended_ms: u64,
    /// When the client began to send or to connect; wall clock, milliseconds.
    pub(crate) sent_ms: Option<u64>,
    /// When the answer was complete or the request was given up.
    pub(crate) done_ms: u64,
    /// From the intended time to the whole answer (of a stream: to its head).
    pub(crate) latency_ms: f64,
    /// Address of the site that was used.
    pub(crate) address: Option<String>,
    /// Side that answered, by its own word.
    pub(crate) side: Option<String>,
    /// Status of the answer.
    pub(crate) status: Option<u16>,
    /// Whether it did not fail.
    pub(crate) ok: bool,
    /// Why it failed.
    pub(crate) fail: Option<String>,
    /// Whether a connection was opened for it.
    pub(crate) new_connection: bool,
    /// Habit of the client's resolver.
    pub(crate) resolver: &'static str,
}

/// One acknowledged write.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ack {
    /// `order`, `upload`, `login` or `account`.
    pub(crate) kind: &'static str,
    /// Who wrote.
    pub(crate) client: String,
    /// Number of the order.
    pub(crate) seq: Option<u64>,
    /// Key of the upload, or token of the login.
    pub(crate) key: Option<String>,
    /// BLAKE3 of the uploaded bytes, hexadecimal.
    pub(crate) hash: Option<String>,
    /// When the answer was complete; wall clock, milliseconds.
    pub(crate) at_ms: u64,
}

/// Numbers used by former runs on the same ledger.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// First request number that is free.
    pub(crate) next_id: u64,
    last_seq: HashMap<String, u64>,
}

impl Past {
    /// Returns the last order number that a client may have used.
    pub(crate) fn last_seq(&self, client: &str) -> u64 {
        self.last_seq.get(client).map_or(0, |last| last + GAP)
    }

    /// Reads the numbers used by former runs; a last line that was cut off is passed over.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Used {
            id: u64,
            client: String,
            seq: Option<u64>,
        }
        let path = folder.join("requests.jsonl");
        let mut past = Self { next_id: 1, ..Self::default() };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(past),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        for line in BufReader::new(file).split(b'\n') {
            let line = line.with_context(|| format!("read {}", path.display()))?;
            let Ok(used) = serde_json::from_slice::<Used>(&line) else { continue };
            past.next_id = past.next_id.max(used.id + 1);
            if let Some(seq) = used.seq {
                let last = past.last_seq.entry(used.client).or_default();
                *last = seq.max(*last);
            }
        }
        Ok(past)
    }
}

enum Entry {
    Request(Box<Record>),
    Ack(Ack),
}

/// Takes lines for the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    entries: Sender<Entry>,
    durable_orders: Arc<AtomicU64>,
}

impl Ledger {
    /// Opens the ledger's files, appending, and starts the thread that writes them.
    /// The thread ends when every clone of the ledger is gone, or with its first error.
    ///
    /// # Errors
    /// If the folder or a file cannot be created.
    pub(crate) fn open(folder: &Path) -> Result<(Self, JoinHandle<Result<()>>)> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("create folder {}", folder.display()))?;
        let mut files = Files {
            requests: append(&folder.join("requests.jsonl"))?,
            acks: append(&folder.join("acks.jsonl"))?,
            durable_orders: Arc::default(),
        };
        File::open(folder).and_then(|folder| folder.sync_all()).context("sync the ledger")?;
        let (entries, receiver) = channel();
        let ledger = Self { entries, durable_orders: Arc::clone(&files.durable_orders) };
        let writer = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || files.write_all(&receiver))?;
        Ok((ledger, writer))
    }

    /// Hands a finished request over.
    pub(crate) fn request(&self, record: Record) {
        // A closed channel means that the writer failed; the run ends with its error.
        let _ = self.entries.send(Entry::Request(Box::new(record)));
    }

    /// Hands an acknowledged write over.
    pub(crate) fn ack(&self, ack: Ack) {
        let _ = self.entries.send(Entry::Ack(ack));
    }

    /// Returns how many acknowledged orders of this run are durable.
    pub(crate) fn durable_orders(&self) -> u64 {
        self.durable_orders.load(Ordering::Relaxed)
    }
}

/// Opens a file for appending and ends a line that a killed run left open.
fn append(path: &Path) -> Result<File> {
    let open = || -> std::io::Result<File> {
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        if file.metadata()?.len() > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                cut_open_line(&mut file)?;
            }
        }
        Ok(file)
    };
    open().with_context(|| format!("open {}", path.display()))
}

fn cut_open_line(file: &mut File) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    file.set_len(whole as u64)
}

struct Files {
    requests: File,
    acks: File,
    durable_orders: Arc<AtomicU64>,
}

impl Files {
    fn write_all(&mut self, entries: &Receiver<Entry>) -> Result<()> {
        while let Ok(first) = entries.recv() {
            std::thread::sleep(GATHER);
            self.write(std::iter::once(first).chain(entries.try_iter()))?;
        }
        self.requests.sync_all().context("sync requests.jsonl")?;
        self.acks.sync_all().context("sync acks.jsonl")
    }

    fn write(&mut self, entries: impl Iterator<Item = Entry>) -> Result<()> {
        let (mut requests, mut acks, mut orders) = (Vec::new(), Vec::new(), 0);
        for entry in entries {
            match entry {
                Entry::Request(record) => line(&mut requests, &record)?,
                Entry::Ack(ack) => {
                    orders += u64::from(ack.kind == "order");
                    line(&mut acks, &ack)?;
                }
            }
        }
        self.requests.write_all(&requests).context("write requests.jsonl")?;
        if !acks.is_empty() {
            self.acks.write_all(&acks).context("write acks.jsonl")?;
            self.acks.sync_data().context("sync acks.jsonl")?;
            self.durable_orders.fetch_add(orders, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn line(lines: &mut Vec<u8>, value: &impl Serialize) -> Result<()> {
    serde_json::to_writer(&mut *lines, value)?;
    lines.push(b'\n');
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record(id: u64, seq: Option<u64>) -> Record {
        Record {
            id,
            client: "c1".into(),
            seq,
            kind: "order",
            intended_ms: 1,
            sent_ms: None,
            done_ms: 2,
            latency_ms: 1.0,
            address: None,
            side: None,
            status: Some(201),
            ok: true,
            fail: None,
            new_connection: true,
            resolver: "honest",
        }
    }

    #[test]
    fn counts_an_order_once_its_acknowledgement_is_durable() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, writer) = Ledger::open(dir.path()).unwrap();
        let ack = Ack {
            kind: "order",
            client: "c1".into(),
            seq: Some(7),
            key: None,
            hash: None,
            at_ms: 3,
        };
        ledger.request(record(1, Some(7)));
        ledger.ack(ack);
        let orders = Arc::clone(&ledger.durable_orders);
        drop(ledger);
        writer.join().unwrap().unwrap();
        assert_eq!(orders.load(Ordering::Relaxed), 1);
        let acks = std::fs::read_to_string(dir.path().join("acks.jsonl")).unwrap();
        assert!(acks.starts_with(r#"{"kind":"order","client":"c1","seq":7,"#));
        assert!(acks.ends_with("}\n"));
    }

    #[test]
    fn never_uses_the_numbers_of_a_former_run_again() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, writer) = Ledger::open(dir.path()).unwrap();
        ledger.request(record(41, Some(9)));
        drop(ledger);
        writer.join().unwrap().unwrap();
        let path = dir.path().join("requests.jsonl");
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"id\":42,").unwrap();
        let past = Past::read(dir.path()).unwrap();
        assert_eq!(past.next_id, 42);
        assert!(past.last_seq("c1") > 9 && past.last_seq("c2") == 0);
        // The line that was cut off does not spoil the next one.
        drop(Ledger::open(dir.path()).unwrap());
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("}\n"));
    }
}
