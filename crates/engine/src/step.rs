//! Tables of steps: what the executor is given.

use crate::gates::Gate;
use segue_model::StepName;
use segue_model::event::Phase;
use segue_model::table::{Budget, Pause, Retry, StepShape, TableShape};
use segue_port::Effect;
use std::sync::Arc;
use std::time::Duration;

/// One row of a table: an effect, what must hold before it, and its rules.
#[derive(Clone)]
pub struct Step {
    /// The step.
    pub name: StepName,
    /// One line for people.
    pub title: String,
    /// The change.
    pub effect: Arc<dyn Effect>,
    /// What must pass before it begins.
    pub gates: Vec<Arc<dyn Gate>>,
    /// Longest time of one `run`.
    pub time_allowed: Duration,
    /// What becomes of it when it keeps failing.
    pub retry: Retry,
    /// Whether nothing is undone from its intent on.
    pub no_return: bool,
    /// What it is to the pause.
    pub pause: Pause,
}

impl Step {
    /// Builds a step without gates that is not retried, takes no part in the pause, and may
    /// take ten seconds.
    pub fn new(name: &str, title: impl Into<String>, effect: Arc<dyn Effect>) -> Self {
        Self {
            name: StepName::from(name),
            title: title.into(),
            effect,
            gates: Vec::new(),
            time_allowed: Duration::from_secs(10),
            retry: Retry::Never,
            no_return: false,
            pause: Pause::None,
        }
    }
}

/// A table: the steps of a phase in order.
#[derive(Clone)]
pub struct Table {
    /// Which phase.
    pub phase: Phase,
    /// The rows.
    pub steps: Vec<Step>,
    /// The pause it may cost.
    pub budget: Option<Budget>,
    /// How long a step outside the pause waits for its gates.
    pub gate_wait: Duration,
}

impl Table {
    /// Returns what the journal and the pure core know of the table.
    pub fn shape(&self) -> TableShape {
        let shape_of = |step: &Step| StepShape {
            name: step.name.clone(),
            title: step.title.clone(),
            no_return: step.no_return,
            pause: step.pause,
            retry: step.retry,
        };
        TableShape {
            phase: self.phase,
            steps: self.steps.iter().map(shape_of).collect(),
            budget: self.budget,
        }
    }
}
