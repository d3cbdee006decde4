//! The DNS family against private name servers.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod audit;
mod checks;
mod clouds;
mod conformance;
mod effects;
mod fakes;
mod guards;
mod kill;
mod lab;
mod late;
mod logs;
mod makes;
mod moto;
mod moves;
mod named;
mod primaries;
mod servers;
mod signing;
mod spread;
mod unbound;
mod watch;
mod wire;
mod world;
