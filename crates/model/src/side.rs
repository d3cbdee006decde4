//! The two sides of a migration and the way between them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One of the two sets of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Where the unit lives before the migration.
    Source,
    /// Where it shall live afterwards.
    Target,
}

impl Side {
    /// Returns the opposite side.
    pub fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }

    /// Returns `source` or `target`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The same kind of thing on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sides<T> {
    /// The thing at the source.
    pub source: T,
    /// The thing at the target.
    pub target: T,
}

impl<T> Sides<T> {
    /// Builds both sides from one function.
    pub fn from_fn(mut make: impl FnMut(Side) -> T) -> Self {
        Self { source: make(Side::Source), target: make(Side::Target) }
    }

    /// Returns the thing at `side`.
    pub fn get(&self, side: Side) -> &T {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// Returns the thing at `side`, to be changed.
    pub fn get_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }
}

/// Direction in which a table moves the write side.
///
/// A cutover and a failback are the same table with the sides exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Cutover: the write side moves from source to target.
    Forward,
    /// Failback: the write side moves from target to source.
    Back,
}

impl Way {
    /// Returns the side that is fenced and drained.
    pub fn from(self) -> Side {
        match self {
            Self::Forward => Side::Source,
            Self::Back => Side::Target,
        }
    }

    /// Returns the side that is promoted.
    pub fn to(self) -> Side {
        self.from().other()
    }
}
