//! A request's body on its way to a backend.

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
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
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Outgoing {
    /// Passes on what a client sends, as long as no gap is longer than `idle`.
    pub(crate) fn client(body: Incoming, idle: Duration) -> (Self, Fate) {
        let fate = Fate::default();
        let client = FromClient { body, fate: fate.clone(), idle, timer: None };
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
            Poll::Ready(frame) => {
                client.timer = None;
                if let Some(Err(_)) = &frame {
                    client.fate.set(Unsent::Left);
                }
                Poll::Ready(frame.map(|f| f.map_err(Into::into)))
            }
            Poll::Pending => {
                let idle = client.idle;
                let timer = client.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
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
