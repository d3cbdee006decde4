//! Trees on a real file system, copied by a real rsync.
#![allow(clippy::unwrap_used)]

mod common;
mod compare;
mod follow;
mod restart;
mod switch;
