//! The cookie that keeps a visitor in its place (RFC 6265).

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// How long a browser keeps it, seconds: longer than a split lasts as a rule.
const KEPT_S: u32 = 7 * 86_400;

/// What a cookie says: of which split it is, and the visitor's place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) tag: u32,
    /// From 0; [`super::PLACES`] for a visitor who wrote.
    pub(super) place: u16,
}

impl Ticket {
    /// Reads a cookie's value; nothing if the front did not write it so.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (tag, place) = text.split_once('.')?;
        let place: u16 = place.parse().ok()?;
        let tag = u32::from_str_radix(tag, 16).ok()?;
        (place <= super::PLACES).then_some(Self { tag, place })
    }
}

/// Takes the cookie of this name out of a request's head and returns its value.
pub(super) fn take(headers: &mut HeaderMap, name: &str) -> Option<Vec<u8>> {
    let own = |pair: &[u8]| {
        let pair = pair.trim_ascii_start();
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.trim_ascii_end().to_vec())
    };
    let holds =
        |value: &HeaderValue| value.as_bytes().split(|b| *b == b';').any(|p| own(p).is_some());
    if !headers.get_all(COOKIE).iter().any(holds) {
        return None;
    }
    let mut taken = None;
    let mut left = Vec::new();
    for value in headers.get_all(COOKIE) {
        let mut pairs: Vec<&[u8]> = Vec::new();
        for pair in value.as_bytes().split(|b| *b == b';') {
            match own(pair) {
                Some(value) => taken = taken.or(Some(value)),
                None => pairs.push(pair.trim_ascii()),
            }
        }
        left.push(pairs.join(&b"; "[..]));
    }
    headers.remove(COOKIE);
    for value in left.into_iter().filter(|value| !value.is_empty()) {
        // Parts of a valid value are one.
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.append(COOKIE, value);
        }
    }
    taken
}

/// Returns the header that sets the cookie.
pub(super) fn set(name: &str, ticket: Ticket) -> HeaderValue {
    let Ticket { tag, place } = ticket;
    header(&format!("{name}={tag:x}.{place}; Path=/; Max-Age={KEPT_S}; HttpOnly; SameSite=Lax"))
}

/// Returns the header that ends the cookie.
pub(super) fn expire(name: &str) -> HeaderValue {
    header(&format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"))
}

/// A name with bytes that no header carries was refused with the plan.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cookies(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(COOKIE, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_the_own_cookie_is_taken_out() {
        for (before, value, after) in [
            (&["s=1"][..], Some("1"), &[][..]),
            (&["a=2; s=1"], Some("1"), &["a=2"]),
            (&["s=1;b=3"], Some("1"), &["b=3"]),
            (&["a=2;  s=1 ; b=3"], Some("1"), &["a=2; b=3"]),
            (&["a=2", "s=1"], Some("1"), &["a=2"]),
            (&["s=1; s=2"], Some("1"), &[]),
            (&["xs=1; ss=2; s"], None, &["xs=1; ss=2; s"]),
            (&["a=s=1"], None, &["a=s=1"]),
        ] {
            let mut headers = cookies(before);
            let taken = take(&mut headers, "s");
            assert_eq!(taken.as_deref(), value.map(str::as_bytes), "{before:?}");
            let left: Vec<_> = headers.get_all(COOKIE).iter().collect();
            assert_eq!(left, after, "{before:?}");
        }
    }

    #[test]
    fn what_the_front_did_not_write_is_no_ticket() {
        let ticket = Ticket { tag: 0xab, place: 10_000 };
        let set = set("s", ticket);
        let value = set.as_bytes()[2..].split(|b| *b == b';').next().unwrap();
        assert_eq!(Ticket::read(value), Some(ticket));
        for bad in ["", "1", "1.", ".1", "1.10001", "x.1", "1.-1", "1.1.1", "123456789.1", "é.1"] {
            assert_eq!(Ticket::read(bad.as_bytes()), None, "{bad}");
        }
    }
}
