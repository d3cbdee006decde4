//! Why a request counts as failed.

use std::fmt;
use std::io;

/// The reason a request failed; its text goes into the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fail {
    /// Another status than expected.
    Status(u16),
    /// The connection was reset, before or while answering.
    Reset,
    /// The connection ended before the answer was complete.
    Eof,
    /// No complete answer within the limit, counted from the intended send time.
    Timeout,
    /// Nobody accepts connections at the address.
    Refused,
    /// The answer came, but its body is not the one asked for.
    Marker,
    /// The server no longer knows a login session that it gave out.
    SessionLost,
    /// The client never got a login session.
    NoSession,
    /// No authoritative server gave an address.
    Dns,
    /// The answer is not HTTP/1.1; the text says what is wrong.
    Protocol(&'static str),
    /// Another failure of the socket.
    Io(io::ErrorKind),
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Reset => f.write_str("reset"),
            Self::Eof => f.write_str("eof"),
            Self::Timeout => f.write_str("timeout"),
            Self::Refused => f.write_str("refused"),
            Self::Marker => f.write_str("marker"),
            Self::SessionLost => f.write_str("session lost"),
            Self::NoSession => f.write_str("no session"),
            Self::Dns => f.write_str("dns"),
            Self::Protocol(what) => write!(f, "protocol {what}"),
            Self::Io(kind) => write!(f, "io {kind:?}"),
        }
    }
}

impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Reset,
            io::ErrorKind::UnexpectedEof => Self::Eof,
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::Timeout,
            kind => Self::Io(kind),
        }
    }
}
