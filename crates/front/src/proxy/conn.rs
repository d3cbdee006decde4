//! A client's connection: how it speaks, who is at its other end, and what of it waits.

use super::headers::Seen;
use crate::client::Caller;
use crate::clock;
use crate::entrance::Entrance;
use crate::front::Front;
use crate::limits::WINDOW;
use crate::routes::bare;
use crate::socket::Shared;
use crate::stats::Answered;
use crate::timer::Kept;
use crate::tls::Shown;
use crate::wire::Told;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a client speaks to the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// In clear.
    Http,
    /// Over TLS that the front terminates.
    Https,
}

impl Scheme {
    /// Says whether nobody on the way can read along.
    pub(crate) fn is_secure(self) -> bool {
        match self {
            Self::Http => false,
            Self::Https => true,
        }
    }

    /// Returns the scheme as it stands in a URL.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// In which version of HTTP a client speaks.
pub(crate) enum Talk {
    /// HTTP/1: one request after the other.
    One(Arc<Told>),
    /// HTTP/2: many at once, for every host of a certificate.
    Many(Shown),
}

/// What all requests of a connection share.
pub(crate) struct Conn {
    front: Arc<Front>,
    entrance: Arc<Entrance>,
    scheme: Scheme,
    loopback: bool,
    /// Whether what the peer says of the client is believed.
    trusted: bool,
    peer: IpAddr,
    peer_port: u16,
    peer_value: HeaderValue,
    /// Spreads connections over shards.
    hint: usize,
    /// What tells the client from others, nearly.
    client: u32,
    socket: Shared,
    timer: Kept,
    talk: Talk,
    /// Bytes of bodies that wait and were weighed.
    bodies: AtomicU64,
}

/// What a body that waits may keep of its connection's room.
pub(super) struct Share {
    conn: Arc<Conn>,
    bytes: u64,
}

impl Share {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn conn(&self) -> &Conn {
        &self.conn
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.conn.bodies.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Conn {
    /// Takes room for a body of HTTP/2 that waits: all bodies of a connection together keep no more
    /// than its window.
    pub(super) fn share(self: &Arc<Self>, wanted: u64) -> Share {
        let before = self.bodies.fetch_add(wanted, Ordering::Relaxed);
        let bytes = wanted.min(u64::from(WINDOW).saturating_sub(before));
        self.bodies.fetch_sub(wanted - bytes, Ordering::Relaxed);
        Share { conn: self.clone(), bytes }
    }

    /// Describes a connection that was accepted.
    pub(crate) fn new(
        front: Arc<Front>,
        entrance: Arc<Entrance>,
        scheme: Scheme,
        peer: SocketAddr,
        hint: usize,
        socket: Shared,
        talk: Talk,
    ) -> Arc<Self> {
        let address = peer.ip().to_canonical();
        let text = address.to_string();
        let value =
            HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        let (loopback, trusted) = (address.is_loopback(), front.trusted().contains(address));
        let client = place(address);
        Arc::new(Self {
            front,
            entrance,
            scheme,
            loopback,
            trusted,
            peer: address,
            peer_port: peer.port(),
            peer_value: value,
            hint,
            client,
            socket,
            timer: Kept::default(),
            talk,
            bodies: AtomicU64::new(0),
        })
    }

    pub(crate) fn front(&self) -> &Arc<Front> {
        &self.front
    }

    /// Returns the port at which the connection came in.
    pub(super) fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Returns whether what the peer says of the client is believed.
    pub(super) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Returns the address of the one that sends the requests: the client, or a proxy.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Returns the peer's address as a header's value.
    pub(super) fn peer_value(&self) -> &HeaderValue {
        &self.peer_value
    }

    /// Returns the address of the client that a request comes from.
    pub(super) fn address_of(&self, headers: &HeaderMap, seen: Seen) -> IpAddr {
        if self.trusted && seen.names_client() {
            self.front.trusted().client(self.peer, headers)
        } else {
            self.peer
        }
    }

    /// Returns the client that a request comes from, as a server is told of it.
    pub(super) fn caller_of(&self, headers: &HeaderMap, seen: Seen) -> Box<Caller> {
        let client = self.address_of(headers, seen);
        // Of a client behind a proxy the port is not known.
        let port = if client == self.peer { self.peer_port } else { 0 };
        let listen = self.entrance.options().listen;
        Box::new(Caller { client: SocketAddr::new(client, port), listen })
    }

    /// Returns what tells the client that a request comes from, nearly.
    pub(super) fn client_of(&self, headers: &HeaderMap, seen: Seen) -> u32 {
        if self.trusted && seen.names_client() {
            place(self.front.trusted().client(self.peer, headers))
        } else {
            self.client
        }
    }

    /// Writes a request of that client into the log that is answered here, before it has a goal.
    pub(super) fn log_own<B>(
        &self,
        request: &Request<B>,
        client: IpAddr,
        status: StatusCode,
        began_us: u64,
    ) {
        let Some(log) = self.front.log() else { return };
        let entry = log.entry(request, None, client);
        let answered = Answered {
            answer_us: None,
            whole_us: clock::now_us().saturating_sub(began_us),
            failed: status.is_server_error(),
            status: Some(status),
            client: self.client,
            probe: false,
        };
        log.write(*entry, &answered, None, 0);
    }

    pub(super) fn hint(&self) -> usize {
        self.hint
    }

    /// Returns the timer of the connection.
    pub(crate) fn timer(&self) -> &Kept {
        &self.timer
    }

    /// Returns what the reading of the connection has to tell; nothing in HTTP/2, where no
    /// request ends the connection or the talk.
    pub(super) fn told(&self) -> Option<&Told> {
        match &self.talk {
            Talk::One(told) => Some(told),
            Talk::Many(_) => None,
        }
    }

    /// Returns whether requests do not wait for each other. Then a header cannot end the
    /// connection: its own frame does.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.talk, Talk::Many(_))
    }

    /// Returns whether a host may be asked for over this connection.
    pub(super) fn covers(&self, host: &str) -> bool {
        match &self.talk {
            Talk::One(_) => true,
            Talk::Many(shown) => shown.covers(bare(host)),
        }
    }

    /// Returns whether the client closed its end while it waited. A request whose body
    /// has not been read yet hides that from the HTTP layer.
    pub(super) fn client_left(&self) -> bool {
        self.socket.peer_closed()
    }
}

/// Returns what tells a client from most others.
#[allow(clippy::cast_possible_truncation)] // Any 32 bits of a hash are as good.
fn place(address: IpAddr) -> u32 {
    let mut hasher = DefaultHasher::new();
    address.hash(&mut hasher);
    hasher.finish() as u32
}
