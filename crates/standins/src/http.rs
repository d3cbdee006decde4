//! The little of HTTP that a stand-in application needs.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use std::net::SocketAddr;

/// Returns an answer; a status that is none becomes 500.
pub(crate) fn answer(status: u16, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// Returns a line in combined format.
pub(crate) fn log_line(
    peer: SocketAddr,
    method: &Method,
    path: &str,
    status: u16,
    bytes: usize,
) -> String {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    format!(
        "{} - - [{}] \"{method} {path} HTTP/1.1\" {status} {bytes} \"-\" \"-\"\n",
        peer.ip(),
        now.strftime("%d/%b/%Y:%H:%M:%S %z")
    )
}

/// Returns the value of a query's parameter, if it is there and a number.
pub(crate) fn number(query: &str, name: &str) -> Option<u64> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}
