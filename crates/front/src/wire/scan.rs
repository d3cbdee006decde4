//! Where the requests of a connection begin and end.

use super::chunks::Chunks;
use super::head::{Framing, Head};
use super::refusal::Refusal;

/// Where in a connection the next byte stands.
#[derive(Debug, Clone)]
enum State {
    Head(Head),
    /// In a body of which so many bytes are left.
    Length(u64),
    Chunked(Box<Chunks>),
    /// After a request that may end the talk of HTTP.
    Asked,
}

/// Why no more bytes may be passed on for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// A head is not whole yet.
    Partial,
    /// A request wants another protocol; the answer decides what comes next.
    Asked,
    /// A request is refused of which nothing was passed on.
    Refused(Refusal),
    /// A body is refused whose head was passed on.
    Broken(Refusal),
}

/// Reads the boundaries of requests, strictly. What it lets pass the HTTP layer reads in
/// the same way.
#[derive(Debug, Clone)]
pub(super) struct Scanner {
    state: State,
    /// Whether the present request wants another protocol.
    asks: bool,
}

impl Scanner {
    /// Begins at the start of a connection.
    pub(super) fn new() -> Self {
        Self { state: State::Head(Head::default()), asks: false }
    }

    /// Returns whether the present request wants another protocol, be its body still to come.
    pub(super) fn asks(&self) -> bool {
        self.asks
    }

    /// The request that wanted another protocol got an answer of HTTP: another may follow.
    pub(super) fn stays(&mut self) {
        self.asks = false;
        self.state = State::Head(Head::default());
    }

    /// Returns what comes after a request that is over.
    fn next(&self) -> State {
        if self.asks { State::Asked } else { State::Head(Head::default()) }
    }

    /// Returns whether the last request is over and the next one has not begun.
    #[cfg(test)]
    pub(super) fn is_between(&self) -> bool {
        match &self.state {
            State::Head(head) => head.is_fresh(),
            State::Asked => true,
            _ => false,
        }
    }

    /// Looks at bytes that were not passed on yet. Returns how many may be, and why the rest
    /// may not. Asked again, the rest comes first, with more after it.
    pub(super) fn look(&mut self, bytes: &[u8]) -> (usize, Option<Stop>) {
        let mut at = 0;
        // Where the present request begins, if that is here.
        let mut began = None;
        while at < bytes.len() || matches!(self.state, State::Asked) {
            match &mut self.state {
                State::Head(head) => match head.look(&bytes[at..]) {
                    Ok(None) => return (at, Some(Stop::Partial)),
                    Ok(Some(facts)) => {
                        began = Some(at);
                        at += facts.length;
                        self.asks = facts.upgrade;
                        self.state = match facts.framing {
                            Framing::Chunked => State::Chunked(Box::new(Chunks::new())),
                            Framing::Length(0) => self.next(),
                            Framing::Length(left) => State::Length(left),
                        };
                    }
                    Err(refusal) => return (at, Some(Stop::Refused(refusal))),
                },
                State::Length(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    at += here;
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = self.next();
                    }
                }
                State::Chunked(chunks) => match chunks.look(&bytes[at..]) {
                    Ok((here, over)) => {
                        at += here;
                        if over {
                            self.state = self.next();
                        }
                    }
                    Err(refusal) => {
                        return match began {
                            Some(began) => (began, Some(Stop::Refused(refusal))),
                            None => (at, Some(Stop::Broken(refusal))),
                        };
                    }
                },
                State::Asked => return (at, Some(Stop::Asked)),
            }
        }
        (at, None)
    }
}
