//! Visitors of the practice site: probes at a fixed rate behind three honest resolvers.

use super::bind::ask;
use domain::base::{Name, Rtype};
use domain::rdata::A;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time between two probes: fifty a second in all.
const EVERY: Duration = Duration::from_millis(20);
/// A visitor gives up after this.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many resolvers there are.
const RESOLVERS: usize = 3;

/// One probe's outcome.
#[derive(Debug, Clone, Copy)]
struct Visit {
    resolver: usize,
    intended: Instant,
    address: Option<IpAddr>,
    ok: bool,
}

/// Keeps an answer exactly as long as its TTL allows.
struct Resolver {
    servers: Vec<SocketAddr>,
    name: Name<Vec<u8>>,
    kept: Option<(IpAddr, Instant)>,
    questions: usize,
}

impl Resolver {
    fn address(&mut self) -> Option<IpAddr> {
        if let Some((address, until)) = self.kept
            && Instant::now() < until
        {
            return Some(address);
        }
        // As resolvers do, it asks whichever authoritative server comes next.
        let server = self.servers[self.questions % self.servers.len()];
        self.questions += 1;
        let answer = ask(server, &self.name, Rtype::A)?;
        let record = answer.answer().ok()?.limit_to::<A>().flatten().next()?;
        let address = IpAddr::V4(record.data().addr());
        self.kept = Some((address, Instant::now() + record.ttl().into_duration()));
        Some(address)
    }
}

/// Probes that run until they are asked for what they saw.
pub(crate) struct Visitors {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Visit>>>,
    thread: Option<JoinHandle<()>>,
}

impl Visitors {
    /// Starts them: GET `path` at `host` and `port`, right if `marker` comes back.
    pub(crate) fn start(
        servers: &[SocketAddr],
        host: &str,
        port: u16,
        path: &'static str,
        marker: &'static str,
    ) -> anyhow::Result<Self> {
        let name = Name::<Vec<u8>>::from_str(host)?;
        let resolvers: Vec<_> = (0..RESOLVERS)
            .map(|number| {
                let resolver = Resolver {
                    servers: servers.to_vec(),
                    name: name.clone(),
                    kept: None,
                    questions: number,
                };
                Arc::new(Mutex::new(resolver))
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (told, all) = (stop.clone(), seen.clone());
        let host = host.to_owned();
        let thread = std::thread::Builder::new().name("visitors".to_owned()).spawn(move || {
            let begun = Instant::now();
            let mut running = Vec::new();
            for number in 0_u32.. {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                // Open loop: a slow answer delays no other visitor.
                let intended = begun + EVERY * number;
                std::thread::sleep(intended.saturating_duration_since(Instant::now()));
                let at = number as usize % RESOLVERS;
                let (resolver, all, host) = (resolvers[at].clone(), all.clone(), host.clone());
                running.push(std::thread::spawn(move || {
                    let address = resolver.lock().unwrap_or_else(PoisonError::into_inner).address();
                    let ok = address.is_some_and(|address| {
                        visit(SocketAddr::new(address, port), &host, path, marker)
                    });
                    all.lock().unwrap_or_else(PoisonError::into_inner).push(Visit {
                        resolver: at,
                        intended,
                        address,
                        ok,
                    });
                }));
                running.retain(|visit| !visit.is_finished());
            }
            for visit in running {
                // A visitor that panicked has said so, and counts as no visit.
                let _ = visit.join();
            }
        })?;
        Ok(Self { stop, seen, thread: Some(thread) })
    }

    /// Returns whether, for so long, every visit went well and to `address`.
    pub(crate) fn content_for(&self, how_long: Duration, address: IpAddr) -> bool {
        let since = Instant::now().checked_sub(how_long);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let recent: Vec<_> = seen.iter().filter(|visit| Some(visit.intended) >= since).collect();
        recent.len() as u128 >= how_long.as_millis() / EVERY.as_millis() / 2
            && recent.iter().all(|visit| visit.ok && visit.address == Some(address))
    }

    /// Ends them; returns the longest time during which one resolver's visitors failed.
    pub(crate) fn finish(mut self) -> Duration {
        self.end();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (0..RESOLVERS)
            .filter_map(|resolver| {
                let failed = || {
                    seen.iter()
                        .filter(move |visit| visit.resolver == resolver && !visit.ok)
                        .map(|visit| visit.intended)
                };
                Some(failed().max()? - failed().min()? + EVERY * RESOLVERS as u32)
            })
            .max()
            .unwrap_or_default()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic was shown already.
            let _ = thread.join();
        }
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.end();
    }
}

fn visit(address: SocketAddr, host: &str, path: &str, marker: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().is_ok_and(|answer| answer.contains(" 200 ") && answer.contains(marker))
}
