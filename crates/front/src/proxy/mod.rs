//! A request's way through the front.

mod answer;
mod challenge;
mod compact;
mod exchange;
mod headers;
mod mirror;
mod own;
mod split;
mod stream;
mod upgrade;
mod visit;

pub(crate) use answer::Reply;
pub(crate) use headers::closes;
pub(crate) use stream::{Streams, handle as handle_stream, watch};
pub(crate) use visit::{Conn, Scheme, Talk};

use crate::clock;
use crate::gate::{Flight, Pass, Turned, Weight};
use crate::mirror::Sample;
use crate::policy::Page;
use crate::routes::Site;
use crate::upstream::{Arriving, Broken, Fate, Fetch, Group, Outgoing, Pool, Unsent};
use answer::{FromBackend, Pieces};
use exchange::Exchange;
use headers::Seen;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use segue_model::Side;
use std::convert::Infallible;
use std::sync::Arc;
use stream::Seat;
use tokio_util::sync::CancellationToken;
use visit::{Lane, Visit, Visitor};

/// What the HTTP layer reads of a body along with its head, at most.
const READ_ALONG: usize = 8 << 10;

/// Where a request goes.
struct Goal {
    group: Arc<Group>,
    side: Side,
    lane: Lane,
    /// Its right to be there; none for hosts that belong to no unit.
    pass: Option<Pass>,
    /// What a split made of it; in a box, for few units have one.
    turn: Option<Box<split::Turn>>,
    /// Whether it is copied; in a box for the same reason.
    copied: Option<Box<mirror::Chosen>>,
}

/// Why a request has no goal.
enum Unwanted {
    /// Its client left while it waited.
    Gone,
    /// It would wait too long.
    Held(Turned, Lane, Option<Arc<Page>>),
}

impl Unwanted {
    fn answer(self, conn: &Arc<Conn>, visitor: Visitor, began_us: u64) -> Response<Reply> {
        match self {
            Self::Gone => own::gone(conn),
            Self::Held(turned, lane, page) => {
                own::held(conn, turned, page.as_deref(), visitor.visit(conn, lane, began_us))
            }
        }
    }
}

/// Answers one request. Never fails: what goes wrong is an answer too.
///
/// No `async fn`, and what few requests need stands in boxes: the HTTP layer moves the whole of
/// what this returns for each request, so that its size is time.
#[allow(clippy::manual_async_fn)]
pub(crate) fn handle(
    conn: Arc<Conn>,
    mut request: Request<Incoming>,
    seat: Option<Seat>,
) -> impl Future<Output = Result<Response<Reply>, Infallible>> {
    async move {
        let told = conn.told();
        if let Some(refusal) = told.and_then(|told| told.refused(&request)) {
            return Ok(own::unclear(&conn, refusal));
        }
        let asks = told.is_some_and(crate::wire::Told::is_asked)
            && request.headers().contains_key(UPGRADE);
        let (began_us, seen) = (clock::now_us(), Seen::of(request.headers()));
        let response = match checked(&conn, &mut request, seen) {
            Err((status, why)) => own::text(&conn, status, why),
            Ok((Some(site), _)) if challenge::is_one(&request) => {
                Box::pin(challenge::answer(&conn, site, request, seat, seen, began_us)).await
            }
            Ok((site, probe)) => {
                let visitor = Visitor::of(&conn, &request, site.as_deref(), seat, seen, probe);
                match goal(&conn, site, &mut request, seen, began_us, probe).await {
                    Err(unwanted) => unwanted.answer(&conn, visitor, began_us),
                    Ok(goal) => {
                        let (side, mut visit) =
                            (goal.side, visitor.visit(&conn, goal.lane, began_us));
                        let outcome = if goal.turn.is_none() && is_plain(&request, seen) {
                            fetch(&conn, goal, &mut request, seen, &mut visit).await
                        } else {
                            Box::pin(ask(&conn, goal, request, seen, &mut visit)).await
                        };
                        answer(&conn, visit.side().unwrap_or(side), outcome, seen, visit)
                    }
                }
            }
        };
        if asks && let Some(told) = conn.told() {
            told.decide(response.status() == StatusCode::SWITCHING_PROTOCOLS);
        }
        Ok(response)
    }
}

/// Checks a request and says which site it is for, and whether the run's own probe asks.
fn checked(
    conn: &Conn,
    request: &mut Request<Incoming>,
    seen: Seen,
) -> Result<(Option<Arc<Site>>, bool), headers::Refusal> {
    headers::check(request, seen)?;
    let probe = headers::take_probe(request.headers_mut(), seen)
        .is_some_and(|run| conn.front().is_claimed_by(run.as_bytes()));
    Ok((conn.front().site(headers::host(request.headers())), probe))
}

/// Returns whether a request has no body and stays in HTTP: most do.
fn is_plain(request: &Request<Incoming>, seen: Seen) -> bool {
    request.body().is_end_stream()
        && matches!(*request.method(), Method::GET | Method::HEAD)
        && headers::wanted_upgrade(request, seen).is_none()
}

/// Forwards a request that is more than plain.
async fn ask(
    conn: &Arc<Conn>,
    mut goal: Goal,
    request: Request<Incoming>,
    seen: Seen,
    visit: &mut Visit,
) -> Result<(Response<Arriving>, Rest), Unanswered> {
    if let Some(protocol) = headers::wanted_upgrade(&request, seen) {
        return upgrade::forward(conn, goal, request, seen, protocol, visit).await;
    }
    let message = request.map(|body| (!body.is_end_stream()).then_some(body));
    match goal.turn.take() {
        None => forward(conn, goal, message, seen, visit).await,
        Some(turn) => split::ask(conn, *turn, goal, message, seen, visit).await,
    }
}

