//! What is wrong with a plan, for people and for code.

use segue_model::{Fault, FaultKind, Finding};
use serde::Serialize;
use std::fmt;

/// One thing in a plan that is refused.
///
/// Never holds a value that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable code `SG07nn`.
    pub code: &'static str,
    /// Where in the plan: `front[source].egress`, `policy.lease_ms`.
    pub key: String,
    /// What is wrong.
    pub text: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] `{}`: {}; {}", self.code, self.key, self.text, self.remedy)
    }
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        Finding::refuse(
            problem.code,
            format!("plan key `{}`: {}", problem.key, problem.text),
            problem.remedy,
        )
    }
}

/// Why a plan file did not become a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The text is not TOML, has an unknown or missing key, or a value of another type.
    ///
    /// The line itself is not repeated: it may hold a secret.
    #[error("[SG0701] read plan `{name}`: line {line}, column {column}: {cause}")]
    Unreadable {
        /// Name of the file.
        name: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What was expected there.
        cause: String,
    },
    /// The text is well formed but says something that Segue does not run.
    #[error("[SG0702] plan `{name}` is refused:{}", list(problems))]
    Refused {
        /// Name of the file.
        name: String,
        /// Everything that was found, never empty.
        problems: Vec<Problem>,
    },
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

impl From<PlanError> for Fault {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Unreadable { name, line, column, cause } => Fault::new(
                "SG0701",
                FaultKind::Invalid,
                format!("read plan `{name}`"),
                format!("line {line}, column {column}: {cause}"),
            )
            .hint("mend that line; docs/plan.schema.json lists every key"),
            PlanError::Refused { name, problems } => Fault::new(
                "SG0702",
                FaultKind::Invalid,
                format!("check plan `{name}`"),
                problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"),
            )
            .hint("mend each key named above, then run `segue plan` again"),
        }
    }
}
