//! The corpus of requests with unclear boundaries, as cases.

const CORPUS: &str = include_str!("../smuggling.corpus");

/// A case of the corpus.
pub(crate) struct Case {
    pub(crate) name: String,
    /// The status of the last answer.
    pub(crate) status: u16,
    /// How many requests arrive.
    pub(crate) seen: usize,
    /// What a client sends.
    pub(crate) text: Vec<u8>,
}

/// Reads all cases; what stands before the first one explains the form.
pub(crate) fn corpus() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in CORPUS.lines() {
        if let Some(head) = line.strip_prefix("--- ") {
            let mut words = head.splitn(3, ' ');
            let mut word = || words.next().unwrap();
            let (status, seen) = (word().parse().unwrap(), word().parse().unwrap());
            cases.push(Case { name: word().to_owned(), status, seen, text: Vec::new() });
            continue;
        }
        let number = cases.len().to_string();
        let Some(case) = cases.last_mut() else { continue };
        let line = line.replace('@', &number);
        match line.strip_prefix('%') {
            Some(coded) => case.text.extend(decoded(coded)),
            None => case.text.extend(format!("{line}\r\n").bytes()),
        }
    }
    cases
}

/// Reads `%0d` as an octet and `%{x*255}` as a repetition.
fn decoded(coded: &str) -> Vec<u8> {
    let (mut octets, mut rest) = (Vec::new(), coded);
    while let Some(place) = rest.find('%') {
        octets.extend(rest[..place].bytes());
        rest = &rest[place + 1..];
        if let Some(inside) = rest.strip_prefix('{') {
            let (inside, after) = inside.split_once('}').unwrap();
            let (text, times) = inside.rsplit_once('*').unwrap();
            octets.extend(decoded(text).repeat(times.parse().unwrap()));
            rest = after;
        } else {
            octets.push(u8::from_str_radix(&rest[..2], 16).unwrap());
            rest = &rest[2..];
        }
    }
    octets.extend(rest.bytes());
    octets
}
