//! A request's way through the front.

mod answer;
mod challenge;
mod compact;
mod conn;
mod exchange;
mod forward;
mod headers;
mod mirror;
mod own;
mod split;
mod stream;
mod upgrade;
mod visit;

pub(crate) use answer::Reply;
pub(crate) use conn::{Conn, Scheme, Talk};
pub(crate) use headers::closes;
pub(crate) use stream::{Streams, handle as handle_stream, watch};

use crate::clock;
use crate::gate::{Flight, Pass, Turned, Weight};
use crate::limits::BODY_WINDOW;
use crate::policy::Page;
use crate::routes::Site;
use crate::upstream::{Arriving, Group};
use forward::{Rest, Unanswered, fetch, forward, relay};
use headers::Seen;
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use segue_model::Side;
use std::convert::Infallible;
use std::sync::Arc;
use stream::Seat;
use visit::{Lane, Visit, Visitor};

/// What the HTTP layer reads of a body along with its head, at most.
const READ_ALONG: u64 = 8 << 10;

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
            // Nobody can say what it asks for: the log has a `*` in its place.
            conn.log_own(&request, conn.peer(), refusal.status(), clock::now_us());
            return Ok(own::unclear(&conn, refusal));
        }
        let (began_us, seen) = (clock::now_us(), Seen::of(request.headers()));
        let asks = seen.any(Seen::UPGRADE);
        let response = match checked(&conn, &mut request, seen) {
            Err((status, why)) => {
                conn.front().count_refused();
                let client = conn.address_of(request.headers(), seen);
                conn.log_own(&request, client, status, began_us);
                own::text(&conn, status, why)
            }
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
    let probe = is_probe(conn, request, seen);
    Ok((conn.front().site(headers::host(request.headers())), probe))
}

/// Takes out what a request says of itself, and returns whether the run's own probe asks.
fn is_probe<B>(conn: &Conn, request: &mut Request<B>, seen: Seen) -> bool {
    headers::take_probe(request.headers_mut(), seen)
        .is_some_and(|run| conn.front().is_claimed_by(run.as_bytes()))
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
    // The run's own probes are no visitors.
    let visits = wish.is_none() && !relayed && !probe;
    // Also once the unit is at the target: a split that ended takes its cookies back.
    if visits && let Some((chosen, chose)) = split_of(conn, &site, now, request, seen) {
        (side, turn) = (chosen, Some(chose));
    } else if visits
        && now == Side::Source
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

/// Returns what a request costs that waits: its head, and what is read along of its body. In HTTP/2
/// that is what a client may send before anybody asks for it.
fn weight(conn: &Arc<Conn>, request: &Request<Incoming>) -> Weight {
    let fields = request.headers().iter();
    let head: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let path = request.uri().path_and_query().map_or(1, |path| path.as_str().len());
    let body = match request.body() {
        body if body.is_end_stream() => 0,
        body if conn.is_shared() => {
            let window = u64::from(BODY_WINDOW);
            let wanted = body.size_hint().upper().map_or(window, |length| length.min(window));
            let share = conn.share(wanted);
            let bytes = (head + path) as u64 + share.bytes();
            // The share is given back with what is weighed here.
            return Weight { bytes, left: Some(Arc::new(move || share.conn().client_left())) };
        }
        _ => READ_ALONG,
    };
    let conn = conn.clone();
    Weight { bytes: (head + path) as u64 + body, left: Some(Arc::new(move || conn.client_left())) }
}

/// Lets the unit's split choose a side for a request, if it has or had one.
fn split_of(
    conn: &Conn,
    site: &Arc<Site>,
    now: Side,
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
    split::turn(conn, site, now, (&method, &path, request.headers_mut()), reads, seen)
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
