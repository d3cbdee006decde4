//! Whether the target may have a larger share.

use crate::tables::split::{LOOKS, margins};
use async_trait::async_trait;
use segue_engine::canary::{self, Seen, Times};
use segue_engine::{Gate, GateContext};
use segue_model::gate::{Answer, Verdict};
use segue_model::plan::SplitPlan;
use segue_traffic::{Fronts, Met, Trials};
use std::sync::{Arc, Mutex, PoisonError};

/// The share that stands does no harm, and is shown to be no worse.
pub(crate) struct NoWorse {
    fronts: Arc<Fronts>,
    plan: SplitPlan,
    share: u8,
    /// The last look, and what it showed.
    last: Mutex<Option<(u32, bool, String)>>,
}

impl NoWorse {
    pub(crate) fn new(fronts: Arc<Fronts>, plan: SplitPlan, share: u8) -> Self {
        Self { fronts, plan, share, last: Mutex::new(None) }
    }

    fn judge(&self, trials: &Trials) -> (Verdict, String) {
        if trials.share != self.share {
            let because = format!("the fronts give {} %, not {} %", trials.share, self.share);
            return (Verdict::Unknown, because);
        }
        if let Some(because) = harm(&self.plan, trials) {
            return (Verdict::Fail, because);
        }
        let (target, source) = (seen(&trials.sides.target), seen(&trials.sides.source));
        let numbers = numbers(&target, &source);
        let lasts_s = trials.lasts_ms / 1_000;
        if lasts_s < self.plan.dwell_s {
            let because = format!("{lasts_s} of {} s; {numbers}", self.plan.dwell_s);
            return (Verdict::Wait, because);
        }
        if !self.plan.proof {
            return (Verdict::Pass, format!("no harm shown, and no proof asked for: {numbers}"));
        }
        self.proof(lasts_s, &target, &source)
    }

    /// Looks when the share has stood for its time, and each time that has doubled: looking
    /// all the while would find by chance what is not there.
    fn proof(&self, lasts_s: u64, target: &Seen, source: &Seen) -> (Verdict, String) {
        let look = (lasts_s / self.plan.dwell_s.max(1)).max(1).ilog2().min(LOOKS - 1);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.as_ref().filter(|(known, ..)| *known == look).cloned();
        let (_, shown, because) = known.unwrap_or_else(|| {
            let said = canary::no_worse(target, source, margins(&self.plan));
            (look, said.shown, said.because)
        });
        *last = Some((look, shown, because.clone()));
        if shown {
            return (Verdict::Pass, because);
        }
        if lasts_s >= self.plan.longest_s {
            return (Verdict::Fail, format!("inconclusive after {lasts_s} s: {because}"));
        }
        (Verdict::Wait, because)
    }
}

#[async_trait]
impl Gate for NoWorse {
    fn name(&self) -> String {
        "no worse".into()
    }

    fn asks(&self) -> String {
        let SplitPlan { failing_margin, p50_factor, p95_factor, .. } = self.plan;
        format!(
            "no worse: with {} % of the visitors, failing at most {:.2} points more, median {p50_factor} and 95 % {p95_factor} times the source's",
            self.share,
            failing_margin * 100.0
        )
    }

    async fn ask(&self, _context: &GateContext) -> Answer {
        let (verdict, because) = match self.fronts.trials().await {
            Ok(trials) => self.judge(&trials),
            Err(fault) => (Verdict::Unknown, fault.to_string()),
        };
        Answer { gate: self.name(), verdict, because }
    }
}

/// Says why the target does harm, if it is shown to: a front took it out, or its visitors fail
/// more often than can be chance.
pub(super) fn harm(plan: &SplitPlan, trials: &Trials) -> Option<String> {
    if !trials.opened.is_empty() {
        let fronts = trials.opened.join(", ");
        return Some(format!(
            "front {fronts} took the target out: it failed or was too slow; {} requests were answered by the source instead",
            trials.saved
        ));
    }
    let (target, source) = (seen(&trials.sides.target), seen(&trials.sides.source));
    #[allow(clippy::cast_precision_loss)] // At most twenty.
    let alpha = plan.false_alarm / plan.shares.len().max(1) as f64;
    let harm = canary::harm(&target, &source);
    harm.is_shown(alpha).then(|| {
        let numbers = numbers(&target, &source);
        format!("{numbers}: harm is {:.0} times as likely as none", harm.factor)
    })
}

