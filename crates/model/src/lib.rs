//! Pure data and rules of a migration: names, plans, events, states, positions,
//! samples, verdicts and faults.
//!
//! **Invariant.** No I/O, no async, no clock and no randomness live here: every
//! function is a pure function of its arguments.

pub mod compare;
pub mod event;
pub mod fault;
pub mod finding;
pub mod fleet;
pub mod gate;
pub mod harmless;
pub mod ids;
pub mod network;
pub mod plan;
pub mod sample;
pub mod side;
pub mod state;
pub mod table;

pub use fault::{EffectLeft, Fault, FaultKind};
pub use finding::{Finding, Severity};
pub use fleet::Fleet;
pub use ids::{Epoch, RunId, StepName, UnitName};
pub use network::{Network, NotANetwork};
pub use sample::{Sample, What};
pub use side::{Side, Sides, Way};
