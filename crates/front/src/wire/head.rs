//! A request's head, line by line, as strict as RFC 9112 lets a server be.

use super::refusal::Refusal;

/// Longest head, bytes; one of this length fits into the HTTP layer's buffer.
pub(crate) const HEAD_MAX: usize = 64 << 10;

/// Most headers: the HTTP layer has room for no more.
const LINES_MAX: usize = 100;

/// What a byte may stand for; bits.
const TOKEN: u8 = 1;
const UNDERSCORE: u8 = 1 << 1;
const PATH: u8 = 1 << 2;
const QUERY: u8 = 1 << 3;
const HOST: u8 = 1 << 4;

/// What each byte may stand for. `<`, `>`, and the others that no URI has stand for nothing;
/// bytes of UTF-8 do in a target, because clients send them and sites answer them.
static CLASS: [u8; 256] = {
    let mut class = [0_u8; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let mut bits = 0;
        if byte.is_ascii_alphanumeric() {
            bits |= TOKEN | HOST;
        }
        bits |= match byte {
            b'_' => TOKEN | UNDERSCORE | HOST,
            b'-' | b'.' | b'%' => TOKEN | HOST,
            b'!' | b'#' | b'$' | b'&' | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|' | b'~' => TOKEN,
            b':' | b'[' | b']' => HOST,
            _ => 0,
        };
        if (byte > b' ' && byte < 0x7f || byte >= 0x80) && !matches!(byte, b'#' | b'<' | b'>') {
            bits |= match byte {
                b'"' => PATH,
                b'`' => QUERY,
                _ => PATH | QUERY,
            };
        }
        class[at] = bits;
        at += 1;
    }
    class
};

fn all(bytes: &[u8], bits: u8) -> bool {
    bytes.iter().all(|b| CLASS[usize::from(*b)] & bits != 0)
}

/// How a request's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes; none for a request without body.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// What a whole head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// Its length, bytes.
    pub(super) length: usize,
    /// What comes after it.
    pub(super) framing: Framing,
    /// Whether it names a protocol to change to.
    pub(super) upgrade: bool,
}

/// What is known of a head that is not whole yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// Where the line begins that is looked at.
    line: usize,
    /// Up to where there is no further line end.
    searched: usize,
    lines: usize,
    /// The request line was there.
    begun: bool,
    /// An empty line before it was skipped.
    skipped: bool,
    /// HTTP/1.0.
    ten: bool,
    host: bool,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl Head {
    /// Returns whether nothing was looked at yet.
    #[cfg(test)]
    pub(super) fn is_fresh(&self) -> bool {
        self.searched == 0
    }

    /// Goes on looking at a head; `bytes` begins where it begins. None while it is not whole.
    ///
    /// # Errors
    /// What is wrong, as soon as it is seen.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Result<Option<Facts>, Refusal> {
        while let Some(end) = memchr::memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + end;
            if end >= HEAD_MAX {
                return Err(Refusal::Long);
            }
            let line = bytes[self.line..end].strip_suffix(b"\r").ok_or(Refusal::Control)?;
            self.line = end + 1;
            self.searched = end + 1;
            if !self.begun {
                self.first(line)?;
            } else if line.is_empty() {
                return self.end().map(Some);
            } else {
                self.header(line)?;
            }
        }
        self.searched = bytes.len();
        if bytes.len() >= HEAD_MAX {
            return Err(Refusal::Long);
        }
        // Whoever speaks something else, TLS above all, is told at once.
        let begins = |first: &u8| *first == b'\r' || all(&[*first], TOKEN);
        if !self.begun && !bytes.get(self.line).is_none_or(begins) {
            return Err(Refusal::RequestLine);
        }
        Ok(None)
    }

    /// Old clients send an empty line after a body (RFC 9112 2.2): one is skipped.
    fn first(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if line.is_empty() && !self.skipped {
            self.skipped = true;
            return Ok(());
        }
        self.ten = request_line(line)?;
        self.begun = true;
        Ok(())
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Refusal> {
        self.lines += 1;
        if self.lines > LINES_MAX {
            return Err(Refusal::Long);
        }
        let Field { name, value, alias } = field(line)?;
        if alias {
            return Err(Refusal::Alias);
        }
        // Most names are ruled out by their length.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.coding(value),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.host || !all(value, HOST) {
            return Err(Refusal::Host);
        }
        self.host = true;
        Ok(())
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(Refusal::Lengths);
        }
        self.length = Some(content_length(value)?);
        Ok(())
    }

    fn coding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked || self.ten {
            return Err(Refusal::Codings);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::Coding);
        }
        self.chunked = true;
        Ok(())
    }

    fn end(&self) -> Result<Facts, Refusal> {
        if !self.host && !self.ten {
            return Err(Refusal::Host);
        }
        let framing = match (self.length, self.chunked) {
            (Some(_), true) => return Err(Refusal::LengthAndCoding),
            (None, true) => Framing::Chunked,
            (length, false) => Framing::Length(length.unwrap_or(0)),
        };
        Ok(Facts { length: self.line, framing, upgrade: self.upgrade })
    }
}

