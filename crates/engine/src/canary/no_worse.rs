//! No worse: what a step up needs to have been shown.

use super::Seen;
use std::fmt::Write;

/// By how much the target may be worse and still count as no worse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margins {
    /// Share of visitors that may fail beyond the source's, 0 to 1.
    pub failing: f64,
    /// Median of answer times, as a factor of the source's.
    pub p50: f64,
    /// 95 % of answer times, as a factor of the source's.
    pub p95: f64,
    /// Probability of calling a target no worse that is worse by just the margin.
    pub error: f64,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct NoWorse {
    /// Whether every bound lies within its margin. False also where too little was seen.
    pub shown: bool,
    /// Whether more visitors could still show it: no estimate itself lies beyond its margin.
    pub open: bool,
    /// The bounds, for people.
    pub because: String,
}

/// Compares both sides: failing visitors, median and 95 % of answer times. Each upper bound of
/// the difference must lie within its margin (a test of non-inferiority).
///
/// The bound of the failing share is Newcombe's (hybrid of Wilson's intervals, Statistics in
/// Medicine 17, 1998), which holds with no failure at all; those of answer times rest on order
/// statistics, with visitors and not requests as what is independent.
pub fn no_worse(target: &Seen, source: &Seen, margins: Margins) -> NoWorse {
    let z = quantile_of_normal(1.0 - margins.error);
    let mut all = NoWorse { shown: true, open: true, because: String::new() };
    if target.cells == 0 || source.cells == 0 {
        let because = format!(
            "{} visitors a minute at the target, {} at the source: nothing to compare",
            target.cells, source.cells
        );
        return NoWorse { shown: false, open: true, because };
    }
    let (own, theirs) = (target.failing_share(), source.failing_share());
    let bound = own - theirs
        + ((wilson(target, z).1 - own).powi(2) + (theirs - wilson(source, z).0).powi(2)).sqrt();
    let mut line = format!(
        "failing {:.2} % ({} of {}) against {:.2} % ({} of {}): at most {:+.2} points, allowed {:+.2}",
        own * 100.0,
        target.failing,
        target.cells,
        theirs * 100.0,
        source.failing,
        source.cells,
        bound * 100.0,
        margins.failing * 100.0,
    );
    all.shown &= bound < margins.failing;
    all.open &= own - theirs < margins.failing;
    for (name, p, allowed) in [("median", 0.5, margins.p50), ("95 %", 0.95, margins.p95)] {
        line += "; ";
        let Some(slower) = slower(target, source, p, z) else {
            all.shown = false;
            let least = (3.0 / (1.0 - p)).ceil();
            let _ = write!(
                line,
                "{name}: too few visitors to tell ({} and {}, {least} wanted)",
                target.cells, source.cells
            );
            continue;
        };
        all.shown &= slower.bound < allowed;
        all.open &= slower.factor < allowed;
        let Slower { own, theirs, factor, bound } = slower;
        let _ = write!(
            line,
            "{name} {own:.0} ms against {theirs:.0} ms: factor {factor:.2}, at most {bound:.2}, allowed {allowed:.2}"
        );
    }
    all.because = line;
    all
}

