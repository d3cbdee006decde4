//! Families put together as the controller has them: what is planted is found by samplers, board
//! and triggers; what is said of logins is what happens to one.
#![allow(clippy::unwrap_used)]

mod anomalies;
mod around;
mod logins;
mod site;
mod stubs;
