//! One file a phase. Each begins with its table: the order is the protocol.

mod cutover;
mod drill;
mod prepare;
mod settle;
pub(crate) mod split;
mod sync;
mod window;

pub use cutover::{Remembered, cutover};
pub use drill::drill;
pub use prepare::prepare;
pub use settle::settle;
pub use split::{split, unsplit};
pub use sync::sync;
pub use window::window;

use segue_engine::{Gate, Pause, Retry, Step};
use segue_port::Effect;
use std::sync::Arc;
use std::time::Duration;

/// A step without gates that is tried once and can be undone.
pub(crate) fn step(name: &str, title: &str, effect: Arc<dyn Effect>, allowed: Duration) -> Step {
    Step {
        name: name.into(),
        title: title.to_owned(),
        effect,
        gates: Vec::new(),
        time_allowed: allowed,
        retry: Retry::Never,
        no_return: false,
        pause: Pause::None,
    }
}

/// Small changes that keep a table readable as one line a step.
pub(crate) trait StepExt {
    /// Adds gates that must pass before the step.
    fn behind(self, gates: Vec<Arc<dyn Gate>>) -> Self;
    /// Retries the step until it is done: going back is no answer to its failure.
    fn until_done(self) -> Self;
    /// Says what the step means for the pause.
    fn pause(self, pause: Pause) -> Self;
    /// From this step's intent the way back is a failback.
    fn no_return(self) -> Self;
}

impl StepExt for Step {
    fn behind(mut self, gates: Vec<Arc<dyn Gate>>) -> Self {
        self.gates = gates;
        self
    }

    fn until_done(mut self) -> Self {
        self.retry = Retry::Until { every: Duration::from_millis(250) };
        self
    }

    fn pause(mut self, pause: Pause) -> Self {
        self.pause = pause;
        self
    }

    fn no_return(mut self) -> Self {
        self.no_return = true;
        self
    }
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
