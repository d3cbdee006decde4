//! From a request that has a goal to the answer of its backend.

use super::Goal;
use super::answer::{FromBackend, Pieces, Reply};
use super::conn::Conn;
use super::exchange::{Exchange, Outcome};
use super::headers::{self, Seen};
use super::split::Judged;
use super::visit::Visit;
use crate::gate::Pass;
use crate::mirror::Sample;
use crate::upstream::{Arriving, Broken, Fate, Fetch, Outgoing, Pool, Unsent};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use segue_model::Side;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Why there is no answer of a backend.
pub(super) enum Unanswered {
    /// The request cannot be forwarded.
    Refused(headers::Refusal),
    /// The backend failed.
    Broken(Broken),
    /// The backend changes to a protocol that nobody asked for.
    Unasked,
    /// The backend took too long.
    Late,
    /// The client did not send its whole body.
    Unsent(Unsent),
}

/// What is left of a goal once the answer's head is there.
pub(super) struct Rest {
    /// Where the connection is kept, if it can be used again.
    pub(super) pool: Option<Arc<Pool>>,
    pub(super) pass: Option<Pass>,
    pub(super) safe: bool,
    /// What its copy will be compared with; in a box, as few are copied.
    pub(super) sample: Option<Box<Sample>>,
    /// How the request's body gets on that is under way still.
    pub(super) upload: Option<Fate>,
    /// What a split counts when the answer is over; in a box for the same reason.
    pub(super) judged: Option<Box<Judged>>,
}

impl Rest {
    /// What is left of a request that is at its backend whole.
    pub(super) fn new(pool: Option<Arc<Pool>>, pass: Option<Pass>, safe: bool) -> Self {
        Self { pool, pass, safe, sample: None, upload: None, judged: None }
    }
}

/// Asks the backend of a goal.
pub(super) async fn forward(
    conn: &Arc<Conn>,
    goal: Goal,
    mut request: Request<Option<Incoming>>,
    seen: Seen,
    visit: &mut Visit,
) -> Result<(Response<Arriving>, Rest), Unanswered> {
    if request.body().is_none() && matches!(*request.method(), Method::GET | Method::HEAD) {
        fetch(conn, goal, &mut request, seen, visit).await
    } else {
        // In a box, so that requests without a body do not carry its room along.
        Box::pin(send(conn, goal, request, seen, visit)).await
    }
}

/// Forwards a request without a body over a connection that is kept.
pub(super) async fn fetch<B>(
    conn: &Arc<Conn>,
    goal: Goal,
    request: &mut Request<B>,
    seen: Seen,
    visit: &mut Visit,
) -> Result<(Response<Arriving>, Rest), Unanswered> {
    let Goal { group, mut pass, copied, .. } = goal;
    let caller_of = || conn.caller_of(request.headers(), seen);
    let caller = group.introduces().then(caller_of);
    // The other side's servers may want to know, and only they.
    let copied = copied.map(|chosen| (chosen, caller_of()));
    let added = headers::clean(request.headers_mut(), seen, conn, group.address());
    let added = added.map_err(Unanswered::Refused)?;
    let waited = pass.as_ref().is_some_and(Pass::waited);
    let mut sample = copied
        .filter(|_| !waited)
        .map(|(chosen, caller)| chosen.prepare(conn, request, &added, Some(caller)));
    let bodiless = *request.method() == Method::HEAD;
    let began_us = visit.began_us();
    let begin = |pool: &Arc<Pool>| {
        let write = |into: &mut Vec<u8>| headers::write(into, request, &added, conn);
        Fetch::begin(pool.clone(), began_us, bodiless, caller.clone(), write)
    };
    let mut choice = group.choose();
    let mut fetch = begin(&choice.pool);
    loop {
        visit.carry(choice.under_way.take());
        // A connection at hand takes no time that would count as the backend's.
        if waited || !fetch.is_at_hand() {
            visit.forwarded();
        }
        let mut exchange = Exchange::fetch(fetch, pass, visit.seat(), conn.front().clone());
        let answered = conn.timer().within(visit.patience(), &mut exchange).await;
        let (result, left) = answered.ok_or(Unanswered::Late)?;
        pass = left;
        if let Err(broken) = &result
            && broken.is_unconnected()
            && let Some(other) = group.instead_of(&choice)
        {
            choice = other;
            fetch = begin(&choice.pool);
            continue;
        }
        let response = asked_for(result.map_err(Unanswered::Broken)?)?;
        visit.answered(response.status());
        if let (Some(sample), Some(took_us)) = (&mut sample, visit.answer_us()) {
            sample.answered(&response, took_us);
        }
        let keeps = !headers::closes(response.version(), response.headers());
        let pool = keeps.then_some(choice.pool);
        return Ok((response, Rest { sample, ..Rest::new(pool, pass, true) }));
    }
}

