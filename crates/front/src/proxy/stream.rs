//! Requests of HTTP/2: many at once over one connection.
//!
//! What a connection of HTTP/1 bounds by being one, a stream has to bound for itself. A request
//! whose client reset it is at its backend still, as one is whose client left; it keeps its
//! [`Seat`], so that opening and resetting streams without end ("rapid reset") asks no more of
//! backends than as many connections would. A client that takes nothing of an answer holds a
//! backend's connection: [`watch`] lets go of it.

use super::conn::Conn;
use super::headers::Seen;
use super::visit::{Lane, Visitor};
use super::{Reply, headers, is_probe, own};
use crate::clock;
use crate::crowd::Place;
use crate::front::Front;
use crate::wire::check_stream;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// Requests of a connection at backends, those that were reset included, as a multiple of those
/// that may be open: a reader who reloads a slow page twice is not refused.
const LEFT_OVER: usize = 4;

/// The requests of a connection.
pub(crate) struct Streams {
    /// The connection's own place.
    place: Place,
    most: usize,
    running: AtomicUsize,
    begun: AtomicU64,
}

/// A request's place among those of its connection; kept until its backend is done.
pub(crate) type Seat = Arc<Seated>;

/// See [`Seat`].
pub(crate) struct Seated {
    streams: Arc<Streams>,
    /// Of a request that runs beside another one.
    _place: Option<Place>,
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.streams.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Streams {
    /// Builds those of a connection that has that place in the crowd.
    pub(crate) fn new(place: Place, front: &Front) -> Arc<Self> {
        let most = front.limits().streams as usize * LEFT_OVER;
        Arc::new(Self { place, most, running: AtomicUsize::new(0), begun: AtomicU64::new(0) })
    }

    /// Returns how many requests run and how many began so far.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (self.running.load(Ordering::Relaxed), self.begun.load(Ordering::Relaxed))
    }

    /// Counts a request until its seat is dropped; none if there are too many.
    fn sit(self: &Arc<Self>) -> Option<Seat> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let others = self.running.fetch_add(1, Ordering::Relaxed);
        let mut seated = Seated { streams: self.clone(), _place: None };
        if others >= self.most {
            self.place.turn_away();
            return None;
        }
        if others > 0 {
            seated._place = Some(self.place.beside()?);
        }
        Some(Arc::new(seated))
    }
}

/// Answers one request of a client of HTTP/2. Never fails.
pub(crate) async fn handle(
    conn: Arc<Conn>,
    streams: Arc<Streams>,
    mut request: Request<Incoming>,
) -> Result<Response<Paced>, Infallible> {
    let response = match streams.sit() {
        None => turned_away(&conn, &mut request),
        Some(seat) => match check_stream(&mut request, conn.front().limits().headers) {
            Err(refusal) => {
                conn.front().count_refusal(refusal);
                own::text(&conn, refusal.status(), refusal.why())
            }
            Ok(()) if is_misdirected(&conn, headers::host_of(&request)) => {
                conn.front().count_refused();
                let why = "this host is not served under the certificate of this connection";
                own::text(&conn, StatusCode::MISDIRECTED_REQUEST, why)
            }
            Ok(()) => {
                let Ok(response) = super::handle(conn, request, Some(seat)).await;
                response
            }
        },
    };
    let pace = PACE.try_with(Arc::clone).unwrap_or_default();
    Ok(response.map(|reply| Paced { reply, rest: Bytes::new(), pace }))
}

/// Refuses a request that there is no place for. It counts as one that failed, but as none of a
/// site's, just as a connection that is refused: a client that wants too much shall not make a site
/// look ill.
fn turned_away(conn: &Arc<Conn>, request: &mut Request<Incoming>) -> Response<Reply> {
    let began_us = clock::now_us();
    let seen = Seen::of(request.headers());
    let probe = is_probe(conn, request, seen);
    let visitor = Visitor::of(conn, request, None, None, seen, probe);
    own::too_many(conn, visitor.visit(conn, Lane::Other, began_us))
}

/// Returns whether a host wants a connection of its own: one that another certificate is for, or
/// whose TLS is not the front's to read.
fn is_misdirected(conn: &Conn, host: &str) -> bool {
    let unread = || conn.front().site(host).is_some_and(|site| site.passthrough.is_some());
    !conn.covers(host) || unread()
}

tokio::task_local! {
    /// That of the request whose task this is.
    static PACE: Arc<Pace>;
}

/// How an answer's body gets on.
#[derive(Default)]
struct Pace {
    /// Parts that were handed over.
    given: AtomicU64,
    /// Whether it is the client that takes its time, not the backend.
    with_client: AtomicBool,
}

/// Data that fits into one record of TLS (2^14 bytes, RFC 8446 5.1) along with the head of its frame
/// (9 bytes, RFC 9113 4.1). A frame as long as a record would begin a second one for its last
/// 9 bytes, which costs a quarter of the time that a long answer takes.
const FRAME_DATA: usize = (1 << 14) - 9;

/// An answer's body in parts of a frame each, that says when it is the client's turn.
pub(crate) struct Paced {
    reply: Reply,
    /// What is left of the part in hand.
    rest: Bytes,
    pace: Arc<Pace>,
}

impl Paced {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.rest.is_empty() {
            let frame = std::task::ready!(Pin::new(&mut self.reply).poll_frame(cx));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let part = self.rest.split_to(self.rest.len().min(FRAME_DATA));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }
}

type Error = <Reply as Body>::Error;

impl Body for Paced {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let frame = this.poll_part(cx);
        let pace = &this.pace;
        pace.with_client.store(frame.is_ready(), Ordering::Relaxed);
        if frame.is_ready() {
            pace.given.fetch_add(1, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.reply.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (of, rest) = (self.reply.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(of.lower() + rest);
        if let Some(upper) = of.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// Runs what serves one request, and ends it, which resets the stream, if the client takes
/// nothing of the answer for so long.
pub(crate) async fn watch(serving: impl Future<Output = ()>, idle: Duration) {
    let pace = Arc::<Pace>::default();
    let mut serving = pin!(PACE.scope(pace.clone(), serving));
    let mut stalled: Option<(u64, Pin<Box<Sleep>>)> = None;
    poll_fn(|cx| {
        if serving.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !pace.with_client.load(Ordering::Relaxed) {
            stalled = None;
            return Poll::Pending;
        }
        let given = pace.given.load(Ordering::Relaxed);
        match &mut stalled {
            Some((at, timer)) if *at == given => timer.as_mut().poll(cx),
            _ => {
                let mut timer = Box::pin(tokio::time::sleep(idle));
                let rings = timer.as_mut().poll(cx);
                stalled = Some((given, timer));
                rings
            }
        }
    })
    .await;
}
