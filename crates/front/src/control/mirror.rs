//! What is said of copies of requests.

use segue_model::Sides;
use segue_model::compare::Compared;
use segue_model::plan::MirrorPlan;
use serde::{Deserialize, Serialize};

/// Copies of a unit's requests, for the target, while the source has the unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorRoute {
    /// Which requests are copied, and what is compared.
    pub plan: MirrorPlan,
    /// Whether another front stands before a side's servers: it is told where a copy belongs.
    #[serde(default)]
    pub relayed: Sides<bool>,
}

/// What copies of requests showed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mirrored {
    /// Requests that were chosen and not copied, as too many copies were under way.
    pub dropped: u64,
    /// Those that were not compared to the end, as a hold began.
    pub ended: u64,
    /// What was found of the others.
    pub compared: Compared,
}
