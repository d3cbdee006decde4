#![allow(clippy::unwrap_used)]

mod fleet;
mod hashes;
mod joined;
mod many;
mod moves;
mod providers;
mod reading;
mod refusals;

use segue_model::plan::Plan;

/// The template's plan: the base that every test changes in one place.
fn example() -> Plan {
    crate::parse(crate::template(), "example.toml").unwrap()
}