/// Forwards any other request over a connection of its own.
async fn send(
    conn: &Arc<Conn>,
    goal: Goal,
    request: Request<Option<Incoming>>,
    seen: Seen,
    visit: &mut Visit,
) -> Result<(Response<Arriving>, Rest), Unanswered> {
    let (mut parts, body) = request.into_parts();
    let backend = goal.group.address();
    let caller = goal.group.introduces().then(|| conn.caller_of(&parts.headers, seen));
    headers::for_backend(&mut parts, seen, conn, backend).map_err(Unanswered::Refused)?;
    parts.extensions.clear();
    let Goal { group, pass, .. } = goal;
    let (choice, link) = group.open(Pool::open, caller).await.map_err(Unanswered::Broken)?;
    let fate = link.fate();
    let body = match body {
        None => Outgoing::Empty,
        Some(body) => Outgoing::client(body, conn.front().limits(), &fate),
    };
    visit.carry(choice.under_way);
    // The backend closes, so that the port of a connection used once is not kept waiting here.
    let close = if seen.wants_trailers() { "close, te" } else { "close" };
    parts.headers.insert(CONNECTION, HeaderValue::from_static(close));
    if body.size_hint().exact().is_none() {
        // Left to itself the HTTP layer sends no body with GET that does not say its length.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let (safe, bodiless) = (parts.method.is_safe(), body.is_end_stream());
    visit.forwarded();
    let request = Request::from_parts(parts, body);
    let mut exchange = Exchange::begin(link, request, pass, visit.seat(), conn.front().clone());
    let Some((result, pass)) = patiently(conn, visit.patience(), &mut exchange, &fate).await else {
        if !bodiless && !fate.is_whole() {
            exchange.cut();
        }
        return Err(Unanswered::Late);
    };
    let response = asked_for(result.map_err(|broken| cause(broken, &fate))?)?;
    visit.answered_since(response.status(), fate.with_backend());
    let upload = (!bodiless && !fate.is_whole()).then_some(fate);
    Ok((response, Rest { upload, ..Rest::new(None, pass, safe) }))
}

/// Waits for the head of an answer. The limit counts from when something of the request got on for
/// the last time, and not while the client has more to send: for that a body has rules of its own.
async fn patiently(
    conn: &Conn,
    limit: Duration,
    exchange: &mut Exchange,
    fate: &Fate,
) -> Option<Outcome> {
    loop {
        let since = fate.with_backend().unwrap_or_else(Instant::now);
        let left = limit.saturating_sub(since.elapsed());
        if let Some(outcome) = conn.timer().within(left, &mut *exchange).await {
            return Some(outcome);
        }
        if fate.with_backend().is_some_and(|since| since.elapsed() >= limit) {
            return None;
        }
    }
}

/// Nobody who did not ask to leave HTTP is taken out of it.
fn asked_for(response: Response<Arriving>) -> Result<Response<Arriving>, Unanswered> {
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => Err(Unanswered::Unasked),
        _ => Ok(response),
    }
}

/// A broken exchange is the client's doing if its body did not arrive.
fn cause(broken: Broken, fate: &Fate) -> Unanswered {
    match fate.unsent() {
        Some(unsent) => Unanswered::Unsent(unsent),
        None => Unanswered::Broken(broken),
    }
}

/// Passes a backend's answer on.
pub(super) fn relay(
    conn: &Arc<Conn>,
    side: Side,
    response: Response<Arriving>,
    rest: Rest,
    seen: Seen,
    mut visit: Visit,
) -> Response<Reply> {
    let (mut parts, body) = response.into_parts();
    let Rest { pool, mut pass, safe, mut sample, upload, mut judged } = rest;
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        headers::for_upgraded_client(&mut parts.headers, conn, side);
    } else {
        headers::for_client(&mut parts.headers, conn, side);
    }
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    let mut end = None;
    if headers::is_event_stream(&parts.headers) {
        end = Some(pass.as_mut().map_or_else(CancellationToken::new, Pass::become_stream));
        // It may end sooner than the backend said.
        parts.headers.remove(CONTENT_LENGTH);
        visit.end(false);
        sample = None;
        if let Some(judged) = judged.take() {
            judged.passed();
        }
    }
    let trailers = seen.wants_trailers();
    let pieces = Pieces { body, pool, pass, visit, safe, trailers, end, sample, upload, judged };
    let body = FromBackend::new(pieces);
    Response::from_parts(parts, Reply::Backend(body))
}
