//! The front as its clients, backends and controllers see it.
#![allow(clippy::unwrap_used, missing_docs)]

mod abuse;
mod certificates;
mod challenge;
mod client;
mod control;
mod corpus;
mod downgrade;
mod golden;
mod headers;
mod hold;
mod http2;
mod leaving;
mod many;
mod ports;
mod raw_http2;
mod recorder;
mod replay;
mod restart;
mod smuggling;
mod split;
mod streams;
mod support;
mod takeover;
mod tls;
mod trailers;
