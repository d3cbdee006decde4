//! The logical clients and their visits.

use crate::conn::Conn;
use crate::resolver::Resolver;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A visit ends after so many requests,
const VISIT_REQUESTS: u32 = 40;
/// or after this time.
const VISIT_TIME: Duration = Duration::from_secs(6);
/// Connections that a visit keeps, as browsers do.
const VISIT_CONNECTIONS: usize = 6;

/// What a client knows of its login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Session {
    /// Not answered yet.
    Pending,
    /// The cookie's value.
    Open(String),
    /// The login failed.
    Failed,
}

/// A logical client.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its name.
    pub(crate) name: String,
    /// Where it looks names up.
    pub(crate) resolver: Arc<Resolver>,
    /// Its login, once for the whole run.
    pub(crate) session: tokio::sync::watch::Sender<Session>,
    /// Number of its last order; held while an order is on its way, so that the next one
    /// is sent only after this one was answered or given up.
    pub(crate) orders: tokio::sync::Mutex<u64>,
}

impl Client {
    /// Returns a client that has not logged in.
    pub(crate) fn new(name: String, resolver: Arc<Resolver>, last_seq: u64) -> Self {
        Self {
            name,
            resolver,
            session: tokio::sync::watch::Sender::new(Session::Pending),
            orders: tokio::sync::Mutex::new(last_seq),
        }
    }

    /// Waits for the answer to the login and returns the cookie's value, if it has one.
    pub(crate) async fn sid(&self) -> Option<String> {
        let mut session = self.session.subscribe();
        let known = session.wait_for(|session| *session != Session::Pending).await.ok()?;
        match &*known {
            Session::Open(sid) => Some(sid.clone()),
            Session::Pending | Session::Failed => None,
        }
    }
}

/// A place in a visit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    slot: usize,
    visit: u64,
}

/// A client that asks several things over kept connections.
#[derive(Debug)]
struct Visit {
    number: u64,
    client: usize,
    started: Instant,
    requests: u32,
    under_way: u32,
    idle: Vec<Conn>,
}

/// The visits that go on at the same time.
#[derive(Debug)]
pub(crate) struct Visits(Mutex<Vec<Visit>>);

impl Visits {
    /// Returns `count` visits that will end at different times.
    pub(crate) fn new(count: usize, rng: &mut StdRng) -> Self {
        let now = Instant::now();
        let visit = |_| Visit {
            number: 0,
            client: 0,
            started: now,
            requests: rng.random_range(0..VISIT_REQUESTS),
            under_way: 0,
            idle: Vec::new(),
        };
        Self(Mutex::new((0..count.max(1)).map(visit).collect()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Visit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a visit for the next request, preferring one that has nothing under way, and
    /// returns the seat and its client. A visit that is over becomes one of another client
    /// out of `present`, whose connections are new.
    pub(crate) fn board(&self, present: &[usize], rng: &mut StdRng) -> (Seat, usize) {
        let mut visits = self.lock();
        let from = rng.random_range(0..visits.len());
        let slots = (from..visits.len()).chain(0..from);
        let slot = slots.clone().find(|slot| visits[*slot].under_way == 0).unwrap_or(from);
        let visit = &mut visits[slot];
        let over = visit.requests >= VISIT_REQUESTS || visit.started.elapsed() >= VISIT_TIME;
        if over || visit.number == 0 {
            visit.number += 1;
            visit.client = present.choose(rng).copied().unwrap_or(0);
            visit.started = Instant::now();
            visit.requests = if over { 0 } else { visit.requests };
            visit.under_way = 0;
            visit.idle.clear();
        }
        visit.requests += 1;
        visit.under_way += 1;
        (Seat { slot, visit: visit.number }, visit.client)
    }

    fn with<T>(&self, seat: Seat, act: impl FnOnce(&mut Visit) -> T) -> Option<T> {
        let mut visits = self.lock();
        visits.get_mut(seat.slot).filter(|visit| visit.number == seat.visit).map(act)
    }

    /// Takes a kept connection that the site has not ended.
    pub(crate) fn take(&self, seat: Seat) -> Option<Conn> {
        self.with(seat, |visit| std::iter::from_fn(|| visit.idle.pop()).find(Conn::alive)).flatten()
    }

    /// Keeps a connection for the next request of the visit; drops it if the visit is over.
    pub(crate) fn keep(&self, seat: Seat, conn: Conn) {
        self.with(seat, |visit| {
            if visit.idle.len() < VISIT_CONNECTIONS {
                visit.idle.push(conn);
            }
        });
    }

    /// Notes that the seat's request is finished.
    pub(crate) fn leave(&self, seat: Seat) {
        self.with(seat, |visit| visit.under_way = visit.under_way.saturating_sub(1));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_visit_keeps_its_connection_and_the_next_visit_gets_none() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let visits = Visits::new(1, &mut rng);
        let (seat, _) = visits.board(&[3], &mut rng);
        assert!(visits.take(seat).is_none());
        visits.keep(seat, Conn::open(address).await.unwrap());
        visits.leave(seat);
        let (again, client) = visits.board(&[3], &mut rng);
        let conn = visits.take(again);
        assert_eq!((client, conn.is_some()), (3, true));
        let mut last = again;
        for _ in 0..VISIT_REQUESTS {
            last = visits.board(&[4], &mut rng).0;
        }
        assert!(last.visit > again.visit, "a visit ends after {VISIT_REQUESTS} requests");
        visits.keep(again, conn.unwrap());
        assert!(visits.take(last).is_none(), "a late connection is not kept for another client");
    }

    #[tokio::test]
    async fn a_connection_that_the_site_ended_is_not_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let visits = Visits::new(1, &mut rng);
        let (seat, _) = visits.board(&[0], &mut rng);
        let conn = Conn::open(listener.local_addr().unwrap()).await.unwrap();
        drop(listener.accept().await.unwrap());
        let deadline = Instant::now() + Duration::from_secs(2);
        while conn.alive() {
            assert!(Instant::now() < deadline, "the end was never seen");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        visits.keep(seat, conn);
        assert!(visits.take(seat).is_none());
    }
}
