//! An answer's body as it arrives, whoever reads it.

use super::Kept;
use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, Version};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Room for a part of a body.
const PART: usize = 16 << 10;
/// Room for a part of a long one.
const LONG_PART: usize = 128 << 10;
/// Longest line of a chunk's head, and all trailers, bytes.
const LINE_MAX: usize = 1 << 10;
const TRAILERS_MAX: usize = 8 << 10;
const TRAILERS: usize = 64;

/// The body of a backend's answer.
pub(crate) enum Arriving {
    /// Read by hyper.
    General(Incoming),
    /// Read from a connection that is kept afterwards.
    Kept(FromKept),
}

/// A body that comes over a kept connection.
pub(crate) struct FromKept {
    kept: Option<Box<Kept>>,
    frames: Frames,
}

/// How the end of a body is told (RFC 9112 6.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frames {
    /// So many bytes are left.
    Length(u64),
    /// In chunks.
    Chunks(Chunk),
    /// By the end of the connection.
    Close,
    /// It has ended.
    Ended,
}

/// Where in a chunked body we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Before the line with a chunk's length.
    Head,
    /// So many bytes of it are left.
    Data(u64),
    /// Before the end of line behind its data.
    Tail,
    /// Behind the last one.
    Trailers,
}

impl Frames {
    /// Finds how the body of an answer ends.
    pub(super) fn of(answer: &Response<()>, bodiless: bool) -> Result<Self, &'static str> {
        let (status, headers) = (answer.status(), answer.headers());
        let length = length(headers)?;
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        if bodiless
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        {
            return Ok(Self::Ended);
        }
        match (codings.next(), length) {
            (None, Some(0)) => Ok(Self::Ended),
            (None, Some(length)) => Ok(Self::Length(length)),
            (None, None) => Ok(Self::Close),
            (Some(_), Some(_)) => Err("the answer tells its length in two ways"),
            (Some(_), None) if answer.version() != Version::HTTP_11 => {
                Err("an HTTP/1.0 answer has a transfer encoding")
            }
            (Some(one), None)
                if one.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none() =>
            {
                Ok(Self::Chunks(Chunk::Head))
            }
            (Some(_), None) => Err("the answer has a transfer encoding other than chunked"),
        }
    }
}

/// Returns the length that an answer tells. Told twice, it must be the same (RFC 9110 8.6).
fn length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    const BAD: &str = "the answer's length is no number";
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for part in value.as_bytes().split(|b| *b == b',') {
            let digits = part.trim_ascii();
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(BAD);
            }
            let text = std::str::from_utf8(digits).map_err(|_| BAD)?;
            let told: u64 = text.parse().map_err(|_| BAD)?;
            if length.is_some_and(|other| other != told) {
                return Err("the answer tells two lengths");
            }
            length = Some(told);
        }
    }
    Ok(length)
}

impl Arriving {
    pub(super) fn kept(mut kept: Box<Kept>, frames: Frames) -> Self {
        kept.used = true;
        Self::Kept(FromKept { kept: Some(kept), frames })
    }

    /// Returns the connection if the body has ended and left it ready for another request.
    pub(crate) fn into_kept(self) -> Option<Box<Kept>> {
        match self {
            Self::General(_) => None,
            Self::Kept(from) if from.frames == Frames::Ended => {
                from.kept.filter(|kept| kept.arrived.is_empty())
            }
            Self::Kept(_) => None,
        }
    }
}

impl FromKept {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(kept) = &mut self.kept else { return Poll::Ready(None) };
        loop {
            match next(kept, &mut self.frames) {
                Ok(Next::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Next::End) => return Poll::Ready(None),
                Ok(Next::More(room)) => match ready!(kept.poll_more(room, cx)) {
                    Ok(0) if self.frames == Frames::Close => {
                        self.frames = Frames::Ended;
                        self.kept = None;
                        return Poll::Ready(None);
                    }
                    Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                Err(why) => return Poll::Ready(Some(Err(io::Error::other(why)))),
            }
        }
    }
}

/// What comes next of a body.
enum Next {
    Frame(Frame<Bytes>),
    /// It needs more bytes; for so many there should be room.
    More(usize),
    End,
}

