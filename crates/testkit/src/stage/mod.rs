//! What the demo and the crash runs share: the program as a person uses it, and visitors.
#![allow(clippy::print_stdout)] // It tells what it does on the terminal.

mod controller;
mod segue;
mod visitors;

pub use controller::{Controller, Waiting, wait_asleep};
pub use segue::{Segue, end_segue};
pub use visitors::Visitors;
