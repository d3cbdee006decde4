//! A head that waits, in no more memory than it needs.
//!
//! The HTTP layer reads into pieces of 8 KiB and lets the fields of a head point into them. A request
//! that passes gives its piece back within a moment. One that waits would keep it, and the layer has
//! a second one meanwhile.

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Uri};

/// Copies what a head points to into one piece of its own size.
pub(super) fn compact<B>(request: &mut Request<B>) {
    let target = target(request.uri());
    let fields: usize = request.headers().values().map(HeaderValue::len).sum();
    let mut all = BytesMut::with_capacity(fields + target.len());
    request.headers().values().for_each(|value| all.extend_from_slice(value.as_bytes()));
    all.extend_from_slice(target.as_bytes());
    let mut all = all.freeze();
    for value in request.headers_mut().values_mut() {
        // What was a value is one.
        if let Ok(mut own) = HeaderValue::from_maybe_shared(all.split_to(value.len())) {
            own.set_sensitive(value.is_sensitive());
            *value = own;
        }
    }
    if let Some(own) = own(request.uri(), all) {
        *request.uri_mut() = own;
    }
}

/// Returns the target as text.
fn target(uri: &Uri) -> String {
    match (uri.authority(), uri.path_and_query()) {
        (None, Some(path)) => path.as_str().to_owned(),
        _ => uri.to_string(),
    }
}

fn own(uri: &Uri, text: Bytes) -> Option<Uri> {
    match (uri.authority(), uri.path_and_query()) {
        (None, Some(_)) => PathAndQuery::from_maybe_shared(text).ok().map(Uri::from),
        _ => Uri::from_maybe_shared(text).ok(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn taken(uri: &'static str) -> Request<()> {
        let piece = Bytes::from(format!("{uri} one two").into_bytes());
        let value = |at: std::ops::Range<usize>| {
            HeaderValue::from_maybe_shared(piece.slice(at.start + uri.len()..at.end + uri.len()))
        };
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_maybe_shared(piece.slice(..uri.len())).unwrap();
        request.headers_mut().append("a", value(1..4).unwrap());
        request.headers_mut().append("b", value(5..8).unwrap());
        request.headers_mut().append("a", value(5..8).unwrap());
        request
    }

    #[test]
    fn a_head_is_what_it_was() {
        for uri in ["/x?y=1", "*", "http://a.test/x", "a.test:443"] {
            let (was, mut is) = (taken(uri), taken(uri));
            is.headers_mut().get_mut("b").unwrap().set_sensitive(true);
            compact(&mut is);
            assert_eq!((was.uri(), was.headers()), (is.uri(), is.headers()), "{uri}");
            assert!(is.headers()["b"].is_sensitive() && !is.headers()["a"].is_sensitive());
        }
    }

    #[test]
    fn nothing_of_it_stands_in_the_piece_any_more() {
        let piece = Bytes::from(vec![b'x'; 8 << 10]);
        let mut request = Request::new(());
        request
            .headers_mut()
            .insert("a", HeaderValue::from_maybe_shared(piece.slice(..9)).unwrap());
        let path = BytesMut::from(&b"/yyyyyyyy"[..]).freeze();
        *request.uri_mut() = Uri::from(PathAndQuery::from_maybe_shared(path.clone()).unwrap());
        assert!(!piece.is_unique() && !path.is_unique());
        compact(&mut request);
        assert!(piece.is_unique() && path.is_unique());
        assert_eq!((request.uri().path(), request.headers()["a"].len()), ("/yyyyyyyy", 9));
    }
}
