//! The pure core: what comes next, from what the journal says and what is wished.
//!
//! No clock, no I/O, no randomness: a simulator asks the same questions as the executor.

use segue_model::StepName;
use segue_model::event::Actor;
use segue_model::state::{AttemptState, Direction, StepStatus, Stuck};
use segue_model::table::{Retry, StepShape, TableShape};
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::Observed;
use serde_json::Value;

/// Runs of one step that is not retried without end, before it counts as failed.
pub const MOST_RUNS: u32 = 5;
/// Shortest time for which trouble after the point of no return is met by trying again,
/// milliseconds.
pub const PATIENCE_MS: u64 = 10_000;

/// Why a table that only measures turns round after its last step.
pub const MEASURED: &str = "everything is measured; service goes on at the source";

/// Where the operator wants the attempt to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// On to its end.
    Forward,
    /// On to its end, also if it was found sealed and not promoted: something that switches
    /// together with it has passed its point of no return, and its own seal lasts.
    Through,
    /// Back to what was before it. Not possible from the intent of the step of no return on.
    TurnBack {
        /// Who wants it.
        by: Actor,
        /// Why.
        because: String,
    },
    /// Undo this step and those after it, then go on: its gates are asked again. Only in a
    /// table that [steps back](TableShape::steps_back).
    StepBack {
        /// The step.
        step: StepName,
        /// Number of the record with which it was done: done again, it is not meant.
        done: u64,
    },
}

/// What this process knows and the journal does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// It began the attempt, and nothing is under way.
    Began,
    /// The attempt was open when it came.
    Resumed,
    /// The gates of this step just passed.
    GatesPassed(usize),
    /// It just wrote the intent of this step and has sent nothing yet.
    Intended(usize),
}

/// What comes next; numbers are places in the table.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Ask the gates of the step.
    Gate(usize),
    /// Read its inverse and write its intent.
    Intend(usize),
    /// Run it.
    Run(usize),
    /// Something may have been sent: quench, observe, then go by what the world says.
    Recover(usize),
    /// Undo it.
    Undo(usize),
    /// Every step is done: say so.
    Complete,
    /// Turn round.
    Withdraw {
        /// Who or what makes it turn.
        by: Actor,
        /// Why.
        because: String,
    },
    /// Every step is undone: say so.
    Withdrawn,
    /// A person must act.
    Stuck(Stuck),
}

/// Returns what comes next in an open attempt with a fixed table.
pub fn decide(shape: &TableShape, state: &AttemptState, here: Here, wish: &Wish) -> Next {
    if let Some(stuck) = &state.stuck {
        return Next::Stuck(stuck.clone());
    }
    match state.direction {
        Direction::Back { .. } => back(shape, state),
        Direction::Forward => forward(shape, state, here, wish),
    }
}

/// Undoes in reverse order whatever has an intent.
fn back(shape: &TableShape, state: &AttemptState) -> Next {
    let standing = shape
        .steps
        .iter()
        .rposition(|step| !matches!(state.status(&step.name), None | Some(StepStatus::Undone)));
    standing.map_or(Next::Withdrawn, Next::Undo)
}

fn forward(shape: &TableShape, state: &AttemptState, here: Here, wish: &Wish) -> Next {
    if !state.crossed() {
        if let Wish::TurnBack { by, because } = wish {
            return Next::Withdraw { by: by.clone(), because: because.clone() };
        }
        // A hold or fence of a former process may have lapsed: what it meant is not known.
        let through = *wish == Wish::Through && sealed(shape, state);
        if here == Here::Resumed && shape.goes_back_whole() && !through {
            let because = "the controller was started again before the point of no return";
            return Next::Withdraw { by: Actor::Controller, because: because.into() };
        }
    }
    if let Some(place) = steps_back(shape, state, wish) {
        return Next::Undo(place);
    }
    let open =
        shape.steps.iter().position(|step| state.status(&step.name) != Some(&StepStatus::Done));
    let Some(place) = open else {
        if shape.only_measures() {
            return Next::Withdraw { by: Actor::Controller, because: MEASURED.into() };
        }
        return Next::Complete;
    };
    match state.status(&shape.steps[place].name) {
        None | Some(StepStatus::Undone) if here == Here::GatesPassed(place) => Next::Intend(place),
        None | Some(StepStatus::Undone) => Next::Gate(place),
        Some(StepStatus::Undoing | StepStatus::UndoFailed { .. }) => Next::Undo(place),
        Some(StepStatus::Intended) if here == Here::Intended(place) => Next::Run(place),
        Some(StepStatus::Intended | StepStatus::Failed { .. } | StepStatus::Done)
            if shape.goes_back_whole() && !state.crossed() =>
        {
            let because = format!("step `{}` did not succeed", shape.steps[place].name);
            Next::Withdraw { by: Actor::Controller, because }
        }
        Some(StepStatus::Intended | StepStatus::Failed { .. } | StepStatus::Done) => {
            Next::Recover(place)
        }
    }
}

