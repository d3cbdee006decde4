//! Many units: when which of them may start. Pure functions of plan, state and time.

mod meeting;
mod quiet;
mod ready;
mod waves;
mod windows;

pub use meeting::Meeting;
pub use quiet::{Quietest, Traffic, quietest};
pub use ready::{Missing, may_approve, missing, missing_for_drill};
pub(crate) use ready::{forecast_ms, is_ready, not_rehearsed};
pub use waves::{Standing, Turn, standing, turn, wave_to_run};
pub(crate) use windows::zoned;
pub use windows::{Opening, WindowNow, window_now};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
