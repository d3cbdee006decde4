//! The DNS family against private name servers.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod audit;
mod checks;
mod conformance;
mod effects;
mod late;
mod named;
mod primaries;
mod servers;
mod watch;
mod wire;
mod world;
