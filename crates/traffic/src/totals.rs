//! What all fronts counted, for the journal and the report.

use crate::fronts::Fronts;
use crate::link::Link;
use futures_util::future::join_all;
use segue_front::control::{Hello, HoldRecord, Mirrored, Reply, Request, Stats, Straggler, Totals};
use segue_model::plan::UnitPlan;
use segue_model::{Fault, Side, Sides, UnitName};
use serde::{Deserialize, Serialize};

/// Totals over all fronts of a unit since they were inserted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficTotals {
    /// Requests answered, both sides.
    pub requests: u64,
    /// Those that failed in the client's view.
    pub failed: u64,
    /// How many of them were the run's own probes, and how many of those failed.
    pub probes: Totals,
    /// Longest request, time held included, milliseconds; slow pages of the site count too.
    pub longest_ms: f64,
    /// Requests answered by each side.
    pub by_side: Option<Sides<u64>>,
    /// Requests that arrived at each front: name and count.
    pub by_front: Vec<(String, u64)>,
    /// Every hold with what happened to the requests in it.
    pub holds: Vec<HoldRecord>,
}

/// What copies of requests showed at a front.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FrontMirrored {
    /// Name of the front.
    pub front: String,
    /// Whether it does not answer: what it found is not known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
    /// What was found.
    #[serde(flatten)]
    pub mirrored: Option<Mirrored>,
}

/// Who still comes to a front of the side that the unit has left.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FrontStragglers {
    /// Name of the front.
    pub front: String,
    /// How many clients there were, of those that the front remembers.
    pub count: usize,
    /// When it was asked, by the boot clock.
    pub boot_ms: u64,
    /// Since when it counts them, by the boot clock: its process began. None if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Why it does not count them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncounted: Option<String>,
    /// Requests and streams of the unit that it has open now; none while it sends them to its own
    /// side.
    pub open: usize,
    /// When the last client was seen that it does not remember any more, by the boot clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_ms: Option<u64>,
    /// Those that came last, the latest first.
    pub latest: Vec<Straggler>,
}

/// Asks the fronts at one side of a unit who still comes, whoever drives them; changes nothing.
pub async fn late_at(unit: &UnitPlan, side: Side) -> Vec<(String, Option<FrontStragglers>)> {
    let fronts = unit.fronts.iter().filter(|front| front.side == side);
    let links: Vec<_> = fronts.map(|front| Link::new(front.clone(), unit.name.clone())).collect();
    join_all(links.iter().map(late_comers)).await
}

async fn late_comers(link: &Link) -> (String, Option<FrontStragglers>) {
    let front = link.plan.name.clone();
    let known = async {
        let stats = link.stats().await.ok()?;
        let hello = if link.is_ours() { link.hello().await.ok() } else { None };
        let counts = match &hello {
            Some(hello) => counting(hello, link.plan.side, link.unit()),
            None if link.is_ours() => Err("it does not say how it stands"),
            None => Err("the operator's own proxy counts nobody"),
        };
        // What is open where the unit is sent to the front's own side is not late.
        let away = hello.as_ref().and_then(|hello| hello.unit(link.unit()));
        let away = away.filter(|unit| unit.write_side != link.plan.side);
        Some(FrontStragglers {
            front: front.clone(),
            count: stats.straggler_count,
            boot_ms: stats.boot_ms,
            since_ms: counts.ok(),
            uncounted: counts.err().map(str::to_owned),
            open: away.map_or(0, |unit| unit.streams + unit.in_flight),
            dropped_ms: stats.straggler_dropped_ms,
            latest: stats.stragglers,
        })
    };
    let known = known.await;
    (front, known)
}

/// Returns since when a front notes who comes late, or why it does not: only a front that gets the
/// clients, and sends them to the other side, sees any.
fn counting(hello: &Hello, side: Side, unit: &UnitName) -> Result<u64, &'static str> {
    match hello.unit(unit) {
        _ if !hello.listening => Err("it takes no connections"),
        None => Err("it does not have the unit"),
        Some(unit) if unit.write_side == side => Err("it sends the unit's clients to its own side"),
        Some(_) => Ok(hello.started_ms),
    }
}

impl Fronts {
    /// Returns who still comes although the unit has left; nothing of a front that does not
    /// answer, or knows of nobody.
    pub async fn stragglers(&self) -> Vec<FrontStragglers> {
        let known = self.late_comers().await.into_iter().flat_map(|(_, known)| known);
        known.filter(|one| one.count > 0).collect()
    }

    /// Returns the same by front, also of one that knows of nobody; none if it does not answer.
    pub async fn late_comers(&self) -> Vec<(String, Option<FrontStragglers>)> {
        join_all(self.links.iter().map(|link| late_comers(link))).await
    }

