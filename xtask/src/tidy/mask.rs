//! Rust source with comments and the insides of texts blanked out.
//!
//! Lines and columns stay where they are. Enough of the grammar to tell code from what
//! only looks like it; macros need nothing more.

/// Two views of one file, with the line breaks of the original.
pub(super) struct Masked {
    /// Comments and the insides of texts are blank.
    pub(super) code: String,
    /// Only comments are blank.
    pub(super) uncommented: String,
    /// First line, from 1, of a `#[cfg(test)]` module that ends the file.
    pub(super) tests_from: usize,
}

impl Masked {
    /// Returns the numbered lines before the tests, with the insides of texts.
    pub(super) fn product_with_texts(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.uncommented).take_while(|(line, _)| *line < self.tests_from)
    }
}

/// Returns the lines of a text with their numbers from 1.
pub(super) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

#[derive(Clone, Copy, PartialEq)]
enum In {
    Code,
    LineComment,
    BlockComment(usize),
    Text,
    RawText(usize),
}

/// Masks one file.
pub(super) fn mask(source: &str) -> Masked {
    let chars: Vec<char> = source.chars().collect();
    let (mut code, mut uncommented) = (String::new(), String::new());
    let mut state = In::Code;
    let mut at = 0;
    while at < chars.len() {
        let (next, length) = step(state, &chars[at..]);
        for &c in &chars[at..at + length] {
            let blank = if c == '\n' { '\n' } else { ' ' };
            let comment = |s| matches!(s, In::LineComment | In::BlockComment(_));
            let text = |s| matches!(s, In::Text | In::RawText(_));
            let commented = comment(state) || comment(next);
            uncommented.push(if commented { blank } else { c });
            code.push(if commented || text(state) || text(next) { blank } else { c });
        }
        state = next;
        at += length;
    }
    let tests_from = tests_from(&code);
    Masked { code, uncommented, tests_from }
}

/// Finds the inline module that a `#[cfg(test)]` begins, attributes in between.
fn tests_from(code: &str) -> usize {
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let begins = |at: &usize| {
        let after = lines[at + 1..].iter().find(|line| !line.starts_with("#["));
        lines[*at] == "#[cfg(test)]"
            && after.is_some_and(|line| line.starts_with("mod ") && line.contains('{'))
    };
    (0..lines.len()).find(begins).map_or(usize::MAX, |at| at + 1)
}

/// Returns the state after the next token, and the token's length in characters.
fn step(state: In, rest: &[char]) -> (In, usize) {
    let two = (rest[0], rest.get(1).copied().unwrap_or('\0'));
    match state {
        In::Code => code(two, rest),
        In::LineComment => (if two.0 == '\n' { In::Code } else { state }, 1),
        In::BlockComment(depth) => match two {
            ('/', '*') => (In::BlockComment(depth + 1), 2),
            ('*', '/') if depth > 1 => (In::BlockComment(depth - 1), 2),
            ('*', '/') => (In::Code, 2),
            _ => (state, 1),
        },
        In::Text => match two {
            ('\\', '\0') => (state, 1),
            ('\\', _) => (state, 2),
            ('"', _) => (In::Code, 1),
            _ => (state, 1),
        },
        In::RawText(hashes) => {
            let closes =
                two.0 == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|c| *c == '#');
            if closes { (In::Code, hashes + 1) } else { (state, 1) }
        }
    }
}

fn code(two: (char, char), rest: &[char]) -> (In, usize) {
    match two {
        ('/', '/') => (In::LineComment, 2),
        ('/', '*') => (In::BlockComment(1), 2),
        ('"', _) => (In::Text, 1),
        ('r', '"' | '#') => {
            let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
            match rest.get(1 + hashes) {
                Some('"') => (In::RawText(hashes), hashes + 2),
                _ => (In::Code, 1 + hashes),
            }
        }
        // A character, not a lifetime: skipped whole, so that '"' and '{' open nothing.
        ('\'', '\\') => {
            let close = rest[2..].iter().skip(1).position(|c| *c == '\'');
            (In::Code, close.map_or(1, |close| close + 4))
        }
        ('\'', _) if rest.get(2) == Some(&'\'') => (In::Code, 3),
        _ => (In::Code, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn blanks_comments_and_texts_and_nothing_else() {
        let source = "let a = \"x // {\"; // dbg!\n/* one /* two */ } */ let b = r#\"\"{\"#;\n";
        let masked = mask(source);
        assert_eq!(masked.code.lines().count(), 2);
        assert!(!masked.code.contains("dbg") && !masked.code.contains('{'));
        assert!(masked.code.contains("let a =") && masked.code.contains("let b ="));
        assert!(masked.uncommented.contains("x // {") && !masked.uncommented.contains("dbg"));
    }

    #[test]
    fn tells_characters_from_lifetimes() {
        let masked =
            mask("fn f<'a>(x: &'a str) -> char { '\\'' } fn g() { h('\"'); k('\\u{1F}') }");
        assert!(masked.code.contains("fn g()"), "{}", masked.code);
        assert!(masked.code.contains("k("), "{}", masked.code);
    }

    #[test]
    fn finds_where_the_tests_begin() {
        let source = "#[cfg(test)]\nmod tests;\nfn f() {}\n#[cfg(test)]\nfn only() {}\n";
        assert_eq!(mask(source).tests_from, usize::MAX);
        let inline = format!("{source}#[cfg(test)]\n#[allow(x)]\nmod tests {{}}\n");
        assert_eq!(mask(&inline).tests_from, 6);
        assert_eq!(mask("fn f() {}\n").tests_from, usize::MAX);
    }
}
