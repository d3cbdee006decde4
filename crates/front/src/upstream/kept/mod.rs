//! Requests without a body over connections that are kept: what a front does most.
//!
//! Such a request is a few hundred bytes, its answer is all there is to wait for, and one
//! task does both. So none of what a general client has is needed: no task a connection,
//! no way between two tasks, no second copy of the head for the case that the connection
//! turns out to be closed. The bytes that were sent are still there, and are sent again.
//!
//! Answers are read strictly. One whose end is not clear (RFC 9112 6.3) is no answer.

mod arriving;
mod head;

pub(crate) use arriving::Arriving;
pub(crate) use head::{field, write_head};

use super::stream::Stream;
use super::{Broken, Dialling, Pool};
use crate::client::{Caller, ToldOf};
use arriving::Frames;
use bytes::BytesMut;
use http::Response;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::Sleep;
use tokio_util::io::poll_read_buf;

/// Room for a head and a small body.
const READ: usize = 8 << 10;

/// How long an answer's head waits for the first bytes of its body. Web servers write the two
/// apart, the second a few microseconds behind the first; passed on apart, they are two packets
/// for every client and twice the work.
const HEAD_ALONE: Duration = Duration::from_millis(1);

/// A connection that takes one request after the other. It stands in a box of its own, which
/// is made once and then handed on with every request and answer.
pub(crate) struct Kept {
    stream: Stream,
    /// What arrived and was not passed on yet.
    arrived: BytesMut,
    /// The head as it was sent.
    sent: Vec<u8>,
    /// Where the fields of an answer's head stand; empty between two heads.
    places: head::Places,
    used: bool,
    /// Whose requests it carries alone, as the backend was told.
    caller: ToldOf,
    /// Whether a byte came since the request was sent.
    heard: bool,
}

impl Kept {
    fn new(stream: Stream, sent: Vec<u8>, caller: ToldOf) -> Box<Self> {
        let (arrived, places) = (BytesMut::new(), head::Places::new());
        Box::new(Self { stream, arrived, sent, places, used: false, caller, heard: false })
    }

    /// Returns whether the backend left it alone since its last answer. Costs a look at
    /// what the runtime knows already, as long as nothing happened.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.arrived.is_empty() && self.stream.is_quiet()
    }

    /// Returns whose requests it carries alone.
    pub(super) fn caller(&self) -> Option<&Caller> {
        self.caller.as_deref()
    }

    /// Reads more; how much, zero at the end of the stream.
    fn poll_more(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // What was passed on before may still be in use: then room is new memory.
        if self.arrived.capacity() - self.arrived.len() < room / 2 {
            self.arrived.reserve(room);
        }
        let read = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.arrived));
        self.heard |= matches!(read, Ok(1..));
        Poll::Ready(read)
    }
}

/// A request on its way over a kept connection, up to the head of its answer.
pub(crate) struct Fetch {
    pool: Arc<Pool>,
    state: State,
    /// Bytes of the head that were sent.
    at: usize,
    /// Whether the answer has no body because HEAD asked for it.
    bodiless: bool,
    /// Whom a new connection is opened for.
    caller: ToldOf,
}

enum State {
    /// A new connection is on its way; what will be sent over it.
    Dials(Dialling, Vec<u8>),
    /// The request is.
    Asks(Box<Kept>),
    /// The answer's head came alone; until something of its body comes, or for so long.
    Rests(Response<()>, Frames, Box<Kept>, Pin<Box<Sleep>>),
    /// It is over.
    Over,
}

impl Fetch {
    /// Begins to send a head, which [`write_head`] writes into the room that it is given, for a
    /// client that the backend is told of, if it is told.
    pub(crate) fn begin(
        pool: Arc<Pool>,
        now_us: u64,
        bodiless: bool,
        caller: ToldOf,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        let state = match pool.reuse(now_us, caller.as_deref()) {
            Some(mut kept) => {
                kept.sent.clear();
                kept.heard = false;
                write(&mut kept.sent);
                State::Asks(kept)
            }
            None => {
                let mut sent = Vec::with_capacity(512);
                write(&mut sent);
                State::Dials(pool.dial(caller.as_deref()), sent)
            }
        };
        Self { pool, state, at: 0, bodiless, caller }
    }

