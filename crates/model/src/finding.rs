//! What a check of the world found before anything is touched.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The plan is not run until this is mended.
    Refuse,
    /// Worth knowing; the plan runs.
    Warn,
}

/// One finding with its remedy. Every `preflight` returns a list of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Weight.
    pub severity: Severity,
    /// Stable code such as `SG0203`.
    pub code: String,
    /// What was found, with the object's name.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
}

impl Finding {
    /// Builds a finding that refuses the plan.
    pub fn refuse(code: &str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Refuse,
            code: code.into(),
            text: text.into(),
            remedy: remedy.into(),
        }
    }

    /// Builds a finding that only warns.
    pub fn warn(code: &str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warn,
            code: code.into(),
            text: text.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Refuse => "refused",
            Severity::Warn => "warning",
        };
        write!(f, "{word} [{}]: {}\n  {}", self.code, self.text, self.remedy)
    }
}
