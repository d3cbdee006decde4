//! Bounds of time and number; the same for every front.

use segue_model::plan::FrontLimits;
use std::time::Duration;

/// Most header fields of a request; more than browsers send by far. Any other number costs
/// some time of each request, see `serve`.
pub(crate) const HEADERS: usize = 100;

/// What a client of HTTP/2 may send of one body, before somebody takes it, bytes: so much of it is
/// kept in memory. A body that waits at a hold is kept, and weighed, up to here.
pub(crate) const BODY_WINDOW: u32 = 128 << 10;

/// The same of all bodies of a connection.
pub(crate) const WINDOW: u32 = 256 << 10;

/// Open files beside those of connections: ports, control, log, state.
const FILES_BESIDE: usize = 64;

/// How long things may take and how many there may be.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From an idle or new client connection to a complete request head; also how long
    /// an idle connection is kept.
    pub head_read: Duration,
    /// From a new client connection to the end of its TLS handshake; a quarter of it while
    /// more than half of `handshakes_max` are under way.
    pub handshake: Duration,
    /// TLS handshakes under way at one port; further ones wait.
    pub handshakes_max: usize,
    /// How often the files of certificates are looked at. Seldom enough that it takes no more
    /// than a hundredth of the time, however many there are.
    pub certificates: Duration,
    /// Most client connections at once.
    pub connections: usize,
    /// Most connections at once of one client: an IPv4 address or an IPv6 /64.
    pub connections_per_client: usize,
    /// How long a trusted proxy may take to say who the client is (PROXY protocol).
    pub preface: Duration,
    /// Most header fields of a request.
    pub headers: usize,
    /// Without a byte of a request's body.
    pub body_idle: Duration,
    /// How long a request's body may come at any pace.
    pub body_grace: Duration,
    /// Least bytes a second of a request's body, on average of the time that the front waits
    /// for it, after the grace; 0 asks for none.
    pub body_rate: u64,
    /// How long a client may take nothing of what it is sent, be it of a connection or, in
    /// HTTP/2, of one answer.
    pub taken_idle: Duration,
    /// Requests at once on a connection of HTTP/2.
    pub streams: u32,
    /// How often a client of HTTP/2 is asked whether it is there, and how long it may take to
    /// answer.
    pub ping: Duration,
    /// How long a peer of a connection of TCP may take nothing of what it is sent.
    pub stalled: Duration,
    /// To connect to a backend.
    pub connect: Duration,
    /// From the last byte of a request, or the last that the backend took of it, to the head of its
    /// answer, and between two parts of the answer. How long its client sends is no part of it.
    pub answer: Duration,
    /// How long the front goes on waiting for an answer whose client is gone.
    pub orphan: Duration,
    /// How much of an answer to a safe request is read on when its client is gone, bytes.
    pub orphan_bytes: u64,
    /// Idle connections kept to one backend.
    pub pool_idle_max: usize,
    /// How long an idle connection to a backend is kept. Below the 5 s after which
    /// common servers close them.
    pub pool_idle: Duration,
    /// After SIGTERM, how long running requests may take to finish.
    pub finish: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_read: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            handshakes_max: 4096,
            certificates: Duration::from_secs(5),
            connections: 20_000,
            connections_per_client: 1_000,
            preface: Duration::from_secs(5),
            headers: HEADERS,
            body_idle: Duration::from_secs(60),
            body_grace: Duration::from_secs(20),
            body_rate: 256,
            taken_idle: Duration::from_secs(60),
            streams: 128,
            ping: Duration::from_secs(30),
            stalled: Duration::from_secs(3_600),
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(60),
            orphan: Duration::from_secs(600),
            orphan_bytes: 1 << 20,
            pool_idle_max: 128,
            pool_idle: Duration::from_secs(4),
            finish: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// Returns the limits that a plan asks for, in a process that may have so many open files.
    pub(crate) fn asked(self, asked: &FrontLimits, files: usize) -> Self {
        let connections = asked.connections.unwrap_or(self.connections);
        // A connection of a client takes one of its own and one to a backend.
        let possible = (files.saturating_sub(FILES_BESIDE) / 2).max(1);
        if possible < connections {
            tracing::warn!(files, connections, possible, "too few open files are allowed");
        }
        Self {
            connections: connections.min(possible),
            connections_per_client: asked
                .connections_per_client
                .unwrap_or(self.connections_per_client),
            headers: asked.headers.unwrap_or(self.headers),
            body_rate: asked.body_rate.unwrap_or(self.body_rate),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_connections_than_files_are_promised() {
        let asked = FrontLimits { connections: Some(500), headers: Some(20), ..Default::default() };
        let limits = Limits::default().asked(&asked, 464);
        assert_eq!((limits.connections, limits.headers, limits.body_rate), (200, 20, 256));
        assert_eq!(Limits::default().asked(&asked, 100_000).connections, 500);
        assert_eq!(Limits::default().asked(&FrontLimits::default(), 0).connections, 1);
    }
}
