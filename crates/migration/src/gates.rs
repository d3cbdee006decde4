//! The gates of the tables: those of the plan, and those that ask more than samples. Each
//! answers with its numbers; no data is Unknown.

mod split;
mod zone;

use crate::families::Families;
use crate::tables::Remembered;
use async_trait::async_trait;
use segue_engine::gates::BoundGate;
use segue_engine::{Gate, GateContext};
use segue_model::gate::{Answer, Before, GateSpec, Verdict};
use segue_model::plan::{Policy, UnitPlan};
use segue_model::{Side, Way, What};
use segue_traffic::Fronts;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Returns the plan's gates before a step. On the way back they are those that a failback
/// owes too, with the sides exchanged.
pub(crate) fn of_plan(
    families: &Families,
    before: Before,
    way: Way,
    remembered: &Remembered,
) -> Vec<Arc<dyn Gate>> {
    let gates = families.plan.policy.gates.iter();
    let asked =
        gates.filter(|gate| gate.before == before && (way == Way::Forward || gate.failback));
    let mut all: Vec<Arc<dyn Gate>> =
        asked.map(|gate| one(families, &on_the_way(gate, way), remembered)).collect();
    if before == Before::Arm && way == Way::Forward {
        all.extend(families.zones.iter().map(|zone| zone::untouched(zone)));
        let unit = &families.plan.unit;
        let unread = unit.sites.iter().filter(|site| site.backends.source.access_log.is_none());
        let unread: Vec<&str> = unread.flat_map(|site| &site.hosts).map(String::as_str).collect();
        if !unread.is_empty() {
            // Nobody shall think that it was looked at.
            let of = if unit.sites.len() > 1 {
                format!(" for {}", unread.join(", "))
            } else {
                String::new()
            };
            let because = format!("the source's access log is not in the plan{of}; not checked");
            all.push(Arc::new(Told { name: "all_traffic", answer: (Verdict::Pass, because) }));
        }
    }
    all
}

/// Says why a split that stands does harm, if it is shown to.
pub async fn harm_of_split(
    families: &Families,
    plan: &segue_model::plan::SplitPlan,
) -> Option<String> {
    let trials = families.fronts.trials().await.ok()?;
    split::harm(plan, &trials)
}

/// Returns the gates of a share: both sides up, and the share that stands no worse.
pub(crate) fn of_split(
    families: &Families,
    plan: &segue_model::plan::SplitPlan,
    standing: u8,
) -> Vec<Arc<dyn Gate>> {
    let gates = families.plan.policy.gates.iter();
    let up = gates.filter(|gate| matches!(gate.bound.what, What::BackendHealthy(_)));
    let mut all: Vec<Arc<dyn Gate>> =
        up.map(|gate| one(families, gate, &Remembered::default())).collect();
    if standing > 0 {
        let fronts = Arc::clone(&families.fronts);
        all.push(Arc::new(split::NoWorse::new(fronts, plan.clone(), standing)));
    }
    all
}

/// Exchanges the sides on the way back.
fn on_the_way(gate: &GateSpec, way: Way) -> GateSpec {
    let mut gate = gate.clone();
    if way == Way::Back {
        gate.bound.what = gate.bound.what.of_other_side().unwrap_or(gate.bound.what);
    }
    gate
}

fn one(families: &Families, gate: &GateSpec, remembered: &Remembered) -> Arc<dyn Gate> {
    let max = gate.bound.max.unwrap_or(f64::MAX);
    match gate.bound.what {
        What::VerifiedAgeS => verified(&gate.name, families, max, remembered),
        What::SafeAfterLeftS => Arc::new(SafeAfter {
            name: gate.name.clone(),
            wall_ms: remembered.safe_after_wall_ms,
            left_s: max,
        }),
        what => BoundGate::of_several(gate, parts(&families.plan.unit, what)),
    }
}

/// Returns how many parts of a unit have samples of their own of a measure.
fn parts(unit: &UnitPlan, what: What) -> usize {
    match what {
        What::DatabaseLagMs(_) | What::DatabaseReadable(_) | What::ClockOffsetMs(_) => {
            unit.databases.len()
        }
        What::FilesLagMs(_) => unit.trees.len(),
        What::ZoneServersEqual => unit.zones.len(),
        What::BackendHealthy(_) => unit.sites.len(),
        // A log that says why it tells nothing is not forgotten over the others.
        What::DirectRequests => access_logs(unit),
        What::CertificateDays => unit.certified().len() + unit.certified_by_name().len(),
        _ => 1,
    }
}

