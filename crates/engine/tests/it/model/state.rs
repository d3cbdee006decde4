//! What the model knows: databases, a front, a journal, controllers, messages.

/// Rows that clients write in all.
const WRITES: u8 = 2;

/// The rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Broken {
    /// Promote comes right after drain, under a fence that may still run out.
    Seal,
    /// A new controller looks at the world while a former one's messages are on their way.
    Quench,
    /// Resources take messages of any epoch.
    EpochAtResource,
    /// The position is read before the fence stands.
    FenceBeforePosition,
    /// Seal does not compare the position again.
    PositionAtSeal,
    /// The outcome is written down before the effect is sent.
    OutcomeAfterEffect,
    /// A wish to turn back is granted until promote's outcome is known.
    NoWithdrawalAfterPromote,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Step {
    Hold,
    Fence,
    Drain,
    SealFronts,
    Seal,
    Promote,
    Route,
    /// Undo of seal and fence.
    Reopen,
    /// Undo of hold.
    Release,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    /// Takes writes.
    Open,
    /// Refuses writes until its lease runs out.
    Fenced,
    /// Refuses writes.
    Sealed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Database {
    pub(super) mode: Mode,
    pub(super) rows: u8,
    /// Messages of lower epochs are refused.
    pub(super) epoch: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Hold {
    None,
    Leased,
    Sealed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Front {
    pub(super) route: usize,
    pub(super) hold: Hold,
    pub(super) epoch: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Attempt {
    /// None is open.
    Resting,
    /// So many steps are done.
    Forward(usize),
    /// So many undos are done.
    Back(usize),
}

/// What is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Journal {
    /// The lease: only the controller of this epoch may append.
    pub(super) epoch: u8,
    pub(super) write_side: usize,
    pub(super) attempt: Attempt,
    /// The next step was intended and has no outcome.
    pub(super) intended: bool,
    /// Rows of the writing side, as drain's outcome says.
    pub(super) position: u8,
    pub(super) attempts: u8,
    pub(super) completed: u8,
    pub(super) withdrawn: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Doing {
    /// Just started: knows the journal only.
    Starts,
    /// Looks whether an intended step happened.
    Observes,
    Decides,
    Sends(Step),
    Waits(Step),
    /// The answer is there: it worked, with the rows of the writing side, or it did not.
    Heard(Step, Option<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Controller {
    pub(super) epoch: u8,
    pub(super) doing: Doing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Message {
    pub(super) epoch: u8,
    pub(super) step: Step,
    pub(super) from: usize,
    pub(super) position: u8,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) databases: [Database; 2],
    pub(super) front: Front,
    pub(super) journal: Journal,
    pub(super) controllers: [Option<Controller>; 2],
    /// Sorted, so that equal sets are equal states.
    pub(super) messages: Vec<Message>,
    pub(super) acknowledged: u8,
    /// Somebody wants to turn back.
    pub(super) wish: bool,
    pub(super) lapses: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// A client's write through the front.
    Write,
    /// A write at the source around the front.
    Cron,
    /// One row goes from this side to the other.
    Replicate(usize),
    FenceLapses(usize),
    HoldLapses,
    Wish,
    Lands(usize),
    Act(usize),
    Crash(usize),
    Start,
}

impl Journal {
    pub(super) fn done(&mut self) {
        self.intended = false;
        self.attempt = match self.attempt {
            Attempt::Forward(done) => Attempt::Forward(done + 1),
            Attempt::Back(done) => Attempt::Back(done + 1),
            Attempt::Resting => Attempt::Resting,
        };
    }

    pub(super) fn note_position(&mut self, step: Step, rows: u8) {
        if step == Step::Drain {
            self.position = rows;
        }
    }

    pub(super) fn end(&mut self) {
        if matches!(self.attempt, Attempt::Forward(_)) {
            self.write_side = 1 - self.write_side;
            self.completed += 1;
        } else {
            self.withdrawn += 1;
        }
        self.attempt = Attempt::Resting;
    }
}

impl State {
    pub(super) fn write(&mut self, side: usize) -> Option<()> {
        if self.databases[side].mode != Mode::Open || self.acknowledged == WRITES {
            return None;
        }
        self.databases[side].rows |= 1 << self.acknowledged;
        self.acknowledged += 1;
        Some(())
    }
}
