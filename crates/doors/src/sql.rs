//! SQL connections, names and literals: the only place that opens a connection to a
//! MariaDB server.
//!
//! **Invariants.** Every call has a time limit. A session whose call was given up (time
//! limit, dropped future) answers nothing more, because nobody knows what the server
//! still sends on it. Names and texts reach SQL only through [`Ident`] and [`Literal`].

use bytes::Bytes;
pub use mysql_async::prelude::FromRow;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, QueryResult, TextProtocol};
pub use mysql_async::{Row, Value};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

pub mod log;

/// A name of an object; displays itself quoted with backticks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ident(String);

impl Ident {
    /// Wraps a name as it stands, unquoted.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0.replace('`', "``"))
    }
}

/// A text; displays itself quoted as a string literal.
///
/// Escapes with backslashes, which [`connect`] makes sure the session understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal(String);

impl Literal {
    /// Wraps a text as it stands, unquoted.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'")?;
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '\'' => f.write_str("\\'")?,
                '\0' => f.write_str("\\0")?,
                '\x1a' => f.write_str("\\Z")?,
                other => write!(f, "{other}")?,
            }
        }
        f.write_str("'")
    }
}

/// Where and as whom to connect.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The server.
    pub address: SocketAddr,
    /// The login.
    pub user: String,
    /// Its password.
    pub password: SecretString,
}

/// Why a call on a server did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// No connection, or it broke.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The server refused the login.
    #[error("login refused: {0}")]
    Refused(String),
    /// No answer within the time limit.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server answered with an error.
    #[error("server error {code}: {message}")]
    Server {
        /// The server's error number.
        code: u16,
        /// Its message.
        message: String,
    },
    /// The answer has another form than expected.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
}

impl SqlError {
    /// Returns the server's error number, if the server answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Server { code, .. } => Some(*code),
            _ => None,
        }
    }
}

impl From<mysql_async::Error> for SqlError {
    fn from(error: mysql_async::Error) -> Self {
        match error {
            mysql_async::Error::Server(server) => {
                // 1045 wrong password, 1044 no schema right, 1698 unix socket only, 4151 locked
                if matches!(server.code, 1045 | 1698 | 4151) {
                    Self::Refused(server.message)
                } else {
                    Self::Server { code: server.code, message: server.message }
                }
            }
            mysql_async::Error::Io(io) => Self::Unreachable(io.to_string()),
            mysql_async::Error::Driver(driver) => Self::Unreachable(driver.to_string()),
            other => Self::Unexpected(other.to_string()),
        }
    }
}

/// Result of a call on a server.
pub type SqlResult<T> = Result<T, SqlError>;

/// What a `LOAD DATA` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// Rows stored.
    pub rows: u64,
    /// Warnings the server counted.
    pub warnings: u64,
}

/// One connection to a server.
#[derive(Debug)]
pub struct Session {
    conn: Conn,
    limit: Duration,
    /// Set while a call runs; stays set when the call was given up half-way.
    in_call: bool,
}

/// Settings every session starts with: texts are UTF-8, times UTC, zero dates and zero
/// keys pass unchanged, backslashes escape.
const START: &str = "SET NAMES utf8mb4, time_zone = '+00:00', \
     sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'";

/// Longest packet a session sends or takes, in bytes.
pub const LONGEST_PACKET: usize = 64 * 1024 * 1024;

/// Opens a session; `limit` bounds the opening and every later call.
///
/// # Errors
/// [`SqlError::Refused`] for a wrong or locked login, else `Unreachable` or `Timeout`.
pub async fn connect(endpoint: &Endpoint, limit: Duration) -> SqlResult<Session> {
    Ok(Session { conn: open(endpoint, LONGEST_PACKET, limit).await?, limit, in_call: false })
}

