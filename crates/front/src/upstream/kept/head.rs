//! Heads: of a request as it is written, of an answer as it is read.

use bytes::{Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode, Uri, Version};
use std::mem::MaybeUninit;

/// Largest head of an answer, bytes.
const HEAD_MAX: usize = 64 << 10;
/// Most fields of a head.
const FIELDS_MAX: usize = 256;

/// Writes a request's head up to its last field; the caller may add some, and ends it.
pub(crate) fn write_head(into: &mut Vec<u8>, method: &Method, uri: &Uri, headers: &HeaderMap) {
    into.extend_from_slice(method.as_str().as_bytes());
    into.push(b' ');
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    if !target.starts_with('/') && target != "*" {
        into.push(b'/');
    }
    into.extend_from_slice(target.as_bytes());
    into.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in headers {
        field(into, name, value.as_bytes());
    }
}

/// Writes one field.
pub(crate) fn field(into: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    into.extend_from_slice(name.as_str().as_bytes());
    into.extend_from_slice(b": ");
    into.extend_from_slice(value);
    into.extend_from_slice(b"\r\n");
}

/// Where the fields of a head stand, behind its first byte; kept for the next head.
pub(super) type Places = Vec<(HeaderName, usize, usize)>;

/// Takes the head of an answer out of what arrived; none if there is more to come. Interim
/// answers (1xx) are passed over: nobody who asked without a body waits for one.
pub(super) fn take(
    arrived: &mut BytesMut,
    places: &mut Places,
) -> Result<Option<Response<()>>, &'static str> {
    while !arrived.is_empty() {
        places.clear();
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut []);
        let outcome = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut parsed,
            arrived,
            &mut fields,
        );
        let length = match outcome {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if arrived.len() < HEAD_MAX => return Ok(None),
            Ok(httparse::Status::Partial) => return Err("the head of the answer is too long"),
            Err(_) => return Err("the answer is not HTTP/1"),
        };
        let code = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = code.ok_or("the answer has no status")?;
        let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
        let base = arrived.as_ptr() as usize;
        for field in parsed.headers.iter() {
            places.push(place(base, field)?);
        }
        let head = arrived.split_to(length).freeze();
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            continue;
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = version;
        let headers = response.headers_mut();
        headers.reserve(places.len() + ROOM);
        for (name, start, end) in places.drain(..) {
            headers.append(name, value(head.slice(start..end))?);
        }
        return Ok(Some(response));
    }
    Ok(None)
}

/// Fields that the front adds on the way back.
const ROOM: usize = 3;

fn place(
    base: usize,
    field: &httparse::Header<'_>,
) -> Result<(HeaderName, usize, usize), &'static str> {
    let name = HeaderName::from_bytes(field.name.as_bytes())
        .map_err(|_| "the answer has a field without a name")?;
    let start = field.value.as_ptr() as usize - base;
    Ok((name, start, start + field.value.len()))
}

fn value(bytes: Bytes) -> Result<HeaderValue, &'static str> {
    HeaderValue::from_maybe_shared(bytes).map_err(|_| "the answer has a field with a bad value")
}
