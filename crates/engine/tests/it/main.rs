//! Tests of the engine over its public interface.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod board;
mod crash;
mod executor;
mod fake;
mod families;
mod journal;
mod lease;
mod model;
mod simulation;
mod size;
mod together;
mod torn;
mod toy;
mod triggers;
