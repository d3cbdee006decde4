//! What a hold waits for before it begins, and how long.

use segue_model::Way;
use segue_model::plan::Policy;
use std::time::Duration;

/// A failback's budget through this is what it waits for requests in flight.
const IN_FLIGHT_SHARE: u64 = 2;

/// A failback's budget through this is what it looks for a quiet moment.
const QUIET_SHARE: u64 = 8;

/// How a hold treats requests that run when it wants to begin.
pub(crate) struct Patience {
    /// A request that already ran this long would not fit into the pause: the hold waits for
    /// a moment without one. Younger ones end inside the pause, as most of their kind do.
    pub(crate) age_ms: u64,
    /// How long a front whose requests pass another one has to empty.
    pub(crate) empties: Duration,
    /// Whether it begins only in such a moment.
    pub(crate) insists: bool,
}

impl Patience {
    /// A cutover can be put off, so it insists to the end.
    pub(crate) fn at_first(policy: &Policy, way: Way) -> Self {
        let (age_ms, empties) = match way {
            Way::Forward => {
                let age_ms = policy.pause_budget_ms.saturating_sub(policy.seal_reserve_ms);
                (age_ms, Duration::from_millis(age_ms))
            }
            // The wait for all fronts comes after it, and both must fit the budget.
            Way::Back => (policy.failback_budget_ms / IN_FLIGHT_SHARE, quiet(policy)),
        };
        Self { age_ms, empties, insists: true }
    }
}

/// How long a failback waits for requests in flight.
pub(crate) fn in_flight(policy: &Policy) -> Duration {
    Duration::from_millis(policy.failback_budget_ms / IN_FLIGHT_SHARE)
}

/// How long a failback looks for a quiet moment.
pub(crate) fn quiet(policy: &Policy) -> Duration {
    Duration::from_millis(policy.failback_budget_ms / QUIET_SHARE)
}
