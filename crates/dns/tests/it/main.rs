//! The DNS family against private BIND servers.

#![allow(clippy::unwrap_used)]

mod checks;
mod effects;
mod late;
mod named;
mod servers;
mod wire;
mod world;
