//! Tokens of one entry as the record types of the DNS library read them.
//!
//! **Invariant.** A name is relative to the origin unless it ends with a dot, and `@` is
//! the origin. Quotes are for text alone; where a word must stand, a text in quotes is
//! refused, as BIND does.

use super::lexer::Token;
use super::problem::Wrong;
use crate::sets::Owner;
use bytes::{Bytes, BytesMut};
use domain::base::charstr::CharStr;
use domain::base::name::Name;
use domain::base::scan::{ConvertSymbols, EntrySymbol, Scanner, Symbol};
use domain::dep::octseq::str::Str;

/// Most octets of a name and of a label on the wire (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 255;
const LABEL_MAX: usize = 63;

/// The tokens that are left of an entry.
pub(super) struct Scan<'s, 't> {
    tokens: &'s [Token<'t>],
    origin: &'s Owner,
}

impl<'s, 't> Scan<'s, 't> {
    /// Takes the tokens of record data, and the origin of relative names in it.
    pub(super) fn new(tokens: &'s [Token<'t>], origin: &'s Owner) -> Self {
        Self { tokens, origin }
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> Result<Token<'t>, Wrong> {
        let (first, rest) = self.tokens.split_first().ok_or("the line ends too early")?;
        self.tokens = rest;
        Ok(*first)
    }

    /// Takes the next token, which must be a plain word: neither in quotes nor with escapes,
    /// which only texts and names have.
    pub(super) fn word(&mut self) -> Result<Token<'t>, Wrong> {
        let token = self.next()?;
        if token.raw.contains(&b'\\') {
            return Err(format!("`{}` has an escape where none is read", token.text()).into());
        }
        if token.quoted {
            return Err(
                format!("\"{}\" stands in quotes where a word is wanted", token.text()).into()
            );
        }
        Ok(token)
    }

    /// Takes the next token as a string of the character set of host names and numbers.
    pub(super) fn ascii(&mut self) -> Result<String, Wrong> {
        String::from_utf8(self.word()?.raw.to_vec()).map_err(|_| "a word that is not ASCII".into())
    }

    /// Fails if tokens are left.
    pub(super) fn finish(self) -> Result<(), Wrong> {
        match self.tokens.first() {
            Some(token) => Err(format!("`{}` is too much", token.text()).into()),
            None => Ok(()),
        }
    }
}

/// Reads a token as symbols.
fn symbols(raw: &[u8]) -> impl Iterator<Item = Result<Symbol, Wrong>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let octet = *raw.get(at)?;
        at += 1;
        if octet != b'\\' {
            // An octet beyond ASCII stands for itself, whatever it meant in some encoding.
            let symbol = if octet.is_ascii() {
                Symbol::Char(octet.into())
            } else {
                Symbol::DecimalEscape(octet)
            };
            return Some(Ok(symbol));
        }
        let Some(escaped) = raw.get(at).copied() else {
            return Some(Err("`\\` at the end of a token".into()));
        };
        if !escaped.is_ascii_digit() {
            at += 1;
            return Some(Ok(Symbol::SimpleEscape(escaped)));
        }
        let digits = raw.get(at..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_digit));
        at += 3;
        let value = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        Some(
            value
                .map(Symbol::DecimalEscape)
                .ok_or_else(|| "`\\` wants three digits, at most 255".into()),
        )
    })
}

fn octet(symbol: Symbol) -> u8 {
    match symbol {
        // Only ASCII comes as a character.
        Symbol::Char(c) => c as u8,
        Symbol::SimpleEscape(octet) | Symbol::DecimalEscape(octet) => octet,
    }
}

/// Reads a token as octets, escapes resolved.
pub(super) fn octets(raw: &[u8]) -> Result<Vec<u8>, Wrong> {
    symbols(raw).map(|symbol| symbol.map(octet)).collect()
}

/// Reads a token as a domain name.
///
/// # Errors
/// An empty label, one of more than 63 octets, or a name of more than 255.
pub(super) fn name(raw: &[u8], origin: &Owner) -> Result<Owner, Wrong> {
    match raw {
        b"@" => return Ok(origin.clone()),
        b"." => return Ok(Name::root_bytes()),
        _ => {}
    }
    let (mut wire, mut label) = (Vec::with_capacity(raw.len() + 2), Vec::new());
    let mut absolute = false;
    for symbol in symbols(raw) {
        let symbol = symbol?;
        absolute = symbol == Symbol::Char('.');
        if absolute {
            push_label(&mut wire, &mut label)?;
        } else {
            label.push(octet(symbol));
        }
    }
    if absolute {
        wire.push(0);
    } else {
        push_label(&mut wire, &mut label)?;
        wire.extend_from_slice(origin.as_slice());
    }
    if wire.len() > NAME_MAX {
        return Err(
            format!("the name has {} octets, at most {NAME_MAX} are possible", wire.len()).into()
        );
    }
    Name::from_octets(Bytes::from(wire)).map_err(|cause| cause.to_string().into())
}

fn push_label(wire: &mut Vec<u8>, label: &mut Vec<u8>) -> Result<(), Wrong> {
    match u8::try_from(label.len()) {
        Ok(0) => Err("a name with an empty label".into()),
        Ok(length) if usize::from(length) <= LABEL_MAX => {
            wire.push(length);
            wire.append(label);
            Ok(())
        }
        _ => {
            Err(format!("a label of {} octets, at most {LABEL_MAX} are possible", label.len())
                .into())
        }
    }
}