    /// Returns whether it began over a connection at hand.
    pub(crate) fn is_at_hand(&self) -> bool {
        matches!(self.state, State::Asks(_))
    }

    /// Polls for the head of the answer; not again once it was ready.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<Arriving>, Broken>> {
        loop {
            let broken = match &mut self.state {
                State::Dials(dialling, sent) => {
                    let stream = ready!(dialling.as_mut().poll(cx))?;
                    self.state =
                        State::Asks(Kept::new(stream, std::mem::take(sent), self.caller.clone()));
                    self.at = 0;
                    continue;
                }
                State::Asks(kept) => match ready!(ask(kept, &mut self.at, cx)) {
                    Ok(response) => {
                        let State::Asks(kept) = std::mem::replace(&mut self.state, State::Over)
                        else {
                            return Poll::Pending;
                        };
                        let frames = Frames::of(&response, self.bodiless);
                        let frames = frames.map_err(Broken::Answer)?;
                        if frames == Frames::Ended || !kept.arrived.is_empty() {
                            let answer = response.map(|()| Arriving::kept(kept, frames));
                            return Poll::Ready(Ok(answer));
                        }
                        let rest = Box::pin(tokio::time::sleep(HEAD_ALONE));
                        self.state = State::Rests(response, frames, kept, rest);
                        continue;
                    }
                    Err(broken) => broken,
                },
                State::Rests(_, _, kept, rest) => {
                    match kept.poll_more(READ, cx) {
                        // The stream's end is met again by whoever takes the body, an error is not.
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Io(error))),
                        Poll::Pending => ready!(rest.as_mut().poll(cx)),
                    }
                    let State::Rests(response, frames, kept, _) =
                        std::mem::replace(&mut self.state, State::Over)
                    else {
                        return Poll::Pending;
                    };
                    return Poll::Ready(Ok(response.map(|()| Arriving::kept(kept, frames))));
                }
                State::Over => return Poll::Pending,
            };
            let State::Asks(kept) = std::mem::replace(&mut self.state, State::Over) else {
                return Poll::Pending;
            };
            // Closed by the backend in the very moment it was used again: nothing was heard,
            // and what was asked is safe to be asked twice.
            if !kept.used || kept.heard {
                return Poll::Ready(Err(broken));
            }
            self.state = State::Dials(self.pool.dial(self.caller.as_deref()), kept.sent);
        }
    }
}

/// Sends what is left of the head, then reads up to the end of the answer's.
fn ask(
    kept: &mut Kept,
    at: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<()>, Broken>> {
    while *at < kept.sent.len() {
        let written = Pin::new(&mut kept.stream).poll_write(cx, &kept.sent[*at..]);
        match ready!(written) {
            Ok(0) => return Poll::Ready(Err(Broken::Io(io::ErrorKind::WriteZero.into()))),
            Ok(more) => *at += more,
            Err(error) => return Poll::Ready(Err(Broken::Io(error))),
        }
    }
    // In clear nothing is held back; over TLS a record may be.
    if let Err(error) = ready!(Pin::new(&mut kept.stream).poll_flush(cx)) {
        return Poll::Ready(Err(Broken::Io(error)));
    }
    loop {
        match head::take(&mut kept.arrived, &mut kept.places) {
            Ok(Some(response)) => return Poll::Ready(Ok(response)),
            Ok(None) => {}
            Err(why) => return Poll::Ready(Err(Broken::Answer(why))),
        }
        match ready!(kept.poll_more(READ, cx)) {
            Ok(0) => return Poll::Ready(Err(Broken::Io(io::ErrorKind::UnexpectedEof.into()))),
            Ok(_) => {}
            Err(error) => return Poll::Ready(Err(Broken::Io(error))),
        }
    }
}

#[cfg(test)]
mod tests;
