//! What changes in a message's head on its way through (RFC 9110 7.6).

use super::Conn;
use crate::client::{FORWARDED_FOR, element};
use crate::upstream::{field, write_head};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, FORWARDED, HOST, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version};
use hyper::body::Body;
use segue_model::Side;
use std::net::SocketAddr;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Names the side that answered.
pub(super) const SIDE: HeaderName = HeaderName::from_static("x-segue-side");
/// Names the front that the answer came through.
pub(super) const FRONT: HeaderName = HeaderName::from_static("x-segue-front");
/// Asks for a side in the name of a run, from loopback only: `target run-1`.
const TO: HeaderName = HeaderName::from_static("x-segue-to");
/// Names the run whose probe asks. Nobody else knows the name, so that nobody else's
/// requests count as the run's own.
const PROBE: HeaderName = HeaderName::from_static("x-segue-probe");
/// Says that a request is a copy of a user's, and of no use but to see the answer.
pub(super) const MIRROR: HeaderName = HeaderName::from_static("x-segue-mirror");
/// Names the fronts a request came through. `Via` would say the same, but common
/// servers stop compressing when they see it.
const VIA: HeaderName = HeaderName::from_static("x-segue-via");

/// Longest body of a request that wants to leave HTTP, bytes; those that have one say in it what
/// they want over there.
const ASKING_MAX: u64 = 16 << 10;

/// Which of the headers that mean something to a front a head carries. Most heads carry
/// few of them, and one look at every name costs less than asking for each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen(u16);

impl Seen {
    const CONNECTION: u16 = 1;
    const TRANSFER_ENCODING: u16 = 1 << 1;
    pub(super) const UPGRADE: u16 = 1 << 2;
    const EXPECT: u16 = 1 << 3;
    const VIA: u16 = 1 << 4;
    const TO: u16 = 1 << 5;
    const FORWARDED_FOR: u16 = 1 << 6;
    /// Further ones that belong to one connection only.
    const HOP: u16 = 1 << 7;
    const PROBE: u16 = 1 << 8;
    /// Further ones of `X-Forwarded-*`.
    const FORWARDED_MORE: u16 = 1 << 9;
    const FORWARDED: u16 = 1 << 10;
    const TE: u16 = 1 << 11;
    /// The other end takes fields after a body.
    const TRAILERS: u16 = 1 << 12;
    const MIRROR: u16 = 1 << 13;

    /// Looks at every name of a head.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let bits = headers.keys().map(|name| match name.as_str() {
            "connection" => Self::CONNECTION,
            "transfer-encoding" => Self::TRANSFER_ENCODING,
            "upgrade" => Self::UPGRADE,
            "expect" => Self::EXPECT,
            "x-segue-via" => Self::VIA,
            "x-segue-to" => Self::TO,
            "x-segue-probe" => Self::PROBE,
            "x-segue-mirror" => Self::MIRROR,
            "x-forwarded-for" => Self::FORWARDED_FOR,
            "keep-alive" | "proxy-connection" => Self::HOP,
            "te" => Self::TE,
            "forwarded" => Self::FORWARDED,
            other if other.starts_with("x-forwarded-") => Self::FORWARDED_MORE,
            _ => 0,
        });
        let seen = Self(bits.fold(0, |all, bit| all | bit));
        if seen.any(Self::TE) { seen.and_trailers(headers) } else { seen }
    }

    fn and_trailers(self, headers: &HeaderMap) -> Self {
        let mut codings =
            headers.get_all(TE).iter().flat_map(|v| v.as_bytes().split(|b| *b == b','));
        let asked = codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"));
        if asked { Self(self.0 | Self::TRAILERS) } else { self }
    }

    /// Returns whether whoever asks takes fields after the answer's body.
    pub(super) fn wants_trailers(self) -> bool {
        self.any(Self::TRAILERS)
    }

    pub(super) fn any(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// Returns whether a proxy may have said who the client is.
    pub(super) fn names_client(self) -> bool {
        self.any(Self::FORWARDED_FOR | Self::FORWARDED)
    }

    /// Returns whether a request came through another front, which counts it.
    pub(super) fn is_relayed(self) -> bool {
        self.any(Self::VIA)
    }
}

