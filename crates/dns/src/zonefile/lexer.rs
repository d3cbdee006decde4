//! Octets of a zone file to entries of tokens (RFC 1035 section 5.1).
//!
//! **Invariant.** Escapes stay as they are written: only who knows what a token stands for
//! can tell `\.` in a name from a dot. What ends a token is what ends it for BIND.

use super::problem::Wrong;

/// Most octets of a token; nothing that a record can hold is written longer.
const TOKEN_MAX: usize = 1 << 18;

/// A word, or a text in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'t> {
    /// As it is written, without its quotes.
    pub(super) raw: &'t [u8],
    /// Whether it stands in quotes.
    pub(super) quoted: bool,
    /// Whether nothing stands between it and the token before.
    pub(super) joined: bool,
}

impl Token<'_> {
    /// Whether it is this word without quotes, in any case.
    pub(super) fn is(&self, word: &str) -> bool {
        !self.quoted && self.raw.eq_ignore_ascii_case(word.as_bytes())
    }

    /// Returns it as text for a person.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(self.raw).into_owned()
    }
}

/// One entry: everything up to the end of a line outside parentheses.
#[derive(Debug, Default)]
pub(super) struct Entry<'t> {
    /// Line on which it begins, from 1.
    pub(super) line: u32,
    /// Whether it begins with blanks: its owner is the one of the entry before.
    pub(super) blank: bool,
    /// Its tokens, at least one.
    pub(super) tokens: Vec<Token<'t>>,
}

/// Reads entries from octets.
pub(super) struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    line: u32,
}

impl<'t> Lexer<'t> {
    /// Starts at the first line.
    pub(super) fn new(text: &'t [u8]) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// Returns the line that is being read, from 1.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// Returns how many octets have been read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Reads the next entry into `entry`; `false` at the end of the file.
    ///
    /// # Errors
    /// Quotes or parentheses that do not match, an octet 0, or a token without end.
    pub(super) fn next(&mut self, entry: &mut Entry<'t>) -> Result<bool, Wrong> {
        entry.tokens.clear();
        entry.line = self.line;
        entry.blank = matches!(self.peek(), Some(b' ' | b'\t'));
        let (mut depth, mut joined) = (0_u32, false);
        while let Some(octet) = self.peek() {
            match octet {
                b' ' | b'\t' => {
                    self.at += 1;
                    joined = false;
                }
                b';' => self.skip_comment(),
                b'\n' | b'\r' => {
                    self.end_line();
                    joined = false;
                    if depth == 0 {
                        if !entry.tokens.is_empty() {
                            return Ok(true);
                        }
                        entry.line = self.line;
                        entry.blank = matches!(self.peek(), Some(b' ' | b'\t'));
                    }
                }
                b'(' => {
                    self.at += 1;
                    depth += 1;
                    joined = false;
                }
                b')' => {
                    self.at += 1;
                    depth = depth.checked_sub(1).ok_or("`)` without its `(`")?;
                    joined = false;
                }
                b'"' => {
                    let token = self.quoted(joined)?;
                    entry.tokens.push(token);
                    joined = true;
                }
                _ => {
                    let token = self.word(joined)?;
                    entry.tokens.push(token);
                    joined = true;
                }
            }
        }
        if depth > 0 {
            return Err("the file ends before `)`".into());
        }
        Ok(!entry.tokens.is_empty())
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Takes the end of a line: LF, CR or both.
    fn end_line(&mut self) {
        if self.peek() == Some(b'\r') {
            self.at += 1;
            if self.peek() == Some(b'\n') {
                self.at += 1;
            }
        } else {
            self.at += 1;
        }
        self.line += 1;
    }

    fn skip_comment(&mut self) {
        // A carriage return alone ends a line, but no comment, as BIND has it.
        while !matches!(self.peek(), None | Some(b'\n')) {
            self.at += 1;
        }
    }

    fn quoted(&mut self, joined: bool) -> Result<Token<'t>, Wrong> {
        self.at += 1;
        let begin = self.at;
        let mut escaped = false;
        loop {
            let Some(octet) = self.peek() else {
                return Err("the file ends inside quotes".into());
            };
            match octet {
                0 => return Err("an octet 0 inside quotes".into()),
                b'\n' | b'\r' => return Err("the line ends inside quotes".into()),
                b'"' if !escaped => break,
                _ => escaped = !escaped && octet == b'\\',
            }
            self.at += 1;
        }
        let raw = self.token(begin)?;
        self.at += 1;
        Ok(Token { raw, quoted: true, joined })
    }

    fn word(&mut self, joined: bool) -> Result<Token<'t>, Wrong> {
        let begin = self.at;
        let mut escaped = false;
        while let Some(octet) = self.peek() {
            match octet {
                0 => return Err("an octet 0".into()),
                b'\n' | b'\r' => break,
                b' ' | b'\t' | b';' | b'(' | b')' | b'"' if !escaped => break,
                _ => escaped = !escaped && octet == b'\\',
            }
            self.at += 1;
        }
        Ok(Token { raw: self.token(begin)?, quoted: false, joined })
    }

    fn token(&self, begin: usize) -> Result<&'t [u8], Wrong> {
        let raw = self.text.get(begin..self.at).unwrap_or_default();
        if raw.len() > TOKEN_MAX {
            return Err(format!("a token of more than {TOKEN_MAX} octets").into());
        }
        Ok(raw)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Result<Vec<(u32, bool, Vec<String>)>, Wrong> {
        let mut lexer = Lexer::new(text.as_bytes());
        let (mut entry, mut found) = (Entry::default(), Vec::new());
        while lexer.next(&mut entry)? {
            let tokens = entry.tokens.iter().map(Token::text).collect();
            found.push((entry.line, entry.blank, tokens));
        }
        Ok(found)
    }

    #[test]
    fn splits_where_a_zone_file_does() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            entries("a b;c\n\n ; nothing\r\n\tc(d\ne) \"f g\"h\\ i\nlast").unwrap(),
            [
                (1, false, words(&["a", "b"])),
                (4, true, words(&["c", "d", "e", "f g", "h\\ i"])),
                (6, false, words(&["last"])),
            ]
        );
        assert_eq!(entries("a \"\\\"\" \\\"\n").unwrap()[0].2, ["a", "\\\"", "\\\""]);
    }

    #[test]
    fn refuses_what_does_not_match() {
        for text in ["a )", "a (\nb\n", "\"a\nb\"", "\"a", "a\0b", "\"\0\""] {
            assert!(entries(text).is_err(), "{text:?}");
        }
    }
}
