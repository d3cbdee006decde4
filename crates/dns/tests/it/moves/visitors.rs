//! Those who use the zone while it moves: they ask both resolvers all the time.

use crate::lab::resolvers::{addresses, ask};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What they saw.
#[derive(Debug, Default)]
pub(super) struct Saw {
    pub(super) asked: u64,
    /// Answers that nobody may get.
    pub(super) wrong: Vec<String>,
    /// How often each address was the answer for `www`.
    pub(super) www: BTreeMap<String, u64>,
}

/// Runs until it is ended.
pub(super) struct Visitors {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<Saw>>,
}

impl Visitors {
    /// `validated`: every answer has to be.
    pub(super) fn start(validated: bool) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let thread = std::thread::spawn(move || {
            let mut saw = Saw::default();
            while !ended.load(Ordering::Relaxed) {
                for resolver in addresses() {
                    one(&mut saw, resolver, validated);
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            saw
        });
        Self { end, thread: Some(thread) }
    }

    pub(super) fn end(mut self) -> Saw {
        self.end.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

fn one(saw: &mut Saw, resolver: std::net::IpAddr, validated: bool) {
    // A name that nobody asked for yet is proved anew each time.
    let never = format!("n{}.example.test", saw.asked);
    for (name, rtype, code) in [
        ("www.example.test", "A", "NOERROR"),
        ("example.test", "MX", "NOERROR"),
        (never.as_str(), "A", "NXDOMAIN"),
    ] {
        let said = ask(resolver, name, rtype);
        saw.asked += 1;
        let there = said.data.is_empty() == (code == "NXDOMAIN");
        if said.code != code || !there || (validated && !said.validated) {
            saw.wrong.push(format!("{resolver} {name}: {said:?}"));
        }
        if name == "www.example.test" {
            for data in said.data {
                *saw.www.entry(data).or_default() += 1;
            }
        }
    }
}