/// Takes what comes next out of what arrived.
fn next(kept: &mut Kept, frames: &mut Frames) -> Result<Next, &'static str> {
    let arrived = &mut kept.arrived;
    loop {
        match frames {
            Frames::Ended => return Ok(Next::End),
            Frames::Length(left) | Frames::Chunks(Chunk::Data(left)) => {
                if arrived.is_empty() {
                    let long = *left > LONG_PART as u64;
                    return Ok(Next::More(if long { LONG_PART } else { PART }));
                }
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(arrived.len());
                *left -= take as u64;
                let ended = *left == 0;
                let frame = Frame::data(arrived.split_to(take).freeze());
                if ended {
                    let chunks = matches!(frames, Frames::Chunks(_));
                    *frames = if chunks { Frames::Chunks(Chunk::Tail) } else { Frames::Ended };
                }
                return Ok(Next::Frame(frame));
            }
            Frames::Close if arrived.is_empty() => return Ok(Next::More(PART)),
            Frames::Close => return Ok(Next::Frame(Frame::data(arrived.split().freeze()))),
            Frames::Chunks(Chunk::Tail) => match &arrived[..] {
                [b'\r', b'\n', ..] => {
                    arrived.advance(2);
                    *frames = Frames::Chunks(Chunk::Head);
                }
                [] | [b'\r'] => return Ok(Next::More(PART)),
                _ => return Err("a chunk of the answer is longer than it says"),
            },
            Frames::Chunks(Chunk::Head) => match line(arrived)? {
                Some(end) => {
                    let length = chunk_length(&arrived[..end])?;
                    arrived.advance(end + 2);
                    let data = Chunk::Data(length);
                    *frames = Frames::Chunks(if length == 0 { Chunk::Trailers } else { data });
                }
                None => return Ok(Next::More(PART)),
            },
            Frames::Chunks(Chunk::Trailers) => match trailers(arrived)? {
                Some(trailers) => {
                    *frames = Frames::Ended;
                    if !trailers.is_empty() {
                        return Ok(Next::Frame(Frame::trailers(trailers)));
                    }
                }
                None => return Ok(Next::More(PART)),
            },
        }
    }
}

/// Returns where a line ends; none if its end has not arrived.
fn line(arrived: &[u8]) -> Result<Option<usize>, &'static str> {
    let bad = "a chunk of the answer does not say its length";
    match arrived.iter().position(|b| *b == b'\n') {
        Some(end) if end > 0 && end <= LINE_MAX && arrived[end - 1] == b'\r' => Ok(Some(end - 1)),
        Some(_) => Err(bad),
        None if arrived.len() > LINE_MAX => Err(bad),
        None => Ok(None),
    }
}

/// Reads a chunk's length (RFC 9112 7.1); what stands behind a semicolon means nothing here.
fn chunk_length(line: &[u8]) -> Result<u64, &'static str> {
    let digits = line.split(|b| *b == b';').next().unwrap_or_default();
    // Some servers pad the number with blanks.
    let digits = digits.trim_ascii_end();
    let hexadecimal = !digits.is_empty() && digits.len() <= 16;
    let text = std::str::from_utf8(digits).ok().filter(|_| hexadecimal);
    let number = text.filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()));
    let number = number.and_then(|text| u64::from_str_radix(text, 16).ok());
    number.ok_or("a chunk of the answer does not say its length")
}

/// Takes trailers out of what arrived; none if there is more to come.
fn trailers(arrived: &mut bytes::BytesMut) -> Result<Option<HeaderMap>, &'static str> {
    let bad = "the trailers of the answer are not valid";
    let mut fields = [httparse::EMPTY_HEADER; TRAILERS];
    let (length, headers) = match httparse::parse_headers(arrived, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) => {
            let mut headers = HeaderMap::new();
            for field in fields {
                let name = http::HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| bad)?;
                let value = http::HeaderValue::from_bytes(field.value).map_err(|_| bad)?;
                headers.append(name, value);
            }
            (length, headers)
        }
        Ok(httparse::Status::Partial) if arrived.len() < TRAILERS_MAX => return Ok(None),
        _ => return Err(bad),
    };
    arrived.advance(length);
    Ok(Some(headers))
}

type Error = Box<dyn std::error::Error + Send + Sync>;

impl Body for Arriving {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.get_mut() {
            Self::General(body) => {
                Pin::new(body).poll_frame(cx).map(|f| f.map(|f| f.map_err(Into::into)))
            }
            Self::Kept(from) => from.poll_frame(cx).map(|f| f.map(|f| f.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::General(body) => body.is_end_stream(),
            Self::Kept(from) => from.frames == Frames::Ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::General(body) => body.size_hint(),
            Self::Kept(from) => match &from.frames {
                Frames::Length(left) => SizeHint::with_exact(*left),
                Frames::Ended => SizeHint::with_exact(0),
                Frames::Chunks(_) | Frames::Close => SizeHint::default(),
            },
        }
    }
}
