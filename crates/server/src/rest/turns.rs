//! Who of the units at rest is awake: a pure function of time and names.

use segue_model::UnitName;
use std::collections::{BTreeMap, BTreeSet};

/// Units at rest that are looked at at the same time.
pub(crate) const AWAKE: usize = 24;
/// How long a turn lasts, milliseconds: longer than any default trigger takes to tell.
const TURN_MS: u64 = 20_000;
/// So many of them wake at a time: a crowd of first looks would be a load by itself.
const WAKING: usize = 2;
/// So many more may be awake out of turn.
const URGENT: usize = 24;

/// Who wakes and who falls asleep now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) waking: Vec<UnitName>,
    pub(super) asleep: Vec<UnitName>,
}

/// Who is awake.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Since when, by the boot clock.
    awake: BTreeMap<UnitName, u64>,
    /// The unit that woke last in turn.
    last: Option<UnitName>,
    /// Units that are to wake out of turn.
    due: BTreeSet<UnitName>,
}

impl Turns {
    /// Lets these units wake before all others, instead of those named before.
    pub(super) fn urge(&mut self, units: impl IntoIterator<Item = UnitName>) {
        self.due = units.into_iter().collect();
    }

    /// Lets a unit that was at work until now have its turn first.
    pub(super) fn keep(&mut self, unit: UnitName, now_ms: u64) {
        self.awake.insert(unit, now_ms);
    }

    /// Gives turns at `now_ms`; `resting` is in order of the names.
    pub(super) fn give(&mut self, resting: &[&UnitName], now_ms: u64) -> Change {
        let known = |unit: &UnitName| resting.binary_search(&unit).is_ok();
        let few = resting.len() <= AWAKE;
        let mut asleep = Vec::new();
        self.awake.retain(|unit, since_ms| {
            let goes_on = few || now_ms.saturating_sub(*since_ms) < TURN_MS;
            // Who works now, or is watched, is no longer ours to put to sleep.
            if known(unit) && !goes_on {
                asleep.push(unit.clone());
            }
            known(unit) && goes_on
        });
        let mut waking = Vec::new();
        let urgent = (AWAKE + URGENT).saturating_sub(self.awake.len());
        self.due.retain(|unit| known(unit) && !self.awake.contains_key(unit));
        while waking.len() < urgent
            && let Some(unit) = self.due.pop_first()
        {
            waking.push(unit);
        }
        let room = AWAKE.saturating_sub(self.awake.len() + waking.len());
        let room = if few { room } else { room.min(WAKING) };
        let after = |last: &UnitName| resting.partition_point(|unit| *unit <= last);
        let first = self.last.as_ref().map_or(0, after);
        let ring = resting[first..].iter().chain(&resting[..first]).copied();
        let free = |unit: &&UnitName| !self.awake.contains_key(*unit) && !waking.contains(*unit);
        let in_turn: Vec<UnitName> = ring.filter(free).take(room).cloned().collect();
        if let Some(last) = in_turn.last() {
            self.last = Some(last.clone());
        }
        waking.extend(in_turn);
        self.awake.extend(waking.iter().map(|unit| (unit.clone(), now_ms)));
        asleep.retain(|unit| !self.awake.contains_key(unit));
        Change { waking, asleep }
    }

    /// Returns the units at rest that are awake.
    pub(super) fn awake(&self) -> impl Iterator<Item = &UnitName> {
        self.awake.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<UnitName> {
        (0..count).map(|n| UnitName(format!("u{n:04}"))).collect()
    }

    fn all(names: &[UnitName]) -> Vec<&UnitName> {
        names.iter().collect()
    }

    #[test]
    fn a_few_units_are_always_awake() {
        let names = names(AWAKE);
        let mut turns = Turns::default();
        assert_eq!(turns.give(&all(&names), 0), Change { waking: names.clone(), asleep: vec![] });
        for minute in 1..10 {
            assert_eq!(turns.give(&all(&names), minute * 60_000), Change::default());
        }
    }

    #[test]
    fn of_many_each_gets_its_turn_and_no_more_than_some_are_awake() {
        let names = names(AWAKE * 5 + 3);
        let (mut turns, mut seen) = (Turns::default(), BTreeMap::new());
        let mut second = 0;
        while seen.len() < names.len() || turns.awake.len() < AWAKE {
            let now_ms = second * 1_000;
            let Change { waking, asleep } = turns.give(&all(&names), now_ms);
            assert!(waking.len() <= WAKING && turns.awake.len() <= AWAKE);
            assert!(waking.iter().all(|unit| turns.awake.contains_key(unit)));
            for unit in asleep {
                assert!(!turns.awake.contains_key(&unit));
                assert!(now_ms - seen[&unit] >= TURN_MS, "{unit} had its turn");
            }
            seen.extend(waking.into_iter().map(|unit| (unit, now_ms)));
            second += 1;
            assert!(second < 180, "everybody within three minutes: {} of them", seen.len());
        }
    }

    /// Returns turns that have gone on until as many are awake as may be, and how long it took.
    fn full(names: &[UnitName]) -> (Turns, u64) {
        let (mut turns, mut now_ms) = (Turns::default(), 0);
        while turns.awake.len() < AWAKE {
            turns.give(&all(names), now_ms);
            now_ms += 1_000;
        }
        (turns, now_ms)
    }

    #[test]
    fn who_is_urgent_wakes_at_once_and_a_crowd_one_after_the_other() {
        let names = names(AWAKE * 6);
        let (mut turns, now_ms) = full(&names);
        turns.urge(names[AWAKE..].iter().cloned());
        let first = turns.give(&all(&names), now_ms).waking;
        assert_eq!(first, names[AWAKE..AWAKE + URGENT]);
        assert_eq!(turns.give(&all(&names), now_ms + 1), Change::default(), "the others wait");
        let next = turns.give(&all(&names), now_ms + TURN_MS).waking;
        assert_eq!(next[0], names[AWAKE + URGENT]);
        turns.urge([]);
        let later = turns.give(&all(&names), now_ms + TURN_MS + 1_000).waking;
        assert!(later.len() <= WAKING, "{later:?}");
    }

    #[test]
    fn who_works_is_not_put_to_sleep_and_gets_a_turn_after_it() {
        let mut names = names(AWAKE * 3);
        let (mut turns, now_ms) = full(&names);
        let working = names.remove(0);
        let asleep = turns.give(&all(&names), now_ms + TURN_MS).asleep;
        assert!(!asleep.contains(&working) && asleep.contains(&names[0]), "{asleep:?}");
        names.insert(0, working.clone());
        let ended_ms = now_ms + TURN_MS + 1_000;
        turns.keep(working.clone(), ended_ms);
        assert!(!turns.give(&all(&names), ended_ms + 1_000).asleep.contains(&working));
        assert!(turns.give(&all(&names), ended_ms + TURN_MS).asleep.contains(&working));
    }
}