/// Returns how many logs show who comes to the source: sites of one server have one.
fn access_logs(unit: &UnitPlan) -> usize {
    let logs = unit.backends(Side::Source).filter_map(|web| web.access_log.as_deref());
    logs.collect::<BTreeSet<_>>().len()
}

/// A gate whose answer does not change while it is asked.
struct Told {
    name: &'static str,
    answer: (Verdict, String),
}

#[async_trait]
impl Gate for Told {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    async fn ask(&self, _context: &GateContext) -> Answer {
        Answer {
            gate: self.name.to_owned(),
            verdict: self.answer.0.clone(),
            because: self.answer.1.clone(),
        }
    }
}

/// Longest wait for the gates of a failback, seconds: going back is urgent.
pub(crate) const BACK_WAIT_S: u64 = 10;

/// No slow request runs, so that the hold need not wait for one. A failback is urgent: when
/// the wait is over it goes on, and the hold leaves such a request running.
pub(crate) fn quiet(fronts: &Arc<Fronts>, policy: &Policy, way: Way) -> Arc<dyn Gate> {
    let most_ms = match way {
        Way::Forward => policy.quiet_wait_ms,
        // Before its table would give up waiting for gates.
        Way::Back => policy
            .quiet_wait_ms
            .min(policy.failback_budget_ms)
            .min(policy.gate_wait_s.min(BACK_WAIT_S) * 750),
    };
    Arc::new(Quiet {
        fronts: Arc::clone(fronts),
        slow_paths: policy.slow_paths.clone(),
        way,
        most: Duration::from_millis(most_ms),
        asked: OnceLock::new(),
    })
}

struct Quiet {
    fronts: Arc<Fronts>,
    slow_paths: Vec<String>,
    way: Way,
    most: Duration,
    /// When it was first asked.
    asked: OnceLock<Instant>,
}

#[async_trait]
impl Gate for Quiet {
    fn name(&self) -> String {
        "no slow request running".into()
    }

    async fn ask(&self, _context: &GateContext) -> Answer {
        let over = self.asked.get_or_init(Instant::now).elapsed() > self.most;
        let (verdict, because) = match self.fronts.slow_requests(&self.slow_paths).await {
            Ok(running) if running.is_empty() => (Verdict::Pass, "none runs".into()),
            Ok(running) => {
                let running = format!("running: {}", running.join(", "));
                match (over, self.way) {
                    (false, _) => (Verdict::Wait, running),
                    (true, Way::Forward) => {
                        (Verdict::Fail, format!("{running}; waited {:?}", self.most))
                    }
                    (true, Way::Back) => (Verdict::Pass, format!("{running}; not waited for")),
                }
            }
            Err(fault) => (Verdict::Unknown, fault.to_string()),
        };
        Answer { gate: self.name(), verdict, because }
    }
}

/// The last full comparison of each kind found nothing and is fresh.
fn verified(
    name: &str,
    families: &Families,
    within_s: f64,
    remembered: &Remembered,
) -> Arc<dyn Gate> {
    let mut wanted = Vec::new();
    if !families.databases.is_empty() {
        wanted.push("database");
    }
    if !families.trees.is_empty() {
        wanted.push("files");
    }
    Arc::new(Verified {
        name: name.to_owned(),
        wanted,
        compared: remembered.compared.clone(),
        within_s,
    })
}

struct Verified {
    name: String,
    wanted: Vec<&'static str>,
    compared: Vec<(String, u64, u64)>,
    within_s: f64,
}

#[async_trait]
impl Gate for Verified {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn asks(&self) -> String {
        format!("{}: no difference, compared within {} s", self.name, self.within_s)
    }

    async fn ask(&self, context: &GateContext) -> Answer {
        let now = context.clock.boot_ms();
        let mut lines = Vec::new();
        let mut verdict = Verdict::Pass;
        for what in &self.wanted {
            match self.compared.iter().rev().find(|(name, ..)| name == what) {
                None => {
                    verdict = Verdict::Unknown;
                    lines.push(format!("{what} never compared"));
                }
                Some((_, at, differences)) => {
                    let age = now.saturating_sub(*at);
                    #[allow(clippy::cast_precision_loss)] // Exact far beyond any age.
                    if *differences > 0 || age as f64 > self.within_s * 1000.0 {
                        verdict = Verdict::Fail;
                    }
                    lines.push(format!("{what}: {differences} differences {} s ago", age / 1_000));
                }
            }
        }
        let mut because = lines.join(", ");
        if verdict != Verdict::Pass {
            let allowed = self.within_s;
            because +=
                &format!("; allowed: 0, at most {allowed} s old; `segue sync` compares again");
        }
        Answer { gate: self.name(), verdict, because }
    }
}

