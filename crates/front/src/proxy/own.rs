//! Answers in the front's own words.

use super::visit::Visit;
use super::{Conn, Reply, Unanswered, headers};
use crate::gate::Turned;
use crate::policy::Page;
use crate::upstream::{Broken, Unsent};
use crate::wire::Refusal;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use segue_model::Side;

/// Builds an answer of one line.
pub(super) fn text(conn: &Conn, status: StatusCode, why: &str) -> Response<Reply> {
    let line = Bytes::from(format!("{} {why}\n", status.as_u16()));
    let mut response = Response::new(Reply::Own(Some(line)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers::mark(headers, conn, None);
    response
}

/// Refuses a request that can be read in two ways, and ends the connection.
pub(super) fn unclear(conn: &Conn, refusal: Refusal) -> Response<Reply> {
    let mut response = text(conn, refusal.status(), refusal.why());
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Refuses a request of a client that has as many at once as it may.
pub(super) fn too_many(conn: &Conn, mut visit: Visit) -> Response<Reply> {
    let why = "too many requests at once";
    let mut response = text(conn, StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    visit.answered_here(response.status());
    visit.end(true);
    response
}

/// Refuses a request that would wait too long, with the operator's page if there is one.
pub(super) fn held(
    conn: &Conn,
    turned: Turned,
    page: Option<&Page>,
    mut visit: Visit,
) -> Response<Reply> {
    let mut response = text(conn, StatusCode::SERVICE_UNAVAILABLE, turned.into());
    if let Some(page) = page {
        *response.body_mut() = Reply::Own(Some(page.body.clone()));
        response.headers_mut().insert(CONTENT_TYPE, page.kind.clone());
    }
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    visit.answered_here(response.status());
    visit.end(true);
    response
}

/// Ends a connection whose client left while its request waited. Nobody reads this.
pub(super) fn gone(conn: &Conn) -> Response<Reply> {
    let mut response = text(conn, StatusCode::SERVICE_UNAVAILABLE, "the client is gone");
    if !conn.is_shared() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Answers for a backend that did not.
pub(super) fn unanswered(
    conn: &Conn,
    side: Side,
    unanswered: &Unanswered,
    mut visit: Visit,
) -> Response<Reply> {
    let (status, why) = match unanswered {
        Unanswered::Refused(refusal) => *refusal,
        Unanswered::Broken(Broken::ConnectTime(_)) | Unanswered::Late => {
            (StatusCode::GATEWAY_TIMEOUT, "the site did not answer in time")
        }
        Unanswered::Broken(_) => (StatusCode::BAD_GATEWAY, "the site did not answer"),
        Unanswered::Unasked => {
            (StatusCode::BAD_GATEWAY, "the site changed to a protocol that nobody asked for")
        }
        Unanswered::Unsent(Unsent::Slow) => {
            (StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time")
        }
        Unanswered::Unsent(Unsent::Left) => {
            (StatusCode::BAD_REQUEST, "the request did not arrive whole")
        }
    };
    if let Unanswered::Broken(broken) = unanswered
        && conn.front().may_warn()
    {
        tracing::warn!(%side, error = broken as &dyn std::error::Error, "backend failed");
    }
    let mut response = text(conn, status, why);
    headers::mark(response.headers_mut(), conn, Some(side));
    visit.answered_here(status);
    visit.end(status.is_server_error());
    response
}
