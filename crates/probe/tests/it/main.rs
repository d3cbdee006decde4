//! Probes against a small server that misbehaves on demand, and logs that rotate.
#![allow(clippy::unwrap_used)]

mod access_log;
mod certificates;
mod introduced;
mod probe;
mod server;