/// No honest resolver holds an answer with a former TTL any more.
struct SafeAfter {
    name: String,
    wall_ms: Option<u64>,
    left_s: f64,
}

#[async_trait]
impl Gate for SafeAfter {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn asks(&self) -> String {
        format!("{}: former TTLs are over", self.name)
    }

    async fn ask(&self, context: &GateContext) -> Answer {
        let now = context.clock.wall_ms();
        let (verdict, because) = match self.wall_ms {
            None => (Verdict::Unknown, "TTLs were not lowered in this run".to_owned()),
            Some(at) if now >= at => {
                (Verdict::Pass, format!("passed {} s ago", (now - at) / 1_000))
            }
            Some(at) => {
                let left_s = (at - now).div_ceil(1_000);
                #[allow(clippy::cast_precision_loss)] // A TTL has 32 bits.
                let passes = left_s as f64 <= self.left_s;
                let verdict = if passes { Verdict::Pass } else { Verdict::Wait };
                (verdict, format!("{left_s} s to go, allowed {}", self.left_s))
            }
        };
        Answer { gate: self.name(), verdict, because }
    }
}

/// The unit was stable for the policy's time after a person confirmed.
pub(crate) fn stable_for(confirmed_at_boot_ms: Option<u64>, stable_for_s: u64) -> Arc<dyn Gate> {
    Arc::new(StableFor { confirmed_at_boot_ms, stable_for_s })
}

struct StableFor {
    confirmed_at_boot_ms: Option<u64>,
    stable_for_s: u64,
}

#[async_trait]
impl Gate for StableFor {
    fn name(&self) -> String {
        "stable long enough".into()
    }

    async fn ask(&self, context: &GateContext) -> Answer {
        let (verdict, because) = match self.confirmed_at_boot_ms {
            None => (Verdict::Fail, "nobody confirmed".to_owned()),
            Some(at) => {
                let stable_s = context.clock.boot_ms().saturating_sub(at) / 1_000;
                let text = format!("{stable_s} s since confirm, wanted {} s", self.stable_for_s);
                (if stable_s >= self.stable_for_s { Verdict::Pass } else { Verdict::Wait }, text)
            }
        };
        Answer { gate: self.name(), verdict, because }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use segue_engine::Board;
    use segue_engine::clock::TestClock;
    use segue_model::Sample;
    use segue_port::Clock;

    #[tokio::test]
    async fn all_traffic_waits_for_each_log_of_several() {
        let mut plan = segue_plan::parse(segue_plan::template(), "example.toml").unwrap();
        plan.unit.sites[0].backends.source.access_log = Some("/var/log/shop.log".into());
        let mut other = plan.unit.sites[0].clone();
        other.name = "other".into();
        plan.unit.sites.push(other);
        let mut gates = plan.policy.gates.iter();
        let mut gate = gates.find(|gate| gate.name == "all_traffic").unwrap().clone();
        gate.for_ms = 0;
        let clock = Arc::new(TestClock::standing(50_000));
        let ask = async |unit: &UnitPlan, logs: &[&str]| {
            let board = Board::without_samplers(clock.clone());
            for log in logs {
                board.put(Sample {
                    what: What::DirectRequests,
                    value: 0.0,
                    count: 0,
                    taken_at_ms: clock.boot_ms(),
                    from: format!("access-log:{log}"),
                });
            }
            let context = GateContext {
                board,
                clock: clock.clone(),
                facts: Arc::default(),
                state: Arc::default(),
            };
            let gate = BoundGate::of_several(&gate, parts(unit, What::DirectRequests));
            gate.ask(&context).await.verdict
        };
        assert_eq!(ask(&plan.unit, &["a"]).await, Verdict::Pass, "both have one log");
        plan.unit.sites[1].backends.source.access_log = Some("/var/log/other.log".into());
        assert_eq!(ask(&plan.unit, &["a"]).await, Verdict::Unknown, "the other's is a fault");
        assert_eq!(ask(&plan.unit, &["a", "b"]).await, Verdict::Pass);
    }
}