    /// Returns what copies of requests showed, and which fronts do not answer; nothing of a front
    /// that makes no copies.
    pub async fn mirrored(&self) -> Vec<FrontMirrored> {
        let all = self.links.iter().map(|link| async move {
            let front = link.plan.name.clone();
            let Ok(stats) = link.stats().await else {
                return Some(FrontMirrored { front, silent: true, mirrored: None });
            };
            let mirrored = stats.mirror.map(|mirrored| *mirrored);
            mirrored.map(|known| FrontMirrored { front, silent: false, mirrored: Some(known) })
        });
        join_all(all).await.into_iter().flatten().collect()
    }

    /// Returns how many requests the fronts themselves have passed to the servers of `side`, those
    /// that run now included; none while a front does not answer.
    ///
    /// # Errors
    /// Why that can never be told: what a server logs of other units, or of what is not counted, is
    /// not known.
    pub async fn passed(&self, side: Side) -> Result<Option<u64>, String> {
        if let Some(why) = self.settings.unit.uncounted(side) {
            return Err(why);
        }
        let mut sum = 0;
        for link in self.links.iter().filter(|link| !self.relays(&link.plan, side)) {
            let (stats, hello) = (self.all_stats(link).await, link.hello().await);
            let (Some(stats), Ok(hello)) = (stats, hello) else { return Ok(None) };
            let unit = hello.unit(&self.settings.unit.name);
            if hello.unit_count > usize::from(unit.is_some()) {
                return Err(format!("front `{}` serves other units as well", link.plan.name));
            }
            sum += stats.sides.get(side).requests;
            // What came through another front, and what belongs to no unit, stays here.
            if link.plan.side == side {
                sum += stats.relayed.requests + stats.other.requests;
            }
            let unit = unit.filter(|unit| unit.write_side == side);
            sum += unit.map_or(0, |unit| unit.in_flight as u64);
        }
        Ok(Some(sum))
    }

    /// Returns what a front counted over all units; of the operator's own proxy, for this one.
    async fn all_stats(&self, link: &Link) -> Option<Stats> {
        if !link.is_ours() {
            return link.stats().await.ok();
        }
        match link.call_aside(&Request::Stats).await.ok()? {
            Reply::Stats(stats) => Some(stats),
            _ => None,
        }
    }

    /// Reads the counters of every front.
    ///
    /// # Errors
    /// If a front does not answer: a sum without it would be wrong, so there is none.
    pub async fn totals(&self) -> Result<TrafficTotals, Fault> {
        let mut sum = TrafficTotals::default();
        let mut by_side = Sides { source: 0, target: 0 };
        let mut relayed = Totals::default();
        let mut sent_on = Totals::default();
        for link in &self.links {
            let stats = link.stats().await?;
            let mut arrived = 0;
            for side in [Side::Source, Side::Target] {
                let Totals { requests, failed, longest_ms } = stats.sides.get(side);
                arrived += requests;
                *by_side.get_mut(side) += requests;
                sum.failed += failed;
                sum.longest_ms = sum.longest_ms.max(*longest_ms);
                if self.relays(&link.plan, side) {
                    sent_on.requests += requests;
                    sent_on.failed += failed;
                }
            }
            sum.probes.requests += stats.probes.requests;
            sum.probes.failed += stats.probes.failed;
            relayed.requests += stats.relayed.requests;
            relayed.failed += stats.relayed.failed;
            sum.requests += arrived;
            sum.by_front.push((link.plan.name.clone(), arrived));
            sum.holds.extend(stats.holds);
        }
        // What one front sent on to another counts where it came in. Anybody can write the
        // header by which a front knows such a request: more of them than were sent on are
        // requests of their own.
        sum.requests += relayed.requests.saturating_sub(sent_on.requests);
        sum.failed += relayed.failed.saturating_sub(sent_on.failed);
        sum.by_side = Some(by_side);
        Ok(sum)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_front_counts_late_clients_only_while_it_gets_them_and_sends_them_away() {
        let hello = |listening: bool, write_side: &str| -> Hello {
            let unit = json!({
                "unit": "shop", "sites": [], "write_side": write_side,
                "hold": { "state": "open" }, "in_flight": 0, "streams": 0, "held": 0,
            });
            let hello = json!({
                "name": "source", "side": "source", "pid": 1, "version": "1", "ports": [],
                "listening": listening, "claim": null, "epoch": 1, "generation": 1,
                "boot_ms": 90_000, "started_ms": 20_000, "unit_count": 1, "units": [unit],
            });
            serde_json::from_value(hello).unwrap()
        };
        let of = |hello: &Hello, unit: &str| counting(hello, Side::Source, &unit.into());
        assert_eq!(of(&hello(true, "target"), "shop"), Ok(20_000));
        assert_eq!(of(&hello(false, "target"), "shop"), Err("it takes no connections"));
        let own = Err("it sends the unit's clients to its own side");
        assert_eq!(of(&hello(true, "source"), "shop"), own);
        assert_eq!(of(&hello(true, "target"), "other"), Err("it does not have the unit"));
    }
}
