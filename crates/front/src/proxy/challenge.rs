//! What certificate authorities fetch to see who has a name (RFC 8555 8.3).
//!
//! While a site moves, either side may renew its certificate, and the authority comes to the
//! address that DNS names, whichever side has asked for it. So its question goes to the write
//! side first and, if nobody there knows of it, to the other. It is a read of a file and
//! does not wait while the site is held: an authority does not wait either.

use super::headers::Seen;
use super::stream::Seat;
use super::visit::{Lane, Visit};
use super::{Conn, Goal, Reply, Rest, Unanswered, fetch, own, relay};
use crate::log::Entry;
use crate::routes::Site;
use crate::upstream::Arriving;
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use segue_model::Side;
use segue_model::harmless::below;
use std::sync::Arc;
use std::time::Duration;

const PREFIX: &str = "/.well-known/acme-challenge/";

/// Time for the side that is asked first: authorities give up after ten seconds.
const FIRST: Duration = Duration::from_secs(3);

/// Returns whether a request is such a question.
pub(super) fn is_one<B: Body>(request: &Request<B>) -> bool {
    // It passes a hold: what may lead elsewhere is a request like any other.
    below(&[PREFIX], request.uri().path())
        && matches!(*request.method(), Method::GET | Method::HEAD)
        && request.body().is_end_stream()
}

/// What one side answered.
struct Outcome {
    side: Side,
    visit: Visit,
    result: Result<(Response<Arriving>, Rest), Unanswered>,
}

impl Outcome {
    /// Whether this side knows of the question.
    fn knows(&self) -> bool {
        self.result.as_ref().is_ok_and(|(response, _)| {
            response.status() != StatusCode::NOT_FOUND && !response.status().is_server_error()
        })
    }

    /// Makes it the answer; `entry` is what the log says of the question, which is one, whoever was
    /// asked.
    fn into_response(
        self,
        conn: &Arc<Conn>,
        seen: Seen,
        entry: Option<Box<Entry>>,
    ) -> Response<Reply> {
        let Self { side, mut visit, result } = self;
        visit.log_as(entry);
        match result {
            Ok((response, rest)) => relay(conn, side, response, rest, seen, visit),
            Err(unanswered) => own::unanswered(conn, side, &unanswered, visit),
        }
    }
}

/// Asks both sides, one after the other. Each that was asked counts the request.
pub(super) async fn answer(
    conn: &Arc<Conn>,
    site: Arc<Site>,
    request: Request<Incoming>,
    seat: Option<Seat>,
    seen: Seen,
    began_us: u64,
) -> Response<Reply> {
    let entry = conn.front().log().map(|log| {
        log.entry(&request, Some(site.gate.unit()), conn.address_of(request.headers(), seen))
    });
    let (parts, _) = request.into_parts();
    let client = conn.client_of(&parts.headers, seen);
    let ask = async |side, limit| {
        let lane = if seen.is_relayed() { Lane::Relayed } else { Lane::Side(side) };
        let counts = Some(site.counts.clone());
        let seat = seat.clone();
        let mut visit = Visit::begin(conn.clone(), lane, counts, seat, client, began_us, false);
        let goal = Goal {
            group: site.backends.get(side).clone(),
            side,
            lane,
            pass: None,
            turn: None,
            copied: None,
        };
        let mut request = Request::from_parts(parts.clone(), ());
        let asked = fetch(conn, goal, &mut request, seen, &mut visit);
        let result = match tokio::time::timeout(limit, asked).await {
            Ok(result) => result,
            Err(_) => Err(Unanswered::Late),
        };
        Outcome { side, visit, result }
    };
    let write_side = site.gate.side();
    let first = ask(write_side, FIRST).await;
    if first.knows() {
        return first.into_response(conn, seen, entry);
    }
    let second = ask(write_side.other(), site.answer.unwrap_or(conn.front().limits().answer)).await;
    // If neither knows of it, the write side has the word.
    let answer = if second.knows() { second } else { first };
    answer.into_response(conn, seen, entry)
}
