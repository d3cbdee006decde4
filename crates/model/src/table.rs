//! The shape of a step table: what the journal and the pure core know of it.
//!
//! The shape is journalled when an attempt opens, so that the fold can refuse what
//! the table does not allow, and so that a resumed attempt follows the very table
//! with which it began.

use crate::event::Phase;
use crate::ids::StepName;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What becomes of a step that keeps failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// A bounded number of times, then the table withdraws or is stuck.
    Never,
    /// Without end: going back would be worse than being late.
    Until {
        /// Time before the second try; it doubles up to a bound.
        every: Duration,
    },
}

/// What a step is to the pause that clients see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// Nothing.
    #[default]
    None,
    /// Its intent begins the pause.
    Begins,
    /// It makes the fence last; it begins only if time used and reserve fit the budget.
    Seal,
    /// Its success ends the pause.
    Ends,
}

/// The pause that a table may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Longest pause, milliseconds.
    pub limit_ms: u64,
    /// Part of it kept for seal and what follows, milliseconds.
    pub reserve_ms: u64,
}

/// One row of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepShape {
    /// The step.
    pub name: StepName,
    /// One line for people.
    pub title: String,
    /// Whether nothing can be undone from its intent on.
    pub no_return: bool,
    /// What it is to the pause.
    pub pause: Pause,
    /// What becomes of it when it keeps failing.
    pub retry: Retry,
}

/// A table's rows in order, without their effects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableShape {
    /// Which table.
    pub phase: Phase,
    /// The rows.
    pub steps: Vec<StepShape>,
    /// The pause it may cost, if it has one.
    pub budget: Option<Budget>,
}

impl TableShape {
    /// Returns the place of a step.
    pub fn position(&self, name: &StepName) -> Option<usize> {
        self.steps.iter().position(|step| step.name == *name)
    }

    /// Returns the place of the step from whose intent on nothing is undone.
    pub fn no_return(&self) -> Option<usize> {
        self.steps.iter().position(|step| step.no_return)
    }

    /// Says whether the table only measures: once its last step is done, all of them are undone.
    pub fn only_measures(&self) -> bool {
        self.phase == Phase::Drill
    }

    /// Says whether a step that is done may be undone while the table goes on: a split gives
    /// its last share back and waits for its gates again.
    pub fn steps_back(&self) -> bool {
        self.phase == Phase::Split
    }

    /// Says whether trouble undoes the whole table, and not its open step alone. A hold or a
    /// fence of a former process may have lapsed, so such a table is not gone on with.
    pub fn goes_back_whole(&self) -> bool {
        self.no_return().is_some() || self.only_measures()
    }

    /// Returns the place of the step with this part in the pause.
    pub fn pause(&self, part: Pause) -> Option<usize> {
        self.steps.iter().position(|step| step.pause == part)
    }

    /// Says whether `other` has the same steps with the same rules; titles may differ.
    pub fn same_rules(&self, other: &Self) -> bool {
        let rules = |shape: &Self| {
            shape
                .steps
                .iter()
                .map(|step| (step.name.clone(), step.no_return, step.pause))
                .collect::<Vec<_>>()
        };
        self.phase == other.phase && rules(self) == rules(other)
    }

    /// Checks that the rows make sense together.
    ///
    /// # Errors
    /// Returns the rule that is broken, with the step's name.
    pub fn check(&self) -> Result<(), String> {
        if self.steps.is_empty() {
            return Err("the table has no step".into());
        }
        for (place, step) in self.steps.iter().enumerate() {
            if self.position(&step.name) != Some(place) {
                return Err(format!("step `{}` stands twice", step.name));
            }
            if step.no_return && self.no_return() != Some(place) {
                return Err(format!("step `{}` is a second point of no return", step.name));
            }
            if step.pause != Pause::None && self.pause(step.pause) != Some(place) {
                return Err(format!("step `{}` repeats a part of the pause", step.name));
            }
        }
        let order = [
            self.pause(Pause::Begins),
            self.pause(Pause::Seal),
            self.no_return(),
            self.pause(Pause::Ends),
        ];
        let known: Vec<usize> = order.into_iter().flatten().collect();
        if !known.is_sorted() {
            return Err("the order is: pause begins, seal, no return, pause ends".into());
        }
        let ends = order[1].is_some() || self.only_measures();
        if self.budget.is_some() && (order[0].is_none() || !ends) {
            return Err("a budget needs a step that begins the pause and one that seals".into());
        }
        if self.only_measures() && (order[1].is_some() || self.no_return().is_some()) {
            return Err("a drill neither seals nor has a point of no return".into());
        }
        Ok(())
    }
}
