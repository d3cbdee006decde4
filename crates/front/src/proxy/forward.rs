//! From a request that has a goal to the answer of its backend.

use super::Goal;
use super::answer::{FromBackend, Pieces, Reply};
use super::exchange::Exchange;
use super::headers::{self, Seen};
use super::visit::{Conn, Visit};
use crate::gate::Pass;
use crate::mirror::Sample;
use crate::upstream::{Arriving, Broken, Fate, Fetch, Outgoing, Pool, Unsent};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use segue_model::Side;
use std::sync::Arc;
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
        return Ok((response, Rest { pool, pass, safe: true, sample }));
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
    let (body, fate) = match body {
        None => (Outgoing::Empty, None),
        Some(body) => {
            let (body, fate) = Outgoing::client(body, conn.front().limits());
            (body, Some(fate))
        }
    };
    let Goal { group, pass, .. } = goal;
    let (choice, link) = group.open(Pool::open, caller).await.map_err(Unanswered::Broken)?;
    visit.carry(choice.under_way);
    // The backend closes, so that the port of a connection used once is not kept waiting here.
    let close = if seen.wants_trailers() { "close, te" } else { "close" };
    parts.headers.insert(CONNECTION, HeaderValue::from_static(close));
    if body.size_hint().exact().is_none() {
        // Left to itself the HTTP layer sends no body with GET that does not say its length.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let safe = parts.method.is_safe();
    visit.forwarded();
    let request = Request::from_parts(parts, body);
    let mut exchange = Exchange::begin(link, request, pass, visit.seat(), conn.front().clone());
    let answered = conn.timer().within(visit.patience(), &mut exchange).await;
    let (result, pass) = answered.ok_or(Unanswered::Late)?;
    let response = asked_for(result.map_err(|broken| cause(broken, fate.as_ref()))?)?;
    visit.answered(response.status());
    Ok((response, Rest { pool: None, pass, safe, sample: None }))
}

/// Nobody who did not ask to leave HTTP is taken out of it.
fn asked_for(response: Response<Arriving>) -> Result<Response<Arriving>, Unanswered> {
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => Err(Unanswered::Unasked),
        _ => Ok(response),
    }
}

/// A broken exchange is the client's doing if its body did not arrive.
fn cause(broken: Broken, fate: Option<&Fate>) -> Unanswered {
    match fate.and_then(Fate::unsent) {
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
    let Rest { pool, mut pass, safe, mut sample } = rest;
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
    }
    let trailers = seen.wants_trailers();
    let body = FromBackend::new(Pieces { body, pool, pass, visit, safe, trailers, end, sample });
    Response::from_parts(parts, Reply::Backend(body))
}
