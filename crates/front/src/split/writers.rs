//! Visitors who wrote.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of 64 visitors each.
const WORDS: usize = 1_024;

/// Remembers visitors who wrote, by one bit each of 65,536. Two who share a bit are both taken
/// for writers, which keeps one more at the write side and harms nobody.
#[derive(Clone)]
pub(super) struct Writers(Arc<[AtomicU64]>);

impl Default for Writers {
    fn default() -> Self {
        Self((0..WORDS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Writers {
    pub(super) fn add(&self, visitor: u64) {
        let (word, bit) = place(visitor);
        self.0[word].fetch_or(bit, Ordering::Relaxed);
    }

    pub(super) fn has(&self, visitor: u64) -> bool {
        let (word, bit) = place(visitor);
        self.0[word].load(Ordering::Relaxed) & bit != 0
    }
}

fn place(visitor: u64) -> (usize, u64) {
    ((visitor >> 6) as usize % WORDS, 1 << (visitor & 63))
}
