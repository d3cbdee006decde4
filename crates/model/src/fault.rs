//! What an effect or a sampler returns when it does not succeed.
//!
//! Two readers: code branches on [`FaultKind`] and [`EffectLeft`]; people read
//! the chain of sentences and the hint.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Kind of a failure, for branching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The object does not exist.
    NotFound,
    /// Somebody else changed or claimed the object.
    Conflict,
    /// The login lacks a right.
    Denied,
    /// The resource is busy; asking again later may succeed.
    Busy,
    /// No answer within the time allowed.
    Timeout,
    /// No connection.
    Unreachable,
    /// The input or the state of the world is not acceptable.
    Invalid,
    /// The driver cannot do this.
    Unsupported,
    /// The lease lapsed or a newer epoch acts.
    LeaseLost,
    /// A mistake in Segue itself.
    Bug,
}

/// What is known of the world after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectLeft {
    /// Nothing was changed.
    None,
    /// It may have been changed: quench and observe before anything else.
    Maybe,
    /// It was changed, what followed failed.
    Done,
}

/// A failure with its object, its consequence and the next move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Stable code such as `SG0312`; each has a page under `docs/errors/`.
    pub code: String,
    /// For branching.
    pub kind: FaultKind,
    /// What the attempt left behind.
    pub effect: EffectLeft,
    /// Operation and object, lower case, without full stop: ``fence database `shop` ``.
    pub op: String,
    /// The causes, outermost first.
    pub cause: String,
    /// The next move for a person; empty if there is none to name.
    pub hint: String,
}

impl Fault {
    /// Builds a fault that left nothing behind.
    pub fn new(
        code: &str,
        kind: FaultKind,
        op: impl Into<String>,
        cause: impl fmt::Display,
    ) -> Self {
        Self {
            code: code.to_owned(),
            kind,
            effect: EffectLeft::None,
            op: op.into(),
            cause: cause.to_string(),
            hint: String::new(),
        }
    }

    /// Says what the attempt left behind.
    #[must_use]
    pub fn leaving(mut self, effect: EffectLeft) -> Self {
        self.effect = effect;
        self
    }

    /// Adds the next move.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}: {}", self.code, self.op, self.cause)?;
        if self.effect == EffectLeft::Maybe {
            f.write_str(" (it may have taken effect)")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
