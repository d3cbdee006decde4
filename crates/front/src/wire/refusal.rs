//! Why a request is refused before anybody carries it out.

use http::StatusCode;

/// What is wrong with a request's head or with the framing of its body. Each of these is
/// read in one way by one server and in another way by the next one (RFC 9112 11.2), or
/// would be read so if it were passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    /// A line does not end with CR LF, or there is a CR, NUL or other control byte in it.
    Control,
    /// The first line is not method, target and version with one space between each.
    RequestLine,
    /// The target is none of the four forms (RFC 9112 3.2), or has a fragment.
    Target,
    /// This is no HTTP/1.0 and no HTTP/1.1.
    Version,
    /// A proxy is asked for a tunnel.
    Connect,
    /// A line goes on with the next one (RFC 9112 5.2).
    Fold,
    /// A header's name is no token right before its colon (RFC 9112 5.1).
    Name,
    /// A name that CGI and its kin take for one that frames, routes or names the client.
    Alias,
    /// `Host` is missing, there are several, or it names no host (RFC 9112 3.2).
    Host,
    /// `:authority` and `Host` name two hosts (RFC 9113 8.3.1).
    TwoHosts,
    /// `Content-Length` is no number of at most 18 digits (RFC 9112 6.3).
    Length,
    /// More than one `Content-Length`.
    Lengths,
    /// `Content-Length` and `Transfer-Encoding` (RFC 9112 6.1).
    LengthAndCoding,
    /// A `Transfer-Encoding` other than `chunked`.
    Coding,
    /// More than one `Transfer-Encoding`, or one in HTTP/1.0.
    Codings,
    /// The head is longer than 64 KiB, or has more than 100 lines.
    Long,
    /// A chunk's size or end is not in its form (RFC 9112 7.1).
    Chunk,
    /// The lines after the last chunk are not in their form, or would frame or route.
    Trailer,
}

impl Refusal {
    /// Returns whether everybody reads the request in the same way, and no front can pass it on.
    pub(crate) fn is_clear(self) -> bool {
        matches!(self, Self::Connect)
    }

    /// Returns the answer's status.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::Coding => StatusCode::NOT_IMPLEMENTED,
            Self::Long => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Says what is wrong, for the answer's line.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::Control => "a line of the request ends without CR LF or has a control byte",
            Self::RequestLine => "the request line is not method, target and version",
            Self::Target => "the request target is not valid",
            Self::Version => "only HTTP/1.0 and HTTP/1.1 are spoken here",
            Self::Connect => "this is no forward proxy",
            Self::Fold => "a header goes on in the next line",
            Self::Name => "a header's name is not valid",
            Self::Alias => "a header's name has an underscore where a known one has a hyphen",
            Self::Host => "exactly one Host header is needed",
            Self::TwoHosts => "`:authority` and Host name two hosts",
            Self::Length => "Content-Length is not a number, or not that of the body",
            Self::Lengths => "there is more than one Content-Length",
            Self::LengthAndCoding => "there are Content-Length and Transfer-Encoding",
            Self::Coding => "transfer encodings other than chunked",
            Self::Codings => "Transfer-Encoding is there twice or in HTTP/1.0",
            Self::Long => "the request's head is too long",
            Self::Chunk => "the body's chunks are not valid",
            Self::Trailer => "the lines after the body are not valid",
        }
    }
}
