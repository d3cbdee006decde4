//! How many connections there may be: in all, and of one client.
//!
//! A connection of HTTP/2 that carries several requests counts as so many: each of them takes
//! what a connection of its own would.
//!
//! One client is one IPv4 address or one IPv6 /64, which is what a single host gets. What
//! is over the limit is refused before anything is built for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// All client connections of a front.
pub(crate) struct Crowd {
    most: u64,
    most_of_one: u32,
    open: AtomicU64,
    taken: AtomicU64,
    refused: AtomicU64,
    /// No larger than there are connections. The lock is held for one look.
    clients: Mutex<HashMap<Client, u32>>,
}

/// Whose connections are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    V4(u32),
    /// The first 64 bits.
    V6(u64),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

impl Crowd {
    /// Builds an empty crowd of at most so many connections, and so many of one client.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most as u64,
            most_of_one: u32::try_from(most_of_one).unwrap_or(u32::MAX),
            open: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            clients: Mutex::default(),
        })
    }

    /// Counts a connection until the place is dropped; none if there are too many.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        if !self.take() {
            return None;
        }
        let number = self.taken.fetch_add(1, Ordering::Relaxed) as usize;
        Some(Place { crowd: self.clone(), number, client: None })
    }

    /// Takes one more of all places; false if there are too many.
    fn take(&self) -> bool {
        let free = self.open.fetch_add(1, Ordering::Relaxed) < self.most;
        if !free {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        free
    }

    /// Counts what was refused for what it said or did.
    pub(crate) fn turn_away(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts connections that another process took and refused.
    pub(crate) fn add(&self, taken: u64, refused: u64) {
        self.taken.fetch_add(taken, Ordering::Relaxed);
        self.refused.fetch_add(refused, Ordering::Relaxed);
    }

    /// Returns connections that are open, were taken, and were refused; requests that would have taken
    /// a further place count as connections do, but as none that was taken.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (of(&self.open), of(&self.taken), of(&self.refused))
    }
}

/// A connection's place in the crowd; ends with it.
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    number: usize,
    client: Option<Client>,
}

impl Place {
    /// Returns the connection's number, which serves to spread connections over shards.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Says whose connection it is; false if that client has too many.
    pub(crate) fn of(&mut self, client: IpAddr) -> bool {
        self.join(Client::from(client))
    }

    /// Takes a further place for the same client, for a request that runs beside another one of
    /// the connection; none if there are too many, or that client has.
    pub(crate) fn beside(&self) -> Option<Self> {
        if !self.crowd.take() {
            return None;
        }
        let mut other = Self { crowd: self.crowd.clone(), number: self.number, client: None };
        self.client.is_none_or(|client| other.join(client)).then_some(other)
    }

    /// Counts a request that would take a further place and may not, however many are free.
    pub(crate) fn turn_away(&self) {
        self.crowd.turn_away();
    }

    fn join(&mut self, client: Client) -> bool {
        let mut clients = self.crowd.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_insert(0);
        if *count >= self.crowd.most_of_one {
            self.crowd.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        *count += 1;
        drop(clients);
        self.client = Some(client);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.open.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = self.client else { return };
        let mut clients = self.crowd.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = clients.entry(client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn refuses_what_is_over_the_limit_and_forgets_what_ended() {
        let crowd = Crowd::new(3, 2);
        let mut places: Vec<_> = (0..3).map(|_| crowd.enter().unwrap()).collect();
        assert!(crowd.enter().is_none(), "a fourth one");
        assert!(places[0].of(address("192.0.2.1")) && places[1].of(address("::ffff:192.0.2.1")));
        assert!(!places[2].of(address("192.0.2.1")), "a third one of the client");
        drop(places.pop());
        let mut other = crowd.enter().unwrap();
        assert!(other.of(address("192.0.2.2")), "of another client");
        places.clear();
        assert_eq!(crowd.clients.lock().unwrap().len(), 1);
        drop(other);
        assert_eq!(crowd.clients.lock().unwrap().len(), 0);
        assert_eq!(crowd.counts(), (0, 4, 2));
    }

    #[test]
    fn a_request_beside_another_one_takes_a_place_and_is_no_connection() {
        let crowd = Crowd::new(4, 2);
        let mut first = crowd.enter().unwrap();
        assert!(first.of(address("192.0.2.1")));
        let second = first.beside().unwrap();
        assert!(first.beside().is_none(), "a third one of the client");
        assert_eq!(crowd.counts(), (2, 1, 1), "open, taken, refused");
        drop(second);
        let mut places: Vec<_> = (0..3).map(|_| crowd.enter().unwrap()).collect();
        assert!(first.beside().is_none(), "a fifth one in all");
        assert!(places[0].of(address("192.0.2.1")));
        drop((places, first));
        assert_eq!(crowd.counts().0, 0);
        assert!(crowd.clients.lock().unwrap().is_empty());
    }

    #[test]
    fn an_ipv6_client_is_a_64() {
        let crowd = Crowd::new(9, 1);
        let mut places: Vec<_> = (0..3).map(|_| crowd.enter().unwrap()).collect();
        assert!(places[0].of(address("2001:db8:0:1::1")));
        assert!(!places[1].of(address("2001:db8:0:1:ffff::2")));
        assert!(places[2].of(address("2001:db8:0:2::1")));
    }
}
