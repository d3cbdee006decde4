//! How answers of the servers become faults, and the small helpers every effect uses.

use segue_doors::sql::{SqlError, SqlResult};
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::{Call, Outcome};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Turns the result of a call on a server into an outcome.
pub(crate) trait Explain<T> {
    /// For calls that change nothing: a failure leaves nothing behind.
    fn reading(self, op: &str) -> Outcome<T>;
    /// For calls that change something: a failure may leave it behind.
    fn changing(self, op: &str) -> Outcome<T>;
}

impl<T> Explain<T> for SqlResult<T> {
    fn reading(self, op: &str) -> Outcome<T> {
        self.map_err(|error| explain(op, &error))
    }

    fn changing(self, op: &str) -> Outcome<T> {
        self.map_err(|error| explain(op, &error).leaving(EffectLeft::Maybe))
    }
}

fn explain(op: &str, error: &SqlError) -> Fault {
    let (code, kind, hint) = match error {
        SqlError::Unreachable(_) => (
            "SG0201",
            FaultKind::Unreachable,
            "see whether the server runs and its port is open from here",
        ),
        SqlError::Refused(_) => (
            "SG0202",
            FaultKind::Denied,
            "see the login's name, host and password at the server; a newer controller ends the logins of former ones",
        ),
        SqlError::Timeout(_) => {
            ("SG0203", FaultKind::Timeout, "see the server's load and its process list")
        }
        // The snapshot is older than the table: another one sees it.
        SqlError::Server { code: 1412, .. } => (
            "SG0204",
            FaultKind::Busy,
            "a table was changed while it was read as it had been before; run the step again",
        ),
        SqlError::Server { code, .. } => {
            let kind = match code {
                1044 | 1142 | 1143 | 1227 | 1370 => FaultKind::Denied,
                1205 | 1213 => FaultKind::Busy,
                1049 | 1146 => FaultKind::NotFound,
                1317 | 1927 => FaultKind::Timeout,
                _ => FaultKind::Invalid,
            };
            ("SG0204", kind, "the server's message names the cause")
        }
        SqlError::Unexpected(_) => ("SG0204", FaultKind::Unsupported, "see the server's version"),
    };
    Fault::new(code, kind, op, error).hint(hint)
}

/// Time left for a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Starts counting the time that a call allows.
    pub(crate) fn of(call: &Call) -> Self {
        Self::after(call.time_allowed)
    }

    /// Starts counting.
    pub(crate) fn after(time: Duration) -> Self {
        // A time allowed beyond any clock means a day.
        let now = Instant::now();
        Self(now.checked_add(time).unwrap_or(now + Duration::from_secs(86_400)))
    }

    /// Returns the time left; zero when it is over.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Returns whether the time is over.
    pub(crate) fn over(self) -> bool {
        self.left().is_zero()
    }
}

/// Finds an earlier step's output by the stamp `effect` that every output carries, at top
/// level or one level below, so that it does not matter how a table groups its steps.
pub(crate) fn fact(call: &Call, effect: &str) -> Option<Value> {
    let carries = |value: &Value| value.get("effect").and_then(Value::as_str) == Some(effect);
    for value in call.facts.values() {
        if carries(value) {
            return Some(value.clone());
        }
        let below: Option<&Value> = match value {
            Value::Object(map) => map.values().find(|v| carries(v)),
            Value::Array(list) => list.iter().find(|v| carries(v)),
            _ => None,
        };
        if let Some(found) = below {
            return Some(found.clone());
        }
    }
    None
}

/// Returns an earlier step's output or says that it is missing.
pub(crate) fn need(call: &Call, effect: &str, op: &str) -> Outcome<Value> {
    fact(call, effect).ok_or_else(|| {
        Fault::new("SG0221", FaultKind::Bug, op, format!("no earlier step left `{effect}`"))
            .hint("run the steps in the table's order")
    })
}

/// Returns a text field of an earlier step's output.
pub(crate) fn text(value: &Value, field: &str, op: &str) -> Outcome<String> {
    value.get(field).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
        Fault::new("SG0221", FaultKind::Bug, op, format!("an earlier step left no `{field}`"))
    })
}