/// Opens a connection that takes packets up to `packet` bytes.
async fn open(endpoint: &Endpoint, packet: usize, limit: Duration) -> SqlResult<Conn> {
    let options = OptsBuilder::default()
        .ip_or_hostname(endpoint.address.ip().to_string())
        .tcp_port(endpoint.address.port())
        .user(Some(endpoint.user.clone()))
        .pass(Some(endpoint.password.expose_secret().to_owned()))
        .prefer_socket(false)
        // Given here so that the driver does not ask the server for them.
        .max_allowed_packet(Some(packet))
        .wait_timeout(Some(28_800))
        .stmt_cache_size(0)
        .init(vec![START]);
    match tokio::time::timeout(limit, Conn::new(options)).await {
        Ok(conn) => Ok(conn?),
        Err(_) => Err(SqlError::Timeout(limit)),
    }
}

impl Session {
    /// Returns the server's number of this connection.
    pub fn id(&self) -> u32 {
        self.conn.id()
    }

    /// Sets the time limit of every later call.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Returns whether a call on this session was given up, so that it is of no more use.
    pub fn is_spoilt(&self) -> bool {
        self.in_call || self.conn.is_disconnected()
    }

    /// Marks the begin of a call, unless an earlier one was given up.
    fn begin(&mut self) -> SqlResult<()> {
        if self.in_call {
            return Err(SqlError::Unreachable("an earlier call was given up".into()));
        }
        self.in_call = true;
        Ok(())
    }

    /// Takes the end of a call: an answer of the server leaves the session usable.
    fn end<T, E>(
        &mut self,
        limit: Duration,
        ended: Result<mysql_async::Result<T>, E>,
    ) -> SqlResult<T> {
        match ended {
            Err(_) => Err(SqlError::Timeout(limit)),
            Ok(Ok(value)) => {
                self.in_call = false;
                Ok(value)
            }
            Ok(Err(error)) => {
                self.in_call = !matches!(error, mysql_async::Error::Server(_));
                Err(error.into())
            }
        }
    }

    /// Runs statements that return no rows; several may be joined by semicolons.
    ///
    /// # Errors
    /// The first statement's error; those behind it did not run.
    pub async fn run(&mut self, sql: impl AsRef<[u8]>) -> SqlResult<()> {
        let limit = self.limit;
        self.run_within(sql, limit).await
    }

