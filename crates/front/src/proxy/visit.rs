//! A client's connection, and one request of it as it is counted.

use super::headers::Seen;
use super::stream::Seat;
use crate::client::Caller;
use crate::clock;
use crate::entrance::Entrance;
use crate::front::Front;
use crate::limits::{Limits, WINDOW};
use crate::log::Entry;
use crate::routes::{Site, bare};
use crate::socket::Shared;
use crate::stats::{Answered, Counts};
use crate::timer::Kept;
use crate::tls::Shown;
use crate::upstream::UnderWay;
use crate::wire::Told;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use segue_model::Side;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

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

/// Under what a request is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lane {
    /// A request of a unit, sent to this side.
    Side(Side),
    /// A request of a unit that another front sent here. That front counts it under a
    /// side; counted there too, it would be two requests.
    Relayed,
    /// A request of no unit.
    Other,
}

/// One request as it is counted; counted once.
pub(crate) struct Visit {
    conn: Arc<Conn>,
    lane: Lane,
    /// The counters of its unit.
    unit: Option<Arc<Counts>>,
    /// Its place beside others of its connection.
    seat: Option<Seat>,
    client: u32,
    began_us: u64,
    forwarded_us: u64,
    answer_us: Option<u64>,
    answered_at_us: u64,
    failed: bool,
    status: Option<StatusCode>,
    probe: bool,
    open: bool,
    /// What the log says of it; in a box, as most fronts write none.
    entry: Option<Box<Entry>>,
    /// How long its answer may take.
    patience: Duration,
    /// Its share of a server's load, where there are several.
    under_way: Option<UnderWay>,
}

/// Who asks, and how that will be counted once it is known where the request goes.
pub(super) struct Visitor {
    unit: Option<Arc<Counts>>,
    seat: Option<Seat>,
    client: u32,
    probe: bool,
    entry: Option<Box<Entry>>,
    patience: Option<Duration>,
}

impl Visitor {
    /// Looks at a request; `probe` if it is one of the run's own.
    pub(super) fn of<B>(
        conn: &Conn,
        request: &Request<B>,
        site: Option<&Site>,
        seat: Option<Seat>,
        seen: Seen,
        probe: bool,
    ) -> Self {
        let headers = request.headers();
        let entry = conn.front().log().map(|log| {
            let unit = site.map(|site| site.gate.unit());
            log.entry(request, unit, conn.address_of(headers, seen))
        });
        Self {
            unit: site.map(|site| site.counts.clone()),
            seat,
            client: conn.client_of(headers, seen),
            probe,
            entry,
            patience: site.and_then(|site| site.answer),
        }
    }

    /// Begins to count it.
    pub(super) fn visit(self, conn: &Arc<Conn>, lane: Lane, began_us: u64) -> Visit {
        let Self { unit, seat, client, probe, entry, patience } = self;
        let mut visit = Visit::begin(conn.clone(), lane, unit, seat, client, began_us, probe);
        visit.entry = entry;
        visit.patience = patience.unwrap_or(visit.patience);
        visit
    }
}

impl Visit {
    /// Begins to count a request of that client; `probe` if it is one of the
    /// run's own.
    pub(super) fn begin(
        conn: Arc<Conn>,
        lane: Lane,
        unit: Option<Arc<Counts>>,
        seat: Option<Seat>,
        client: u32,
        began_us: u64,
        probe: bool,
    ) -> Self {
        let patience = conn.front.limits().answer;
        Self {
            conn,
            lane,
            unit,
            seat,
            client,
            began_us,
            forwarded_us: began_us,
            answer_us: None,
            answered_at_us: 0,
            failed: false,
            status: None,
            probe,
            open: true,
            entry: None,
            patience,
            under_way: None,
        }
    }

    /// The log says this of it.
    pub(super) fn log_as(&mut self, entry: Option<Box<Entry>>) {
        self.entry = entry;
    }

    /// Returns how long the head of the answer may take, and each further part.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// It counts at one of several servers from now on.
    pub(super) fn carry(&mut self, under_way: Option<UnderWay>) {
        self.under_way = under_way;
    }

