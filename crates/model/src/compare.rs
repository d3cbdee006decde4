//! Whether two sides answer the same: what is looked at of an answer, what counts as a difference
//! and what as noise, and the sum over many requests.
//!
//! The source is asked twice where it matters. What it does not answer the same twice is noise, in
//! which a target may differ too. A body is looked at line by line, and only numbers that stand for
//! its lines are kept: however long it is, nobody has to keep it.

mod answer;
mod tally;

pub use answer::{Answer, Body, Reader, judge};
pub use tally::{Compared, Difference, Tally, masked};

use serde::{Deserialize, Serialize};

/// Headers that are looked at unless somebody says others, lower case.
pub const HEADERS: [&str; 5] =
    ["content-type", "location", "cache-control", "content-encoding", "vary"];

/// In what two answers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One side gave no answer.
    Unanswered,
    /// In the status.
    Status,
    /// In a header.
    Header,
    /// In the body.
    Body,
}
