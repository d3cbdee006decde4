//! Pauses before connecting again to a server that does not answer in time.
//!
//! A session that was given up may live on at the server, behind whatever it waits for.
//! A measurement that came back every second with a new one would use up the connections
//! of a server in trouble, and lock its own site out.

use std::time::{Duration, Instant};

/// A single slow moment is no trouble: so many sessions are given up before any pause.
const FREE: u32 = 3;
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// How long to stay away; doubles with every further session that was given up.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    given_up: u32,
    pause: Duration,
    until: Option<Instant>,
}

impl Backoff {
    /// Returns whether a session may be opened now.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    /// Notes that a session was given up.
    pub(crate) fn given_up(&mut self, now: Instant) {
        self.given_up += 1;
        if self.given_up < FREE {
            return;
        }
        self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
        self.until = Some(now + self.pause);
    }

    /// Notes that the server answered.
    pub(crate) fn answered(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_never_answers_gets_few_sessions() {
        let begin = Instant::now();
        let mut backoff = Backoff::default();
        let mut opened = 0;
        for second in 0..600 {
            let now = begin + Duration::from_secs(second);
            if backoff.is_over(now) {
                opened += 1;
                backoff.given_up(now);
            }
        }
        assert_eq!(opened, 17, "in ten minutes");
        backoff.answered();
        assert!(backoff.is_over(begin), "and is asked at once when it is back");
    }
}
