//! Traffic of a unit: the fronts, asked through their control sockets.
//!
//! **Invariant.** Requests never pass here; a controller that is gone stops no request.

mod fronts;
mod hold;
mod insert;
mod link;
mod loud;
mod patience;
mod preflight;
mod route;
mod sampler;
mod split;
mod totals;
mod turns;

pub use fronts::{FrontSettings, Fronts};
pub use split::{Met, Trials};
pub use totals::TrafficTotals;
