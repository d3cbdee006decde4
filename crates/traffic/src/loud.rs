//! What keeps a unit from being quiet.

use segue_front::control::Running;
use std::fmt;

/// Requests that run where none should.
#[derive(Debug, Default)]
pub(crate) struct Loud {
    running: Vec<Running>,
    /// Those that have no name any more: a front that says it is busy did not do as asked.
    unnamed: usize,
    /// At the front with the most; a request that passes two of them is known at both.
    most_at_one: usize,
}

impl Loud {
    /// Adds what a busy front told.
    pub(crate) fn add(&mut self, running: Vec<Running>, count: usize) {
        self.most_at_one = self.most_at_one.max(count);
        if running.is_empty() {
            self.unnamed += count.max(1);
        }
        self.running.extend(running);
    }

    /// Says whether nothing was added.
    pub(crate) fn is_quiet(&self) -> bool {
        self.running.is_empty() && self.unnamed == 0
    }

    /// Says whether there may never be a quiet moment: a front has several such requests at
    /// once, or one runs longer than `age_ms`.
    pub(crate) fn may_last(&self, age_ms: u64) -> bool {
        self.most_at_one > 1 || self.running.iter().any(|r| r.age_ms > age_ms)
    }

    /// Names what runs.
    pub(crate) fn named(&self) -> Vec<String> {
        let named = self.running.iter().map(ToString::to_string);
        let unnamed = format!("{} requests that have no name any more", self.unnamed);
        named.chain((self.unnamed > 0).then_some(unnamed)).collect()
    }
}

impl fmt::Display for Loud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.named().join(", "))
    }
}
