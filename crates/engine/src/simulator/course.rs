//! A joint on its way.

use super::books::Books;
use super::dice::Dice;
use super::tables::{self, Row};
use crate::decide::{Here, Wish};
use segue_model::Epoch;
use segue_model::event::{Attempt, Phase};
use segue_model::side::Way;
use segue_model::table::TableShape;

/// A joint with its journal, followed by the controller.
pub(super) struct Course {
    pub(super) books: Books,
    /// Numbers of its units in the world.
    pub(super) units: Vec<usize>,
    pub(super) shape: TableShape,
    pub(super) rows: Vec<Row>,
    pub(super) attempt: Attempt,
    pub(super) here: Here,
    pub(super) wish: Wish,
    /// Cutovers and failbacks that may still begin.
    pub(super) moves_left: u64,
    /// Plain steps in force, by place.
    pub(super) plain: u32,
    /// Lowest epoch that plain steps and zones take.
    pub(super) floor: Epoch,
    /// Disturbances so far when the last gate passed.
    pub(super) gate_passed: usize,
    /// The same when the point of no return was passed, if nothing came in between.
    pub(super) calm_since: Option<usize>,
    /// One controller has lived since the cutover's end.
    pub(super) watched: bool,
    pub(super) over: bool,
}

impl Course {
    pub(super) fn way(&self) -> Way {
        self.attempt.phase.way()
    }

    pub(super) fn in_pause(&self) -> bool {
        let open = self.books.unit().open.as_ref();
        open.is_some_and(|open| open.pause.began.is_some() && open.pause.ended.is_none())
    }

    pub(super) fn moves(&self) -> bool {
        matches!(self.attempt.phase, Phase::Cutover | Phase::Failback)
    }
}

impl Course {
    pub(super) fn new(number: usize, units: Vec<usize>, dice: &mut Dice) -> Result<Self, String> {
        let mut books = Books::new(number)?;
        let (shape, rows) = tables::table(Phase::Sync, None, units.len());
        // Most runs are about what can go wrong while the write side moves.
        if dice.chance(850) {
            books.skip(Phase::Sync, &shape)?;
            books.skip(Phase::Prepare, &tables::shape(Phase::Prepare))?;
        }
        let attempt = books.unit().next_attempt(Phase::Sync);
        Ok(Self {
            books,
            units,
            shape,
            rows,
            attempt,
            here: Here::Began,
            wish: Wish::Forward,
            moves_left: dice.between(1, 4),
            plain: 0,
            floor: Epoch(0),
            gate_passed: 0,
            calm_since: None,
            watched: false,
            over: false,
        })
    }
}
