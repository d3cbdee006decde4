//! What a hold waits for before it begins, and how long.

use segue_model::Way;
use segue_model::plan::Policy;
use std::time::Duration;

/// A failback's budget through this is what it waits for requests in flight.
const IN_FLIGHT_SHARE: u32 = 2;

/// A failback's budget through this is what it looks for a quiet moment that may never come.
const QUIET_SHARE: u32 = 8;

/// The same if it comes as soon as one request ends that is known to be slow. Nobody waits
/// meanwhile, which is better than to hold everybody for it.
const ONE_SLOW_SHARE: u32 = 2;

/// A failback's budget through this is left for what follows once the unit is quiet.
const AFTERWARDS_SHARE: u32 = 4;

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
            Way::Back => {
                (policy.failback_budget_ms / u64::from(IN_FLIGHT_SHARE), looks(policy, true))
            }
        };
        Self { age_ms, empties, insists: true }
    }
}

/// How long a failback that looked for a quiet moment `looked` long waits for requests in
/// flight.
pub(crate) fn in_flight(policy: &Policy, looked: Duration) -> Duration {
    let budget = Duration::from_millis(policy.failback_budget_ms);
    let left = budget.saturating_sub(budget / AFTERWARDS_SHARE).saturating_sub(looked);
    left.min(budget / IN_FLIGHT_SHARE)
}

/// How long a failback looks for a quiet moment; `lasts` if there may never be one.
pub(crate) fn looks(policy: &Policy, lasts: bool) -> Duration {
    let share = if lasts { QUIET_SHARE } else { ONE_SLOW_SHARE };
    Duration::from_millis(policy.failback_budget_ms) / share
}
