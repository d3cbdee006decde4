//! An answer's body on its way to the client.

use super::Visit;
use super::exchange::drain;
use super::split::Judged;
use crate::gate::Pass;
use crate::mirror::Sample;
use crate::trailers;
use crate::upstream::{Arriving, Fate, Pool};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The body of what a client gets: a backend's, or a line of the front's own.
// The large one is what nearly every request has; a box would be memory asked for each.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Reply {
    /// The front's own words.
    Own(Option<Bytes>),
    /// What a backend sends.
    Backend(FromBackend),
}

/// A backend's answer, and everything that ends with it.
pub(crate) struct FromBackend {
    body: Option<Arriving>,
    /// Where its connection is kept, if it can be used again.
    pool: Option<Arc<Pool>>,
    pass: Option<Pass>,
    visit: Visit,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the body did not come whole along with the head.
    in_parts: bool,
    safe: bool,
    /// Whether the client takes fields after the body.
    trailers: bool,
    /// Set for a stream: it ends when this does.
    end: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// What a copy of the request will be compared with.
    sample: Option<Box<Sample>>,
    /// How the request's body gets on that is under way still.
    upload: Option<Fate>,
    /// What a split counts when this is over.
    judged: Option<Box<Judged>>,
}

/// What an answer's body is made of.
pub(super) struct Pieces {
    pub(super) body: Arriving,
    /// Where its connection is kept, if it can be used again.
    pub(super) pool: Option<Arc<Pool>>,
    pub(super) pass: Option<Pass>,
    pub(super) visit: Visit,
    pub(super) safe: bool,
    /// Whether the client takes fields after the body.
    pub(super) trailers: bool,
    /// Ends a stream.
    pub(super) end: Option<CancellationToken>,
    /// What a copy of the request will be compared with.
    pub(super) sample: Option<Box<Sample>>,
    /// How the request's body gets on that is under way still.
    pub(super) upload: Option<Fate>,
    /// What a split counts when this is over.
    pub(super) judged: Option<Box<Judged>>,
}

impl FromBackend {
    pub(super) fn new(pieces: Pieces) -> Self {
        let Pieces { body, pool, pass, visit, safe, trailers, end, sample, upload, judged } =
            pieces;
        let idle = visit.patience();
        let end = end.map(|token| Box::pin(token.cancelled_owned()));
        Self {
            body: Some(body),
            pool,
            pass,
            visit,
            idle,
            timer: None,
            in_parts: false,
            safe,
            trailers,
            end,
            sample,
            upload,
            judged,
        }
    }

    /// The backend is done: its connection is free and the request no longer runs.
    fn finish(&mut self) {
        let kept = self.body.take().and_then(Arriving::into_kept);
        self.pass = None;
        let now_us = if self.in_parts {
            self.visit.end(false)
        } else {
            self.visit.end_at(self.visit.answered_at_us(), false)
        };
        if let (Some(kept), Some(pool)) = (kept, &self.pool) {
            pool.put(kept, now_us);
        }
        if let Some(sample) = self.sample.take() {
            sample.passed();
        }
        if let Some(judged) = self.judged.take() {
            judged.passed();
        }
    }

    fn fail(&mut self) {
        self.body = None;
        self.pass = None;
        self.visit.end(true);
        if let Some(judged) = self.judged.take() {
            judged.cut();
        }
    }

    /// Returns how long the backend has not sent the next part.
    fn waited(&self) -> Duration {
        let left = |timer: &Pin<Box<Sleep>>| {
            timer.deadline().saturating_duration_since(tokio::time::Instant::now())
        };
        self.timer.as_ref().map_or(Duration::ZERO, |timer| self.idle.saturating_sub(left(timer)))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if let Some(end) = &mut self.end
            && end.as_mut().poll(cx).is_ready()
        {
            self.fail_quietly();
            return Poll::Ready(None);
        }
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.timer = None;
                if let (Some(sample), Some(part)) = (&mut self.sample, frame.data_ref()) {
                    sample.read(part);
                }
                if body.is_end_stream() {
                    self.finish();
                } else {
                    self.in_parts = true;
                }
                if frame.is_trailers() {
                    self.poll_trailers(frame, cx)
                } else {
                    Poll::Ready(Some(Ok(frame)))
                }
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.fail();
                Poll::Ready(Some(Err(error)))
            }
            Poll::Pending => {
                self.in_parts = true;
                if self.end.is_some() { Poll::Pending } else { self.poll_idle(cx) }
            }
        }
    }

    /// Passes on what may come after a body, to a client that takes it.
    fn poll_trailers(
        &mut self,
        frame: Frame<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let fields = frame.into_trailers().ok().filter(|_| self.trailers);
        match fields.and_then(trailers::kept) {
            Some(fields) => Poll::Ready(Some(Ok(Frame::trailers(fields)))),
            None => self.poll_body(cx),
        }
    }

    /// The stream is over because a hold began: its end is clean, the backend's is not.
    fn fail_quietly(&mut self) {
        self.body = None;
        self.pass = None;
        self.visit.end(false);
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let idle = self.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        loop {
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // A backend that still gets the request may say more only when it has it.
            let Some(upload) = &self.upload else { break };
            let left =
                upload.with_backend().map_or(idle, |since| idle.saturating_sub(since.elapsed()));
            if left.is_zero() {
                break;
            }
            timer.as_mut().reset(tokio::time::Instant::now() + left);
        }
        self.fail();
        Poll::Ready(Some(Err("the backend stopped sending its answer".into())))
    }
}

impl Drop for FromBackend {
    fn drop(&mut self) {
        if self.body.as_ref().is_some_and(Body::is_end_stream) {
            self.finish();
        }
        let Some(body) = self.body.take() else { return };
        // The client left before the end.
        self.visit.end(false);
        if let Some(judged) = self.judged.take() {
            judged.left(self.waited());
        }
        let pass = self.pass.take();
        if pass.is_none() || self.end.is_some() {
            return;
        }
        let (limits, safe, seat) = (self.visit.limits().clone(), self.safe, self.visit.seat());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let finish = async move {
                let most = safe.then_some(limits.orphan_bytes);
                let _ = tokio::time::timeout(limits.orphan, drain(body, most)).await;
                drop((pass, seat));
            };
            self.visit.front().tasks().spawn_on(finish, &runtime);
        }
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

impl Body for Reply {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.get_mut() {
            Self::Own(text) => Poll::Ready(text.take().map(|t| Ok(Frame::data(t)))),
            Self::Backend(from) => from.poll_body(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(text) => text.is_none(),
            // A stream's end is the front's to decide: it always has a last chunk.
            Self::Backend(from) => from.body.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |t| t.len() as u64)),
            Self::Backend(from) => {
                from.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
            }
        }
    }
}