/// Answers with what a backend said, or for it.
fn answer(
    conn: &Arc<Conn>,
    side: Side,
    outcome: Result<(Response<Arriving>, Rest), Unanswered>,
    seen: Seen,
    visit: Visit,
) -> Response<Reply> {
    match outcome {
        Ok((response, rest)) => relay(conn, side, response, rest, seen, visit),
        Err(unanswered) => own::unanswered(conn, side, &unanswered, visit),
    }
}

/// Finds where a request goes, and waits while its unit is held.
async fn goal(
    conn: &Arc<Conn>,
    site: Option<Arc<Site>>,
    request: &mut Request<Incoming>,
    seen: Seen,
    began_us: u64,
    probe: bool,
) -> Result<Goal, Unwanted> {
    let front = conn.front();
    let method = request.method().clone();
    let claimed = |run: &[u8]| front.is_claimed_by(run);
    let headers = request.headers_mut();
    let near = conn.is_loopback() || seen.is_relayed();
    let wish = headers::take_wish(&method, headers, seen, near, claimed);
    let Some(site) = site else {
        let group = conn.entrance().default_group().clone();
        return Ok(Goal {
            group,
            side: front.side(),
            lane: Lane::Other,
            pass: None,
            turn: None,
            copied: None,
        });
    };
    let relayed = seen.is_relayed();
    let lane = |side| if relayed { Lane::Relayed } else { Lane::Side(side) };
    let policy = site.policy.load();
    let passes = policy.as_ref().is_some_and(|policy| {
        policy.lets_pass(request) && headers::wanted_upgrade(request, seen).is_none()
    });
    drop(policy);
    let pass = if passes {
        None
    } else {
        let path = request.uri().path_and_query().cloned();
        let flight = Flight { method, path, since_us: began_us };
        let waits = |flight: &mut Flight| {
            compact::compact(request);
            flight.path = request.uri().path_and_query().cloned();
            weight(conn, request)
        };
        match site.gate.enter(conn.hint(), flight, waits).await {
            Ok(pass) if pass.waited() && conn.client_left() => return Err(Unwanted::Gone),
            Ok(pass) => Some(pass),
            Err(Turned::Left) => return Err(Unwanted::Gone),
            Err(turned) => {
                let page = site.policy.load().as_ref().and_then(|policy| policy.page().cloned());
                return Err(Unwanted::Held(turned, lane(site.gate.side()), page));
            }
        }
    };
    // What passes a hold goes where the unit is.
    let now = pass.as_ref().map_or_else(|| site.gate.heads_for(conn.hint()), Pass::side);
    let mut side = wish.unwrap_or(now);
    let (mut turn, mut copied) = (None, None);
    if now == Side::Source
        && wish.is_none()
        && !relayed
        // The run's own probes are no visitors.
        && !probe
        && let Some((chosen, chose)) = split_of(conn, &site, request, seen)
    {
        (side, turn) = (chosen, Some(chose));
    } else if now == Side::Source
        && wish.is_none()
        && !relayed
        && !probe
        && request.body().is_end_stream()
        && headers::wanted_upgrade(request, seen).is_none()
    {
        copied = mirror::choose(&site, request);
    }
    if now != front.side() && !relayed && !probe {
        let client = conn.address_of(request.headers(), seen);
        front.note_straggler(site.gate.unit(), client, now, side);
    }
    let group = site.backends.get(side).clone();
    Ok(Goal { group, side, lane: lane(side), pass, turn, copied })
}

/// Returns what a request costs that waits: its head, and what is read along of its body.
fn weight(conn: &Arc<Conn>, request: &Request<Incoming>) -> Weight {
    let fields = request.headers().iter();
    let head: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let path = request.uri().path_and_query().map_or(1, |path| path.as_str().len());
    let body = if request.body().is_end_stream() { 0 } else { READ_ALONG };
    let conn = conn.clone();
    Weight { bytes: (head + path + body) as u64, left: Some(Arc::new(move || conn.client_left())) }
}

/// Lets the unit's split choose a side for a request, if it has one.
fn split_of(
    conn: &Conn,
    site: &Arc<Site>,
    request: &mut Request<Incoming>,
    seen: Seen,
) -> Option<(Side, Box<split::Turn>)> {
    if site.split.load().is_none() {
        return None;
    }
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let reads = matches!(method, Method::GET | Method::HEAD)
        && request.body().is_end_stream()
        && headers::wanted_upgrade(request, seen).is_none();
    split::turn(conn, site, (&method, &path, request.headers_mut()), reads, seen)
}

/// Why there is no answer of a backend.
enum Unanswered {
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
struct Rest {
    /// Where the connection is kept, if it can be used again.
    pool: Option<Arc<Pool>>,
    pass: Option<Pass>,
    safe: bool,
    /// What its copy will be compared with; in a box, as few are copied.
    sample: Option<Box<Sample>>,
}

async fn forward(
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
async fn fetch<B>(
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
fn relay(
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

impl From<Turned> for &'static str {
    fn from(turned: Turned) -> Self {
        match turned {
            Turned::TooMany => "too many requests wait while the site is being moved",
            Turned::TooLarge => {
                "the requests that wait are too large while the site is being moved"
            }
            Turned::Left => "the client is gone",
            Turned::TooOld => "the site is being moved; try again in a moment",
        }
    }
}
