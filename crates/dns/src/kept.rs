//! Whether the owned sets still are as this run left them.

use crate::zone::Zone;
use segue_model::Side;
use segue_port::Outcome;
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for the primary.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// What differs from what `lower_ttls` left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Departure {
    /// The sets whose data is not the side's, planned and found.
    pub data: Vec<String>,
    /// The highest TTL above the lowered one, seconds.
    pub ttl_s: Option<u32>,
}

impl Zone {
    /// Compares the owned sets at the primary with the data of `side` and the lowered TTL.
    ///
    /// # Errors
    /// As every exchange with the primary.
    pub async fn departure(&self, side: Side) -> Outcome<Departure> {
        let until = Instant::now() + ANSWER_MAX;
        let op = format!("look at the owned sets of zone `{}`", self.plan.label());
        let found = self.state(&op, until).await?.sets;
        let mut departure = Departure::default();
        for (planned, found) in self.declared()?.data.get(side).iter().zip(&found) {
            if planned.data != found.data {
                departure.data.push(format!("planned `{planned}`, found `{found}`"));
            }
            if found.exists() && found.ttl > self.lowered_ttl_of(found.key.rtype) {
                departure.ttl_s = departure.ttl_s.max(Some(found.ttl));
            }
        }
        Ok(departure)
    }
}
