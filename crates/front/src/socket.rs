//! A client's socket that two can look at: the HTTP layer, which reads and writes, and
//! the request that waits and asks whether its client is still there.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// A peer that is silent for so long is asked whether it is still there, then every so often, so
/// many times: one that is gone without a word goes within two minutes. Mail clients and WebSockets
/// are silent for longer, and answer.
const SILENT: Duration = Duration::from_secs(60);
const ASKED_EVERY: Duration = Duration::from_secs(15);
const ASKED_TIMES: u32 = 4;

/// As long may a peer confirm nothing of what it is sent.
const UNCONFIRMED_MS: u32 = 120_000;

/// Has the kernel find out about a peer that is gone without a word.
pub(crate) fn keep_alive(stream: impl AsFd) {
    let stream = stream.as_fd();
    let set = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, SILENT))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, ASKED_EVERY))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, ASKED_TIMES));
    if let Err(error) = set {
        tracing::debug!(%error, "keepalive");
    }
}

/// Has the kernel find out as soon about a peer that was sent something: it asks nobody who has
/// something to confirm, and sends that again for a quarter of an hour. Not for a peer that may
/// take nothing for long: one that is there and has no room counts as gone too.
pub(crate) fn give_up(stream: impl AsFd) {
    if let Err(error) = sockopt::set_tcp_user_timeout(stream, UNCONFIRMED_MS) {
        tracing::debug!(%error, "limit of what is not confirmed");
    }
}

/// A socket behind a lock that is all but never contended.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Inner>>);

struct Inner {
    stream: TcpStream,
    /// How long the peer may take nothing of what is sent.
    taken_idle: Duration,
    /// Runs while it takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Inner {
    /// Ends a write that waits for too long: a client that asks and does not read would keep
    /// a connection to a backend as well.
    fn unless_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.stalled.is_some() {
                self.stalled = None;
            }
            return written;
        }
        let idle = self.taken_idle;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Shared {
    /// Wraps an accepted connection whose peer takes something at least that often.
    pub(crate) fn new(stream: TcpStream, taken_idle: Duration) -> Self {
        Self(Arc::new(Mutex::new(Inner { stream, taken_idle, stalled: None })))
    }

    /// Returns whether the peer closed the connection or its sending half.
    pub(crate) fn peer_closed(&self) -> bool {
        let inner = self.lock();
        let mut fds = [PollFd::new(&inner.stream, PollFlags::RDHUP)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().intersects(gone)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Shared {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        let written = Pin::new(&mut inner.stream).poll_write(cx, buf);
        inner.unless_stalled(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        let written = Pin::new(&mut inner.stream).poll_write_vectored(cx, bufs);
        inner.unless_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_gone_without_a_word_goes_within_two_minutes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        keep_alive(&stream);
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let silent = sockopt::tcp_keepidle(&stream).unwrap();
        let asked = sockopt::tcp_keepintvl(&stream).unwrap();
        let times = sockopt::tcp_keepcnt(&stream).unwrap();
        assert_eq!(silent + asked * times, Duration::from_secs(120));
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 0, "it may take nothing for long");
        give_up(&stream);
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 120_000);
    }
}
