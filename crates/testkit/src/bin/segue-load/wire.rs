//! Reading HTTP/1.1 answers byte by byte, so that every way an answer can break
//! off is told apart.

use crate::fail::Fail;

/// Longest answer head that is accepted, in bytes.
const HEAD_MAX: usize = 16 * 1024;

/// How the body of an answer ends (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// With a chunk of size zero.
    Chunked,
    /// With the connection.
    Close,
}

/// The parts of an answer's head that a client of the shop looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Status code.
    pub(crate) status: u16,
    /// How the body ends.
    pub(crate) framing: Framing,
    /// Whether the connection may carry another request.
    pub(crate) keep: bool,
    /// Value of `x-shop-side`.
    pub(crate) side: Option<String>,
    /// Value of the cookie `sid` that the answer sets.
    pub(crate) sid: Option<String>,
}

/// Parses an answer's head. Returns it with its length in bytes, or nothing if more
/// bytes are needed.
///
/// # Errors
/// [`Fail::Protocol`] if the bytes are not an HTTP/1 answer.
pub(crate) fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Fail> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() > HEAD_MAX { Err(Fail::Protocol("head")) } else { Ok(None) };
    };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| Fail::Protocol("head"))?;
    let mut lines = text.split("\r\n");
    let (status, minor) = status_line(lines.next().unwrap_or_default())?;
    let mut head =
        Head { status, framing: Framing::Close, keep: minor == 1, side: None, sid: None };
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Fail::Protocol("header"))?;
        header(&mut head, name, value.trim())?;
    }
    if matches!(status, 100..=199 | 204 | 304) {
        head.framing = Framing::Empty;
    }
    if head.framing == Framing::Close {
        head.keep = false;
    }
    Ok(Some((head, end + 4)))
}

fn status_line(line: &str) -> Result<(u16, u8), Fail> {
    let (version, rest) = line.split_once(' ').ok_or(Fail::Protocol("status line"))?;
    let minor = match version {
        "HTTP/1.1" => 1,
        "HTTP/1.0" => 0,
        _ => return Err(Fail::Protocol("version")),
    };
    let status = rest.get(..3).and_then(|code| code.parse().ok());
    Ok((status.ok_or(Fail::Protocol("status line"))?, minor))
}

fn header(head: &mut Head, name: &str, value: &str) -> Result<(), Fail> {
    if name.eq_ignore_ascii_case("content-length") {
        let length = value.parse().map_err(|_| Fail::Protocol("content-length"))?;
        if head.framing != Framing::Chunked {
            head.framing = Framing::Length(length);
        }
    } else if name.eq_ignore_ascii_case("transfer-encoding") {
        if !value.eq_ignore_ascii_case("chunked") {
            return Err(Fail::Protocol("transfer-encoding"));
        }
        head.framing = Framing::Chunked;
    } else if name.eq_ignore_ascii_case("connection") {
        for option in value.split(',') {
            match option.trim() {
                close if close.eq_ignore_ascii_case("close") => head.keep = false,
                keep if keep.eq_ignore_ascii_case("keep-alive") => head.keep = true,
                _ => {}
            }
        }
    } else if name.eq_ignore_ascii_case("x-shop-side") {
        head.side = Some(value.to_owned());
    } else if name.eq_ignore_ascii_case("set-cookie") {
        let pair = value.split(';').next().unwrap_or_default().trim();
        if let Some(sid) = pair.strip_prefix("sid=") {
            head.sid = Some(sid.to_owned());
        }
    }
    Ok(())
}

/// Takes a body out of the bytes of a connection as they come.
#[derive(Debug)]
pub(crate) enum Body {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks; the state of the current one.
    Chunked(Chunk),
    /// Everything until the connection ends.
    Close,
}

/// Where a chunked body stands (RFC 9112 section 7.1).
#[derive(Debug)]
pub(crate) enum Chunk {
    /// A line with a size, so far.
    Size(Vec<u8>),
    /// Bytes of a chunk still to come.
    Data(u64),
    /// The line break after a chunk; bytes of it still to come.
    DataEnd(u8),
    /// A line of the trailer, so far.
    Trailer(Vec<u8>),
    /// All came.
    End,
}

impl Body {
    /// Returns a reader for a body that ends as the head said.
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Empty => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunk::Size(Vec::new())),
            Framing::Close => Self::Close,
        }
    }

    /// Whether the whole body came.
    pub(crate) fn complete(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::End))
    }

    /// Whether the end of the connection here is the end of the body.
    pub(crate) fn may_end_here(&self) -> bool {
        self.complete() || matches!(self, Self::Close)
    }

    /// Takes bytes of the body out of `bytes` into `out`; returns how many were used.
    ///
    /// # Errors
    /// [`Fail::Protocol`] if the chunks are not well formed.
    pub(crate) fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Fail> {
        match self {
            Self::Close => {
                out.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Self::Length(left) => Ok(take_data(left, bytes, out)),
            Self::Chunked(chunk) => {
                let mut used = 0;
                while used < bytes.len() && !matches!(chunk, Chunk::End) {
                    used += chunk.step(&bytes[used..], out)?;
                }
                Ok(used)
            }
        }
    }
}

