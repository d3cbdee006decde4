//! Reading a server's binary log, as a replica does.
//!
//! The client's library speaks the protocol and splits the stream into events. It does not
//! know MariaDB's own events, and this door knows no meaning of any: what comes out is an
//! event's header and its bytes, whose checksum was looked at and then taken off.

use super::{Endpoint, Literal, SqlError, SqlResult, open};
use futures_util::StreamExt;
use mysql_async::binlog::events::Event;
use mysql_async::binlog::{BinlogChecksumAlg, EventType};
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest};
use std::time::{Duration, Instant};

/// Bytes of an event's header.
pub const HEADER: usize = 19;

/// Longest event that a server can send.
const LONGEST_EVENT: usize = 1024 * 1024 * 1024;

/// From where a log is read, and as whom.
#[derive(Debug, Clone)]
pub struct LogRequest {
    /// The reader's number among all servers and readers: a server ends the connection of
    /// one that comes with the same.
    pub server_id: u32,
    /// The global transaction ids behind which reading begins, as the server writes them.
    pub after: String,
    /// How often the server gives a sign of life while it has nothing to send.
    pub heartbeat: Duration,
}

/// One event of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// The event type's number.
    pub kind: u8,
    /// Number of the server where it was first written.
    pub server_id: u32,
    /// Header and body, as they would stand in a log without checksums.
    pub bytes: Vec<u8>,
}

/// A log that is being read.
pub struct Log {
    stream: BinlogStream,
    stall: Duration,
    /// Since when an event is waited for.
    waiting: Option<Instant>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("stall", &self.stall).finish_non_exhaustive()
    }
}

/// Begins to read the log of a MariaDB server; `limit` bounds each call until then. The
/// source is not asked to wait for this reader: it never says that it is semi-synchronous.
///
/// # Errors
/// As [`super::connect`]; `Server` if the login may not read the log. That the position is
/// not there any more is said by the first [`Log::next`].
pub async fn read(endpoint: &Endpoint, request: &LogRequest, limit: Duration) -> SqlResult<Log> {
    let mut conn = open(endpoint, LONGEST_EVENT, limit).await?;
    let begin = async {
        // Capability 4: global transaction ids come as they are. Strict: a position in a
        // hole of the log is an error. A reader that is made to wait is not given up.
        conn.query_drop(format!(
            "SET @mariadb_slave_capability = 4, @slave_gtid_strict_mode = 1, \
             @slave_gtid_ignore_duplicates = 0, @slave_connect_state = {}, \
             @master_heartbeat_period = {}, SESSION net_write_timeout = 86400",
            Literal::new(request.after.as_str()),
            request.heartbeat.as_nanos(),
        ))
        .await?;
        conn.get_binlog_stream(BinlogStreamRequest::new(request.server_id)).await
    };
    match tokio::time::timeout(limit, begin).await {
        Ok(stream) => {
            let stall = request.heartbeat * 5 + limit;
            Ok(Log { stream: stream?, stall, waiting: None })
        }
        Err(_) => Err(SqlError::Timeout(limit)),
    }
}

impl Log {
    /// Returns the next event. May be dropped and called again: no event is lost.
    ///
    /// # Errors
    /// `Server` with 1236 if the log does not hold the position; `Timeout` if the server gave
    /// no sign of life; `Unexpected` if an event's checksum is wrong.
    pub async fn next(&mut self) -> SqlResult<LogEvent> {
        // Counted over calls that were given up: who looks away often would wait for ever.
        let since = *self.waiting.get_or_insert_with(Instant::now);
        let left = self.stall.saturating_sub(since.elapsed());
        let next = tokio::time::timeout(left, self.stream.next()).await;
        self.waiting = None;
        match next {
            Err(_) => Err(SqlError::Timeout(self.stall)),
            Ok(None) => Err(SqlError::Unreachable("the server ended the log".into())),
            Ok(Some(Err(error))) => Err(error.into()),
            Ok(Some(Ok(event))) => plain(&event),
        }
    }

    /// Ends the reading politely.
    pub async fn close(self) {
        // The server notices a dropped connection anyway.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.stream.close()).await;
    }
}

/// Checks an event and returns it without its checksum.
fn plain(event: &Event) -> SqlResult<LogEvent> {
    let header = event.header();
    let format = header.event_type_raw() == EventType::FORMAT_DESCRIPTION_EVENT as u8;
    let summed = matches!(
        event.footer().get_checksum_alg(),
        Ok(Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32))
    );
    if summed && !format {
        let sum = event.calc_checksum(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32);
        if event.checksum() != Some(sum.to_le_bytes()) {
            return Err(SqlError::Unexpected("an event's checksum is wrong".into()));
        }
    }
    let mut bytes = Vec::with_capacity(HEADER + event.data().len() + 5);
    bytes.extend_from_slice(&header.timestamp().to_le_bytes());
    bytes.push(header.event_type_raw());
    bytes.extend_from_slice(&header.server_id().to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&header.log_pos().to_le_bytes());
    bytes.extend_from_slice(&header.flags_raw().to_le_bytes());
    bytes.extend_from_slice(event.data());
    if format {
        // The kind of checksum, none, and the place where this event's own would be.
        bytes.extend_from_slice(&[0; 5]);
    }
    let length = u32::try_from(bytes.len())
        .map_err(|_| SqlError::Unexpected("an event is too long".into()))?;
    bytes[9..13].copy_from_slice(&length.to_le_bytes());
    Ok(LogEvent { kind: header.event_type_raw(), server_id: header.server_id(), bytes })
}
