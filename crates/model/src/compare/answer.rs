//! One answer, as far as it is compared.

use super::Kind;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

/// What is looked at of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Headers that are looked at, by name; empty where the answer has none.
    pub headers: Vec<(String, String)>,
    /// Its body; none if it is longer than bodies that are looked at.
    pub body: Option<Body>,
}

/// What stands for a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    whole: [u8; 32],
    /// One number for each line that is looked at.
    lines: Vec<u64>,
}

/// Reads a body part by part.
#[derive(Debug, Clone)]
pub struct Reader {
    whole: blake3::Hasher,
    lines: Vec<u64>,
    /// What came of a line whose end did not.
    line: Vec<u8>,
    /// Lines with one of these words are not looked at.
    noise: Vec<String>,
    left: usize,
    /// It is longer than bodies that are looked at.
    longer: bool,
}

impl Reader {
    /// Begins to read a body of at most so many bytes. Lines with one of the words of `noise` are
    /// left out.
    pub fn new(most: usize, noise: &[String]) -> Self {
        Self {
            whole: blake3::Hasher::new(),
            lines: Vec::new(),
            line: Vec::new(),
            noise: noise.to_vec(),
            left: most,
            longer: false,
        }
    }

    /// Reads a part.
    pub fn read(&mut self, part: &[u8]) {
        if self.longer {
            return;
        }
        if part.len() > self.left {
            self.longer = true;
            (self.line, self.lines) = (Vec::new(), Vec::new());
            return;
        }
        self.left -= part.len();
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.end_of_line();
            }
        }
    }

    /// Says whether nothing more of it needs to be read.
    pub fn is_over(&self) -> bool {
        self.longer
    }

    /// Returns what stands for the body; none if it is too long.
    pub fn finish(mut self) -> Option<Body> {
        if self.longer {
            return None;
        }
        if !self.line.is_empty() {
            self.end_of_line();
        }
        Some(Body { whole: *self.whole.finalize().as_bytes(), lines: self.lines })
    }

    fn end_of_line(&mut self) {
        let has = |word: &String| {
            let word = word.as_bytes();
            !word.is_empty() && self.line.windows(word.len()).any(|part| part == word)
        };
        if !self.noise.iter().any(has) {
            self.whole.update(&self.line);
            let mut hasher = DefaultHasher::new();
            hasher.write(&self.line);
            self.lines.push(hasher.finish());
        }
        self.line.clear();
    }
}

/// Returns in what the target differs from what the source answers both times; an answer that did
/// not come is none.
pub fn judge(
    first: Option<&Answer>,
    target: Option<&Answer>,
    second: Option<&Answer>,
) -> Vec<(Kind, String)> {
    match (first, target, second) {
        (Some(first), Some(target), Some(second)) => differences(first, target, second),
        // Nobody answers: in that they are alike.
        (None, None, _) | (_, None, None) => Vec::new(),
        (None, _, _) | (_, _, None) => {
            vec![(Kind::Unanswered, "no answer at the source".to_owned())]
        }
        (_, None, _) => vec![(Kind::Unanswered, "no answer at the target".to_owned())],
    }
}

fn differences(first: &Answer, target: &Answer, second: &Answer) -> Vec<(Kind, String)> {
    let mut found = Vec::new();
    if first.status == second.status && first.status != target.status {
        let text = format!("{} at the source, {} at the target", first.status, target.status);
        // Headers and body of another status are others.
        return vec![(Kind::Status, text)];
    }
    for ((a, b), there) in first.headers.iter().zip(&second.headers).zip(&target.headers) {
        if a == b && a != there {
            found.push((Kind::Header, format!("header `{}`", a.0)));
        }
    }
    if !same_body(first, target, second) {
        found.push((Kind::Body, "body".to_owned()));
    }
    found
}