/// Wilson's interval of the failing share.
#[allow(clippy::cast_precision_loss)] // Visitors of a site.
fn wilson(seen: &Seen, z: f64) -> (f64, f64) {
    let (n, p) = (seen.cells as f64, seen.failing_share());
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / (1.0 + z * z / n);
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

struct Slower {
    own: f64,
    theirs: f64,
    factor: f64,
    bound: f64,
}

/// Compares the times within which the share `p` was answered; nothing where the visitors are
/// too few for a bound.
fn slower(target: &Seen, source: &Seen, p: f64, z: f64) -> Option<Slower> {
    let (own, own_error) = ln_quantile(target, p)?;
    let (theirs, error) = ln_quantile(source, p)?;
    let difference = own - theirs;
    let bound = difference + z * own_error.hypot(error);
    Some(Slower {
        own: own.exp(),
        theirs: theirs.exp(),
        factor: difference.exp(),
        bound: bound.exp(),
    })
}

/// Resolution of the histograms: no quantile is known better than this.
const RESOLUTION: f64 = 0.005;

/// Returns the logarithm of a quantile and its standard error.
#[allow(clippy::cast_precision_loss)] // Visitors of a site.
fn ln_quantile(seen: &Seen, p: f64) -> Option<(f64, f64)> {
    let n = (seen.cells.min(seen.times.count())) as f64;
    if n * (1.0 - p) < 3.0 {
        return None;
    }
    let spread = (p * (1.0 - p) / n).sqrt();
    let at = |p: f64| seen.times.quantile(p).map(f64::ln);
    let (low, high) = (at(p - spread)?, at(p + spread)?);
    Some((at(p)?, ((high - low) / 2.0).max(RESOLUTION)))
}

/// Returns the point below which a standard normal value lies with probability `p`.
fn quantile_of_normal(p: f64) -> f64 {
    std::f64::consts::SQRT_2 * statrs::function::erf::erf_inv(2.0 * p - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::Times;

    const MARGINS: Margins = Margins { failing: 0.005, p50: 1.1, p95: 1.1, error: 0.05 };

    /// Answer times spread evenly over factors from 0.5 to 2 about a middle.
    fn seen(cells: u64, failing: u64, middle_ms: f64) -> Seen {
        let step = |i: u32| middle_ms * 2_f64.powf(f64::from(i) / 50.0 - 1.0);
        let times = Times::of((0..=100).map(|i| (step(i), cells)));
        Seen { cells, failing, times }
    }

    #[test]
    fn enough_healthy_visitors_show_that_the_target_is_no_worse() {
        let said = no_worse(&seen(4_000, 4, 50.0), &seen(60_000, 60, 50.0), MARGINS);
        assert!(said.shown && said.open, "{said:?}");
    }

    #[test]
    fn few_visitors_show_nothing_and_leave_it_open() {
        for (target, source) in [(0, 500), (500, 0), (40, 800), (300, 6_000)] {
            let said = no_worse(&seen(target, 0, 50.0), &seen(source, 0, 50.0), MARGINS);
            assert!(!said.shown && said.open, "{target}: {said:?}");
        }
    }

    #[test]
    fn a_target_that_fails_more_or_is_slower_is_never_called_no_worse() {
        let healthy = seen(60_000, 60, 50.0);
        let failing = no_worse(&seen(4_000, 60, 50.0), &healthy, MARGINS);
        assert!(!failing.shown && !failing.open, "{failing:?}");
        let slow = no_worse(&seen(4_000, 4, 60.0), &healthy, MARGINS);
        assert!(!slow.shown && !slow.open, "{slow:?}");
        // The median is right and the slowest twentieth is not.
        let mut tail = seen(4_000, 4, 50.0);
        let pairs = (0..=100_u32).map(|i| {
            let ms = 50.0 * 2_f64.powf(f64::from(i) / 50.0 - 1.0);
            (if i > 90 { ms * 3.0 } else { ms }, 4_000)
        });
        tail.times = Times::of(pairs);
        let said = no_worse(&tail, &healthy, MARGINS);
        assert!(!said.shown && said.because.contains("95 %"), "{said:?}");
    }

    #[test]
    fn the_error_is_the_one_that_was_asked_for() {
        // Just at the margin, so every "no worse" is an error. Failing visitors alone: the
        // times of both sides are alike and known exactly.
        let mut state = 3_u64;
        let mut dice = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut wrong = 0;
        for _ in 0..600 {
            let mut count = |n: u64, p: f64| (0..n).filter(|_| dice() < p).count() as u64;
            let (target, source) = (count(3_000, 0.015), count(20_000, 0.01));
            let margins = Margins { p50: 9.0, p95: 9.0, ..MARGINS };
            let said = no_worse(&seen(3_000, target, 50.0), &seen(20_000, source, 50.0), margins);
            wrong += u32::from(said.shown);
        }
        assert!((6..=54).contains(&wrong), "{wrong} of 600, about 30 wanted");
    }
}
