//! A small population of caching resolvers, the honest ones and the others.
//!
//! Measurements of public resolvers show that a good part does not keep to the TTL:
//! floors, stale answers while refreshing, and caches that never let go. A move is
//! judged with all of them.

use crate::fail::Fail;
use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::A;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// Shortest time that a resolver with a floor keeps an answer.
const FLOOR: Duration = Duration::from_secs(10);
/// Time that one server gets for its answer.
const PATIENCE: Duration = Duration::from_millis(800);
/// Questions sent before a lookup counts as failed.
const ATTEMPTS: usize = 4;

/// How a resolver treats an answer's TTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Keeps to it.
    Honest,
    /// Never keeps an answer shorter than [`FLOOR`].
    MinTtl,
    /// Answers once from the expired record and refreshes behind (RFC 8767).
    ServeStale,
    /// Keeps the first answer for ever.
    Overstay,
}

impl Habit {
    /// Returns the habit of resolver `index` of `of`: 60 % honest, 15 % with a floor,
    /// 15 % stale, 10 % overstaying.
    pub(crate) fn of(index: usize, of: usize) -> Self {
        match index * 100 / of.max(1) {
            0..60 => Self::Honest,
            60..75 => Self::MinTtl,
            75..90 => Self::ServeStale,
            _ => Self::Overstay,
        }
    }

    /// Returns the habit's name in the ledger.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::MinTtl => "min_ttl",
            Self::ServeStale => "serve_stale",
            Self::Overstay => "overstay",
        }
    }
}

/// A resolver with a cache for one name.
#[derive(Debug)]
pub(crate) struct Resolver {
    /// How it treats TTLs.
    pub(crate) habit: Habit,
    name: Name<Vec<u8>>,
    servers: Vec<SocketAddr>,
    cache: Mutex<Cache>,
}

#[derive(Debug)]
struct Cache {
    entry: Option<Entry>,
    server: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    address: Ipv4Addr,
    expires: Instant,
    served_stale: bool,
}

impl Resolver {
    /// Returns a resolver with an empty cache; `first` is the server it asks first.
    ///
    /// # Errors
    /// If the host is not a domain name.
    pub(crate) fn new(
        habit: Habit,
        host: &str,
        servers: Vec<SocketAddr>,
        first: usize,
    ) -> anyhow::Result<Arc<Self>> {
        let name = host.parse().map_err(|e| anyhow::anyhow!("host name `{host}`: {e}"))?;
        let cache = Mutex::new(Cache { entry: None, server: first });
        Ok(Arc::new(Self { habit, name, servers, cache }))
    }

    /// Returns the address that this resolver holds for the name, asking an
    /// authoritative server if its cache and habit say so.
    ///
    /// # Errors
    /// [`Fail::Dns`] if no server gives an address.
    pub(crate) async fn resolve(self: &Arc<Self>) -> Result<Ipv4Addr, Fail> {
        let mut cache = self.cache.lock().await;
        if let Some(entry) = cache.entry.as_mut() {
            if self.habit == Habit::Overstay || Instant::now() < entry.expires {
                return Ok(entry.address);
            }
            if self.habit == Habit::ServeStale && !entry.served_stale {
                entry.served_stale = true;
                let address = entry.address;
                let behind = Arc::clone(self);
                tokio::spawn(async move {
                    let mut cache = behind.cache.lock().await;
                    // A failed refresh leaves the expired record; the next question asks anew.
                    let _ = behind.refresh(&mut cache).await;
                });
                return Ok(address);
            }
        }
        self.refresh(&mut cache).await
    }

    async fn refresh(&self, cache: &mut Cache) -> Result<Ipv4Addr, Fail> {
        for _ in 0..ATTEMPTS {
            let server = self.servers[cache.server % self.servers.len()];
            cache.server += 1;
            let Ok(Some((address, ttl))) = timeout(PATIENCE, self.ask(server)).await else {
                continue;
            };
            let kept = if self.habit == Habit::MinTtl { ttl.max(FLOOR) } else { ttl };
            let expires = Instant::now() + kept;
            cache.entry = Some(Entry { address, expires, served_stale: false });
            return Ok(address);
        }
        Err(Fail::Dns)
    }

    /// Asks one server; nothing if the answer cannot be used.
    async fn ask(&self, server: SocketAddr) -> Option<(Ipv4Addr, Duration)> {
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_id(rand::random());
        let mut question = builder.question();
        question.push((&self.name, Rtype::A)).ok()?;
        let query = question.into_message();
        let socket = UdpSocket::bind("0.0.0.0:0").await.ok()?;
        socket.connect(server).await.ok()?;
        socket.send(query.as_slice()).await.ok()?;
        let mut bytes = vec![0; 1232];
        loop {
            let length = socket.recv(&mut bytes).await.ok()?;
            let Ok(answer) = Message::from_octets(&bytes[..length]) else { continue };
            if !answer.is_answer(&query) {
                continue;
            }
            if answer.header().rcode() != Rcode::NOERROR || answer.header().tc() {
                return None;
            }
            let mut records = answer.answer().ok()?.limit_to::<A>();
            let record = records.next()?.ok()?;
            return Some((record.data().addr(), record.ttl().into_duration()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::standin::authority;
    use std::sync::atomic::Ordering;

    fn resolver(habit: Habit, servers: Vec<SocketAddr>) -> Arc<Resolver> {
        Resolver::new(habit, "shop.example.test", servers, 0).unwrap()
    }

    /// What a resolver answers at once, after the change, and once more a little later.
    async fn after_expiry(habit: Habit) -> [String; 3] {
        let server = authority("127.0.0.11").await;
        let resolver = resolver(habit, vec![server.address]);
        let first = resolver.resolve().await.unwrap();
        *server.answer.lock().unwrap() = "127.0.0.12".parse().unwrap();
        assert_eq!(resolver.resolve().await.unwrap(), first, "cached within the TTL");
        tokio::time::sleep(Duration::from_millis(1050)).await;
        let second = resolver.resolve().await.unwrap();
        let third = resolver.resolve().await.unwrap();
        [first.to_string(), second.to_string(), third.to_string()]
    }

    #[tokio::test]
    async fn each_habit_lets_go_of_a_record_in_its_own_way() {
        let (former, now) = ("127.0.0.11", "127.0.0.12");
        let (honest, floor, stale, stays) = tokio::join!(
            after_expiry(Habit::Honest),
            after_expiry(Habit::MinTtl),
            after_expiry(Habit::ServeStale),
            after_expiry(Habit::Overstay),
        );
        assert_eq!(honest, [former, now, now]);
        assert_eq!(floor, [former, former, former]);
        assert_eq!(stale, [former, former, now]);
        assert_eq!(stays, [former, former, former]);
    }

    #[tokio::test]
    async fn asks_the_other_server_when_one_is_silent() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = authority("127.0.0.11").await;
        let servers = vec![silent.local_addr().unwrap(), server.address];
        let address = resolver(Habit::Honest, servers).resolve().await.unwrap();
        assert_eq!(address.to_string(), "127.0.0.11");
        assert_eq!(server.asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_population_has_the_measured_shares() {
        let habits: Vec<_> = (0..20).map(|index| Habit::of(index, 20)).collect();
        let count = |habit| habits.iter().filter(|each| **each == habit).count();
        assert_eq!(count(Habit::Honest), 12);
        assert_eq!(count(Habit::MinTtl), 3);
        assert_eq!(count(Habit::ServeStale), 3);
        assert_eq!(count(Habit::Overstay), 2);
    }
}
