//! The gates of the tables. Each answers with its numbers; no data is Unknown.

use crate::families::Families;
use crate::tables::Remembered;
use async_trait::async_trait;
use segue_engine::gates::BoundGate;
use segue_engine::{Gate, GateContext};
use segue_model::gate::{Answer, Bound, Verdict};
use segue_model::plan::Policy;
use segue_model::{Side, Way, What};
use segue_traffic::Fronts;
use std::sync::Arc;

/// A sample of a slow sampler older than this says nothing, milliseconds.
const FRESH_MS: u64 = 2_500;

/// Lag is measured ten times a second, and only while its stream runs filtered: an older
/// sample may be of a stream that stands.
const LAG_FRESH_MS: u64 = 1_000;

/// Lag at which a fence may begin: a drain of that lag fits into any budget, milliseconds.
const FENCE_LAG_MAX_MS: f64 = 250.0;

fn bound(name: &str, what: What, min: Option<f64>, max: Option<f64>) -> Arc<dyn Gate> {
    BoundGate::new(name, Bound { what, min, max, fresh_for_ms: FRESH_MS })
}

/// Every front answers under this run.
pub(crate) fn fronts_ready() -> Arc<dyn Gate> {
    bound("fronts ready", What::FrontsReady, Some(1.0), None)
}

/// The application at `side` is up.
pub(crate) fn backend_healthy(side: Side) -> Arc<dyn Gate> {
    bound(
        &format!("application at the {side} answers"),
        What::BackendHealthy(side),
        Some(1.0),
        None,
    )
}

/// The database at `side` answers a read.
pub(crate) fn database_readable(side: Side) -> Arc<dyn Gate> {
    bound(
        &format!("database at the {side} readable"),
        What::DatabaseReadable(side),
        Some(1.0),
        None,
    )
}

/// The other side's database is close behind `side`.
pub(crate) fn database_lag(side: Side, max_ms: f64) -> Arc<dyn Gate> {
    let bound = Bound {
        what: What::DatabaseLagMs(side),
        min: None,
        max: Some(max_ms),
        fresh_for_ms: LAG_FRESH_MS,
    };
    BoundGate::new(format!("database lag behind the {side}"), bound)
}

/// The other side's files are close behind `side`.
pub(crate) fn files_lag(side: Side, max_ms: f64) -> Arc<dyn Gate> {
    bound(&format!("files lag behind the {side}"), What::FilesLagMs(side), None, Some(max_ms))
}

