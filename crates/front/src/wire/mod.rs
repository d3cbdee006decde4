//! Between a client's socket and the HTTP layer: sees to it that a request begins and ends
//! where everybody says it does.
//!
//! Two servers that do not agree on where a request ends can be made to take the rest of one
//! for the next one, which is then somebody else's ("request smuggling"). A front stands
//! before servers it does not know and behind hops it does not know. So each head is read
//! here as bytes, strictly, before the HTTP layer may see it whole; what can be read in two
//! ways is refused, and nothing of it reaches a backend. Bodies are counted down by the same
//! reading, so that the next head is looked for where this one says it is.
//!
//! Requests of HTTP/2 come in frames, whose boundaries are not in doubt until a request goes on
//! in HTTP/1.1: [`stream`] sees to it that what goes on has the same ones.
//!
//! A refused request is replaced by one of our own ([`SUBSTITUTE`]) and the connection read
//! no further. So answers to earlier requests go out first, and the refusal in its place.

mod chunks;
mod head;
mod refusal;
mod scan;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use head::HEAD_MAX;
pub(crate) use refusal::Refusal;
pub(crate) use stream::check as check_stream;

use bytes::{Buf, BytesMut};
use futures_util::task::AtomicWaker;
use http::{Method, Request};
use scan::{Scanner, Stop};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// What the HTTP layer gets in the place of a request that is refused. No client's request
/// is like it: `*` is for `OPTIONS`.
const SUBSTITUTE: &[u8] = b"GET * HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// Room made at a time for a head that comes in parts, bytes.
const ROOM: usize = 4 << 10;

/// What the reading of a connection and its answering tell each other.
#[derive(Default)]
pub(crate) struct Told {
    refusal: OnceLock<Refusal>,
    asked: AtomicU8,
    decided: AtomicWaker,
}

impl Told {
    const ASKED: u8 = 1;
    const STAYS: u8 = 2;
    const LEAVES: u8 = 3;

    /// Returns why a request of this connection was refused; it was the last one then.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get().copied()
    }

    /// Returns why this request is not one; none for a client's own.
    pub(crate) fn refused<B>(&self, request: &Request<B>) -> Option<Refusal> {
        let refusal = self.refusal()?;
        (request.method() == Method::GET && request.uri().path() == "*").then_some(refusal)
    }

    /// The request that wants another protocol has its answer: it `leaves` HTTP or not. Nothing is
    /// read after such a request, whatever its method and body, until this was said; it may be said
    /// before all of the body was read.
    pub(crate) fn decide(&self, leaves: bool) {
        let decision = if leaves { Self::LEAVES } else { Self::STAYS };
        self.asked.store(decision, Ordering::Release);
        self.decided.wake();
    }

    fn ask(&self) {
        self.asked.store(Self::ASKED, Ordering::Relaxed);
    }

    fn poll_leaves(&self, cx: &mut Context<'_>) -> Poll<bool> {
        self.decided.register(cx.waker());
        match self.asked.load(Ordering::Acquire) {
            Self::ASKED => Poll::Pending,
            decision => Poll::Ready(decision == Self::LEAVES),
        }
    }
}

/// What is read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Requests.
    Requests,
    /// Nothing, until the answer says which protocol goes on.
    Asked,
    /// Whatever the other protocol is made of.
    Free,
    /// Nothing any more: a request was refused.
    Refused,
    /// Nothing any more: a body was refused half way.
    Broken,
}

/// A client's connection on which requests are read strictly.
pub(crate) struct Wire<S> {
    io: S,
    scanner: Scanner,
    mode: Mode,
    /// Bytes that were not passed on yet; mostly none.
    kept: BytesMut,
    /// How many of them may be.
    ready: usize,
    /// Whether it was told that the present request wants another protocol.
    asked: bool,
    told: Arc<Told>,
}

impl<S> Wire<S> {
    /// Reads requests from the start of a connection.
    pub(crate) fn new(io: S, told: Arc<Told>) -> Self {
        Self {
            io,
            scanner: Scanner::new(),
            mode: Mode::Requests,
            kept: BytesMut::new(),
            ready: 0,
            asked: false,
            told,
        }
    }

    /// Looks at what was kept.
    fn judge(&mut self) {
        let (pass, stop) = self.scanner.look(&self.kept);
        self.ready = pass;
        self.ask();
        match stop {
            None | Some(Stop::Partial) => {}
            Some(Stop::Asked) => self.mode = Mode::Asked,
            Some(Stop::Refused(_) | Stop::Broken(_)) => self.kept.truncate(pass),
        }
        self.stop(stop);
    }

    fn stop(&mut self, stop: Option<Stop>) {
        match stop {
            Some(Stop::Refused(refusal)) => {
                let _ = self.told.refusal.set(refusal);
                self.kept.extend_from_slice(SUBSTITUTE);
                self.ready = self.kept.len();
                self.mode = Mode::Refused;
            }
            Some(Stop::Broken(refusal)) => {
                let _ = self.told.refusal.set(refusal);
                self.mode = Mode::Broken;
            }
            _ => {}
        }
    }

    /// Says that a request wants another protocol, before its head is passed on: its answer may
    /// come before the end of its body.
    fn ask(&mut self) {
        if self.scanner.asks() && !self.asked {
            self.asked = true;
            self.told.ask();
        }
    }

    /// Passes on what may be.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.ready.min(buf.remaining());
        buf.put_slice(&self.kept[..length]);
        self.kept.advance(length);
        self.ready -= length;
        if self.kept.is_empty() {
            // An idle connection shall not keep the room of a large head.
            self.kept = BytesMut::new();
        }
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Reads where nothing is kept: into the HTTP layer's own buffer, and looks at it there.
    fn poll_direct(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let fresh = &buf.filled()[before..];
        let (pass, stop) = self.scanner.look(fresh);
        self.ask();
        let end = fresh.is_empty();
        match stop {
            None => return Poll::Ready(Ok(true)),
            Some(Stop::Partial) => self.kept.extend_from_slice(&fresh[pass..]),
            Some(Stop::Asked) => {
                self.kept.extend_from_slice(&fresh[pass..]);
                self.mode = Mode::Asked;
            }
            Some(Stop::Refused(_) | Stop::Broken(_)) => {}
        }
        self.stop(stop);
        buf.set_filled(before + pass);
        Poll::Ready(Ok(end || pass > 0))
    }

    /// Reads the rest of a head that came in parts; false at the end of the connection.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.kept.reserve(ROOM);
        let read = ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.kept))?;
        if read > 0 {
            self.judge();
        }
        Poll::Ready(Ok(read > 0))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.ready > 0 {
                this.give(buf);
                return Poll::Ready(Ok(()));
            }
            match this.mode {
                Mode::Requests if this.kept.is_empty() => {
                    if ready!(this.poll_direct(cx, buf))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Mode::Requests => {
                    if !ready!(this.poll_rest(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Mode::Asked if ready!(this.told.poll_leaves(cx)) => this.mode = Mode::Free,
                Mode::Asked => {
                    this.mode = Mode::Requests;
                    this.asked = false;
                    this.scanner.stays();
                    this.judge();
                }
                Mode::Free if this.kept.is_empty() => {
                    return Pin::new(&mut this.io).poll_read(cx, buf);
                }
                Mode::Free => this.ready = this.kept.len(),
                // The answer to the substitute ends the connection.
                Mode::Refused => return Poll::Pending,
                Mode::Broken => {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::InvalidData)));
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