/// A body is the same if it is what the source said once, or has every line that the source said
/// both times and as many lines as one of its answers.
fn same_body(first: &Answer, target: &Answer, second: &Answer) -> bool {
    if target.body == first.body || target.body == second.body {
        return true;
    }
    let (Some(once), Some(there), Some(twice)) = (&first.body, &target.body, &second.body) else {
        return false;
    };
    if once == twice {
        return false;
    }
    let own = there.lines.len();
    if own != once.lines.len() && own != twice.lines.len() {
        return false;
    }
    let (once, twice, there) = (counted(once), counted(twice), counted(there));
    once.iter().all(|(line, count)| {
        let stays = (*count).min(twice.get(line).copied().unwrap_or(0));
        there.get(line).copied().unwrap_or(0) >= stays
    })
}

fn counted(body: &Body) -> HashMap<u64, usize> {
    let mut all = HashMap::new();
    for line in &body.lines {
        *all.entry(*line).or_default() += 1;
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(parts: &[&str], noise: &[&str]) -> Option<Body> {
        let noise: Vec<String> = noise.iter().map(|word| (*word).to_owned()).collect();
        let mut reader = Reader::new(40, &noise);
        parts.iter().for_each(|part| reader.read(part.as_bytes()));
        reader.finish()
    }

    fn answer(body: &str) -> Answer {
        Answer { status: 200, headers: Vec::new(), body: read(&[body], &[]) }
    }

    #[test]
    fn a_body_is_the_same_however_it_comes_in_parts() {
        let whole = read(&["one\ntwo\nthree"], &[]).unwrap();
        assert_eq!(whole.lines.len(), 3);
        assert_eq!(read(&["o", "ne\ntw", "o\n", "three"], &[]).unwrap(), whole);
        assert_ne!(read(&["one\ntwo\nthree\n"], &[]).unwrap(), whole);
        assert_ne!(read(&["one\ntwo\nThree"], &[]).unwrap(), whole);
    }

    #[test]
    fn a_line_with_a_word_of_noise_is_not_looked_at() {
        let one = read(&["top\nto", "ken 1\nend\n"], &["token"]).unwrap();
        assert_eq!(one, read(&["top\ntoken 2\nend\n"], &["token", ""]).unwrap());
        assert_ne!(one, read(&["top\ntoken 2\nEnd\n"], &["token"]).unwrap());
    }

    #[test]
    fn of_a_body_that_is_too_long_nothing_is_kept() {
        let long = "0123456789".repeat(4);
        assert!(read(&[&long], &[]).is_some());
        assert_eq!(read(&[&long, "!"], &[]), None);
        let mut reader = Reader::new(3, &[]);
        reader.read(b"12345");
        assert!(reader.is_over());
        // Both too long: nobody looked.
        let long = Answer { body: None, ..answer("") };
        assert_eq!(judge(Some(&long), Some(&long), Some(&long)), []);
        assert_eq!(
            judge(Some(&long), Some(&answer("a")), Some(&long)),
            [(Kind::Body, "body".to_owned())]
        );
    }

    #[test]
    fn what_the_source_does_not_say_twice_is_noise() {
        let says = |first: &str, target: &str, second: &str| {
            let [first, target, second] = [first, target, second].map(answer);
            judge(Some(&first), Some(&target), Some(&second))
        };
        assert_eq!(says("a\n1\nb\n", "a\n2\nb\n", "a\n3\nb\n"), []);
        let body = [(Kind::Body, "body".to_owned())];
        assert_eq!(says("a\n1\nb\n", "a\n2\nB\n", "a\n3\nb\n"), body, "a line that stays");
        assert_eq!(says("a\n1\nb\n", "a\n2\n2\nb\n", "a\n3\nb\n"), body, "a line more");
        assert_eq!(says("a\n", "b\n", "a\n"), body);
    }

    #[test]
    fn who_does_not_answer_is_named_unless_nobody_does() {
        let one = answer("a");
        let said = |found: Vec<(Kind, String)>| found.into_iter().map(|(_, text)| text).next();
        let one = Some(&one);
        assert_eq!(said(judge(one, None, one)).unwrap(), "no answer at the target");
        assert_eq!(said(judge(one, one, None)).unwrap(), "no answer at the source");
        assert_eq!(said(judge(None, one, None)).unwrap(), "no answer at the source");
        assert_eq!(said(judge(None, None, one)), None);
        assert_eq!(said(judge(one, None, None)), None);
    }
}
