//! The engine: journal, executor, resume, board, gates, triggers and lease.
//!
//! ```text
//! samplers -> board -> gates, triggers
//!                        |
//! table + journal -> decide -> executor -> effects
//!                        ^         |
//!                        +- state <- journal (write-ahead)
//! ```
//!
//! **Invariants.** It knows no family: effects, samplers and clocks are trait objects of
//! `segue-port`. Only this crate writes the journal, and nothing outside changes before
//! the journal durably knows the intent and its inverse.

pub mod board;
pub mod canary;
pub mod clock;
#[cfg(any(feature = "testing", debug_assertions))]
pub mod conformance;
pub mod crashpoint;
pub mod decide;
pub mod executor;
pub mod gates;
pub mod journal;
pub mod lease;
#[cfg(any(feature = "testing", debug_assertions))]
pub mod simulator;
pub mod step;
pub mod triggers;

pub use board::Board;
pub use clock::SystemClock;
pub use decide::{Next, Wish, decide};
pub use executor::{Ended, Executor};
pub use gates::{Gate, GateContext};
pub use journal::{Journal, UnitJournal};
pub use lease::Lease;
pub use segue_model::table::{Budget, Pause, Retry};
pub use step::{Step, Table};
pub use triggers::TriggerWatch;