/// Reads a `Content-Length` (RFC 9112 6.3).
pub(super) fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    // Leading zeros are octal to some.
    let leading = value.len() > 1 && value.starts_with(b"0");
    if value.is_empty() || value.len() > 18 || leading || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Length);
    }
    // 18 digits fit.
    Ok(value.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0')))
}

/// Returns whether bytes may be those of a host with or without port.
pub(super) fn is_host(value: &[u8]) -> bool {
    all(value, HOST)
}

/// Checks a request line (RFC 9112 3). Returns whether it is one of HTTP/1.0.
fn request_line(line: &[u8]) -> Result<bool, Refusal> {
    if !line.first().is_some_and(|first| all(&[*first], TOKEN)) {
        return Err(Refusal::RequestLine);
    }
    if !printable(line) {
        return Err(Refusal::Control);
    }
    let mut parts = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::RequestLine);
    };
    if method.is_empty() || target.is_empty() || !all(method, TOKEN) {
        return Err(Refusal::RequestLine);
    }
    let ten = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ if version.starts_with(b"HTTP/") => return Err(Refusal::Version),
        _ => return Err(Refusal::RequestLine),
    };
    if method == b"CONNECT" {
        return Err(Refusal::Connect);
    }
    if is_target(method, target) { Ok(ten) } else { Err(Refusal::Target) }
}

/// Returns whether a target is in origin form, absolute form, or `*` for `OPTIONS`.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    match target {
        b"*" | [b'/', ..] => is_origin(method, target),
        _ => after_authority(target).is_some_and(is_path),
    }
}

/// Returns whether a target is in origin form, or `*` for `OPTIONS`.
pub(super) fn is_origin(method: &[u8], target: &[u8]) -> bool {
    match target {
        b"*" => method == b"OPTIONS",
        [b'/', ..] => is_path(target),
        _ => false,
    }
}

/// Returns whether path and query hold nothing that no URI has.
fn is_path(path: &[u8]) -> bool {
    let mark = memchr::memchr(b'?', path).unwrap_or(path.len());
    all(&path[..mark], PATH)
        && all(&path[mark..], QUERY)
        && (path.is_ascii() || std::str::from_utf8(path).is_ok())
}

/// Returns path and query of a target in absolute form, as clients send it to a proxy.
fn after_authority(target: &[u8]) -> Option<&[u8]> {
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
        target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme)
    })?;
    let rest = &target[scheme.len()..];
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let valid = all(authority, HOST) && http::uri::Authority::try_from(authority).is_ok();
    valid.then_some(path)
}

/// One line of name and value.
pub(super) struct Field<'a> {
    /// The name, a token.
    pub(super) name: &'a [u8],
    /// The value, without the white space around it.
    pub(super) value: &'a [u8],
    /// Whether the name is another spelling of one that matters.
    pub(super) alias: bool,
}

/// Takes a line of a head or a trailer apart (RFC 9112 5).
pub(super) fn field(line: &[u8]) -> Result<Field<'_>, Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::Fold);
    }
    let mut bits = 0;
    let end = line.iter().position(|b| {
        let class = CLASS[usize::from(*b)];
        bits |= class;
        class & TOKEN == 0
    });
    let (name, value) = line.split_at(end.ok_or(Refusal::Name)?);
    let value = match value {
        [b':', value @ ..] if !name.is_empty() => value,
        _ => return Err(Refusal::Name),
    };
    if !printable(value) {
        return Err(Refusal::Control);
    }
    let alias = bits & UNDERSCORE != 0 && is_alias(name);
    Ok(Field { name, value: trimmed(value), alias })
}

/// Returns whether there is no control byte but the tabulator. Without an early end, so that
/// many bytes are looked at at once.
pub(super) fn printable(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |bad, b| bad | ((*b < b' ') & (*b != b'\t')) | (*b == 0x7f))
}

/// Takes spaces and tabulators off both ends, and nothing else.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Returns whether a name with underscores becomes one that matters where `-` and `_` are the
/// same: CGI, WSGI, Rack and their kin.
pub(super) fn is_alias(name: &[u8]) -> bool {
    const KNOWN: [&[u8]; 8] = [
        b"content-length",
        b"transfer-encoding",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-segue-probe",
        b"x-segue-to",
        b"x-segue-via",
    ];
    let same = |known: &&[u8]| {
        known.len() == name.len()
            && known.iter().zip(name).all(|(k, n)| {
                let n = if *n == b'_' { b'-' } else { n.to_ascii_lowercase() };
                *k == n
            })
    };
    KNOWN.iter().any(same)
}
