//! A request of HTTP/2, as strict as one of HTTP/1.
//!
//! In HTTP/2 a name may hold what ends a line in HTTP/1.1, a length may differ from the body's,
//! and a request may say how it is framed where nobody asked. Written down for a backend of
//! HTTP/1.1 that becomes a second request ("downgrade smuggling"). The HTTP layer resets streams
//! with headers of a connection (RFC 9113 8.2.2), a `TE` other than `trailers`, upper case or
//! control bytes, pseudo-headers that are missing, doubled or late, and a length that does not
//! fit the frames; what it lets pass is held here against the rules of [`super::head`].

use super::head::{content_length, is_alias, is_host, is_origin, printable};
use super::refusal::Refusal;
use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request};
use hyper::body::Body;

/// Checks a request and brings its head into the form that one of HTTP/1.1 has: one `Cookie`
/// line (RFC 9113 8.2.3), and a host, be it in the target or in `Host`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check<B: Body>(request: &mut Request<B>, headers_max: usize) -> Result<(), Refusal> {
    if *request.method() == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    let uri = request.uri();
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    if !is_origin(request.method().as_str().as_bytes(), target.as_bytes())
        || !matches!(uri.scheme_str(), None | Some("http" | "https"))
    {
        return Err(Refusal::Target);
    }
    let headers = request.headers();
    if headers.len() > headers_max {
        return Err(Refusal::Long);
    }
    for (name, value) in headers {
        let name = name.as_str().as_bytes();
        if name.contains(&b'_') && is_alias(name) {
            return Err(Refusal::Alias);
        }
        if !printable(value.as_bytes()) {
            return Err(Refusal::Control);
        }
    }
    host(uri.authority().map(|authority| authority.as_str()), headers)?;
    length(headers, request.body().is_end_stream())?;
    join_cookies(request.headers_mut());
    Ok(())
}

fn host(authority: Option<&str>, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, more) = (hosts.next().map(HeaderValue::as_bytes), hosts.next());
    let named = authority.map(str::as_bytes).or(host).ok_or(Refusal::Host)?;
    if more.is_some() || named.is_empty() || !is_host(named) {
        return Err(Refusal::Host);
    }
    match host {
        Some(host) if !host.eq_ignore_ascii_case(named) => Err(Refusal::TwoHosts),
        _ => Ok(()),
    }
}

fn length(headers: &HeaderMap, bodiless: bool) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(()) };
    if lengths.next().is_some() {
        return Err(Refusal::Lengths);
    }
    let length = content_length(first.as_bytes())?;
    if bodiless && length > 0 { Err(Refusal::Length) } else { Ok(()) }
}

/// Clients send a cookie's parts one by one, so that those that stay are sent once; servers of
/// HTTP/1.1 know one line.
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut whole = first.as_bytes().to_vec();
    for crumb in [second].into_iter().chain(crumbs) {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(whole) = HeaderValue::from_bytes(&whole) {
        headers.insert(COOKIE, whole);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http_body_util::Full;

    fn checked(
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &'static [u8],
    ) -> Result<Request<Full<&'static [u8]>>, Refusal> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let mut request = request.body(Full::new(body)).unwrap();
        check(&mut request, 5).map(|()| request)
    }

    #[test]
    fn refuses_what_would_be_read_in_another_way_in_http_1() {
        const URL: &str = "https://a.test/";
        for (method, target, headers, body, refusal) in [
            ("CONNECT", "a.test:80", &[][..], &b""[..], Refusal::Connect),
            ("GET", "ftp://a.test/", &[], b"", Refusal::Target),
            ("GET", "*", &[("host", "a.test")], b"", Refusal::Target),
            ("GET", "/", &[], b"", Refusal::Host),
            ("GET", "/", &[("host", "")], b"", Refusal::Host),
            ("GET", "/", &[("host", "a test")], b"", Refusal::Host),
            ("GET", "https://u@a.test/", &[], b"", Refusal::Host),
            ("GET", URL, &[("host", "b.test")], b"", Refusal::TwoHosts),
            ("GET", URL, &[("host", "a.test:443")], b"", Refusal::TwoHosts),
            ("GET", URL, &[("host", "a.test"), ("host", "a.test")], b"", Refusal::Host),
            (
                "POST",
                URL,
                &[("content-length", "1"), ("content-length", "1")],
                b"x",
                Refusal::Lengths,
            ),
            ("POST", URL, &[("content-length", "+1")], b"x", Refusal::Length),
            ("POST", URL, &[("content-length", "01")], b"x", Refusal::Length),
            ("GET", URL, &[("content-length", "1")], b"", Refusal::Length),
            ("GET", URL, &[("content_length", "1")], b"", Refusal::Alias),
            ("GET", URL, &[("x_forwarded_for", "1")], b"", Refusal::Alias),
            ("GET", URL, &[("x", "1"); 6], b"", Refusal::Long),
        ] {
            let got = checked(method, target, headers, body).err();
            assert_eq!(got, Some(refusal), "{method} {target} {headers:?}");
        }
    }

    #[test]
    fn lets_pass_what_is_one_request_and_joins_its_cookies() {
        for (method, target, headers, body) in [
            ("GET", "https://a.test/x?y=%20", &[][..], &b""[..]),
            ("GET", "https://a.test:8443/", &[("host", "A.test:8443")], b""),
            ("OPTIONS", "*", &[("host", "a.test")], b""),
            ("POST", "https://a.test/", &[("content-length", "3")], b"abc"),
            ("POST", "https://a.test/", &[("content-length", "0")], b""),
        ] {
            assert!(checked(method, target, headers, body).is_ok(), "{method} {target}");
        }
        let crumbs = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3"), ("cookie", "d=4")];
        let request = checked("GET", "https://a.test/", &crumbs, b"").unwrap();
        let all: Vec<_> = request.headers().get_all(COOKIE).iter().collect();
        assert_eq!(all, ["a=1; b=2; c=3; d=4"]);
    }
}
