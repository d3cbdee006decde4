//! Bounds of time and number; the same for every front.

use std::time::Duration;

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
    /// Without a byte of a request's body.
    pub body_idle: Duration,
    /// To connect to a backend.
    pub connect: Duration,
    /// From a request to the head of its answer, and between two parts of the answer.
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
            body_idle: Duration::from_secs(60),
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
