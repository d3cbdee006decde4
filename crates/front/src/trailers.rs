//! Fields after a body (RFC 9110 6.5).
//!
//! They go on, both ways, where the next hop can take them: to a client that said `TE: trailers`,
//! and to a backend or client of HTTP/1.1 if the head's `Trailer` names them, for there they are
//! known only once the head is gone. Others are dropped, as RFC 9110 6.5.1 wants of whoever does
//! not know that they are welcome. So are those that would change what the head said.

use http::{HeaderMap, HeaderName};

/// What nobody may say after a body: how it is framed, whom it is for, who asks, under which
/// condition, what it is, and how long it may be kept (RFC 9110 6.5.1).
const NEVER: [&str; 36] = [
    "accept-encoding",
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "content-location",
    "accept-ranges",
    "x-real-ip",
];

/// Names that begin so say who a client is, under which condition it asks, or what a front does.
const NEVER_BEGIN: [&str; 3] = ["if-", "x-forwarded-", "x-segue-"];

/// Takes out of trailers what may not be one. None if nothing is left.
pub(crate) fn kept(trailers: HeaderMap) -> Option<HeaderMap> {
    let mut kept = HeaderMap::new();
    let mut last: Option<(HeaderName, bool)> = None;
    for (name, value) in trailers {
        // A further value of one name comes without it.
        if let Some(name) = name {
            let may = may(name.as_str());
            last = Some((name, may));
        }
        if let Some((name, true)) = &last {
            kept.append(name.clone(), value);
        }
    }
    (!kept.is_empty()).then_some(kept)
}

fn may(name: &str) -> bool {
    // CGI and its kin take `_` for `-`.
    let name = name.replace('_', "-");
    !NEVER.contains(&name.as_str()) && !NEVER_BEGIN.iter().any(|begin| name.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn keeps_what_is_no_part_of_a_head() {
        let mut trailers = HeaderMap::new();
        for name in [
            "grpc-status",
            "content-length",
            "server-timing",
            "x-segue-to",
            "x_forwarded_for",
            "server-timing",
            "set-cookie",
            "if-match",
        ] {
            trailers.append(name, HeaderValue::from_static("1"));
        }
        let kept = kept(trailers).unwrap_or_default();
        let mut names: Vec<_> = kept.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["grpc-status", "server-timing", "server-timing"]);
        let mut bad = HeaderMap::new();
        bad.insert("host", HeaderValue::from_static("a"));
        assert_eq!(super::kept(bad), None);
    }
}
