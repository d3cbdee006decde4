//! The tables: which effects in which order behind which gates, for every phase.
//!
//! **Invariant.** No I/O code lives here: a table names effects of the families and
//! gates over the board, nothing else.

mod check;
pub mod families;
pub mod fleet;
pub mod gates;
mod judge;
pub mod tables;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
pub mod timeline;
mod together;

pub use check::compare_live;
pub use families::Families;
pub use gates::harm_of_split;
pub use together::{Part, Together};