fn take_data(left: &mut u64, bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    out.extend_from_slice(&bytes[..count]);
    *left -= count as u64;
    count
}

impl Chunk {
    /// Uses at least one byte of `bytes`, which is not empty.
    fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Fail> {
        match self {
            Self::Size(line) => {
                let (used, whole) = take_line(line, bytes)?;
                if whole {
                    *self = match chunk_size(line)? {
                        0 => Self::Trailer(Vec::new()),
                        size => Self::Data(size),
                    };
                }
                Ok(used)
            }
            Self::Data(left) => {
                let used = take_data(left, bytes, out);
                if *left == 0 {
                    *self = Self::DataEnd(2);
                }
                Ok(used)
            }
            Self::DataEnd(left) => {
                let expected = if *left == 2 { b'\r' } else { b'\n' };
                if bytes[0] != expected {
                    return Err(Fail::Protocol("chunk"));
                }
                *self = if *left == 2 { Self::DataEnd(1) } else { Self::Size(Vec::new()) };
                Ok(1)
            }
            Self::Trailer(line) => {
                let (used, whole) = take_line(line, bytes)?;
                if whole {
                    *self = if line.is_empty() { Self::End } else { Self::Trailer(Vec::new()) };
                }
                Ok(used)
            }
            Self::End => Ok(0),
        }
    }
}

/// Collects a line without its end; returns bytes used and whether it is whole.
fn take_line(line: &mut Vec<u8>, bytes: &[u8]) -> Result<(usize, bool), Fail> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let used = end.map_or(bytes.len(), |at| at + 1);
    line.extend_from_slice(&bytes[..end.unwrap_or(used)]);
    if line.len() > HEAD_MAX {
        return Err(Fail::Protocol("chunk"));
    }
    if end.is_some() && line.pop_if(|byte| *byte == b'\r').is_none() {
        return Err(Fail::Protocol("chunk"));
    }
    Ok((used, end.is_some()))
}

fn chunk_size(line: &[u8]) -> Result<u64, Fail> {
    let text = std::str::from_utf8(line).map_err(|_| Fail::Protocol("chunk size"))?;
    let digits = text.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(digits, 16).map_err(|_| Fail::Protocol("chunk size"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_status_framing_side_and_cookie() {
        let bytes = b"HTTP/1.1 204 No Content\r\nX-Shop-Side: target\r\n\
            Set-Cookie: sid=ab12; Path=/\r\nConnection: keep-alive\r\n\r\nrest";
        let (head, length) = parse_head(bytes).unwrap().unwrap();
        assert_eq!(&bytes[length..], b"rest");
        assert_eq!(head.status, 204);
        assert_eq!(head.framing, Framing::Empty);
        assert!(head.keep);
        assert_eq!(head.side.as_deref(), Some("target"));
        assert_eq!(head.sid.as_deref(), Some("ab12"));
    }

    #[test]
    fn waits_for_a_whole_head_and_refuses_what_is_not_http() {
        assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\nA: b\r\n").unwrap(), None);
        assert!(parse_head(b"SSH-2.0-x\r\n\r\n").is_err());
        assert!(parse_head(b"HTTP/1.1 2x0 OK\r\n\r\n").is_err());
    }

    #[test]
    fn chunked_wins_over_length_in_either_order() {
        for lines in [
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
            assert_eq!(parse_head(text.as_bytes()).unwrap().unwrap().0.framing, Framing::Chunked);
        }
    }

    #[test]
    fn takes_chunks_cut_at_any_byte() {
        let bytes = b"4;x=y\r\nwiki\r\n5\r\npedia\r\n0\r\nT: v\r\n\r\nnext";
        for cut in 1..bytes.len() {
            let mut body = Body::new(Framing::Chunked);
            let mut out = Vec::new();
            let mut used = body.take(&bytes[..cut], &mut out).unwrap();
            if used == cut {
                used += body.take(&bytes[cut..], &mut out).unwrap();
            }
            assert!(body.complete(), "cut at {cut}");
            assert_eq!(out, b"wikipedia");
            assert_eq!(&bytes[used..], b"next");
        }
    }

    #[test]
    fn a_chunked_body_is_not_complete_without_its_last_line() {
        let mut body = Body::new(Framing::Chunked);
        body.take(b"4\r\nwiki\r\n0\r\n", &mut Vec::new()).unwrap();
        assert!(!body.complete() && !body.may_end_here());
    }
}