/// A request that is not forwarded, and why.
pub(super) type Refusal = (StatusCode, &'static str);

/// Checks host and framing and brings the target into origin form.
pub(super) fn check<B>(request: &mut Request<B>, seen: Seen) -> Result<(), Refusal> {
    if request.method() == Method::CONNECT {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "this is no forward proxy"));
    }
    let chunked = |e: &HeaderValue| e.as_bytes().eq_ignore_ascii_case(b"chunked");
    if seen.any(Seen::TRANSFER_ENCODING)
        && !request.headers().get(TRANSFER_ENCODING).is_some_and(chunked)
    {
        return Err((StatusCode::NOT_IMPLEMENTED, "transfer encodings other than chunked"));
    }
    if request.uri().authority().is_some() {
        into_origin_form(request)?;
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if host.to_str().is_ok() => Ok(()),
        (None, None) if request.version() < Version::HTTP_11 => Ok(()),
        _ => Err((StatusCode::BAD_REQUEST, "exactly one Host header is needed")),
    }
}

/// RFC 9112 3.2.2: the target's authority replaces the Host header.
fn into_origin_form<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    let bad = (StatusCode::BAD_REQUEST, "the request target is not valid");
    let authority = request.uri().authority().ok_or(bad)?.as_str();
    if authority.contains('@') {
        return Err(bad);
    }
    let host = HeaderValue::from_str(authority).map_err(|_| bad)?;
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    request.headers_mut().insert(HOST, host);
    Ok(())
}

/// Returns the host a request names; empty if it names none (HTTP/1.0).
pub(super) fn host(headers: &HeaderMap) -> &str {
    headers.get(HOST).and_then(|h| h.to_str().ok()).unwrap_or_default()
}

/// Returns the host a request of HTTP/2 names, before its target is in origin form.
pub(super) fn host_of<B>(request: &Request<B>) -> &str {
    request.uri().authority().map_or_else(|| host(request.headers()), |named| named.as_str())
}

/// Takes out the wish for a side. It counts for safe requests from loopback, or through another
/// front, that name the run that has the front: behind a local TLS terminator everybody comes
/// from loopback, and anybody can write that another front sent them.
pub(super) fn take_wish(
    method: &Method,
    headers: &mut HeaderMap,
    seen: Seen,
    near: bool,
    claimed_by: impl FnOnce(&[u8]) -> bool,
) -> Option<Side> {
    if !seen.any(Seen::TO) {
        return None;
    }
    let wish = headers.remove(TO)?;
    if !near || !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let (side, run) = wish.to_str().ok()?.split_once(' ')?;
    let side = match side {
        "source" => Side::Source,
        "target" => Side::Target,
        _ => return None,
    };
    claimed_by(run.as_bytes()).then_some(side)
}

/// Asks another front, through which a backend is reached, for a side.
pub(super) fn wish_for(headers: &mut HeaderMap, side: Side, run: &str) {
    if let Ok(wish) = HeaderValue::from_str(&format!("{side} {run}")) {
        headers.insert(TO, wish);
    }
}

/// Tells another front, through which a backend is reached, that a request is the run's own and
/// where it belongs.
pub(super) fn for_front(headers: &mut HeaderMap, side: Side, run: &str) {
    wish_for(headers, side, run);
    if let Ok(run) = HeaderValue::from_str(run) {
        headers.insert(PROBE, run);
    }
}

/// Takes out what a probe says of itself: the run it belongs to.
pub(super) fn take_probe(headers: &mut HeaderMap, seen: Seen) -> Option<HeaderValue> {
    if seen.any(Seen::PROBE) { headers.remove(PROBE) } else { None }
}

/// What a head gets on its way to a backend that is not known without a look at it.
#[derive(Default)]
pub(super) struct Added {
    /// The addresses it came from; none for the peer's alone.
    forwarded_for: Option<HeaderValue>,
    /// `Forwarded` as it goes on, if the head had one.
    forwarded: Option<HeaderValue>,
    /// Whether the client takes fields after the answer's body.
    trailers: bool,
    /// Whether the scheme is said by a proxy that is believed.
    knows_scheme: bool,
    /// Whether the host is, or nobody named one.
    knows_host: bool,
}

/// Takes out of a client's head what is not for a backend.
pub(super) fn clean(
    headers: &mut HeaderMap,
    seen: Seen,
    conn: &Conn,
    backend: SocketAddr,
) -> Result<Added, Refusal> {
    strip(headers, seen);
    if seen.any(Seen::EXPECT) {
        // hyper answers 100 as soon as the body is read, which begins when the backend takes it.
        headers.remove(EXPECT);
    }
    if seen.any(Seen::MIRROR) && !seen.any(Seen::VIA) {
        // No client says of its own request that nobody needs the answer.
        headers.remove(MIRROR);
    }
    if seen.any(Seen::VIA) && is_loop(headers, conn.front().via()) {
        return Err((StatusCode::LOOP_DETECTED, "the request came through this front before"));
    }
    let mut added = Added::default();
    if seen.any(Seen::FORWARDED_FOR | Seen::FORWARDED_MORE | Seen::FORWARDED) {
        added = if conn.is_trusted() { go_on(headers, conn) } else { begin_anew(headers, conn) };
    }
    added.trailers = seen.wants_trailers();
    if !headers.contains_key(HOST) {
        added.knows_host = true;
        if let Ok(host) = HeaderValue::from_str(&backend.to_string()) {
            // HTTP/1.0 needs no host, what goes on does.
            headers.insert(HOST, host);
        }
    }
    Ok(added)
}

