//! The front as its clients, backends and controllers see it.
#![allow(clippy::unwrap_used, missing_docs)]

mod control;
mod golden;
mod headers;
mod hold;
mod leaving;
mod replay;
mod restart;
mod streams;
mod support;
mod takeover;
