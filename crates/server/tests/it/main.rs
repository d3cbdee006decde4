//! What is planted is found: samplers, board and triggers together.
#![allow(clippy::unwrap_used)]

mod anomalies;
mod site;
mod stubs;
