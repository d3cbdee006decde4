//! A request under a split: asked of the side it was given, and never worse for it.

use super::visit::Visit;
use super::{Conn, Goal, Rest, Unanswered, forward, headers};
use crate::clock;
use crate::routes::Site;
use crate::split::{Asked, Choice, Cookie, Outcome, Split};
use crate::upstream::Arriving;
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;
use segue_model::Side;
use std::sync::Arc;
use std::time::Duration;

/// What a split made of a request.
pub(super) struct Turn {
    split: Arc<Split>,
    site: Arc<Site>,
    /// Whether it leaves the write side.
    leaves: bool,
    /// The visitor, if the request is part of the trial.
    counted: Option<u64>,
    cookie: Option<Cookie>,
}

/// Lets the split of a site choose a side; nothing if it leaves the request where it goes `now`.
pub(super) fn turn(
    conn: &Conn,
    site: &Arc<Site>,
    now: Side,
    (method, path, headers): (&Method, &str, &mut HeaderMap),
    reads: bool,
    seen: super::Seen,
) -> Option<(Side, Box<Turn>)> {
    let split = site.split.load_full()?;
    let asked = Asked { method, path, now, reads, client: conn.address_of(headers, seen) };
    let choice = split.choose(asked, headers, clock::now_us());
    let Choice { side, counted, cookie } = choice;
    let leaves = side != now;
    if !leaves && counted.is_none() && cookie.is_none() {
        return None;
    }
    let turn = Turn { split, site: Arc::clone(site), leaves, counted, cookie };
    Some((side, Box::new(turn)))
}

/// Asks the side that was chosen; what the target does not answer well and in time is asked at
/// the source, whose answer the visitor gets.
pub(super) async fn ask(
    conn: &Arc<Conn>,
    turn: Turn,
    goal: Goal,
    request: Request<Option<Incoming>>,
    seen: super::Seen,
    visit: &mut Visit,
) -> Result<(Response<Arriving>, Rest), Unanswered> {
    let Turn { split, site, leaves, counted, cookie } = turn;
    let mut answer = if leaves {
        at_target(conn, &split, &site, counted, goal, request, seen, visit).await
    } else {
        let mut answer = forward(conn, goal, request, seen, visit).await;
        note(&split, Side::Source, counted, &mut answer, visit);
        answer
    };
    if let (Some(cookie), Ok((response, _))) = (cookie, &mut answer) {
        Split::put(cookie, response.headers_mut(), conn.scheme().is_secure());
    }
    answer
}

#[allow(clippy::too_many_arguments)] // What a request is, and where it goes instead.
async fn at_target(
    conn: &Arc<Conn>,
    split: &Arc<Split>,
    site: &Arc<Site>,
    counted: Option<u64>,
    mut goal: Goal,
    request: Request<Option<Incoming>>,
    seen: super::Seen,
    visit: &mut Visit,
) -> Result<(Response<Arriving>, Rest), Unanswered> {
    // The pass stays here: what is left of a request that took too long does not run on under it.
    let pass = goal.pass.take();
    // It has no body: what is asked at the target only reads.
    let (mut parts, _) = request.into_parts();
    let again = Request::from_parts(parts.clone(), None);
    if let (true, Some(run)) = (split.is_relayed(), conn.front().claim()) {
        headers::wish_for(&mut parts.headers, Side::Target, run.as_str());
    }
    let asked = forward(conn, goal, Request::from_parts(parts, None), seen, visit);
    let answer = tokio::time::timeout(split.slow(), asked).await;
    let mut answer = answer.unwrap_or(Err(Unanswered::Late));
    note(split, Side::Target, counted, &mut answer, visit);
    if let Ok((response, mut rest)) = answer {
        if !response.status().is_server_error() {
            rest.pass = pass;
            return Ok((response, rest));
        }
    } else if let Err(refused @ Unanswered::Refused(_)) = answer {
        return Err(refused);
    }
    visit.turn_to(Side::Source);
    let group = site.backends.source.clone();
    let (side, lane) = (Side::Source, visit.lane());
    let goal = Goal { group, side, lane, pass, turn: None, copied: None };
    forward(conn, goal, again, seen, visit).await
}

/// Counts what came of a request, unless it was the client's doing. A good head is not all of an
/// answer: one that has it is counted when its body is over.
fn note(
    split: &Arc<Split>,
    side: Side,
    counted: Option<u64>,
    answer: &mut Result<(Response<Arriving>, Rest), Unanswered>,
    visit: &Visit,
) {
    let answer_us = match answer {
        Ok((response, rest)) if !response.status().is_server_error() => {
            let judged = |visitor| Judged {
                split: split.clone(),
                side,
                visitor,
                answer_us: visit.answer_us(),
            };
            rest.judged = counted.map(judged).map(Box::new);
            return;
        }
        Ok(_) => visit.answer_us(),
        Err(Unanswered::Broken(_) | Unanswered::Late | Unanswered::Unasked) => None,
        Err(Unanswered::Refused(_) | Unanswered::Unsent(_)) => return,
    };
    let outcome = Outcome { failed: true, cut: false, answer_us };
    split.count(side, counted, outcome, clock::now_us());
}

/// A request of the trial whose answer had a good head and is on its way; counted once.
pub(super) struct Judged {
    split: Arc<Split>,
    side: Side,
    visitor: u64,
    answer_us: Option<u64>,
}

impl Judged {
    /// The answer came whole, or is one without an end of its own.
    pub(super) fn passed(self) {
        self.count(false);
    }

    /// Its side did not send it to the end.
    pub(super) fn cut(self) {
        self.count(true);
    }

    /// The visitor left, after it had waited so long for the next part. Who gives up on a side that
    /// sends nothing is no sign that all is well.
    pub(super) fn left(self, waited: Duration) {
        let cut = waited >= self.split.slow();
        self.count(cut);
    }

    fn count(self, cut: bool) {
        let Self { split, side, visitor, answer_us } = self;
        let outcome = Outcome { failed: cut, cut, answer_us };
        split.count(side, Some(visitor), outcome, clock::now_us());
    }
}