impl Scanner for Scan<'_, '_> {
    type Octets = Bytes;
    type OctetsBuilder = BytesMut;
    type Name = Owner;
    type Error = Wrong;

    fn has_space(&self) -> bool {
        self.tokens.first().is_some_and(|token| !token.joined)
    }

    fn continues(&mut self) -> bool {
        !self.tokens.is_empty()
    }

    fn scan_symbols<F>(&mut self, mut op: F) -> Result<(), Wrong>
    where
        F: FnMut(Symbol) -> Result<(), Wrong>,
    {
        symbols(self.word()?.raw).try_for_each(|symbol| op(symbol?))
    }

    fn scan_entry_symbols<F>(&mut self, mut op: F) -> Result<(), Wrong>
    where
        F: FnMut(EntrySymbol) -> Result<(), Wrong>,
    {
        while self.continues() {
            symbols(self.word()?.raw).try_for_each(|symbol| op(symbol?.into()))?;
            op(EntrySymbol::EndOfToken)?;
        }
        Ok(())
    }

    fn convert_token<C: ConvertSymbols<Symbol, Wrong>>(
        &mut self,
        mut convert: C,
    ) -> Result<Bytes, Wrong> {
        let mut data = BytesMut::new();
        for symbol in symbols(self.word()?.raw) {
            if let Some(octets) = convert.process_symbol(symbol?)? {
                data.extend_from_slice(octets);
            }
        }
        if let Some(octets) = convert.process_tail()? {
            data.extend_from_slice(octets);
        }
        Ok(data.freeze())
    }

    fn convert_entry<C: ConvertSymbols<EntrySymbol, Wrong>>(
        &mut self,
        mut convert: C,
    ) -> Result<Bytes, Wrong> {
        let mut data = BytesMut::new();
        self.scan_entry_symbols(|symbol| {
            if let Some(octets) = convert.process_symbol(symbol)? {
                data.extend_from_slice(octets);
            }
            Ok(())
        })?;
        if let Some(octets) = convert.process_tail()? {
            data.extend_from_slice(octets);
        }
        Ok(data.freeze())
    }

    fn scan_octets(&mut self) -> Result<Bytes, Wrong> {
        octets(self.next()?.raw).map(Bytes::from)
    }

    /// A key and its value in quotes are two tokens without a blank between.
    fn scan_svcb_octets(&mut self) -> Result<Bytes, Wrong> {
        let mut data = octets(self.next()?.raw)?;
        if data.ends_with(b"=") && self.tokens.first().is_some_and(|t| t.quoted && t.joined) {
            data.extend(octets(self.next()?.raw)?);
        }
        Ok(data.into())
    }

    fn scan_ascii_str<F, T>(&mut self, op: F) -> Result<T, Wrong>
    where
        F: FnOnce(&str) -> Result<T, Wrong>,
    {
        op(&self.ascii()?)
    }

    fn scan_name(&mut self) -> Result<Owner, Wrong> {
        let token = self.next()?;
        if token.quoted {
            return Err(format!("the name \"{}\" stands in quotes", token.text()).into());
        }
        name(token.raw, self.origin)
    }

    fn scan_charstr(&mut self) -> Result<CharStr<Bytes>, Wrong> {
        let octets = self.scan_octets()?;
        let length = octets.len();
        CharStr::from_octets(octets)
            .map_err(|_| format!("a text of {length} octets, at most 255 are possible").into())
    }

    fn scan_string(&mut self) -> Result<Str<Bytes>, Wrong> {
        let octets = Bytes::from(octets(self.word()?.raw)?);
        Str::from_utf8(octets).map_err(|_| "a text that is not UTF-8".into())
    }

    fn scan_charstr_entry(&mut self) -> Result<Bytes, Wrong> {
        let mut data = BytesMut::new();
        while self.continues() {
            let text = self.scan_charstr()?;
            // A character string is at most 255 octets long.
            data.extend_from_slice(&[text.len() as u8]);
            data.extend_from_slice(text.as_ref());
        }
        Ok(data.freeze())
    }

    fn scan_opt_unknown_marker(&mut self) -> Result<bool, Wrong> {
        let marked = self.tokens.first().is_some_and(|t| !t.quoted && t.raw == b"\\#");
        if marked {
            self.next()?;
        }
        Ok(marked)
    }

    fn octets_builder(&mut self) -> Result<BytesMut, Wrong> {
        Ok(BytesMut::new())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sets;

    #[test]
    fn reads_names_as_they_are_meant() {
        let origin = sets::owner("example.test").unwrap();
        let read = |raw: &str| name(raw.as_bytes(), &origin).map(|n| n.fmt_with_dot().to_string());
        assert_eq!(read("@").unwrap(), "example.test.");
        assert_eq!(read(".").unwrap(), ".");
        assert_eq!(read("www").unwrap(), "www.example.test.");
        assert_eq!(read("WWW.").unwrap(), "WWW.");
        assert_eq!(name(b"a\\.b", &origin).unwrap().label_count(), 4);
        assert_eq!(name(b"\\097", &origin), name(b"a", &origin));
        let long = "a".repeat(64);
        let many = "abcdefg.".repeat(32);
        for bad in ["a..b", ".a", "", "a\\", "a\\25", "a\\256", long.as_str(), many.as_str()] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
