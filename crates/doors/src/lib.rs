//! The only ways out of the program: secrets, SQL connections, child processes, APIs of
//! vendors, files beneath a root and listening sockets.
//!
//! **Invariant.** No other crate of the product opens a database connection, starts
//! a process or resolves a secret.

pub mod api;
pub mod daemon;
pub mod detached;
pub mod first;
pub mod handover;
pub mod join;
mod listening;
pub mod nft;
pub mod process;
pub mod secrets;
pub mod sigv4;
pub mod sql;
#[allow(unsafe_code)] // One socket option that no safe wrapper offers; see the file.
pub mod takeover;
