//! Harm: a sequential test on the visitors that failed.

use super::Seen;
use statrs::function::beta::{beta_reg, ln_beta};

/// How strongly the test believes beforehand that both sides are alike: so many failures of
/// equal sides seen before the first one. From 4 to 20 all work; larger is slower and calmer.
const BELIEF: f64 = 20.0;

/// What the test says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Harm {
    /// How many times better "the target fails more visitors" explains what was seen than "both
    /// sides are alike". 1 says nothing.
    pub factor: f64,
    /// The target's share of the visitors counted, 0 to 1.
    pub share: f64,
}

impl Harm {
    /// Says whether harm is shown with at most `alpha` as the probability of a false alarm, over
    /// all looks together (Ville's inequality).
    pub fn is_shown(&self, alpha: f64) -> bool {
        self.factor >= 1.0 / alpha
    }
}

/// Weighs the failures of both sides as a one-sided Bayes factor.
///
/// Given that a visitor failed, it was the target's with probability `share` if both sides are
/// alike; the alternative is a beta distribution about `share`, cut to what lies above it. Only
/// the failures count, so that load and outages which change over time for both sides do no
/// harm to it (conditional test of two binomial rates; sequentially valid as a test martingale,
/// Lindon and Malek 2022, arXiv 2011.03567). Without visitors at either side it says nothing.
#[allow(clippy::cast_precision_loss)] // Visitors of a site.
pub fn harm(target: &Seen, source: &Seen) -> Harm {
    let all = (target.cells + source.cells) as f64;
    let share = if all > 0.0 { target.cells as f64 / all } else { 0.0 };
    if share <= 0.0 || share >= 1.0 {
        return Harm { factor: 1.0, share };
    }
    let (x, y) = (target.failing as f64, source.failing as f64);
    let (a, b) = (BELIEF * share, BELIEF * (1.0 - share));
    let above = |a: f64, b: f64| beta_reg(b, a, 1.0 - share);
    let tail = above(a + x, b + y);
    if tail <= 0.0 {
        // Too small for a number: the source fails far more of its visitors.
        return Harm { factor: 0.0, share };
    }
    let ln_factor = ln_beta(a + x, b + y) - ln_beta(a, b) + tail.ln()
        - above(a, b).ln()
        - x * share.ln()
        - y * (1.0 - share).ln();
    Harm { factor: ln_factor.exp(), share }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::Times;

    fn seen(cells: u64, failing: u64) -> Seen {
        Seen { cells, failing, times: Times::default() }
    }

    /// A small generator with a seed, so that a run can be repeated.
    struct Dice(u64);

    impl Dice {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn chance(&mut self, p: f64) -> bool {
            self.next() < p
        }
    }

    /// Runs a split with these rates of failure and looks after every thousand visitors; says
    /// after how many visitors of the target harm was shown.
    fn run(dice: &mut Dice, share: f64, rates: (f64, f64), most: u64) -> Option<u64> {
        let (mut target, mut source) = (seen(0, 0), seen(0, 0));
        for number in 1..=most {
            let to_target = dice.chance(share);
            let (side, rate) =
                if to_target { (&mut target, rates.0) } else { (&mut source, rates.1) };
            side.cells += 1;
            side.failing += u64::from(dice.chance(rate));
            if number % 1_000 == 0 && harm(&target, &source).is_shown(0.01) {
                return Some(target.cells);
            }
        }
        None
    }

    #[test]
    fn healthy_sides_raise_almost_no_alarm_however_often_one_looks() {
        let mut dice = Dice(7);
        let alarms = |dice: &mut Dice, rate| {
            (0..400).filter(|_| run(dice, 0.05, (rate, rate), 60_000).is_some()).count()
        };
        // One in a hundred is promised over all 60 looks; of 400 runs that is 4.
        for rate in [0.001, 0.01] {
            let alarms = alarms(&mut dice, rate);
            assert!(alarms <= 8, "{alarms} false alarms in 400 runs at {rate}");
        }
    }

    #[test]
    fn harm_is_found_within_a_few_hundred_visitors() {
        let mut dice = Dice(11);
        for (rates, within) in [((0.05, 0.005), 800), ((0.02, 0.005), 4_000)] {
            let mut found: Vec<u64> =
                (0..41).map(|_| run(&mut dice, 0.05, rates, 400_000).unwrap_or(u64::MAX)).collect();
            found.sort_unstable();
            assert!(found[20] <= within, "{rates:?}: median {} visitors", found[20]);
            assert!(found[40] < u64::MAX, "{rates:?}: not found");
        }
    }

    #[test]
    fn nothing_is_said_without_visitors_at_both_sides() {
        for (target, source) in [((0, 0), (0, 0)), ((90, 90), (0, 0)), ((0, 0), (500, 3))] {
            let said = harm(&seen(target.0, target.1), &seen(source.0, source.1));
            assert!((said.factor - 1.0).abs() < f64::EPSILON, "{said:?}");
        }
    }

    #[test]
    fn an_outage_of_both_sides_is_no_harm_of_the_target() {
        // Ten thousand visitors fail, each side in its share.
        let said = harm(&seen(2_000, 500), &seen(38_000, 9_500));
        assert!(said.factor < 1.0, "{said:?}");
        // The same with twice as many of the target's.
        let said = harm(&seen(2_000, 1_000), &seen(38_000, 9_500));
        assert!(said.is_shown(1e-6), "{said:?}");
        // Fewer at the target are none either, and nothing overflows.
        let said = harm(&seen(1_000_000, 0), &seen(1_000_000, 900_000));
        assert!(said.factor < 1.0 && said.factor >= 0.0, "{said:?}");
    }
}
