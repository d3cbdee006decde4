//! A chunked body (RFC 9112 7.1), byte by byte where it frames and in one step where it does not.

use super::head::field;
use super::refusal::Refusal;

/// Most bytes of extensions in a body. Nobody needs them, and they are not passed on.
const EXTENSIONS_MAX: usize = 4 << 10;

/// Most bytes and lines after the last chunk.
const TRAILER_MAX: usize = 8 << 10;
const TRAILER_LINES_MAX: usize = 64;

/// Most digits of a chunk's size.
const DIGITS_MAX: u8 = 15;

/// Where in a body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size { digits: u8 },
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
}

/// What is known of a chunked body that is not whole yet.
#[derive(Debug, Clone)]
pub(super) struct Chunks {
    at: At,
    /// Bytes left of the present chunk; its size while that is read.
    left: u64,
    extensions: usize,
    /// The line after the last chunk that is not whole yet.
    line: Vec<u8>,
    trailer: usize,
    lines: usize,
}

impl Chunks {
    /// Begins at the first chunk's size.
    pub(super) fn new() -> Self {
        Self {
            at: At::Size { digits: 0 },
            left: 0,
            extensions: 0,
            line: Vec::new(),
            trailer: 0,
            lines: 0,
        }
    }

    /// Goes on looking at a body. Returns how many of `bytes` belong to it, and whether it ends
    /// with them.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut at = 0;
        while at < bytes.len() {
            if self.at == At::Data {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += here;
                self.left -= here as u64;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            let byte = bytes[at];
            at += 1;
            if self.step(byte)? {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// Takes one byte that frames; true if the body ends with it.
    fn step(&mut self, byte: u8) -> Result<bool, Refusal> {
        self.at = match (self.at, byte) {
            (At::Size { digits }, b'\r') if digits > 0 => At::SizeLf,
            (At::Size { digits }, b';') if digits > 0 => At::Extension,
            (At::Size { digits }, _) if digits < DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16).ok_or(Refusal::Chunk)?;
                self.left = self.left << 4 | u64::from(digit);
                At::Size { digits: digits + 1 }
            }
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, b'\t' | b' '..=0x7e | 0x80..) if self.extensions < EXTENSIONS_MAX => {
                self.extensions += 1;
                At::Extension
            }
            (At::SizeLf, b'\n') if self.left == 0 => At::Trailer,
            (At::SizeLf, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size { digits: 0 },
            (At::Trailer, _) => return self.trailer(byte),
            _ => return Err(Refusal::Chunk),
        };
        Ok(false)
    }

    fn trailer(&mut self, byte: u8) -> Result<bool, Refusal> {
        self.trailer += 1;
        // Said at once: what is passed on before its line ends is read by the HTTP layer.
        let bare = self.line.ends_with(b"\r") && byte != b'\n';
        if bare || self.trailer > TRAILER_MAX {
            return Err(Refusal::Trailer);
        }
        if byte != b'\n' {
            self.line.push(byte);
            return Ok(false);
        }
        let line = self.line.strip_suffix(b"\r").ok_or(Refusal::Trailer)?;
        if line.is_empty() {
            return Ok(true);
        }
        let field = field(line).map_err(|_| Refusal::Trailer)?;
        self.lines += 1;
        // Nothing that comes after a body can say where it ended or whom it is for.
        let late: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];
        if field.alias
            || self.lines > TRAILER_LINES_MAX
            || late.iter().any(|name| field.name.eq_ignore_ascii_case(name))
        {
            return Err(Refusal::Trailer);
        }
        self.line.clear();
        Ok(false)
    }
}
