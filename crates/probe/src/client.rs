//! One GET over one connection, with a word for how it failed.

use crate::tls::Tls;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use segue_model::plan::OWN_AGENT;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

/// Longest body that is read; a page's marker stands earlier.
const BODY_MAX: usize = 4 << 20;

/// How a request failed, in the words of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection came about.
    Connect,
    /// The handshake of TLS failed, or what was shown cannot be verified.
    Tls,
    /// The connection was reset.
    Reset,
    /// The connection ended before the answer did.
    Eof,
    /// No answer in time.
    Timeout,
    /// Another status than 200.
    Status(u16),
    /// The body lacks the marker.
    Marker,
    /// The answer is no HTTP.
    Garbled,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Tls => f.write_str("tls"),
            Self::Reset => f.write_str("reset"),
            Self::Eof => f.write_str("eof"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Marker => f.write_str("marker"),
            Self::Garbled => f.write_str("garbled"),
        }
    }
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Header `x-segue-side`: which side answered.
    pub(crate) side: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What a request says of itself besides where it goes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Words<'a> {
    /// The run: a front that it has counts the request as a probe.
    pub(crate) run: Option<&'a str>,
    /// The `Cookie` header.
    pub(crate) cookie: Option<&'a str>,
    /// The scheme in which a visitor asked, as a front says it to a server.
    pub(crate) scheme: Option<&'a str>,
}

impl std::fmt::Debug for Words<'_> {
    /// Leaves the cookie out: it is somebody's login.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut all = f.debug_struct("Words");
        all.field("run", &self.run).field("scheme", &self.scheme);
        all.field("cookie", &self.cookie.map(|_| "***")).finish()
    }
}

/// An open connection; usable again after a whole answer.
pub(crate) struct Line(SendRequest<Empty<Bytes>>);

impl Line {
    /// Connects, from `egress` if one is given.
    pub(crate) async fn open(address: SocketAddr, egress: Option<IpAddr>) -> Result<Self, Failure> {
        Self::open_as(address, egress, None).await
    }

    /// Connects, and speaks TLS where it is told how.
    pub(crate) async fn open_as(
        address: SocketAddr,
        egress: Option<IpAddr>,
        tls: Option<&Tls>,
    ) -> Result<Self, Failure> {
        let stream = connect(address, egress).await.map_err(|_| Failure::Connect)?;
        // A failure to set an option leaves a slower connection, which is measured as such.
        let _ = stream.set_nodelay(true);
        match tls {
            None => Self::over(stream).await,
            Some(tls) => Self::over(tls.connect(stream).await?).await,
        }
    }

    async fn over<S>(stream: S) -> Result<Self, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (send, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Connect)?;
        // The end of the connection reaches the request that waits for it.
        tokio::spawn(connection);
        Ok(Self(send))
    }

    /// Returns whether the other end has not closed it as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_ready()
    }

    /// Sends one GET and reads the whole answer. With `run`, a front that this run has
    /// counts it as a probe.
    pub(crate) async fn get(
        &mut self,
        host: &str,
        path: &str,
        run: Option<&str>,
        close: bool,
    ) -> Result<Answer, Failure> {
        self.get_as(host, path, close, Words { run, ..Words::default() }).await
    }

    /// Does what [`Self::get`] does, with more words.
    pub(crate) async fn get_as(
        &mut self,
        host: &str,
        path: &str,
        close: bool,
        words: Words<'_>,
    ) -> Result<Answer, Failure> {
        // What comes to a server around its fronts is known by it in the server's log.
        let agent = if words.run.is_some() { "segue-probe" } else { OWN_AGENT };
        let mut request =
            Request::get(path).header(header::HOST, host).header(header::USER_AGENT, agent);
        if let Some(run) = words.run {
            request = request.header("x-segue-probe", run);
        }
        if close {
            request = request.header(header::CONNECTION, "close");
        }
        if let Some(cookie) = words.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        if let Some(scheme) = words.scheme {
            request = request.header("x-forwarded-proto", scheme);
        }
        let request = request.body(Empty::new()).map_err(|_| Failure::Garbled)?;
        let answer = self.0.send_request(request).await.map_err(|e| failure(&e))?;
        let status = answer.status().as_u16();
        let side = answer.headers().get("x-segue-side");
        let side = side.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let headers = answer.headers().clone();
        let mut stream = answer.into_body();
        let mut body = BytesMut::new();
        while let Some(frame) = stream.frame().await {
            if let Ok(data) = frame.map_err(|e| failure(&e))?.into_data()
                && body.len() < BODY_MAX
            {
                body.extend_from_slice(&data);
            }
        }
        Ok(Answer { status, side, headers, body: body.freeze() })
    }
}

pub(crate) async fn connect(address: SocketAddr, egress: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(egress) = egress else { return TcpStream::connect(address).await };
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(egress, 0))?;
    socket.connect(address).await
}

/// Finds the operating system's word in hyper's chain of causes.
fn failure(e: &hyper::Error) -> Failure {
    let mut cause: Option<&(dyn Error + 'static)> = Some(e);
    while let Some(e) = cause {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            return match io.kind() {
                io::ErrorKind::UnexpectedEof => Failure::Eof,
                _ => Failure::Reset,
            };
        }
        cause = e.source();
    }
    if e.is_parse() { Failure::Garbled } else { Failure::Eof }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_has_the_cookie() {
        let words = Words { run: Some("run-1"), cookie: Some("sid=secret"), ..Words::default() };
        let text = format!("{words:?}");
        assert!(text.contains("run-1") && !text.contains("secret"), "{text}");
    }
}