/// Returns the step to undo next for a wish to step back; none if it was followed, or came too
/// late.
pub fn steps_back(shape: &TableShape, state: &AttemptState, wish: &Wish) -> Option<usize> {
    let Wish::StepBack { step, done } = wish else { return None };
    if !shape.steps_back() || state.steps.get(step)?.done_at() != Some(*done) {
        return None;
    }
    let first = shape.position(step)?;
    let standing =
        |step: &StepShape| !matches!(state.status(&step.name), None | Some(StepStatus::Undone));
    shape.steps.iter().rposition(standing).filter(|last| *last >= first)
}

/// Says whether every step before the point of no return is done.
fn sealed(shape: &TableShape, state: &AttemptState) -> bool {
    let done = |step: &StepShape| state.status(&step.name) == Some(&StepStatus::Done);
    shape.no_return().is_some_and(|place| shape.steps[..place].iter().all(done))
}

/// What follows a fault of `prepare` or `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFault {
    /// Nothing happened: run it again after a while.
    RunAgain,
    /// Quench, then ask the world.
    Recover,
    /// Turn round.
    Withdraw,
}

/// Returns what follows the `runs`-th fault of the step at `place`.
pub fn after_fault(
    shape: &TableShape,
    state: &AttemptState,
    place: usize,
    fault: &Fault,
    runs: u32,
) -> AfterFault {
    let endless = shape.steps[place].retry != Retry::Never;
    let untouched = fault.effect == EffectLeft::None;
    let passing =
        matches!(fault.kind, FaultKind::Busy | FaultKind::Timeout | FaultKind::Unreachable);
    if state.crossed() {
        return if endless && untouched { AfterFault::RunAgain } else { AfterFault::Recover };
    }
    if shape.goes_back_whole() {
        return AfterFault::Withdraw;
    }
    match (endless, untouched) {
        (true, true) => AfterFault::RunAgain,
        (true, false) => AfterFault::Recover,
        (false, true) if passing && runs < MOST_RUNS => AfterFault::RunAgain,
        (false, _) => AfterFault::Withdraw,
    }
}

/// What follows what the world says of a quenched step.
#[derive(Debug, Clone, PartialEq)]
pub enum AfterObserved {
    /// It happened.
    Done(Value),
    /// Run it again.
    RunAgain,
    /// Quench and ask again after a while.
    AskAgain,
    /// Undo it, then run it afresh.
    UndoFirst,
    /// Turn round.
    Withdraw,
    /// A person must act.
    Stuck,
}

/// Returns what follows `observed`, after `runs` runs and `trouble_ms` of trouble with the
/// step at `place`. A quench that failed counts as Unknown.
pub fn after_observed(
    shape: &TableShape,
    state: &AttemptState,
    place: usize,
    observed: &Observed,
    quenched: bool,
    runs: u32,
    trouble_ms: u64,
) -> AfterObserved {
    let endless = shape.steps[place].retry != Retry::Never;
    let patient = runs < MOST_RUNS || trouble_ms < PATIENCE_MS;
    match (observed, quenched) {
        (Observed::Applied(output), true) => AfterObserved::Done(output.clone()),
        (Observed::NotApplied, true) if endless || patient => AfterObserved::RunAgain,
        // Its table says that repeating it is better than waiting: fronts that can be reached
        // get their route although one cannot.
        (Observed::Unknown(_), true) if endless => AfterObserved::RunAgain,
        _ if endless => AfterObserved::AskAgain,
        (Observed::Unknown(_), true) if !state.crossed() => AfterObserved::UndoFirst,
        _ if state.crossed() && trouble_ms < PATIENCE_MS => AfterObserved::AskAgain,
        _ if state.crossed() => AfterObserved::Stuck,
        _ => AfterObserved::Withdraw,
    }
}