/// The lag just before the pause begins is small enough to drain inside it.
pub(crate) fn fence_lag(families: &Families, way: Way) -> Arc<dyn Gate> {
    if families.database.is_some() {
        database_lag(way.from(), FENCE_LAG_MAX_MS)
    } else {
        Arc::new(Told { name: "lag", answer: (Verdict::Pass, "no database in this unit".into()) })
    }
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

/// No slow request runs, so that the hold need not wait for one.
pub(crate) fn quiet(fronts: &Arc<Fronts>, policy: &Policy) -> Arc<dyn Gate> {
    Arc::new(Quiet { fronts: Arc::clone(fronts), slow_paths: policy.slow_paths.clone() })
}

struct Quiet {
    fronts: Arc<Fronts>,
    slow_paths: Vec<String>,
}

#[async_trait]
impl Gate for Quiet {
    fn name(&self) -> String {
        "no slow request running".into()
    }

    async fn ask(&self, _context: &GateContext) -> Answer {
        let (verdict, because) = match self.fronts.slow_requests(&self.slow_paths).await {
            Ok(running) if running.is_empty() => (Verdict::Pass, "none runs".into()),
            Ok(running) => (Verdict::Wait, format!("running: {}", running.join(", "))),
            Err(fault) => (Verdict::Unknown, fault.to_string()),
        };
        Answer { gate: self.name(), verdict, because }
    }
}

/// For the policy's time no request reached the source around its front.
pub(crate) fn all_traffic(families: &Families) -> Arc<dyn Gate> {
    let web = families.plan.unit.backend(Side::Source);
    if web.is_none_or(|web| web.access_log.is_none()) {
        let because = match web {
            Some(_) => "the source's access log is not in the plan; not checked".to_owned(),
            None => "no site in this unit".to_owned(),
        };
        return Arc::new(Told {
            name: "all traffic passes the fronts",
            answer: (Verdict::Pass, because),
        });
    }
    Arc::new(AllTraffic { window_ms: families.plan.policy.all_traffic_for_s * 1_000 })
}

struct AllTraffic {
    window_ms: u64,
}

#[async_trait]
impl Gate for AllTraffic {
    fn name(&self) -> String {
        "all traffic passes the fronts".into()
    }

    async fn ask(&self, context: &GateContext) -> Answer {
        let samples = context.board.window(What::DirectRequests, self.window_ms);
        let now = context.clock.boot_ms();
        let oldest = samples.iter().map(|s| now.saturating_sub(s.taken_at_ms)).max().unwrap_or(0);
        let newest = samples.iter().map(|s| now.saturating_sub(s.taken_at_ms)).min();
        let direct: f64 = samples.iter().map(|s| s.value).sum();
        let (verdict, because) = match newest {
            None => (Verdict::Unknown, "the source's access log was not read".to_owned()),
            Some(age) if age > FRESH_MS => {
                (Verdict::Unknown, format!("last look at the access log {age} ms ago"))
            }
            _ if direct > 0.0 => (
                Verdict::Wait,
                format!(
                    "{direct:.0} requests around the front in the last {} s",
                    self.window_ms / 1_000
                ),
            ),
            // The window must be full of samples, less one interval of the sampler.
            _ if oldest + 1_500 < self.window_ms => (
                Verdict::Wait,
                format!("none for {} s, wanted {} s", oldest / 1_000, self.window_ms / 1_000),
            ),
            _ => (Verdict::Pass, format!("none around the front for {} s", self.window_ms / 1_000)),
        };
        Answer { gate: self.name(), verdict, because }
    }
}

/// The last full comparison of each kind found nothing and is fresh.
pub(crate) fn verified(families: &Families, remembered: &Remembered) -> Arc<dyn Gate> {
    let mut wanted = Vec::new();
    if families.database.is_some() {
        wanted.push("database");
    }
    if !families.trees.is_empty() {
        wanted.push("files");
    }
    Arc::new(Verified {
        wanted,
        compared: remembered.compared.clone(),
        within_ms: families.plan.policy.verified_within_s * 1_000,
    })
}

struct Verified {
    wanted: Vec<&'static str>,
    compared: Vec<(String, u64, u64)>,
    within_ms: u64,
}

#[async_trait]
impl Gate for Verified {
    fn name(&self) -> String {
        "verified".into()
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
                    if *differences > 0 || age > self.within_ms {
                        verdict = Verdict::Fail;
                    }
                    lines.push(format!("{what}: {differences} differences {} s ago", age / 1_000));
                }
            }
        }
        let mut because = lines.join(", ");
        if verdict != Verdict::Pass {
            let allowed = self.within_ms / 1_000;
            because +=
                &format!("; allowed: 0, at most {allowed} s old; `segue sync` compares again");
        }
        Answer { gate: self.name(), verdict, because }
    }
}

/// No honest resolver holds an answer with a former TTL any more.
pub(crate) fn safe_after(wall_ms: Option<u64>, needed: bool) -> Arc<dyn Gate> {
    Arc::new(SafeAfter { wall_ms, needed })
}

struct SafeAfter {
    wall_ms: Option<u64>,
    needed: bool,
}

#[async_trait]
impl Gate for SafeAfter {
    fn name(&self) -> String {
        "safe-after passed".into()
    }

    async fn ask(&self, context: &GateContext) -> Answer {
        let now = context.clock.wall_ms();
        let (verdict, because) = match self.wall_ms {
            _ if !self.needed => (Verdict::Pass, "no zone in this unit".to_owned()),
            None => (Verdict::Unknown, "TTLs were not lowered in this run".to_owned()),
            Some(at) if now >= at => {
                (Verdict::Pass, format!("passed {} s ago", (now - at) / 1_000))
            }
            Some(at) => (Verdict::Wait, format!("{} s to go", (at - now).div_ceil(1_000))),
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
