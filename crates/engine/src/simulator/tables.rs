//! The tables that are simulated: the shape of the real ones, with what each step does.

use super::mutant::Mutant;
use segue_model::StepName;
use segue_model::event::Phase;
use segue_model::table::{Budget, Pause, Retry, StepShape, TableShape};
use std::time::Duration;

/// What a step does to the simulated world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    /// Reads only.
    Look,
    /// Switches something on that matters to nobody else.
    Plain,
    Hold,
    Fence,
    Drain,
    Verify,
    SealFronts,
    Seal,
    Promote,
    Route,
    Publish,
}

/// A row: what it does, and to which of the joint's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) act: Act,
    /// `None` for all.
    pub(super) only: Option<usize>,
}

/// Longest pause, and the part of it that is kept for seal and route.
pub(super) const BUDGET: Budget = Budget { limit_ms: 1000, reserve_ms: 300 };

const AGAIN: Retry = Retry::Until { every: Duration::from_millis(250) };

/// Rows of cutover and failback: name, act, no return, pause, retry.
const CUTOVER: [(&str, Act, bool, Pause, Retry); 13] = [
    ("arm", Act::Look, false, Pause::None, Retry::Never),
    ("stop_workers", Act::Plain, false, Pause::None, Retry::Never),
    ("hold", Act::Hold, false, Pause::Begins, Retry::Never),
    ("fence", Act::Fence, false, Pause::None, Retry::Never),
    ("drain", Act::Drain, false, Pause::None, Retry::Never),
    ("verify", Act::Verify, false, Pause::None, Retry::Never),
    ("seal_fronts", Act::SealFronts, false, Pause::Seal, Retry::Never),
    ("seal", Act::Seal, false, Pause::None, Retry::Never),
    ("promote", Act::Promote, true, Pause::None, Retry::Never),
    ("route", Act::Route, false, Pause::Ends, AGAIN),
    ("start_workers", Act::Plain, false, Pause::None, AGAIN),
    ("publish", Act::Publish, false, Pause::None, AGAIN),
    ("compare", Act::Look, false, Pause::None, AGAIN),
];

/// Steps of a cutover that a drill does not come to.
const AFTER_A_DRILL: [&str; 7] =
    ["seal_fronts", "seal", "promote", "route", "start_workers", "publish", "compare"];

fn shape_of(name: &str, no_return: bool, pause: Pause, retry: Retry) -> StepShape {
    StepShape { name: StepName::from(name), title: String::new(), no_return, pause, retry }
}

/// Returns the shape of a table as it is simulated; titles are empty.
///
/// It is the shape of the real table of that phase, which a test of the crate that owns the
/// tables compares.
pub fn shape(phase: Phase) -> TableShape {
    table(phase, None, 1).0
}

/// Returns shape and rows of a table for so many units.
pub(super) fn table(phase: Phase, mutant: Option<Mutant>, units: usize) -> (TableShape, Vec<Row>) {
    let plain = |names: &[&str], last: Act| -> Vec<(StepShape, Act)> {
        let act = |at: usize| if at + 1 == names.len() { last } else { Act::Plain };
        let row = |(at, name): (usize, &&str)| {
            (shape_of(name, false, Pause::None, Retry::Never), act(at))
        };
        names.iter().enumerate().map(row).collect()
    };
    let mut rows = match phase {
        Phase::Sync => plain(&["claim", "seed", "follow", "reverse", "check"], Act::Look),
        Phase::Prepare => plain(&["insert", "lower_ttls"], Act::Plain),
        Phase::Split => plain(&["split_5", "split_50", "split_100", "judge"], Act::Look),
        Phase::Unsplit => {
            vec![(shape_of("unsplit", false, Pause::None, AGAIN), Act::Plain)]
        }
        Phase::Settle => {
            let first = shape_of("restore_ttls", true, Pause::None, AGAIN);
            vec![(first, Act::Plain), (shape_of("end", false, Pause::None, AGAIN), Act::Plain)]
        }
        // A drill is the cutover's table up to its seal; no run of the simulator holds one.
        Phase::Drill | Phase::Cutover | Phase::Failback => CUTOVER
            .iter()
            .filter(|(name, ..)| phase != Phase::Drill || !AFTER_A_DRILL.contains(name))
            .map(|(name, act, last, pause, retry)| (shape_of(name, *last, *pause, *retry), *act))
            .collect(),
    };
    let moves = matches!(phase, Phase::Cutover | Phase::Failback);
    let mut budget = moves.then_some(BUDGET);
    let mut only = vec![None; rows.len()];
    if let (true, Some(mutant)) = (moves, mutant) {
        change(&mut rows, &mut only, &mut budget, mutant, units);
    }
    let row =
        |((_, act), only): (&(StepShape, Act), &Option<usize>)| Row { act: *act, only: *only };
    let acts = rows.iter().zip(&only).map(row).collect();
    let steps = rows.into_iter().map(|(shape, _)| shape).collect();
    (TableShape { phase, steps, budget }, acts)
}

/// Makes a table wrong.
fn change(
    rows: &mut Vec<(StepShape, Act)>,
    only: &mut Vec<Option<usize>>,
    budget: &mut Option<Budget>,
    mutant: Mutant,
    units: usize,
) {
    let place = |rows: &[(StepShape, Act)], act| rows.iter().position(|row| row.1 == act);
    match mutant {
        Mutant::SealSkipped => {
            rows.retain(|row| !matches!(row.1, Act::Seal | Act::SealFronts));
            only.truncate(rows.len());
            *budget = None;
        }
        Mutant::WithdrawalAfterPromote => {
            for row in rows {
                row.0.no_return = row.1 == Act::Route;
            }
        }
        Mutant::RouteBeforePromote => {
            for row in rows {
                row.1 = match row.1 {
                    Act::Promote => Act::Route,
                    Act::Route => Act::Promote,
                    act => act,
                };
            }
        }
        Mutant::JointOneByOne if units > 1 => {
            let (Some(seal), Some(promote)) = (place(rows, Act::Seal), place(rows, Act::Promote))
            else {
                return;
            };
            (only[seal], only[promote]) = (Some(0), Some(0));
            for (name, act) in [("promote_other", Act::Promote), ("seal_other", Act::Seal)] {
                let shape = shape_of(name, false, Pause::None, AGAIN);
                rows.insert(promote + 1, (shape, act));
                only.insert(promote + 1, Some(1));
            }
        }
        _ => {}
    }
}
