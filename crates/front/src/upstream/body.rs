//! A request's body on its way to a backend.

use crate::limits::Limits;
use crate::trailers;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
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

/// What became of a client's body, as told to the one who waits for the answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate(Arc<AtomicU8>);

impl Fate {
    /// Returns why the body did not arrive whole; none if nothing is wrong with it.
    pub(crate) fn unsent(&self) -> Option<Unsent> {
        match self.0.load(Ordering::Relaxed) {
            1 => Some(Unsent::Left),
            2 => Some(Unsent::Slow),
            _ => None,
        }
    }

    fn set(&self, unsent: Unsent) {
        let code = match unsent {
            Unsent::Left => 1,
            Unsent::Slow => 2,
        };
        self.0.store(code, Ordering::Relaxed);
    }
}

/// A request's body: none, or the client's, part by part.
pub(crate) enum Outgoing {
    /// No body.
    Empty,
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
    pub(crate) fn client(body: Incoming, limits: &Arc<Limits>) -> (Self, Fate) {
        let fate = Fate::default();
        let client = FromClient {
            body,
            fate: fate.clone(),
            limits: limits.clone(),
            timer: None,
            since: None,
            waited: Duration::ZERO,
            bytes: 0,
        };
        (Self::Client(client), fate)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self::Client(client) = self.get_mut() else { return Poll::Ready(None) };
        match Pin::new(&mut client.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                client.arrived(0);
                // Nothing comes after them.
                let fields = frame.into_trailers().ok().and_then(trailers::kept);
                Poll::Ready(fields.map(|fields| Ok(Frame::trailers(fields))))
            }
            Poll::Ready(frame) => {
                let data = frame.as_ref().and_then(|f| f.as_ref().ok()).and_then(Frame::data_ref);
                client.arrived(data.map_or(0, Bytes::len));
                if let Some(Err(_)) = &frame {
                    client.fate.set(Unsent::Left);
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
            Self::Client(client) => client.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(client) => client.body.size_hint(),
        }
    }
}