/// Returns whether a request came through the front of this name before. Whoever stands
/// between two fronts may have put the names on one line.
fn is_loop(headers: &HeaderMap, own: &HeaderValue) -> bool {
    let mut names = headers.get_all(VIA).iter().flat_map(|v| v.as_bytes().split(|b| *b == b','));
    names.any(|name| name.trim_ascii() == own.as_bytes())
}

/// Keeps what a proxy that is believed says of the client, and adds the proxy.
fn go_on(headers: &mut HeaderMap, conn: &Conn) -> Added {
    let scheme = |v: &HeaderValue| {
        [&b"http"[..], b"https"].iter().any(|s| v.as_bytes().eq_ignore_ascii_case(s))
    };
    let said = |name: &HeaderName, valid: &dyn Fn(&HeaderValue) -> bool| {
        let mut values = headers.get_all(name).iter();
        values.next().is_some_and(valid) && values.next().is_none()
    };
    let knows_scheme = said(&FORWARDED_PROTO, &scheme);
    let knows_host = said(&FORWARDED_HOST, &|host| !host.is_empty());
    let forwarded_for = chain(headers, &FORWARDED_FOR, conn.peer_value().as_bytes());
    let forwarded = headers.contains_key(FORWARDED).then(|| {
        let own = element(conn.peer(), headers.get(HOST), conn.scheme().as_str());
        chain(headers, &FORWARDED, own.as_bytes())
    });
    headers.remove(FORWARDED_FOR);
    headers.remove(FORWARDED);
    for (name, known) in [(FORWARDED_PROTO, knows_scheme), (FORWARDED_HOST, knows_host)] {
        if !known {
            headers.remove(name);
        }
    }
    let forwarded = forwarded.flatten();
    Added { forwarded_for, forwarded, trailers: false, knows_scheme, knows_host }
}

/// Takes out what anybody can say, and says what the front knows itself.
fn begin_anew(headers: &mut HeaderMap, conn: &Conn) -> Added {
    let said = |name: &&HeaderName| name.as_str().starts_with("x-forwarded-");
    let names: Vec<HeaderName> = headers.keys().filter(said).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    let forwarded = headers.remove(FORWARDED).and_then(|_| {
        let own = element(conn.peer(), headers.get(HOST), conn.scheme().as_str());
        HeaderValue::from_str(&own).ok()
    });
    Added { forwarded, ..Added::default() }
}

/// Writes a head for a backend, its end included.
pub(super) fn write<B>(into: &mut Vec<u8>, request: &Request<B>, added: &Added, conn: &Conn) {
    let headers = request.headers();
    write_head(into, request.method(), request.uri(), headers);
    field(into, &VIA, conn.front().via().as_bytes());
    if !added.knows_scheme {
        field(into, &FORWARDED_PROTO, conn.scheme().as_str().as_bytes());
    }
    if let Some(host) = headers.get(HOST).filter(|_| !added.knows_host) {
        field(into, &FORWARDED_HOST, host.as_bytes());
    }
    let from = added.forwarded_for.as_ref().unwrap_or(conn.peer_value());
    field(into, &FORWARDED_FOR, from.as_bytes());
    if added.trailers {
        field(into, &TE, b"trailers");
        field(into, &CONNECTION, b"te");
    }
    if let Some(forwarded) = &added.forwarded {
        field(into, &FORWARDED, forwarded.as_bytes());
    }
    into.extend_from_slice(b"\r\n");
}

/// Makes a client's head fit for a backend. Whoever opens the connection says in `Connection` how
/// it goes on, and names `TE` there, if the head has it (RFC 9110 10.1.4).
pub(super) fn for_backend(
    parts: &mut http::request::Parts,
    seen: Seen,
    conn: &Conn,
    backend: SocketAddr,
) -> Result<(), Refusal> {
    let added = clean(&mut parts.headers, seen, conn, backend)?;
    let headers = &mut parts.headers;
    // The six below and those of the connection, so that the table grows once.
    headers.reserve(8);
    headers.append(VIA, conn.front().via().clone());
    if !added.knows_scheme {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(conn.scheme().as_str()));
    }
    if let Some(host) = headers.get(HOST).filter(|_| !added.knows_host).cloned() {
        headers.insert(FORWARDED_HOST, host);
    }
    let from = added.forwarded_for.unwrap_or_else(|| conn.peer_value().clone());
    headers.insert(FORWARDED_FOR, from);
    if let Some(forwarded) = added.forwarded {
        headers.insert(FORWARDED, forwarded);
    }
    if added.trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    // Whoever spoke HTTP/1.0 to the front gets its answer translated.
    parts.version = Version::HTTP_11;
    Ok(())
}

