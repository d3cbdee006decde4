//! Many units: when which of them may start. Pure functions of plan, state and time.

mod ready;
mod waves;
mod windows;

pub use ready::{Missing, may_approve, missing, missing_for_drill};
pub use waves::{Standing, Turn, standing, turn, wave_to_run};
pub use windows::{Opening, WindowNow, quietest_hour, window_now};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
