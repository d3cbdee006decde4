//! The family against two real MariaDB servers.

#![allow(clippy::unwrap_used)]

mod compare;
mod copy;
mod cutover;
mod epochs;
mod every;
mod fence;
mod find;
mod fleet;
mod fleet_fails;
mod interleave;
mod oracle;
mod preflight;
mod restart;
mod sabotage;
mod servers;
mod shop;
mod tail;
mod units;
mod verify;