    /// Runs statements that return no rows, with a time limit of their own.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn run_within(&mut self, sql: impl AsRef<[u8]>, limit: Duration) -> SqlResult<()> {
        self.begin()?;
        let ended = tokio::time::timeout(limit, self.conn.query_drop(sql.as_ref())).await;
        self.end(limit, ended)
    }

    /// Runs one changing statement and returns how many rows it changed.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn change(&mut self, sql: impl AsRef<[u8]>) -> SqlResult<u64> {
        self.run(sql).await?;
        Ok(self.conn.affected_rows())
    }

    /// Returns every row of a query.
    ///
    /// # Errors
    /// As [`Session::run`]; `Unexpected` if a row does not fit `T`.
    pub async fn rows<T: FromRow + Send + 'static>(
        &mut self,
        sql: impl AsRef<[u8]>,
    ) -> SqlResult<Vec<T>> {
        self.begin()?;
        let limit = self.limit;
        let ended = tokio::time::timeout(limit, self.conn.query::<Row, _>(sql.as_ref())).await;
        let rows = self.end(limit, ended)?;
        rows.into_iter()
            .map(|row| T::from_row_opt(row).map_err(|e| SqlError::Unexpected(e.to_string())))
            .collect()
    }

    /// Returns the first row of a query, if there is one.
    ///
    /// # Errors
    /// As [`Session::rows`].
    pub async fn first<T: FromRow + Send + 'static>(
        &mut self,
        sql: impl AsRef<[u8]>,
    ) -> SqlResult<Option<T>> {
        Ok(self.rows(sql).await?.into_iter().next())
    }

    /// Returns the first row of a query that always has one.
    ///
    /// # Errors
    /// As [`Session::rows`]; `Unexpected` if there is no row.
    pub async fn one<T: FromRow + Send + 'static>(
        &mut self,
        sql: impl AsRef<[u8]>,
    ) -> SqlResult<T> {
        self.first(sql).await?.ok_or_else(|| SqlError::Unexpected("no row".into()))
    }

    /// Asks the server for a sign of life; renews its idle limit.
    ///
    /// # Errors
    /// `Unreachable` or `Timeout`.
    pub async fn ping(&mut self) -> SqlResult<()> {
        self.begin()?;
        let limit = self.limit;
        let ended = tokio::time::timeout(limit, self.conn.ping()).await;
        self.end(limit, ended)
    }

    /// Starts a query whose rows are taken one by one; `stall` bounds the wait for each.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn stream(&mut self, sql: String, stall: Duration) -> SqlResult<Rows<'_>> {
        self.begin()?;
        let Self { conn, in_call, .. } = self;
        match tokio::time::timeout(stall, conn.query_iter(sql)).await {
            Err(_) => Err(SqlError::Timeout(stall)),
            Ok(Ok(result)) => Ok(Rows { result, stall, in_call }),
            Ok(Err(error)) => {
                *in_call = !matches!(error, mysql_async::Error::Server(_));
                Err(error.into())
            }
        }
    }

    /// Runs one `LOAD DATA LOCAL INFILE`, whose file is what arrives on `data`. Gives up
    /// after `limit`, or when the server has taken nothing for `stall`: at the end of its
    /// data it may build indexes for minutes.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn load(
        &mut self,
        sql: &str,
        mut data: mpsc::Receiver<Bytes>,
        limit: Duration,
        stall: Duration,
    ) -> SqlResult<Loaded> {
        self.begin()?;
        let (taken, mut takes) = watch::channel(());
        self.conn.set_infile_handler(async move {
            let stream = futures_util::stream::poll_fn(move |context| {
                // Asked for the next part, the server has taken the one before.
                taken.send_replace(());
                data.poll_recv(context).map(|chunk| chunk.map(Ok))
            });
            Ok(Box::pin(stream) as mysql_async::InfileData)
        });
        let stalled = async move {
            loop {
                match tokio::time::timeout(stall, takes.changed()).await {
                    Ok(Ok(())) => {}
                    // The handler is gone with its data; what is left is the server's part.
                    Ok(Err(_)) => break tokio::time::sleep(stall).await,
                    Err(_) => break,
                }
            }
        };
        let ended = tokio::select! {
            biased;
            ended = tokio::time::timeout(limit, self.conn.query_drop(sql)) => ended.map_err(drop),
            () = stalled => Err(()),
        };
        self.end(limit.min(stall), ended)?;
        Ok(Loaded {
            rows: self.conn.affected_rows(),
            warnings: u64::from(self.conn.get_warnings()),
        })
    }

    /// Ends the session politely; gives up after the time limit.
    pub async fn close(self) {
        let limit = self.limit;
        if !self.in_call {
            // The server notices a dropped connection anyway.
            let _ = tokio::time::timeout(limit, self.conn.disconnect()).await;
        }
    }
}

/// Rows of a running query.
pub struct Rows<'a> {
    result: QueryResult<'a, 'static, TextProtocol>,
    stall: Duration,
    in_call: &'a mut bool,
}

impl Rows<'_> {
    /// Returns the next row; `None` after the last one.
    ///
    /// # Errors
    /// As [`Session::run`]. Dropping the rows before the end spoils the session.
    pub async fn next(&mut self) -> SqlResult<Option<Row>> {
        let mut next = std::pin::pin!(self.result.next());
        // Most rows are here already: those are not worth a timer each.
        let here = std::future::poll_fn(|context| match next.as_mut().poll(context) {
            Poll::Ready(row) => Poll::Ready(Some(row)),
            Poll::Pending => Poll::Ready(None),
        });
        let here = here.await;
        let ended = match here {
            Some(row) => Ok(row),
            None => tokio::time::timeout(self.stall, next).await,
        };
        match ended {
            Err(_) => Err(SqlError::Timeout(self.stall)),
            Ok(Ok(Some(row))) => Ok(Some(row)),
            Ok(Ok(None)) => {
                *self.in_call = false;
                Ok(None)
            }
            Ok(Err(error)) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_names_and_texts() {
        assert_eq!(Ident::new("a`b").to_string(), "`a``b`");
        assert_eq!(Literal::new(r"it's \ here").to_string(), r"'it\'s \\ here'");
    }
}