/// Joins what a request brought under a name with what the front adds.
fn chain(headers: &HeaderMap, name: &HeaderName, last: &[u8]) -> Option<HeaderValue> {
    let mut all = Vec::new();
    for value in headers.get_all(name) {
        all.extend_from_slice(value.as_bytes());
        all.extend_from_slice(b", ");
    }
    all.extend_from_slice(last);
    HeaderValue::from_bytes(&all).ok()
}

/// Makes a backend's head fit for a client.
pub(super) fn for_client(headers: &mut HeaderMap, conn: &Conn, side: Side) {
    strip(headers, Seen::of(headers));
    headers.reserve(3);
    mark(headers, conn, Some(side));
}

/// Makes a 101 fit for a client: the protocol it changes to is for the client to know.
pub(super) fn for_upgraded_client(headers: &mut HeaderMap, conn: &Conn, side: Side) {
    let protocol = headers.get(UPGRADE).cloned();
    for_client(headers, conn, side);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
    }
}

/// Says which front an answer came through and which side it is from.
pub(super) fn mark(headers: &mut HeaderMap, conn: &Conn, side: Option<Side>) {
    let front = conn.front();
    headers.insert(FRONT, front.name_value().clone());
    if let Some(side) = side {
        headers.insert(SIDE, HeaderValue::from_static(side.as_str()));
    }
    if front.is_closing() && !conn.is_shared() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Takes out what belongs to one connection only (RFC 9110 7.6.1).
fn strip(headers: &mut HeaderMap, seen: Seen) {
    if seen.any(Seen::CONNECTION) {
        let mut named = Vec::new();
        for value in headers.get_all(CONNECTION) {
            for name in value.as_bytes().split(|b| *b == b',') {
                let name = name.trim_ascii();
                // The common values name no header, and these two are not for one hop.
                if name.eq_ignore_ascii_case(b"keep-alive") || name.eq_ignore_ascii_case(b"close") {
                    continue;
                }
                named.extend(
                    HeaderName::from_bytes(name)
                        .ok()
                        .filter(|name| *name != HOST && *name != CONTENT_LENGTH),
                );
            }
        }
        headers.remove(CONNECTION);
        for name in named {
            headers.remove(name);
        }
    }
    if seen.any(Seen::HOP | Seen::TE | Seen::TRANSFER_ENCODING | Seen::UPGRADE) {
        for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
            headers.remove(name);
        }
    }
}

/// Returns the protocol that a request wants to change to, be its method what it may (RFC 9110 7.8).
/// HTTP/2 is none of them: within it requests would pass that no front sees, past every hold. A body
/// must say how short it is; any other request goes on as one that wants nothing.
pub(super) fn wanted_upgrade<B: Body>(request: &Request<B>, seen: Seen) -> Option<HeaderValue> {
    if !seen.any(Seen::UPGRADE) {
        return None;
    }
    let headers = request.headers();
    let wanted = headers.get(UPGRADE)?;
    let mut protocols = wanted.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
    if protocols.any(|p| p.len() >= 2 && p[..2].eq_ignore_ascii_case(b"h2")) {
        return None;
    }
    let named = headers.get_all(CONNECTION).iter().any(|c| {
        c.as_bytes().split(|b| *b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    let short = request.body().size_hint().exact().is_some_and(|length| length <= ASKING_MAX);
    (named && short && request.version() == Version::HTTP_11).then(|| wanted.clone())
}

/// Returns whether a backend closes the connection after its answer.
pub(crate) fn closes(version: Version, headers: &HeaderMap) -> bool {
    version < Version::HTTP_11
        || headers.get(CONNECTION).is_some_and(|c| {
            c.as_bytes()
                .split(|b| *b == b',')
                .any(|t| t.trim_ascii().eq_ignore_ascii_case(b"close"))
        })
}

/// Returns whether an answer never ends by itself.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    const TYPE: &[u8] = b"text/event-stream";
    headers.get(CONTENT_TYPE).is_some_and(|t| {
        let t = t.as_bytes();
        t.len() >= TYPE.len() && t[..TYPE.len()].eq_ignore_ascii_case(TYPE)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
