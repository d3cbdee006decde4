//! A request's body on its way to a backend.

use crate::limits::Limits;
use crate::trailers;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// Why a client's body did not arrive whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The client left.
    Left,
    /// The client sent nothing for too long.
    Slow,
}

/// How a request gets on to its backend, as told to the one who waits for the answer.
#[derive(Debug, Clone)]
pub(crate) struct Fate(Arc<State>);

#[derive(Debug)]
struct State {
    unsent: AtomicU8,
    /// Whether the front waits for the client: for the next part of the body.
    clients_turn: AtomicBool,
    /// Whether all of the body was handed on.
    whole: AtomicBool,
    began: Instant,
    /// When a part came from the client, or was taken by the backend, last; microseconds since
    /// `began`.
    moved_us: AtomicU64,
}

impl Fate {
    /// Begins with a connection to a backend.
    pub(crate) fn begin() -> Self {
        Self(Arc::new(State {
            unsent: AtomicU8::new(0),
            clients_turn: AtomicBool::new(false),
            whole: AtomicBool::new(false),
            began: Instant::now(),
            moved_us: AtomicU64::new(0),
        }))
    }

    /// Returns why the body did not arrive whole; none if nothing is wrong with it.
    pub(crate) fn unsent(&self) -> Option<Unsent> {
        match self.0.unsent.load(Ordering::Relaxed) {
            1 => Some(Unsent::Left),
            2 => Some(Unsent::Slow),
            _ => None,
        }
    }

    /// Returns since when the backend has the next word: to take more of the request, or to answer
    /// it. None while it is the client's to send more.
    pub(crate) fn with_backend(&self) -> Option<Instant> {
        // In this order, so that it is not told of a turn that began, with a time before it.
        let clients_turn = self.0.clients_turn.load(Ordering::Acquire);
        let since = Duration::from_micros(self.0.moved_us.load(Ordering::Relaxed));
        (!clients_turn).then(|| self.0.began + since)
    }

    /// Returns whether all of the body was handed on.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.whole.load(Ordering::Relaxed)
    }

    /// Something of the request got on.
    pub(super) fn moved(&self) {
        let since = self.0.began.elapsed().as_micros() as u64;
        self.0.moved_us.store(since, Ordering::Relaxed);
    }

    fn end(&self) {
        self.0.whole.store(true, Ordering::Relaxed);
    }

    fn waits_for_client(&self, waits: bool) {
        self.0.clients_turn.store(waits, Ordering::Release);
    }

    fn set(&self, unsent: Unsent) {
        let code = match unsent {
            Unsent::Left => 1,
            Unsent::Slow => 2,
        };
        self.0.unsent.store(code, Ordering::Relaxed);
    }
}

/// A request's body: none, one that is there, or the client's, part by part.
pub(crate) enum Outgoing {
    /// No body.
    Empty,
    /// One that was read before the request goes on.
    Whole(Bytes),
    /// What the client sends.
    Client(FromClient),
}

/// A body that a client sends.
pub(crate) struct FromClient {
    body: Incoming,
    fate: Fate,
    limits: Arc<Limits>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when the front waits for the next part.
    since: Option<Instant>,
    /// How long it waited for those before. What a backend is slow to take does not count.
    waited: Duration,
    bytes: u64,
}

impl FromClient {
    /// Counts a part that arrived.
    fn arrived(&mut self, length: usize) {
        self.timer = None;
        self.waited += self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.bytes += length as u64;
        if self.body.is_end_stream() {
            self.fate.end();
        }
        self.fate.moved();
        self.fate.waits_for_client(false);
    }

    /// Returns how long the next part may take.
    fn allowed(&self) -> Duration {
        let Limits { body_idle, body_grace, body_rate, .. } = *self.limits;
        match self.bytes.checked_div(body_rate) {
            None => body_idle,
            Some(seconds) => {
                let whole = body_grace.saturating_add(Duration::from_secs(seconds));
                body_idle.min(whole.saturating_sub(self.waited))
            }
        }
    }
}

impl Outgoing {
    /// Passes on what a client sends, as long as it is not too slow.
    pub(crate) fn client(body: Incoming, limits: &Arc<Limits>, fate: &Fate) -> Self {
        let client = FromClient {
            body,
            fate: fate.clone(),
            limits: limits.clone(),
            timer: None,
            since: None,
            waited: Duration::ZERO,
            bytes: 0,
        };
        Self::Client(client)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let client = match self.get_mut() {
            Self::Client(client) => client,
            Self::Empty => return Poll::Ready(None),
            Self::Whole(bytes) => {
                let part = Some(std::mem::take(bytes)).filter(|part| !part.is_empty());
                return Poll::Ready(part.map(|part| Ok(Frame::data(part))));
            }
        };
        match Pin::new(&mut client.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                client.arrived(0);
                // Nothing comes after them.
                client.fate.end();
                let fields = frame.into_trailers().ok().and_then(trailers::kept);
                Poll::Ready(fields.map(|fields| Ok(Frame::trailers(fields))))
            }
            Poll::Ready(frame) => {
                let data = frame.as_ref().and_then(|f| f.as_ref().ok()).and_then(Frame::data_ref);
                client.arrived(data.map_or(0, Bytes::len));
                match &frame {
                    Some(Err(_)) => client.fate.set(Unsent::Left),
                    None => client.fate.end(),
                    Some(Ok(_)) => {}
                }
                Poll::Ready(frame.map(|f| f.map_err(Into::into)))
            }
            Poll::Pending => {
                if client.since.is_none() {
                    client.since = Some(Instant::now());
                }
                let allowed = client.allowed();
                let timer =
                    client.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(allowed)));
                if timer.as_mut().poll(cx).is_pending() {
                    client.fate.waits_for_client(true);
                    return Poll::Pending;
                }
                client.fate.set(Unsent::Slow);
                Poll::Ready(Some(Err("the client stopped sending its body".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Client(client) => client.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Client(client) => client.body.size_hint(),
        }
    }
}
