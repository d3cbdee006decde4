//! Connections to the backends.
//!
//! **The rule.** GET and HEAD without a body may go over a connection used before and
//! are sent once more, over a new one, if that one broke before a single byte of the
//! answer came. Every other request gets a new connection: a backend may close an idle
//! connection in the very moment it is used, and then nobody can tell whether the
//! request was carried out. The former are [`kept`]'s, the latter a [`Link`]'s.
//!
//! A server that is told who the client of a connection is (PROXY protocol) believes it of every
//! request on it. Such a connection is used again for that very client alone.

mod body;
mod group;
mod kept;
mod link;
mod noted;
mod stream;
mod tls;

pub(crate) use body::{Fate, Outgoing, Unsent};
pub(crate) use group::{Group, UnderWay};
pub(crate) use kept::{Arriving, Fetch, Kept, field, write_head};
pub(crate) use link::{Link, dial};
pub(crate) use tls::Tls;

use crate::client::{Caller, ToldOf, introduction};
use crate::clock;
use crate::limits::Limits;
use crate::socket::give_up;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use stream::Stream;

/// Why a backend gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// No connection in time.
    #[error("no connection within {0:?}")]
    ConnectTime(Duration),
    /// The connection broke, or what came is not HTTP.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The connection broke.
    #[error("{0}")]
    Io(std::io::Error),
    /// What came is no answer that has one meaning.
    #[error("{0}")]
    Answer(&'static str),
}

impl Broken {
    /// Returns whether there was no connection, so that nothing was asked.
    pub(crate) fn is_unconnected(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::ConnectTime(_))
    }
}

/// A connection being opened; in a box, so that a request that needs none does not carry
/// its room along.
pub(crate) type Opening<'a> = Pin<Box<dyn Future<Output = Result<Link, Broken>> + Send + 'a>>;

/// A connection being made that will be kept.
pub(crate) type Dialling = Pin<Box<dyn Future<Output = Result<Stream, Broken>> + Send>>;

/// Idle connections to one backend, and the way to open new ones.
pub(crate) struct Pool {
    address: SocketAddr,
    egress: Option<IpAddr>,
    tls: Option<Arc<Tls>>,
    /// Whether each connection begins with a word about its client.
    introduces: bool,
    limits: Arc<Limits>,
    /// Latest used last. The lock is held for a push or a pop.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    kept: Box<Kept>,
    since_us: u64,
}

impl Pool {
    /// Builds an empty pool. New connections come from `egress`, where given.
    pub(crate) fn new(address: SocketAddr, egress: Option<IpAddr>, limits: Arc<Limits>) -> Self {
        let idle = Mutex::new(Vec::new());
        Self { address, egress, tls: None, introduces: false, limits, idle }
    }

    /// Speaks TLS, if that is given.
    pub(crate) fn over(mut self, tls: Option<Arc<Tls>>) -> Self {
        self.tls = tls;
        self
    }

    /// Says with the PROXY protocol who the client is, if `introduces`.
    pub(crate) fn introducing(mut self, introduces: bool) -> Self {
        self.introduces = introduces;
        self
    }

    /// Returns whether it says who the client is.
    pub(crate) fn introduces(&self) -> bool {
        self.introduces
    }

    /// Returns the backend's address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a connection used before for the same client, or for anybody where the backend is
    /// told of none, if there is one that the backend left open.
    fn reuse(&self, now_us: u64, caller: Option<&Caller>) -> Option<Box<Kept>> {
        loop {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let at = idle.iter().rposition(|idle| idle.kept.caller() == caller)?;
            let mut latest = idle.remove(at);
            drop(idle);
            if !self.stale(&latest, now_us) && latest.kept.is_quiet() {
                return Some(latest.kept);
            }
        }
    }

    /// Makes a connection that will be kept. Where the backend is told of clients, one for none is
    /// the front's own.
    fn dial(&self, caller: Option<&Caller>) -> Dialling {
        let (address, egress, limit) = (self.address, self.egress, self.limits.connect);
        let tls = self.tls.clone();
        let words = self.introduces.then(|| introduction(caller));
        Box::pin(async move {
            let opened = Stream::open(address, egress, words.as_deref(), tls.as_deref());
            match tokio::time::timeout(limit, opened).await {
                Ok(stream) => stream.map_err(Broken::Connect),
                Err(_) => Err(Broken::ConnectTime(limit)),
            }
        })
    }

    /// Opens a new connection.
    pub(crate) fn open(&self, caller: ToldOf) -> Opening<'_> {
        Box::pin(async move { link::open(self.address, self.dial(caller.as_deref()).await?).await })
    }

    /// Opens a new connection that may leave HTTP.
    pub(crate) fn open_for_upgrade(&self, caller: ToldOf) -> Opening<'_> {
        Box::pin(async move {
            let stream = self.dial(caller.as_deref()).await?;
            // What it becomes has no limits of HTTP.
            give_up(stream.socket());
            link::open_for_upgrade(self.address, stream).await
        })
    }

    /// Takes a connection back whose answer is complete.
    pub(crate) fn put(&self, kept: Box<Kept>, now_us: u64) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let full = idle.len() >= self.limits.pool_idle_max;
        // A client's own connection may be of use soon; that of one who left is of none to others.
        let oldest = (full && self.introduces && !idle.is_empty()).then(|| idle.remove(0));
        if !full || oldest.is_some() {
            idle.push(Idle { kept, since_us: now_us });
        }
        drop(idle);
        drop(oldest);
    }

    /// Closes connections that were idle for too long.
    pub(crate) fn reap(&self) {
        let now = clock::now_us();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = idle.iter().position(|i| !self.stale(i, now)).unwrap_or(idle.len());
        let stale: Vec<_> = idle.drain(..fresh).collect();
        drop(idle);
        drop(stale);
    }

    fn stale(&self, idle: &Idle, now_us: u64) -> bool {
        now_us.saturating_sub(idle.since_us) > self.limits.pool_idle.as_micros() as u64
    }
}