    pub(super) fn front(&self) -> &Arc<Front> {
        &self.conn.front
    }

    pub(super) fn limits(&self) -> &Arc<Limits> {
        self.conn.front.limits()
    }

    /// Returns its place beside others of its connection: kept until the backend is done.
    pub(super) fn seat(&self) -> Option<Seat> {
        self.seat.clone()
    }

    /// The request goes to the backend now.
    pub(super) fn forwarded(&mut self) {
        self.forwarded_us = clock::now_us();
    }

    /// The other side is asked after all.
    pub(super) fn turn_to(&mut self, side: Side) {
        if let Lane::Side(own) = &mut self.lane {
            *own = side;
        }
        self.forwarded();
    }

    /// Returns under what it is counted.
    pub(super) fn lane(&self) -> Lane {
        self.lane
    }

    /// Returns the side it was sent to, if it is counted under one.
    pub(super) fn side(&self) -> Option<Side> {
        match self.lane {
            Lane::Side(side) => Some(side),
            Lane::Relayed | Lane::Other => None,
        }
    }

    /// Returns how long the answer's head took, microseconds.
    pub(super) fn answer_us(&self) -> Option<u64> {
        self.answer_us
    }

    /// Returns when the head of its answer was there.
    pub(super) fn answered_at_us(&self) -> u64 {
        self.answered_at_us
    }

    /// Returns when its head was there.
    pub(super) fn began_us(&self) -> u64 {
        self.began_us
    }

    /// The head of an answer is there.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.answered_at_us = clock::now_us();
        self.answer_us = Some(self.answered_at_us.saturating_sub(self.forwarded_us));
        self.failed = status.is_server_error();
        self.status = Some(status);
    }

    /// As [`Visit::answered`], of a request whose last part went to the backend at that time: how
    /// long a client sends is not the backend's time.
    pub(super) fn answered_since(&mut self, status: StatusCode, sent: Option<Instant>) {
        self.answered(status);
        if let Some(sent) = sent {
            let since_us = sent.elapsed().as_micros() as u64;
            self.answer_us = self.answer_us.map(|us| us.min(since_us));
        }
    }

    /// The front itself answers so.
    pub(super) fn answered_here(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The answer is over; `cut` if the client did not get all of it through no fault of
    /// its own. Further calls count nothing. Returns the time.
    pub(super) fn end(&mut self, cut: bool) -> u64 {
        self.end_at(clock::now_us(), cut)
    }

    /// As [`Visit::end`], at a time that is known: asking for it costs.
    pub(super) fn end_at(&mut self, now_us: u64, cut: bool) -> u64 {
        if !std::mem::take(&mut self.open) {
            return now_us;
        }
        let answered = Answered {
            answer_us: self.answer_us,
            whole_us: now_us.saturating_sub(self.began_us),
            failed: self.failed || cut,
            status: self.status,
            client: self.client,
            probe: self.probe,
        };
        let front = &self.conn.front;
        let hint = self.conn.hint;
        if let (Some(log), Some(entry)) = (front.log(), self.entry.take()) {
            let waited_us = self.forwarded_us.saturating_sub(self.began_us);
            log.write(*entry, &answered, self.side(), waited_us);
        }
        for counts in [Some(front.counts()), self.unit.as_deref()].into_iter().flatten() {
            match self.lane {
                Lane::Side(side) => counts.sides.get(side).count(hint, &answered),
                Lane::Relayed => counts.relayed.count(hint, &answered),
                Lane::Other => {}
            }
            if self.probe && matches!(self.lane, Lane::Side(_)) {
                counts.probes.count(hint, &answered);
            }
        }
        if matches!(self.lane, Lane::Other) {
            front.other_lane().count(hint, &answered);
        }
        now_us
    }
}

impl Drop for Visit {
    /// A client that left before an answer was there is counted, not as failed.
    fn drop(&mut self) {
        self.end(false);
    }
}
