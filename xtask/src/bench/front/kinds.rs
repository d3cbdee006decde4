//! What is asked of every proxy, and the most that ours may take of what the better peer
//! takes.

/// A kind of load.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// The file that is asked for.
    pub(super) path: &'static str,
    /// Whether each request has a connection of its own.
    pub(super) new_connections: bool,
    pub(super) rounds: usize,
    /// Length of a round.
    pub(super) seconds: u64,
    /// Ours divided by a peer's, at most.
    pub(super) goal: f64,
    /// Requests a second where latency is measured: far below what any of the proxies carries.
    pub(super) pace: u64,
    pub(super) talk: Talk,
}

/// What the load speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Talk {
    /// HTTP/1.1 in clear.
    Clear,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 over TLS.
    Http2,
}

/// Plain keepalive is promised at 1.05, TLS at 1.15; with HTTP/2 all proxies speak HTTP/1.1 to the
/// upstream. Nothing is promised of the rest: its
/// goal keeps it from growing worse unseen.
const PLAIN: f64 = 1.05;
const SECURE: f64 = 1.15;
const UNPROMISED: f64 = 1.25;

const KEEPALIVE: Kind = Kind {
    name: "keepalive, 1 KB",
    path: "/1k",
    new_connections: false,
    rounds: 7,
    seconds: 3,
    goal: PLAIN,
    pace: 2_000,
    talk: Talk::Clear,
};

const OVER_TLS: Kind = Kind {
    name: "TLS, keepalive, 1 KB",
    rounds: 5,
    seconds: 2,
    goal: SECURE,
    talk: Talk::Tls,
    ..KEEPALIVE
};

/// All kinds, in the order of the table.
pub(super) const KINDS: &[Kind] = &[
    KEEPALIVE,
    Kind { name: "keepalive, 1 MB", path: "/1m", rounds: 5, seconds: 2, pace: 200, ..KEEPALIVE },
    Kind {
        name: "new connections, 1 KB",
        new_connections: true,
        rounds: 5,
        seconds: 2,
        goal: UNPROMISED,
        pace: 500,
        ..KEEPALIVE
    },
    OVER_TLS,
    Kind { name: "TLS, keepalive, 1 MB", path: "/1m", pace: 200, ..OVER_TLS },
    Kind { name: "TLS, new connections, 1 KB", new_connections: true, pace: 500, ..OVER_TLS },
    Kind { name: "HTTP/2 over TLS, 1 KB", talk: Talk::Http2, ..OVER_TLS },
    Kind { name: "HTTP/2 over TLS, 1 MB", path: "/1m", talk: Talk::Http2, pace: 200, ..OVER_TLS },
];
