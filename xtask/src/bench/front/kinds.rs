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
    /// Why it cannot be measured.
    pub(super) missing: Option<&'static str>,
}

/// Plain keepalive is promised at 1.05, TLS at 1.15. Nothing is promised of the rest: its
/// goal keeps it from growing worse unseen.
const PLAIN: f64 = 1.05;
const SECURE: f64 = 1.15;
const UNPROMISED: f64 = 1.25;

const NO_TLS: Option<&str> = Some("the front speaks no TLS");
const NO_H2: Option<&str> = Some("the front speaks no HTTP/2");

const KEEPALIVE: Kind = Kind {
    name: "keepalive, 1 KB",
    path: "/1k",
    new_connections: false,
    rounds: 7,
    seconds: 3,
    goal: PLAIN,
    missing: None,
};

/// All kinds, in the order of the table.
pub(super) const KINDS: &[Kind] = &[
    KEEPALIVE,
    Kind { name: "keepalive, 1 MB", path: "/1m", rounds: 5, seconds: 2, ..KEEPALIVE },
    Kind {
        name: "new connections, 1 KB",
        new_connections: true,
        rounds: 5,
        seconds: 2,
        goal: UNPROMISED,
        ..KEEPALIVE
    },
    Kind { name: "TLS, keepalive, 1 KB", goal: SECURE, missing: NO_TLS, ..KEEPALIVE },
    Kind { name: "TLS, keepalive, 1 MB", goal: SECURE, missing: NO_TLS, ..KEEPALIVE },
    Kind { name: "TLS, new connections, 1 KB", goal: SECURE, missing: NO_TLS, ..KEEPALIVE },
    Kind { name: "HTTP/2 over TLS, 1 KB", goal: SECURE, missing: NO_H2, ..KEEPALIVE },
    Kind { name: "HTTP/2 over TLS, 1 MB", goal: SECURE, missing: NO_H2, ..KEEPALIVE },
];