fn numbers(target: &Seen, source: &Seen) -> String {
    format!(
        "{} of {} visitors a minute fail at the target, {} of {} at the source",
        target.failing, target.cells, source.failing, source.cells
    )
}

/// Returns what the fronts met as the analysis takes it.
#[allow(clippy::cast_precision_loss)] // Times of answers.
pub(crate) fn seen(met: &Met) -> Seen {
    Seen {
        cells: met.cells,
        failing: met.failing,
        times: Times::of(met.times_us.iter().map(|(us, count)| (*us as f64 / 1_000.0, *count))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use segue_model::plan::Policy;
    use segue_model::{RunId, Sides};
    use segue_traffic::FrontSettings;
    use std::collections::BTreeMap;

    fn gate(change: impl FnOnce(&mut SplitPlan)) -> NoWorse {
        let plan = segue_plan::parse(segue_plan::template(), "example.toml").unwrap();
        let fronts = Fronts::new(FrontSettings {
            unit: plan.unit,
            policy: Arc::new(Policy::clone(&plan.policy)),
            run: RunId::from("run-1"),
            program: "segue".into(),
        });
        let mut split = segue_plan::defaults::split();
        change(&mut split);
        NoWorse::new(fronts, split, 5)
    }

    /// Answer times about a middle, in microseconds.
    fn met(cells: u64, failing: u64, middle_us: u64) -> Met {
        let times: BTreeMap<u64, u64> =
            (0..100).map(|i| (middle_us * (50 + i) / 100, cells)).collect();
        Met { cells, failing, times_us: times }
    }

    fn trials(lasts_s: u64, target: Met, source: Met) -> Trials {
        Trials {
            share: 5,
            lasts_ms: lasts_s * 1_000,
            opened: Vec::new(),
            saved: 0,
            sides: Sides { source, target },
        }
    }

    fn healthy(lasts_s: u64) -> Trials {
        trials(lasts_s, met(4_000, 4, 20_000), met(70_000, 70, 20_000))
    }

    #[test]
    fn a_share_is_no_worse_when_its_time_is_over_and_the_numbers_show_it() {
        let (early, _) = gate(|_| {}).judge(&healthy(299));
        assert_eq!(early, Verdict::Wait);
        let (verdict, because) = gate(|_| {}).judge(&healthy(300));
        assert_eq!(verdict, Verdict::Pass, "{because}");
        // Of another share nothing is known.
        let other = Trials { share: 25, ..healthy(300) };
        assert_eq!(gate(|_| {}).judge(&other).0, Verdict::Unknown);
    }

    #[test]
    fn harm_ends_the_split_at_any_moment() {
        let harmful = trials(9, met(200, 60, 20_000), met(4_000, 8, 20_000));
        let (verdict, because) = gate(|_| {}).judge(&harmful);
        assert_eq!(verdict, Verdict::Fail, "{because}");
        let opened = Trials { opened: vec!["source".into()], ..healthy(9) };
        assert_eq!(gate(|_| {}).judge(&opened).0, Verdict::Fail);
    }

    #[test]
    fn too_few_visitors_are_waited_for_and_at_last_inconclusive_never_passed() {
        let few = |lasts_s| trials(lasts_s, met(30, 0, 20_000), met(500, 0, 20_000));
        assert_eq!(gate(|_| {}).judge(&few(300)).0, Verdict::Wait);
        let (verdict, because) = gate(|_| {}).judge(&few(3_600));
        assert_eq!(verdict, Verdict::Fail);
        assert!(because.starts_with("inconclusive"), "{because}");
        // Who asks for no proof is told that there is none.
        let (verdict, because) = gate(|plan| plan.proof = false).judge(&few(300));
        assert_eq!(verdict, Verdict::Pass);
        assert!(because.contains("no proof"), "{because}");
    }

    #[test]
    fn a_slow_target_does_not_pass_and_one_look_is_not_repeated() {
        let gate = gate(|_| {});
        let slow = |lasts_s| trials(lasts_s, met(4_000, 4, 30_000), met(70_000, 70, 20_000));
        assert_eq!(gate.judge(&slow(300)).0, Verdict::Wait);
        // The same look says the same, whatever came meanwhile; the next one looks again.
        assert_eq!(gate.judge(&healthy(400)).0, Verdict::Wait);
        assert_eq!(gate.judge(&healthy(600)).0, Verdict::Pass);
    }
}
