//! What changed at the write side and is not yet on the other: coalesced by path.

use std::collections::HashMap;
use std::path::PathBuf;

/// Most paths carried at once; a mover is slow with very long lists.
const BATCH: usize = 10_000;

/// Changes waiting and changes being carried, each with the time it was first seen
/// (boot clock, milliseconds).
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    waiting: HashMap<PathBuf, u64>,
    carried: HashMap<PathBuf, u64>,
    whole: Option<Whole>,
}

/// The whole tree must be read again, because events were lost or nobody watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole {
    /// No change before this time is missing; `None` if that is not known.
    pub(crate) since: Option<u64>,
    /// Raised by each loss, so that one during the pass is not taken for done.
    losses: u64,
}

/// What one flush has to carry.
#[derive(Debug)]
pub(crate) enum Load {
    Nothing,
    Paths(Vec<PathBuf>),
    Tree(Whole),
}

/// How old the oldest change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// Everything is carried.
    None,
    /// First seen at this time.
    Since(u64),
    /// There may be changes of any age.
    Unknown,
}

impl Dirty {
    /// Notes a change, keeping the time of an earlier one that still waits.
    pub(crate) fn mark(&mut self, path: PathBuf, now: u64) {
        self.waiting.entry(path).or_insert(now);
    }

    /// Notes that changes were lost.
    pub(crate) fn mark_whole(&mut self, since: Option<u64>) {
        let (since, losses) = match self.whole {
            // The earlier of the two; unknown is earlier than anything.
            Some(whole) => (whole.since.min(since), whole.losses + 1),
            None => (since, 0),
        };
        self.whole = Some(Whole { since, losses });
    }

    /// Takes what is to be carried next. A whole pass takes along every waiting path,
    /// which stays on the list: the pass may have read it before its last change.
    pub(crate) fn take(&mut self) -> Load {
        self.give_back();
        if let Some(whole) = self.whole {
            return Load::Tree(whole);
        }
        if self.waiting.is_empty() {
            return Load::Nothing;
        }
        if self.waiting.len() <= BATCH {
            self.carried = std::mem::take(&mut self.waiting);
        } else {
            let some: Vec<PathBuf> = self.waiting.keys().take(BATCH).cloned().collect();
            self.carried = some.into_iter().filter_map(|p| self.waiting.remove_entry(&p)).collect();
        }
        Load::Paths(self.carried.keys().cloned().collect())
    }

    /// Notes that what was taken arrived.
    pub(crate) fn arrived(&mut self, whole: Option<Whole>) {
        self.carried.clear();
        if whole.is_some() && self.whole == whole {
            self.whole = None;
        }
    }

    /// Puts what was taken and did not arrive back, with the time it was first seen.
    pub(crate) fn give_back(&mut self) {
        for (path, since) in std::mem::take(&mut self.carried) {
            let waiting = self.waiting.entry(path).or_insert(since);
            *waiting = since.min(*waiting);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn age(&self) -> Age {
        let oldest = self.waiting.values().chain(self.carried.values()).min().copied();
        match (self.whole, oldest) {
            (Some(Whole { since: None, .. }), _) => Age::Unknown,
            (Some(Whole { since: Some(s), .. }), oldest) => {
                Age::Since(oldest.map_or(s, |o| o.min(s)))
            }
            (None, Some(oldest)) => Age::Since(oldest),
            (None, None) => Age::None,
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.whole.is_some()
    }

    pub(crate) fn contains(&self, path: &std::path::Path) -> bool {
        // A change of a folder stands for everything below it.
        path.ancestors()
            .filter(|p| !p.as_os_str().is_empty())
            .any(|p| self.waiting.contains_key(p) || self.carried.contains_key(p))
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> =
            self.waiting.keys().chain(self.carried.keys()).cloned().collect();
        all.sort();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::{Age, Dirty, Load};
    use std::path::Path;

    #[test]
    fn keeps_the_age_of_a_change_that_did_not_arrive() {
        let mut dirty = Dirty::default();
        dirty.mark("a".into(), 10);
        assert!(matches!(dirty.take(), Load::Paths(p) if p == [Path::new("a")]));
        assert_eq!(dirty.age(), Age::Since(10), "still not on the other side");
        dirty.mark("a".into(), 50);
        dirty.give_back();
        assert_eq!(dirty.age(), Age::Since(10));
        dirty.take();
        dirty.arrived(None);
        assert_eq!(dirty.age(), Age::None);
    }

    #[test]
    fn keeps_a_change_made_while_its_path_was_carried() {
        let mut dirty = Dirty::default();
        dirty.mark("a".into(), 10);
        dirty.take();
        dirty.mark("a".into(), 20);
        dirty.arrived(None);
        assert_eq!(dirty.age(), Age::Since(20));
    }

    #[test]
    fn wants_another_pass_after_a_loss_during_a_pass() {
        let mut dirty = Dirty::default();
        dirty.mark_whole(Some(5));
        let Load::Tree(whole) = dirty.take() else { panic!("a whole pass was due") };
        dirty.mark_whole(Some(9));
        dirty.arrived(Some(whole));
        assert!(dirty.is_whole());
        assert_eq!(dirty.age(), Age::Since(5));
        dirty.mark_whole(None);
        assert_eq!(dirty.age(), Age::Unknown);
    }

    #[test]
    fn takes_a_changed_folder_for_everything_below_it() {
        let mut dirty = Dirty::default();
        dirty.mark("a".into(), 1);
        assert!(dirty.contains(Path::new("a/b/c")));
        assert!(!dirty.contains(Path::new("ab")));
    }
}
